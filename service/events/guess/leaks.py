"""Does one column alone tell the answer, in every row of the sample?

A column that does is mostly the answer in disguise: known only after the event. What may be mere
chance is not accused: a column is pure when each of its values stands beside one label only, and
it counts when labels thrown at random would be as pure less than once in a hundred samples.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from service.events.guess.column import Column

_CHANCE = 0.01
_FEWEST = 20
"""Of labelled rows, to say anything; of the rarer label, to accuse a threshold."""
_FEW = 64  # beyond it the plain bound is sharp enough
_EQUAL = 1e-9


def tells(column: Column, labels: Sequence[str | None], columns: int) -> str | None:
    """Return how the column tells the label, None where it does not. columns: how many are tried.

    labels: one for each row, None where there is none.
    """
    pairs = [
        (text, label) for text, label in zip(column.texts, labels, strict=True) if label is not None
    ]
    known = Counter(label for _, label in pairs)
    if len(pairs) < _FEWEST or len(known) < 2:
        return None
    chance = math.log(_CHANCE / max(1, columns))
    there = [("is there" if text is not None else "is missing", label) for text, label in pairs]
    if column.missing and _purity(there, known) < chance:
        return "is there or missing as the target says, in every row of the sample"
    if _purity(pairs, known) < chance:
        return "tells the target in every row of the sample: the answer in disguise?"
    if len(known) == 2 and min(known.values()) >= _FEWEST and _threshold(column, labels):
        return "one threshold tells the target in every row of the sample: the answer in disguise?"
    return None


def follows(column: Column, target: Sequence[float | None]) -> str | None:
    """Return how a number column tells a number target: they lie on one straight line."""
    if not column.numbers:
        return None
    given = iter(column.numbers)
    filled = [next(given) if value is not None else None for value in column.values]
    pairs = [(x, y) for x, y in zip(filled, target, strict=True) if x is not None and y is not None]
    if len(pairs) < _FEWEST or len({y for _, y in pairs}) < 3:
        return None
    mean_x = math.fsum(x for x, _ in pairs) / len(pairs)
    mean_y = math.fsum(y for _, y in pairs) / len(pairs)
    xx = math.fsum((x - mean_x) ** 2 for x, _ in pairs)
    yy = math.fsum((y - mean_y) ** 2 for _, y in pairs)
    xy = math.fsum((x - mean_x) * (y - mean_y) for x, y in pairs)
    if xx > 0 and yy > 0 and math.isfinite(xx * yy) and 1 - xy * xy / (xx * yy) < _EQUAL:
        return "is the target on another scale, in every row of the sample: the answer in disguise?"
    return None


def _purity(pairs: Sequence[tuple[str | None, str]], known: Counter[str]) -> float:
    """Return the logarithm of the chance that random labels are as pure; 0 where not pure."""
    beside: dict[str | None, str] = {}
    for text, label in pairs:
        if beside.setdefault(text, label) != label:
            return 0.0
    ways = math.lgamma(len(pairs) + 1) - sum(math.lgamma(n + 1) for n in known.values())
    return _pure_ways(len(beside), known) - ways


def _pure_ways(groups: int, known: Counter[str]) -> float:
    """Return the logarithm of a bound on how many ways there are to give each group one label."""
    bound = groups * math.log(len(known))
    if len(known) == 2:  # no more groups have the rarer label than there are such labels
        rarer = min(min(known.values()), groups)
        if rarer < min(_FEW, groups // 2):
            bound = min(bound, math.log(sum(math.comb(groups, k) for k in range(rarer + 1))))
    return bound


def _threshold(column: Column, labels: Sequence[str | None]) -> bool:
    if not column.numbers or column.missing:
        return False
    spans: dict[str, list[float]] = defaultdict(list)
    for number, label in zip(column.numbers, labels, strict=True):
        if label is not None:
            spans[label].append(number)
    one, other = spans.values()
    return max(one) < min(other) or max(other) < min(one)
