"""Page-Hinkley: an alarm where losses have added up to more above their mean than chance gives.

Page, "Continuous Inspection Schemes" (1954), in the one-sided form for a rise:
sum = alpha * sum + (loss - mean - delta); alarm where sum - min(sum) > threshold; then all begins
anew. `delta` and `threshold` are in units of the losses' own running deviation where `scaled` is
set, so that one setting serves log losses and errors of any size; else in the losses' unit, which
with alpha = 0.9999 and forget = 0 is the test as River has it.

One float64 vector: losses taken, their mean, the sum, its least value, their variance.
"""

from __future__ import annotations

import math

from service.model.compiling import strict_piece

ALPHA = 1.0
"""What of the sum is left after one loss. Below 1 (River has 0.9999) the sum hangs about a level at
which forgetting balances delta, and wanders from its all-time low into alarms by chance."""
GRACE = 100.0
"""Losses before the first alarm."""
FORGET = 1.0 / 10000.0
"""Slowest rate of the running mean and variance."""


@strict_piece
def take(state, loss, delta, threshold, alpha, grace, forget, scaled):
    """Take one loss. Returns 1 where it is an alarm, else 0."""
    state[0] += 1.0
    rate = max(1.0 / state[0], forget)
    apart = loss - state[1]
    state[1] += rate * apart
    state[4] = (1.0 - rate) * (state[4] + rate * apart * apart)
    unit = math.sqrt(state[4]) if scaled else 1.0
    state[2] = alpha * state[2] + (loss - state[1] - delta * unit)
    state[3] = min(state[3], state[2])
    if state[0] < grace or not state[2] - state[3] > threshold * unit:
        return 0
    for i in range(state.shape[0]):
        state[i] = 0.0
    return 1
