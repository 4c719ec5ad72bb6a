"""How much losses had risen at an alarm, beside what an alarm at every so many events would find.

A rise is the mean of the last 200 losses over the mean of the 2,000 before them, from means of
blocks of 20. An alarm is only worth something where its rises are larger than those of `always`, which
fires whatever the losses are.

One float64 vector: losses taken, sum and number in the open block, place and number of closed
blocks, usual loss, alarms waiting for a reaction, heads reset; then five figures for each of adwin,
page_hinkley and always: alarms, those whose rise is known, sum of the rises, how many were worth it
(FOUND), the last one; then the number of
losses at the last alarm of adwin and of page_hinkley; then the ring of block means.
"""

from __future__ import annotations

from service.model.compiling import strict_piece
from service.model.drift_tensors import RISE_BLOCKS, RISE_HEAD

DETECTORS = ("adwin", "page_hinkley", "always")
QUIET = 500.0
"""Losses after an alarm in which the same detector's next ones belong to the same drift: ADWIN
drops its oldest part bucket by bucket, and says so each time."""
FOUND = 1.2
"""The least rise that makes an alarm one that found something."""
BLOCK = 20
RECENT = 10
"""Blocks that are recent: 200 losses."""
WAITING, RESETS, FIRST, FIGURES = 6, 7, 8, 5
LAST = 4
_AT = 23


@strict_piece
def take(state, loss):
    """Take one loss into the block that is open."""
    state[0] += 1.0
    state[1] += loss
    state[2] += 1.0
    if state[2] == BLOCK:
        state[RISE_HEAD + int(state[3])] = state[1] / BLOCK
        state[3] = (state[3] + 1.0) % RISE_BLOCKS
        state[4] = min(state[4] + 1.0, RISE_BLOCKS)
        state[1] = 0.0
        state[2] = 0.0


@strict_piece
def is_new(state, detector):
    """Whether an alarm of detector 0 or 1 at this moment is one of a new drift; remembers it."""
    last = state[_AT + detector]
    state[_AT + detector] = state[0]
    return last == 0.0 or state[0] - last > QUIET


@strict_piece
def note(state, detector):
    """Note that a detector (0, 1, 2) has fired now, and what it found."""
    at = FIRST + FIGURES * detector
    state[at] += 1.0
    rise = now(state)
    state[at + 4] = rise
    if rise > 0.0:
        state[at + 1] += 1.0
        state[at + 2] += rise
        if rise >= FOUND:
            state[at + 3] += 1.0


@strict_piece
def now(state):
    """Return the rise at this moment; 0 where it is not known: fewer than 1,000 losses before."""
    closed, place = int(state[4]), int(state[3])
    if closed < RECENT + 50:
        return 0.0
    recent, before = 0.0, 0.0
    for back in range(1, closed + 1):
        mean = state[RISE_HEAD + (place - back) % RISE_BLOCKS]
        if back <= RECENT:
            recent += mean
        else:
            before += mean
    if before <= 0.0:
        return 0.0
    return (recent / RECENT) / (before / (closed - RECENT))
