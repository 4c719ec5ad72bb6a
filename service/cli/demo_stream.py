"""Synthetic ad impressions: a stream whose taste changes. Knows no Kafka, no HTTP.

A click is drawn from a logistic model of ad, site, device and price. Every `change_s` seconds of
stream time the taste changes at once: what people think of each ad is drawn anew. The same seed
gives the same stream.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

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
        },
        "targets": {"click": {"type": "binary"}},
    },
    "model": {"kind": "linear"},
    "learning": {"optimizer": "sgd", "learning_rate": 0.1},
}
_ADS, _SITES, _DEVICES = 60, 12, ("phone", "tablet", "desktop")


class Impression(msgspec.Struct):
    """One event: what was shown, and whether it was clicked."""

    features: dict[str, Any]
    click: int


class Clicks:
    """The endless stream. `taste` counts the changes so far."""

    def __init__(self, change_s: float, seed: int = 0) -> None:
        self._rng = np.random.default_rng(seed)
        self._change_s = change_s
        self._sites = self._rng.normal(0.0, 0.5, _SITES)
        self._devices = self._rng.normal(0.0, 0.5, len(_DEVICES))
        self.taste = 0
        self._ads = self._liking()
        self._made = 0

    def draw(self, n: int, elapsed_s: float) -> list[Impression]:
        """Return the next n impressions, `elapsed_s` seconds into the stream."""
        taste = int(elapsed_s // self._change_s)
        if taste != self.taste:
            self.taste = taste
            self._ads = self._liking()
        rng = self._rng
        ads, sites = rng.integers(0, _ADS, n), rng.integers(0, _SITES, n)
        devices = rng.integers(0, len(_DEVICES), n)
        prices = rng.lognormal(3.0, 0.5, n)
        logit = -1.5 + self._ads[ads] + self._sites[sites] + self._devices[devices]
        logit -= 0.8 * (np.log(prices) - 3.0)
        clicks = rng.random(n) < 1.0 / (1.0 + np.exp(-logit))
        made = []
        for ad, site, device, price, click in zip(
            ads.tolist(), sites.tolist(), devices.tolist(), prices.tolist(), clicks.tolist(),
            strict=True,
        ):  # fmt: skip
            self._made += 1
            features = {
                "id": self._made,
                "ad": f"ad-{ad}",
                "site": f"site-{site}",
                "device": _DEVICES[device],
                "price": round(price, 2),
            }
            made.append(Impression(features, int(click)))
        return made

    def _liking(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        return self._rng.normal(0.0, 1.8, _ADS)
