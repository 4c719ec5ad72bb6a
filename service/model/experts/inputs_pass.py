"""From an event's numbers, categories and earlier labels to what experts see, compiled.

Legend: N rows, F numbers, P plain inputs, V categories, S spans. All of it moves only by rows that
are learned, after the row was written: a row sees nothing of itself but its own fields, and of
earlier rows everything, their labels included.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece
from service.model.experts.seam import KEY_INPUTS

CLIP = 8.0
"""Furthest that a number lies from its mean, in standard deviations."""
FORGET = 1.0 / 20000.0
"""Slowest rate of a running mean or variance."""
REACH, TRUSTED = 32.0, 100.0
"""Once so many values were seen, one alone moves what is known of a number by at most so many
deviations; where the one before was as far off, numbers have changed."""
SPANS = np.array([1.0, 8.0, 64.0])
"""Of the moving averages that a number and a label are compared with, in rows."""
SAMPLE = 512
"""Values of a number that its ranks come from; about one in eight of the last 4,096."""
PLE = 4
"""Pieces of the piecewise-linear code of a rank (Gorishniy, Rubachev, Babenko 2022)."""
ONE_HOT = 32
"""Most values of a category that have an input of their own: those seen first."""


@kernel
def numbers(values, learn, stats, recent, ordered, sizes, into, ranks, at):
    """Write what is known of each number: deviation, missing, context and pieces of its rank.

    values: [N, F or more], NaN is missing. stats: [F, 3 + S]: count, mean, variance, moving averages, in
    the number's units. recent, ordered: [F, SAMPLE], a ring of values and the same, sorted. sizes:
    int64 [F, 2]: values seen by the ring, values that are sorted. into: float32 [N, D]; at: where in
    it deviations, missing, contexts and pieces begin. ranks: float32 [N, F], -1 where missing.
    """
    for r in range(values.shape[0]):
        for j in range(ranks.shape[1]):
            _number(values[r, j], stats[j], ordered[j], sizes[j], j, into[r], ranks[r], at)
            if learn[r] and abs(values[r, j]) < 1e150:
                _observe(stats[j], recent[j], ordered[j], sizes[j], values[r, j])


@piece
def _number(value, stats, ordered, sizes, j, into, ranks, at):
    n_spans = SPANS.shape[0]
    if math.isnan(value):
        into[at[0] + j] = 0.0
        into[at[1] + j] = 1.0 if stats[0] > 0.0 else 0.0  # missing is what was there once
        for s in range(n_spans):
            into[at[2] + j * n_spans + s] = 0.0
        for b in range(PLE):
            into[at[3] + j * PLE + b] = 0.0
        ranks[j] = -1.0
        return
    inverse = 1.0 / math.sqrt(stats[2]) if stats[2] > 0.0 else 0.0
    into[at[0] + j] = _clipped((value - stats[1]) * inverse)
    into[at[1] + j] = 0.0
    for s in range(n_spans):
        near = (value - stats[3 + s]) * inverse if stats[0] > 0.0 else 0.0
        into[at[2] + j * n_spans + s] = _clipped(near)
    rank = _rank(ordered, sizes[1], value)
    ranks[j] = rank
    for b in range(PLE):
        into[at[3] + j * PLE + b] = min(max(PLE * rank - b, 0.0), 1.0)


@piece
def _clipped(z):
    return min(max(z, -CLIP), CLIP) if math.isfinite(z) else 0.0


@piece
def first_from(ordered, n, value):
    """Return the place of the first of n sorted values that is no less."""
    low, high = 0, n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@piece
def first_above(ordered, low, n, value):
    """Return the place of the first of n sorted values that is greater, from place `low` on, or n."""
    high = n
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@piece
def _rank(ordered, n, value):
    """Return the middle rank of a value among n sorted ones, inside (0, 1)."""
    if n == 0:
        return 0.5
    low = first_from(ordered, n, value)
    high = first_above(ordered, low, n, value)
    return (low + high + 1.0) / (2.0 * (n + 1.0))


@piece
def _observe(stats, recent, ordered, sizes, value):
    """Take a value into moments, averages and sample. The average over one row is the last value."""
    raw, reach = value, REACH * math.sqrt(stats[2])
    if stats[0] >= TRUSTED and reach > 0.0 and abs(stats[3] - stats[1]) <= reach:
        value = min(max(value, stats[1] - reach), stats[1] + reach)
    stats[0] += 1.0
    rate = max(1.0 / stats[0], FORGET)
    delta = value - stats[1]
    stats[1] += rate * delta
    stats[2] = (1.0 - rate) * (stats[2] + rate * delta * delta)
    for s in range(SPANS.shape[0]):
        stats[3 + s] += max(1.0 / stats[0], 1.0 / SPANS[s]) * (value - stats[3 + s])
    stats[3] = raw
    seen = int(stats[0]) - 1
    if seen < SAMPLE or mixed(np.uint64(seen)) % np.uint64(8) == 0:
        keep(recent, ordered, sizes, raw)


@piece
def keep(recent, ordered, sizes, value):
    """Put a value into the ring, in the place of the oldest, and into the sorted values."""
    n, room = sizes[1], recent.shape[0]
    slot = sizes[0] % room
    if n == room:
        i = first_from(ordered, n, recent[slot])
        while i < n - 1 and ordered[i + 1] <= value:
            ordered[i] = ordered[i + 1]
            i += 1
    else:
        i = n
        sizes[1] += 1
    while i > 0 and ordered[i - 1] > value:
        ordered[i] = ordered[i - 1]
        i -= 1
    ordered[i] = value
    recent[slot] = value
    sizes[0] += 1


@kernel
def one_hot(ids, learn, known, into, at):
    """Write one input for each of the values seen first. ids: [N, V] rows of tables; known: int64
    [V, ONE_HOT], 0 is free, else a table's row + 1."""
    for r in range(ids.shape[0]):
        for c in range(ids.shape[1]):
            free = _hot(ids[r, c], known[c], into[r], at + c * ONE_HOT)
            if free >= 0 and learn[r]:
                known[c, free] = ids[r, c] + 1


@piece
def _hot(value, known, into, first):
    """Write the inputs of one value; return a free place for it, -1: it has one, or none is left."""
    into[first : first + ONE_HOT] = 0.0
    for slot in range(ONE_HOT):
        if known[slot] == value + 1:
            into[first + slot] = 1.0
            return -1
        if known[slot] == 0:
            return slot
    return -1


@kernel
def lags(y, classes, learn, held, into, at):
    """Write the moving averages of the label before each row. classes: 1 for a label in [0, 1] or a
    number in the target's frame, else how many classes. held: [S, classes + 1], the last the count."""
    n = held.shape[1] - 1
    for r in range(y.shape[0]):
        _lags(held, into[r], at)
        if not learn[r] or math.isnan(y[r]):
            continue
        for s in range(SPANS.shape[0]):
            held[s, n] += 1.0
            rate = max(1.0 / held[s, n], 1.0 / SPANS[s])
            for c in range(n):
                truth = y[r] if classes == 1 else (1.0 if int(y[r]) == c else 0.0)
                held[s, c] += rate * (truth - held[s, c])


@piece
def _lags(held, into, at):
    n = held.shape[1] - 1
    for s in range(SPANS.shape[0]):
        for c in range(n):
            into[at + s * n + c] = held[s, c]


KEY = 6
"""Numbers that are kept of each value of a category: events, mean label, the last label, moving
averages over 3 and 10 of its own events, seen."""


@kernel
def keys(ids, rows, y, learn, prior, memory, touched, into, at):
    """Write what the labels of earlier events with the same value of a category say.

    ids: [N, V]; rows: [V], size of each table's memory, one after another in memory [sum, KEY].
    prior: [2] count and running mean of the label. touched: a flag per 64 floats of memory.
    """
    for r in range(ids.shape[0]):
        labelled = learn[r] and not math.isnan(y[r])
        first = 0
        for c in range(ids.shape[1]):
            place = first + ids[r, c] % rows[c]
            first += rows[c]
            _key(memory[place], prior[1], into[r], at + c * KEY_INPUTS)
            if labelled:
                _remember(memory[place], y[r])
                touched[place * KEY >> 6] = 1
                touched[(place * KEY + KEY - 1) >> 6] = 1
        if labelled:
            prior[0] += 1.0
            prior[1] += max(1.0 / prior[0], FORGET) * (y[r] - prior[1])


@piece
def _key(one, mean, into, j):
    n = one[0]
    into[j] = one[2] if n > 0 else mean
    into[j + 1] = (n * one[1] + 5.0 * mean) / (n + 5.0)
    into[j + 2] = 1.0 / (1.0 + n)
    into[j + 3] = one[3] if n > 0 else mean
    into[j + 4] = one[4] if n > 0 else mean


@piece
def _remember(one, y):
    one[5] += 1.0
    one[3] += max(1.0 / one[5], 1.0 / 3.0) * (y - one[3])
    one[4] += max(1.0 / one[5], 1.0 / 10.0) * (y - one[4])
    one[0] += 1.0
    one[1] += (y - one[1]) / one[0]
    one[2] = y
    if one[0] > 256.0:
        one[0] *= 0.5


CLOCK = 5
"""Inputs of the time of an event: sine and cosine of the hour and of the weekday, the time since the
event before; then, for each category, the time since the event before with the same value."""
_DAY_MS, _WEEK_MS = 86_400_000, 604_800_000
_MONDAY_MS = 345_600_000  # 1970-01-05, the first Monday
_LATE_MS, PATIENCE = 3_600_000, 8
"""An event so long before the latest one is in no order; of so many in a row the latest was wrong."""
_PART = 1 << 20
"""Milliseconds that are kept as a number of their own: a float32 counts no further than 2^24."""


@kernel
def clock(times, ids, rows, learn, before, last, touched, into, at):
    """Write what the time of each event says. times: int64 [N] ms since 1970, -1: none. before:
    int64 [2] events in a row that came long before the latest time that was learned, and that time,
    0: none. last: float32 [sum, 2] by category's value, as in `keys`: its time in parts of 2^20 ms,
    and the rest of it plus 1, 0: never."""
    for r in range(times.shape[0]):
        _clock(times[r], ids[r], rows, before, last, into[r], at)
        if not learn[r] or times[r] < 0:
            continue
        before[0] = before[0] + 1 if before[1] - times[r] > _LATE_MS else 0
        if times[r] >= before[1] or before[0] >= PATIENCE:
            before[0], before[1] = 0, max(times[r], 1)
        first = 0
        for c in range(ids.shape[1]):
            place = first + ids[r, c] % rows[c]
            first += rows[c]
            last[place, 0], last[place, 1] = times[r] // _PART, times[r] % _PART + 1
            touched[place * 2 >> 6] = 1


@piece
def _clock(time, ids, rows, before, last, into, at):
    into[at : at + CLOCK + ids.shape[0]] = 0.0
    if time < 0:
        return
    day = 2.0 * math.pi * (time % _DAY_MS) / _DAY_MS
    week = 2.0 * math.pi * ((time - _MONDAY_MS) % _WEEK_MS) / _WEEK_MS
    into[at], into[at + 1] = math.sin(day), math.cos(day)
    into[at + 2], into[at + 3] = math.sin(week), math.cos(week)
    if before[1] > 0:
        into[at + 4] = _age((time - before[1]) / 1000.0)
    first = 0
    for c in range(ids.shape[0]):
        held = last[first + ids[c] % rows[c]]
        first += rows[c]
        if held[1] > 0.0:
            came = held[0] * float(_PART) + (held[1] - 1.0)
            into[at + CLOCK + c] = _age((time - came) / 1000.0)


@piece
def _age(seconds):
    return math.log1p(max(seconds, 0.0)) / 10.0
