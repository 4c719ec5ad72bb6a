"""The passes of Newton, compiled. Legend: K memories of a set, O outputs; part: curvature.Part."""

from __future__ import annotations

import math

import numpy as np

from service.model.compiling import kernel, piece
from service.model.experts.curvature_pass import (
    HEAVY,
    along,
    brings,
    gather,
    look,
    look_anew,
    outputs,
    step,
    take,
    wait,
)
from service.model.experts.curvature_whole_pass import mark_row

MIDDLE = 1
"""The memory whose predictions give the curvature."""
LEAST = 0.01
"""Smallest curvature of a row, in units of p (1 - p)."""


@piece
def _linked(out, k, into):
    """Write the probabilities [O] of memory k from the outputs [K * O]."""
    n = into.shape[0]
    if n == 1:
        into[0] = 1.0 / (1.0 + math.exp(-min(max(out[k], -30.0), 30.0)))
        return
    top = out[k * n]
    for c in range(1, n):
        top = max(top, out[k * n + c])
    total = 0.0
    for c in range(n):
        into[c] = math.exp(out[k * n + c] - top)
        total += into[c]
    for c in range(n):
        into[c] /= total


@piece
def _bend(p):
    """Return the curvature of a row with probabilities p [O]."""
    if p.shape[0] == 1:
        return max(p[0] * (1.0 - p[0]), LEAST)
    total = 0.0
    for c in range(p.shape[0]):
        total += p[c] * (1.0 - p[c])
    return 0.75 * max(total, 2.0 * LEAST)


@kernel
def learn(part, x, y, weights, first, into):
    """Predict and learn one set. into: float32 [N, >= first + K, O]."""
    k_n, most, o_n = part.inverse.shape[0], part.inverse.shape[1], into.shape[2]
    counts, order, rows, others = part.counts, part.order, part.rows, part.along
    values, steps = np.zeros(most, dtype=np.float32), np.empty(o_n, dtype=np.float32)
    out, p, spreads = np.empty(k_n * o_n), np.empty((k_n, o_n)), np.empty(k_n)
    ready, changed, n = 0, False, np.int64(counts[0])
    for r in range(x.shape[0]):
        learned = weights[r] > 0.0 and not math.isnan(y[r])
        at = np.int64(counts[3])
        if learned:
            if ready == 0 or brings(order, n, most, x[r]):
                ready = look(part, x, y, weights, r)
                n = np.int64(counts[0])
            outputs(part.weights, rows[at], out)
        else:
            gather(order, x[r], n, values)
            outputs(part.weights, values, out)
        for k in range(k_n):
            _linked(out, k, p[k])
            for c in range(o_n):
                into[r, first + k, c] = p[k, c]
        if not learned:
            continue
        changed = True
        weight = min(weights[r], HEAVY)
        h = weight * _bend(p[MIDDLE])
        if not along(rows, others, part.bends, part.scales, at, n, spreads):
            ready, at = look_anew(part, x, y, weights, r), np.int64(0)
            along(rows, others, part.bends, part.scales, at, n, spreads)
        for k in range(k_n):
            own = max(h, weight * _bend(p[k]))
            by = weight * part.scales[k] / (1.0 + own * spreads[k])
            for c in range(o_n):
                truth = y[r] if o_n == 1 else (1.0 if int(y[r]) == c else 0.0)
                steps[c] = by * (truth - p[k, c])
            step(part.weights, k * o_n, others[k, at], n, steps)
        ready -= 1
        if wait(part.bends, part.scales, part.keeps, counts, spreads, h):
            take(part)
            ready = 0
    if changed:
        mark_row(part)
