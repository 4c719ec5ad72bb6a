"""Both detectors over the losses of one target, row by row, compiled: cuts make no difference."""

from __future__ import annotations

import math

from numba import njit

from service.learn.drift import adwin as adwin_window
from service.learn.drift import page_hinkley as page
from service.learn.drift import rises

LARGEST_ERROR = 10.0
"""An error of a number counts at most so many times the usual: one absurd label is no drift."""
_USUAL = 5
_SLOWEST = 1.0 / 20000.0
_GRACE = 30.0


@njit(nogil=True, cache=True)
def take(losses, adwin, page_hinkley, rise, is_number, most, limits, fired):
    """Take the losses [N] of one target, in order; NaN is not counted.

    is_number: losses are squared errors, whose roots are taken; their largest is LARGEST_ERROR
    times the usual. Else they are log losses, at most `most`. limits, float64 [6]: ADWIN's delta,
    Page-Hinkley's delta and threshold, losses between two moments of always, and whether an
    alarm of each detector is to be reacted upon. fired, int64 [2]: alarms are added to it.
    """
    for r in range(losses.shape[0]):
        loss = losses[r]
        if not math.isfinite(loss):
            continue
        reach = most
        if is_number:
            loss = math.sqrt(loss)
            usual = rise[_USUAL]
            if rise[0] >= _GRACE and usual > 0.0:
                loss = min(loss, LARGEST_ERROR * usual)
            rise[_USUAL] += max(1.0 / (rise[0] + 1.0), _SLOWEST) * (loss - usual)
            reach = LARGEST_ERROR * rise[_USUAL]
        else:
            loss = min(loss, most)
        rises.take(rise, loss)
        if rise[0] <= _GRACE:
            continue
        if adwin_window.take(adwin, loss, limits[0], reach) == 1 and rises.is_new(rise, 0):
            rises.note(rise, 0)
            fired[0] += 1
            rise[rises.WAITING] += limits[4]
        if page.take(
            page_hinkley, loss, limits[1], limits[2], page.ALPHA, page.GRACE, page.FORGET, True
        ) and rises.is_new(rise, 1):
            rises.note(rise, 1)
            fired[1] += 1
            rise[rises.WAITING] += limits[5]
        if int(rise[0]) % int(limits[3]) == 0:
            rises.note(rise, 2)
