"""Made-up events of the scenarios in docs/scenarios, one JSON object a line:
`python -m benchmarks.scenarios fraud 20000 > fraud.jsonl`.

What is true in them is written here in full, so nobody need wonder what there was to find.

fraud: 1 in 200 payments is a fraud. Four in five frauds are large; half of them come at night, half
from a device that was not seen before; all are at one of ten busy merchants.
recommendation: users rate items of five genres whose titles say the genre; a user likes some genres.
ads: a click comes with a chance of 1 % on average, by ad, site, hour and device.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

Event = dict[str, Any]
_START = datetime(2026, 1, 5, tzinfo=UTC)
GENRES = ("crime", "love", "space", "war", "music")
_WORDS = {
    "crime": ("murder", "detective", "heist", "alibi"),
    "love": ("wedding", "heart", "kiss", "summer"),
    "space": ("galaxy", "rocket", "orbit", "alien"),
    "war": ("battle", "soldier", "front", "siege"),
    "music": ("band", "song", "opera", "guitar"),
}


def fraud(count: int, seed: int = 0) -> Iterator[Event]:
    """Yield payments."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        bad = rng.random() < 0.005
        large = bad and rng.random() < 0.8
        hour = rng.choice((1, 2, 3, 4)) if bad and rng.random() < 0.5 else rng.integers(0, 24)
        moment = _START + timedelta(seconds=86.4 * i)
        moment = moment.replace(hour=int(hour))
        yield {
            "id": f"tx{i}",
            "time": moment.isoformat(),
            "amount": round(float(np.exp(rng.normal(8.0 if large else 3.5, 1.0))), 2),
            "merchant": f"m{rng.integers(0, 10) if bad else rng.zipf(1.3) % 2000}",
            "device": f"new{i}" if bad and rng.random() < 0.5 else f"d{rng.integers(0, 3000)}",
            "is_fraud": int(bad),
        }


def recommendation(count: int, seed: int = 0) -> Iterator[Event]:
    """Yield ratings."""
    rng = np.random.default_rng(seed)
    likes = rng.normal(size=(500, len(GENRES)))
    quality = rng.normal(scale=0.5, size=300)
    for i in range(count):
        user, item = int(rng.integers(0, 500)), int(rng.integers(0, 300))
        rating = 3.2 + quality[item] + likes[user, item % 5] + rng.normal(scale=0.5)
        yield {"user": f"u{user}", **an_item(item), "rating": int(np.clip(round(rating), 1, 5)),
               "time": (_START + timedelta(seconds=i)).isoformat()}  # fmt: skip


def an_item(item: int) -> Event:
    """Return one of 300 items: its genre is its number modulo 5, its title says the genre."""
    genre = GENRES[item % 5]
    words = _WORDS[genre]
    title = f"The {words[item // 5 % 4]} and the {words[item // 20 % 4]} {item}"
    return {"item": f"i{item}", "title": title, "genre": genre, "genres": [genre, "film"]}


def ads(count: int, seed: int = 0) -> Iterator[Event]:
    """Yield impressions."""
    rng = np.random.default_rng(seed)
    of_ad, of_site = rng.normal(scale=0.7, size=200), rng.normal(scale=0.5, size=50)
    for i in range(count):
        ad, site, phone = rng.integers(0, 200), rng.integers(0, 50), rng.random() < 0.6
        hour = int(i * 24 / 20_000) % 24
        logit = -5.1 + of_ad[ad] + of_site[site] + 0.4 * phone + 0.3 * (18 <= hour < 23)
        yield {
            "time": (_START + timedelta(seconds=4.32 * i)).isoformat(),
            "ad": f"a{ad}", "site": f"s{site}", "phone": bool(phone),
            "click": int(rng.random() < 1 / (1 + np.exp(-logit))),
        }  # fmt: skip


SCENARIOS = {"fraud": fraud, "recommendation": recommendation, "ads": ads}

if __name__ == "__main__":
    name, count = sys.argv[1], int(sys.argv[2])
    for event in SCENARIOS[name](count):
        sys.stdout.write(msgspec.json.encode(event).decode() + "\n")
