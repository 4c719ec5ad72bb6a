"""Synthetic ad impressions: a stream that never stays as it was. Knows no Kafka, no HTTP.

A click is drawn from a logistic model of ad, site, device, price, hour and weekday. An hour of the
stream passes in a second, so a day in 24 and a week in under three minutes: evenings and weekends
click more, on phones above all. Every second one ad goes and one nobody has seen comes. Every
`change_s` seconds the taste changes at once: what people think of each ad and each site is drawn
anew. The same seed gives the same stream.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

SETTINGS: dict[str, Any] = {
    "name": "demo",
    "kafka": {"bootstrap_servers": "embedded", "topics": ["clicks"]},
    "event": {
        "id": "id",
        "features": {
            "ad": {"type": "category"},
            "site": {"type": "category"},
            "device": {"type": "category"},
            "price": {"type": "number"},
            "shown_at": {"type": "time"},
        },
        "interactions": [["device", "shown_at"]],
        "targets": {"click": {"type": "binary"}},
    },
    "model": {"kind": "linear"},
    "learning": {"optimizer": "sgd", "learning_rate": 0.1},
}
HOUR_S = 1.0
"""Real seconds that an hour of the stream takes."""
NEW_AD_S = 1.0
"""Real seconds between two new ads."""
_ADS, _SITES, _DEVICES = 60, 12, ("phone", "tablet", "desktop")
_EVENING = {"phone": 0.9, "tablet": 0.5, "desktop": -0.6}
"""How much more an evening is liked than a morning, by device."""
_WEEKEND = 0.6
_START = datetime(2026, 1, 5, tzinfo=UTC)
"""A Monday."""


class Impression(msgspec.Struct):
    """One event: what was shown, and whether it was clicked."""

    features: dict[str, Any]
    click: int


class Clicks:
    """The endless stream. `taste` counts the changes so far, `new_ads` the ads that came."""

    def __init__(self, change_s: float, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._change_s = change_s
        self._devices = self._rng.normal(0.0, 0.5, len(_DEVICES))
        self.taste = 0
        self.new_ads = 0
        self._names = np.arange(_ADS)
        self._ads, self._sites = self._liking(), self._rng.normal(0.0, 0.7, _SITES)
        self._made = 0

    def draw(self, n: int, elapsed_s: float) -> list[Impression]:
        """Return the next n impressions, `elapsed_s` seconds into the stream."""
        self._move_on(elapsed_s)
        rng = self._rng
        ads, sites = rng.integers(0, _ADS, n), rng.integers(0, _SITES, n)
        devices = rng.integers(0, len(_DEVICES), n)
        prices = rng.lognormal(3.0, 0.5, n)
        moment = moment_of(elapsed_s)
        logit = -1.6 + self._ads[ads] + self._sites[sites] + self._devices[devices]
        logit += _of_the_hour(moment)[devices] - 0.8 * (np.log(prices) - 3.0)
        clicks = rng.random(n) < 1.0 / (1.0 + np.exp(-logit))
        shown_at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        made = []
        for ad, site, device, price, click in zip(
            self._names[ads].tolist(), sites.tolist(), devices.tolist(), prices.tolist(),
            clicks.tolist(), strict=True,
        ):  # fmt: skip
            self._made += 1
            features = {
                "id": self._made,
                "ad": f"ad-{ad}",
                "site": f"site-{site}",
                "device": _DEVICES[device],
                "price": round(price, 2),
                "shown_at": shown_at,
            }
            made.append(Impression(features, int(click)))
        return made

    def _move_on(self, elapsed_s: float) -> None:
        taste = int(elapsed_s // self._change_s)
        if taste != self.taste:
            self.taste = taste
            self._ads, self._sites = self._liking(), self._rng.normal(0.0, 0.7, _SITES)
        while self.new_ads < int(elapsed_s // NEW_AD_S):
            gone = self.new_ads % _ADS
            self._names[gone] = _ADS + self.new_ads
            self._ads[gone] = self._rng.normal(0.0, _SPREAD)
            self.new_ads += 1

    def _liking(self) -> NDArray[np.float64]:
        return self._rng.normal(0.0, _SPREAD, _ADS)


_SPREAD = 1.6
"""How far apart what people think of two ads is, in logits."""


def moment_of(elapsed_s: float) -> datetime:
    """Return what time it is in the stream."""
    return _START + timedelta(hours=elapsed_s / HOUR_S)


def _of_the_hour(moment: datetime) -> NDArray[np.float64]:
    """Return what the moment adds to the logit, by device."""
    hour = moment.hour + moment.minute / 60
    evening = np.cos(2 * np.pi * (hour - 20) / 24)
    weekend = _WEEKEND if moment.weekday() >= 5 else 0.0
    likes = np.array([_EVENING[device] for device in _DEVICES])
    return np.asarray(weekend + evening * likes, np.float64)
