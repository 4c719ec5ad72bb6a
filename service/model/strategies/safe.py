"""Steps that cannot overshoot, compiled: as if an event of weight h were infinitely many small ones.

Karampatziakis, Langford, "Online Importance Weight Aware Updates" (UAI 2011). With rate r, inputs
of squared length X and c = r h X, an output p follows dp/dt = -X r slope(p) for a time h:

squared error: p - y shrinks by exp(-2 c). log loss, margin m = +-p: e^m' + m' = e^m + m + c, found
by Newton's method from the right, where it cannot leave the root. hinge: m' = min(1, m + c). For
more classes the output of the label rises as fast as the best others fall together, until it leads
by 1.

Where outputs are no linear function of the weights, X is the squared length of d output / d weights,
so that all this holds for the model made linear at its weights. What is left is a curve: for one
that is known (of a factorization machine), `straight` takes it out.
"""

from __future__ import annotations

import math

from numba import njit

from service.model.losses import BINARY, HINGE, HINGES

MOST = 1e300
"""No step is longer than this many of its rates: what is more would leave the numbers."""


@njit(nogil=True, cache=True)
def safe_slopes(kind, width, out, y, frame, weight, wide, slope):
    """Write the gradient of a row along its outputs [width] into `slope`; see safe_slope."""
    if kind == HINGES:
        _lead(width, out, int(y), weight * wide, wide, slope)
    else:
        slope[0] = safe_slope(kind, out[0], y, frame, weight, wide)


@njit(nogil=True, cache=True)
def safe_slope(kind, out, y, frame, weight, wide):
    """Return the gradient of a row along its output, weight included, by which a plain step moves
    the output exactly so far. wide: rate times squared length of the inputs."""
    c = min(weight * wide, MOST)
    if kind == BINARY:
        sign = 1.0 if y > 0.5 else -1.0
        return -sign * _growth(sign * out, c) / wide
    if kind == HINGE:
        sign = 2.0 * y - 1.0
        return -sign * min(c, max(1.0 - sign * out, 0.0)) / wide
    if frame[4] <= 0.0:
        return 0.0
    return -(out - (y - frame[3]) / frame[4]) * math.expm1(-2.0 * c) / wide


@njit(nogil=True, cache=True)
def _growth(margin, c):
    """Return d >= 0 with e^margin (e^d - 1) + d = c."""
    if margin > 30.0 or c <= 0.0:  # d itself is nothing beside e^margin
        return math.log1p(c * math.exp(-margin)) if c > 0.0 else 0.0
    if margin < -30.0:  # e^margin may be too small for any number
        return _climb(margin, c)
    steep = math.exp(margin)
    d = min(c, math.log1p(c / steep)) if c < steep * 1e300 else c
    for _ in range(50):
        grown = steep * math.expm1(d)
        less = (grown + d - c) / (grown + steep + 1.0)
        d -= less
        if less <= 1e-12 * d:
            break
    return max(d, 0.0)


@njit(nogil=True, cache=True)
def _climb(margin, c):
    """Return d with e^(margin + d) + d = c, for a margin at which e^margin is nothing."""
    d = min(c, math.log(c) - margin)
    for _ in range(50):
        grown = math.exp(margin + d)
        less = (grown + d - c) / (grown + 1.0)
        d -= less
        if less <= 1e-12 * d:
            break
    return max(d, 0.0)


@njit(nogil=True, cache=True)
def _lead(width, out, label, c, wide, slope):
    """safe_slopes of the hinge of several classes: others that have fallen to one height go on
    together, each by its part."""
    _, top = _others(width, out, label, math.inf)
    height, left = out[label], c
    for _ in range(width):
        if not (left > 0.0 and height - top < 1.0):
            break
        tied, after = _others(width, out, label, top)
        step = min(left, (1.0 - height + top) / (1.0 + 1.0 / tied))
        if step > (top - after) * tied:
            step = (top - after) * tied
            top = after
        else:
            top -= step / tied
        height += step
        left -= step
    slope[label] = -(height - out[label]) / wide
    for k in range(width):
        if k != label:
            slope[k] = max(out[k] - top, 0.0) / wide


@njit(nogil=True, cache=True)
def _others(width, out, label, top):
    """Return how many outputs but the label's reach up to `top`, and the highest that does not."""
    tied, after = 0, -math.inf
    for k in range(width):
        if k != label and out[k] >= top:
            tied += 1
        elif k != label:
            after = max(after, out[k])
    return tied, after


@njit(nogil=True, cache=True)
def straight(slope, wide, bend):
    """Return the slope s whose step moves an output by -s wide + s^2 bend as far as `slope` would
    without the bend; where no step gets there, the one that gets nearest."""
    inside = wide * wide - 4.0 * bend * slope * wide
    if inside < 0.0:
        return wide / (2.0 * bend)
    return 2.0 * slope * wide / (wide + math.sqrt(inside))


@njit(nogil=True, cache=True)
def safe_factor(kind, out, y, frame, slope, emphasis, factor, norm, rate):
    """Return what the gradient of a row with one output is multiplied with. norm: its length; slope:
    that of its output, of which emphasis is a part; factor: what a plain step would take."""
    if slope == 0.0:
        return factor
    wide = rate * (norm / slope) ** 2
    if not wide > 0.0 or math.isinf(wide):  # the slope is too small for its square
        return factor
    return safe_slope(kind, out, y, frame, factor * emphasis, wide) / slope
