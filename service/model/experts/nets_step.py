"""One step of a bank of small nets, compiled: forward, slopes, and a step of every weight.

Legend: d inputs of a bank (row 0 of its first layer is the bias, input j is row j + 1), M nets, H
hidden units each, L = M * H of them side by side, C outputs. All nets of a bank read the same
inputs, so each input that is not 0 is one pass over a contiguous row of L floats.

The gradient of one row is an outer product, and so is its scale here: the second moment of a weight
is taken for that of its input times that of its hidden unit's slope (as Adafactor does, Shazeer and
Stern 2018, with RMSprop's memory). A step costs one multiplication and one subtraction per weight.

A step is shortened by what it would change in the row's own output: to first order, the outcome of
solving for the step at the point that it leads to (Karampatziakis and Langford 2011), so that a
large rate or weight overshoots no label.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from service.model.compiling import making_piece, piece

HIDDEN = 32
ONE = np.float32(1.0)
FLOOR = np.float32(1e-16)
"""Least second moment."""
HUBER = 1.5
"""Error of a number, in units of its frame, beyond which the slope grows no more."""
FURTHEST = 1e6
"""Largest input, label and output."""
MOST_LOSS = 16.0
"""Largest loss of a number."""


class Bank(NamedTuple):
    """The tensors of one bank; sizes are d, M, H of them in the module's legend."""

    first: np.ndarray
    """float32 [>= d + 1, L]"""
    output: np.ndarray
    """float32 [C, M, H]"""
    bias: np.ndarray
    """float32 [C, M]"""
    of_input: np.ndarray
    """float32 [d + 1] second moment of each input"""
    of_slope: np.ndarray
    """float32 [L] of the slope of each hidden unit"""
    of_hidden: np.ndarray
    """float32 [L] of each hidden unit's value"""
    of_output: np.ndarray
    """float32 [C, M] of the slope of each output"""
    compared: np.ndarray
    """float64 [M, 3]: how much more a net lost than the next faster one, mean and variance, and
    rows since it was copied; the row of the fastest one is not used"""
    rates: np.ndarray
    """float32 [M]"""
    again: np.ndarray
    """float32 [M] share of the rate for a row that is learned again"""
    faster: np.ndarray
    """int64 [M] the net that may be copied over this one; -1: none"""
    repeating: int
    """Nets, the first ones, that learn earlier rows again."""


class Room(NamedTuple):
    """Where one row of one bank is worked out."""

    flat: np.ndarray
    flat_slope: np.ndarray
    flat_step: np.ndarray
    flat_unit: np.ndarray
    """float32 [L], each: the same memory as the next four"""
    hidden: np.ndarray
    slope: np.ndarray
    """float32 [M, H] of the loss by each hidden unit"""
    step: np.ndarray
    """float32 [M, H] of a weight from an input of 1"""
    unit: np.ndarray
    """float32 [M, H] hidden units by the roots of their second moments"""
    by_slope: np.ndarray
    by_hidden: np.ndarray
    """float32 [L] 1 / root of the second moments, as of the last new row"""
    by_output: np.ndarray
    """float32 [M, C]"""
    by_input: np.ndarray
    """float32 [d + 1]"""
    scaled: np.ndarray
    """float32 [d + 1]"""
    out: np.ndarray
    """float64 [M, C]"""
    wrong: np.ndarray
    """float64 [M, C]"""
    losses: np.ndarray
    """float64 [M]"""


@making_piece
def room_of(bank):
    """Return room for a bank."""
    n, size = bank.first.shape
    c, m = bank.bias.shape
    f = np.float32
    one, two, three, four = (
        np.zeros(size, f),
        np.zeros(size, f),
        np.zeros(size, f),
        np.zeros(size, f),
    )
    return Room(
        one, two, three, four, one.reshape(m, HIDDEN), two.reshape(m, HIDDEN),
        three.reshape(m, HIDDEN), four.reshape(m, HIDDEN), np.zeros(size, f), np.zeros(size, f),
        np.zeros((m, c), f), np.zeros(n, f), np.zeros(n, f), np.zeros((m, c)), np.zeros((m, c)),
        np.zeros(m),
    )  # fmt: skip


@piece
def forward(kind, bank, room, nets, values, places, count):
    """Write hidden units and outputs (probabilities, or the number) of the first nets."""
    flat, hidden, out, w = room.flat, room.hidden, room.out, bank.first
    size, output, work = nets * HIDDEN, bank.output, room.slope
    for h in range(size):
        flat[h] = w[0, h]
    i = 1
    while i + 4 <= count:
        a, b, c, d = values[i], values[i + 1], values[i + 2], values[i + 3]
        p, q, r, s = places[i], places[i + 1], places[i + 2], places[i + 3]
        for h in range(size):
            flat[h] += (a * w[p, h] + b * w[q, h]) + (c * w[r, h] + d * w[s, h])
        i += 4
    while i < count:
        a, p = values[i], places[i]
        for h in range(size):
            flat[h] += a * w[p, h]
        i += 1
    for h in range(size):
        flat[h] = max(flat[h], np.float32(0.0))
    for m in range(nets):
        top = -math.inf
        for o in range(out.shape[1]):
            for h in range(HIDDEN):
                work[m, h] = hidden[m, h] * output[o, m, h]
            z = float(_sum(work, m)) + float(bank.bias[o, m])
            out[m, o] = min(max(z, -FURTHEST), FURTHEST)
            top = max(top, out[m, o])
        if kind == 0:
            out[m, 0] = 1.0 / (1.0 + math.exp(-min(max(out[m, 0], -30.0), 30.0)))
        elif kind == 1:
            total = 0.0
            for o in range(out.shape[1]):
                out[m, o] = math.exp(out[m, o] - top)
                total += out[m, o]
            for o in range(out.shape[1]):
                out[m, o] /= total


@piece
def _sum(a, i):
    """Return the sum of a[i] [H], in float32 over eight fixed lanes."""
    s0, s1, s2, s3, s4, s5, s6, s7 = (
        a[i, 0], a[i, 1], a[i, 2], a[i, 3], a[i, 4], a[i, 5], a[i, 6], a[i, 7],
    )  # fmt: skip
    for h in range(8, HIDDEN, 8):
        s0 += a[i, h]
        s1 += a[i, h + 1]
        s2 += a[i, h + 2]
        s3 += a[i, h + 3]
        s4 += a[i, h + 4]
        s5 += a[i, h + 5]
        s6 += a[i, h + 6]
        s7 += a[i, h + 7]
    return ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7))


@piece
def judged(kind, y, room):
    """Write the loss of every net."""
    out, losses = room.out, room.losses
    for m in range(out.shape[0]):
        if kind == 0:
            losses[m] = -math.log(max(out[m, 0] if y > 0.5 else 1.0 - out[m, 0], 1e-7))
        elif kind == 1:
            losses[m] = -math.log(max(out[m, int(y)], 1e-7))
        else:
            e = abs(out[m, 0] - y)
            losses[m] = min(e - 0.5 * HUBER if e > HUBER else 0.5 * e * e / HUBER, MOST_LOSS)


@piece
def backward(kind, y, bank, room, nets):
    """Write the slope of the loss by every output and every hidden unit of the first nets."""
    slope, wrong, output, out = room.slope, room.wrong, bank.output, room.out
    for m in range(nets):
        for o in range(wrong.shape[1]):
            wrong[m, o] = out[m, o] - y if kind != 1 else out[m, o]
        if kind == 1:
            wrong[m, int(y)] -= 1.0
        elif kind == 2:
            wrong[m, 0] = min(max(wrong[m, 0], -HUBER), HUBER)
        g = np.float32(wrong[m, 0])
        for h in range(HIDDEN):
            slope[m, h] = g * output[0, m, h]
        for o in range(1, wrong.shape[1]):
            g = np.float32(wrong[m, o])
            for h in range(HIDDEN):
                slope[m, h] += g * output[o, m, h]
    flat_hidden, flat_slope = room.flat, room.flat_slope
    for h in range(nets * HIDDEN):
        flat_slope[h] = flat_slope[h] if flat_hidden[h] > 0.0 else np.float32(0.0)


@piece
def observe(bank, room, inputs, n, rate):
    """Take a new row into the second moments, after `backward`, and write what they scale by.
    inputs: float32 [>= n], zeros and all."""
    bank.of_input[0] = 1.0
    room.by_input[0] = 1.0
    of, by = bank.of_input[1:], room.by_input[1:]
    for j in range(n):
        of[j] = max(of[j] + rate * (inputs[j] * inputs[j] - of[j]), FLOOR)
        by[j] = ONE / np.sqrt(of[j])
    _observe(bank.of_slope, room.by_slope, room.flat_slope, rate)
    _observe(bank.of_hidden, room.by_hidden, room.flat, rate)
    for o in range(bank.of_output.shape[0]):
        for m in range(bank.of_output.shape[1]):
            e = np.float32(room.wrong[m, o])
            v = max(bank.of_output[o, m] + rate * (e * e - bank.of_output[o, m]), FLOOR)
            bank.of_output[o, m] = v
            room.by_output[m, o] = ONE / np.sqrt(v)


@piece
def _observe(of, by, values, rate):
    for h in range(of.shape[0]):
        of[h] = max(of[h] + rate * (values[h] * values[h] - of[h]), FLOOR)
        by[h] = ONE / np.sqrt(of[h])


@piece
def _scale(values, by, most, into):
    """Write what is scaled, within -most and most; a value becomes its product with it. Two loops, for
    LLVM makes no vectors where many arrays could overlap."""
    for h in range(values.shape[0]):
        into[h] = min(max(values[h] * by[h], -most), most)
    for h in range(values.shape[0]):
        values[h] *= into[h]


@piece
def update(kind, bank, room, nets, values, places, count, weight, again, most):
    """Take a step of the first nets for the row that `forward` and `backward` were called for;
    what they left in the room is used up. most: no factor of a step is larger, in roots of second
    moments."""
    hidden, slope, step, unit = room.hidden, room.slope, room.step, room.unit
    out, wrong, scaled, output = room.out, room.wrong, room.scaled, bank.output
    flat_hidden, flat_slope, flat_step = room.flat, room.flat_slope, room.flat_step
    flat_unit, by_slope, by_hidden = room.flat_unit, room.by_slope, room.by_hidden
    n_out, size = out.shape[1], nets * HIDDEN
    reach = np.float32(0.0)
    for i in range(count):
        scaled[i] = min(max(values[i] * room.by_input[places[i]], -most), most)
        reach += values[i] * scaled[i]
    _scale(flat_slope[:size], by_slope, most, flat_step)
    _scale(flat_hidden[:size], by_hidden, most, flat_unit)
    for m in range(nets):
        moves = float(_sum(slope, m)) * reach
        lit = float(_sum(hidden, m)) + 1.0
        steep, bent = 1e-12, 0.0
        for o in range(n_out):
            e = wrong[m, o]
            g = min(max(e * room.by_output[m, o], -most), most)
            wrong[m, o] = g
            moves += e * g * lit
            steep += e * e
            bent += e * e * out[m, o]
        if kind == 0:
            bent = steep * out[m, 0] * (1.0 - out[m, 0])
        elif kind == 2:
            bent = steep
        if again:  # weights are kept in float32
            full = np.float64(bank.rates[m] * np.float32(weight)) * bank.again[m]
        else:
            full = np.float64(bank.rates[m]) * weight
        by = full / (1.0 + full * moves * bent / (steep * steep))
        by32 = np.float32(by)
        mine = step[m]
        for h in range(HIDDEN):
            mine[h] *= by32
        for o in range(n_out):
            g = np.float32(by * wrong[m, o])
            weights, units = output[o, m], unit[m]
            for h in range(HIDDEN):
                weights[h] -= g * units[h]
            bank.bias[o, m] -= g
    w = bank.first
    for i in range(count):
        v, p = scaled[i], places[i]
        for h in range(size):
            w[p, h] -= v * flat_step[h]
