"""ADWIN and Page-Hinkley written as their papers have them, in plain Python: slow and obvious."""

from __future__ import annotations

import math


class Adwin:
    """A list of buckets, newest first: (how many losses, their sum, sum of squared deviations)."""

    def __init__(self, delta: float, reach: float) -> None:
        self.delta, self.reach, self.taken = delta, reach, 0
        self.buckets: list[tuple[int, float, float]] = []

    @property
    def width(self) -> int:
        return sum(n for n, _, _ in self.buckets)

    @property
    def total(self) -> float:
        return sum(s for _, s, _ in self.buckets)

    @property
    def variance(self) -> float:
        """Of the window: deviations inside buckets, and of their means from the mean."""
        mean = self.total / self.width
        return sum(d + n * (s / n - mean) ** 2 for n, s, d in self.buckets) / self.width

    def take(self, loss: float) -> int:
        self.buckets.insert(0, (1, loss, 0.0))
        size = 1
        while len(same := [i for i, b in enumerate(self.buckets) if b[0] == size]) > 5:
            (n, s1, d1), (_, s2, d2) = (self.buckets[i] for i in same[-2:])
            merged = (2 * n, s1 + s2, d1 + d2 + n * ((s1 - s2) / n) ** 2 / 2)
            self.buckets[same[-2] : same[-1] + 1] = [merged]
            size *= 2
        self.taken += 1
        if self.taken % 32:
            return 0
        found = 0
        while (sign := self._border()) != 0:
            found = found or sign
            self.buckets.pop()
        return found

    def _border(self) -> int:
        n, total = self.width, self.total
        if n < 10:
            return 0
        variance = self.variance
        n0, sum0 = 0, 0.0
        for size, s, _ in reversed(self.buckets):
            n0, sum0 = n0 + size, sum0 + s
            n1 = n - n0
            if n0 < 5 or n1 < 5:
                continue
            rarity = math.log(2 * math.log(n) / self.delta)
            m = 1 / (1 / n0 + 1 / n1)
            bound = math.sqrt(2 / m * variance * rarity) + 2 / (3 * m) * self.reach * rarity
            apart = (total - sum0) / n1 - sum0 / n0
            if abs(apart) >= bound and apart != 0:
                return 1 if apart > 0 else -1
        return 0


class PageHinkley:
    """As River has it: drift.PageHinkley(mode="up"), defaults delta .005, threshold 50."""

    def __init__(self, delta: float = 0.005, threshold: float = 50.0, alpha: float = 0.9999):
        self.delta, self.threshold, self.alpha = delta, threshold, alpha
        self.begin()

    def begin(self) -> None:
        self.n, self.sum_of_all, self.sum, self.least = 0, 0.0, 0.0, 0.0

    def take(self, loss: float) -> bool:
        self.n += 1
        self.sum_of_all += loss
        self.sum = self.alpha * self.sum + loss - self.sum_of_all / self.n - self.delta
        self.least = min(self.least, self.sum)
        if self.n < 30 or self.sum - self.least <= self.threshold:
            return False
        self.begin()
        return True
