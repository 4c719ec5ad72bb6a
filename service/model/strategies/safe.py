"""Steps that cannot overshoot, compiled: as if an event of weight h were infinitely many small ones.

Karampatziakis, Langford, "Online Importance Weight Aware Updates" (UAI 2011). With rate r, inputs
of squared length X and c = r h X, an output p follows dp/dt = -X r slope(p) for a time h:

squared error: p - y shrinks by exp(-2 c). log loss, margin m = +-p: e^m' + m' = e^m + m + c, found
by Newton's method from the right, where it cannot leave the root.
"""

from __future__ import annotations

import math

from numba import njit

from service.model.losses import BINARY


@njit(nogil=True, cache=True)
def safe_slope(kind, out, y, frame, weight, wide):
    """Return the gradient of a row along its output, weight included, by which a plain step moves
    the output exactly so far. wide: rate times squared length of the inputs."""
    c = weight * wide
    if kind == BINARY:
        sign = 1.0 if y > 0.5 else -1.0
        return -sign * _growth(sign * out, c) / wide
    if frame[4] <= 0.0:
        return 0.0
    return -(out - (y - frame[3]) / frame[4]) * math.expm1(-2.0 * c) / wide


@njit(nogil=True, cache=True)
def _growth(margin, c):
    """Return d >= 0 with e^margin (e^d - 1) + d = c."""
    if margin > 30.0:
        return c * math.exp(-margin)
    steep = math.exp(margin)
    d = min(c, math.log1p(c / steep)) if c < steep * 1e300 else c
    for _ in range(50):
        grown = steep * math.expm1(d)
        less = (grown + d - c) / (grown + steep + 1.0)
        d -= less
        if less <= 1e-12 * d:
            break
    return max(d, 0.0)
