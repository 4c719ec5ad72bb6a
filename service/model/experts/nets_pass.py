"""The passes of banks of small nets, compiled: score a row, learn it, learn some earlier ones again.

Legend: that of nets_step.
"""

from __future__ import annotations

import math

import numpy as np

from service.model.codes import mixed
from service.model.compiling import kernel, piece
from service.model.experts.nets_step import (
    FURTHEST,
    HIDDEN,
    backward,
    forward,
    judged,
    observe,
    room_of,
    update,
)

KEEP = 0.99
"""What a second moment keeps of itself with a row."""
SPAN = 1000.0
"""Rows that the comparison of two nets remembers."""
SURE = 2.0
"""Standard errors by which a faster net must be better before it is copied."""
LEAST = 16.0
"""Rows that two nets are compared for before one is copied."""
AGAIN_AFTER = 8
"""Rows that must be in the ring before any is learned again."""


@piece
def taken(x, columns, into):
    """Write the chosen columns of a row."""
    for j in range(columns.shape[0]):
        value = x[columns[j]]
        into[j] = min(max(value, -FURTHEST), FURTHEST) if math.isfinite(value) else 0.0


@piece
def packed(row, few, n, values, places):
    """Write the bias, then what is not 0 of a row's first n inputs, and where; return how many, of
    the first `few` and of all."""
    values[0], places[0] = 1.0, 0
    count = 1
    for j in range(few):
        values[count] = row[j]
        places[count] = j + 1
        count += row[j] != 0.0
    fewer = count
    for j in range(few, n):
        values[count] = row[j]
        places[count] = j + 1
        count += row[j] != 0.0
    return fewer, count


@piece
def hand_down(bank, losses):
    """Compare every net with the next faster one, by their losses on a row before it was learned;
    copy the faster one over it where it is surely better. Return whether any was."""
    held = bank.compared
    for m in range(held.shape[0]):
        f = bank.faster[m]
        if f < 0:
            continue
        held[m, 2] += 1.0
        rate = max(1.0 / held[m, 2], 1.0 / SPAN)
        delta = losses[m] - losses[f] - held[m, 0]
        held[m, 0] += rate * delta
        held[m, 1] = (1.0 - rate) * (held[m, 1] + rate * delta * delta)
    any_copied = False
    for m in range(held.shape[0]):
        f = bank.faster[m]
        mean, n = held[m, 0], min(held[m, 2], SPAN)
        if f < 0 or n < LEAST or mean <= 0.0 or mean * mean * n <= SURE * SURE * held[m, 1]:
            continue
        for h in range(HIDDEN):
            to, of = m * HIDDEN + h, f * HIDDEN + h
            bank.of_slope[to] = bank.of_slope[of]
            bank.of_hidden[to] = bank.of_hidden[of]
            for o in range(bank.output.shape[0]):
                bank.output[o, m, h] = bank.output[o, f, h]
            for j in range(bank.first.shape[0]):
                bank.first[j, to] = bank.first[j, of]
        for o in range(bank.bias.shape[0]):
            bank.bias[o, m] = bank.bias[o, f]
            bank.of_output[o, m] = bank.of_output[o, f]
        held[m] = 0.0
        any_copied = True
    return any_copied


@piece
def mark(touched, n, flags, size):
    """Set the flag of every 64 floats of the bias and of the touched ones among n inputs."""
    for j in range(n + 1):
        if j == 0 or touched[j - 1] > 0.0:
            for b in range((j * size) >> 6, (((j + 1) * size - 1) >> 6) + 1):
                flags[b] = 1


@piece
def told(room, seeds, first, into):
    """Write the mean of the nets of each member into into[first:] [K, C]."""
    out = room.out
    for k in range(out.shape[0] // seeds):
        for o in range(out.shape[1]):
            total = 0.0
            for s in range(seeds):
                total += out[k * seeds + s, o]
            into[first + k, o] = total / seeds


@kernel
def learn(
    kind, x, y, weights, columns, few, narrow, wide, seeds, again, ring, counts, flags_narrow, flags_wide,
    flags_ring, into,
):  # fmt: skip
    """Write the predictions of each row, then learn it, row after row.

    again: how many earlier rows are learned once more with each. ring: float32 [R, D + 2], the last rows that were learned: inputs, label, weight. counts: int64
    [1], rows learned.
    """
    n, size = columns.shape[0], ring.shape[0]
    touched, learned = np.zeros(n, dtype=np.float32), False
    row = np.empty(n, dtype=np.float32)
    values, places = np.empty(n + 1, dtype=np.float32), np.empty(n + 1, dtype=np.int64)
    one, two = room_of(narrow), room_of(wide)
    few_nets, all_nets = narrow.bias.shape[1], wide.bias.shape[1]
    for r in range(x.shape[0]):
        taken(x[r], columns, row)
        fewer, count = packed(row, few, n, values, places)
        forward(kind, narrow, one, few_nets, values, places, fewer)
        forward(kind, wide, two, all_nets, values, places, count)
        told(one, seeds[0], np.int64(0), into[r])
        told(two, seeds[1], few_nets // seeds[0], into[r])
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        label, weight = min(max(y[r], -FURTHEST), FURTHEST), min(weights[r], FURTHEST)
        t = counts[0]
        rate = np.float32(max(1.0 / (t + 1.0), 1.0 - KEEP))
        judged(kind, label, one)
        judged(kind, label, two)
        most = np.float32(1.0 / math.sqrt(rate))
        backward(kind, label, narrow, one, few_nets)
        backward(kind, label, wide, two, all_nets)
        observe(narrow, one, row, few, rate)
        observe(wide, two, row, n, rate)
        update(kind, narrow, one, few_nets, values, places, fewer, weight, np.bool_(False), most)
        update(kind, wide, two, all_nets, values, places, count, weight, np.bool_(False), most)
        for k in range(again if t >= AGAIN_AFTER else 0):
            back = mixed(np.uint64(t * again + k)) % np.uint64(min(t, size))
            old = ring[(t - 1 - np.int64(back)) % size]
            fewer, count = packed(old, few, n, values, places)
            forward(kind, narrow, one, narrow.repeating, values, places, fewer)
            backward(kind, np.float64(old[n]), narrow, one, narrow.repeating)
            update(
                kind,
                narrow,
                one,
                narrow.repeating,
                values,
                places,
                fewer,
                np.float64(old[n + 1]),
                np.bool_(True),
                most,
            )
            forward(kind, wide, two, wide.repeating, values, places, count)
            backward(kind, np.float64(old[n]), wide, two, wide.repeating)
            update(
                kind,
                wide,
                two,
                wide.repeating,
                values,
                places,
                count,
                np.float64(old[n + 1]),
                np.bool_(True),
                most,
            )
            for j in range(n):
                touched[j] = max(touched[j], abs(old[j]))
        if hand_down(narrow, one.losses):
            flags_narrow[:] = 1
        if hand_down(wide, two.losses):
            flags_wide[:] = 1
        for j in range(n):
            touched[j] = max(touched[j], abs(row[j]))
        at = t % size
        for j in range(n):
            ring[at, j] = row[j]
        ring[at, n], ring[at, n + 1] = label, weight
        width = ring.shape[1]
        for b in range((at * width) >> 6, ((at * width + width - 1) >> 6) + 1):
            flags_ring[b] = 1
        counts[0] += 1
        learned = True
    if learned:
        mark(touched, few, flags_narrow, narrow.first.shape[1])
        mark(touched, n, flags_wide, wide.first.shape[1])
