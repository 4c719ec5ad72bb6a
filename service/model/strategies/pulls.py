"""What strategies do to a weight whenever a step touches it, compiled. Knows no model.

Every pull draws a weight w towards a point p by share a: w <- (w + a p) / (1 + a), all at once.
That is the implicit (proximal) step, so no strength and no rate can overshoot, and it stands
beside the optimizer's rule: Adagrad and Adam do not scale it (Loshchilov, Hutter: Decoupled
Weight Decay Regularization, ICLR 2019).

l2: to 0, a = rate * l2. l2_init: to the first weight, a = rate * l2_init (Kumar et al.,
"Maintaining Plasticity in Continual Learning via Regenerative Regularization", 2023).
ewc: to the anchor, a = rate * strength * F (online EWC, Schwarz et al., "Progress & Compress", ICML
2018), F a running mean of the squared gradient, the anchor following the weight slowly.

All of it is lazy: a weight that no row touches is not pulled, and its F and anchor stay.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from service.model.strategies.view import AVERAGE, EWC, FOLLOW, FORGET, L2, L2_INIT


@njit(nogil=True, cache=True, forceinline=True)
def is_still(strategy, i):
    """Whether weight i is frozen."""
    return strategy.still.shape[0] > 0 and strategy.still[i] != 0


@njit(nogil=True, cache=True)
def pull(strategy, theta, start, d, factor, rate):
    """Pull the weights from `start` on, which were just moved by the gradient factor * d [n]; move
    their Fisher figures, anchors and averages. All in float32, in loops that vectorise."""
    n = d.shape[0]
    w = theta[start : start + n]
    numbers, one = strategy.numbers, np.float32(1.0)
    l2 = np.float32(rate * numbers[L2])
    if strategy.initial.shape[0]:
        first = strategy.initial[start : start + n]
        to_first = np.float32(rate * numbers[L2_INIT])
        for i in range(n):
            w[i] = (w[i] + to_first * first[i]) / (one + to_first)
    if l2 > 0.0:
        for i in range(n):
            w[i] /= one + l2
    if strategy.fisher.shape[0]:
        strength, k = np.float32(rate * numbers[EWC]), np.float32(factor)
        forget, follow = np.float32(numbers[FORGET]), np.float32(numbers[FOLLOW])
        f, anchor = strategy.fisher[start : start + n], strategy.anchor[start : start + n]
        for i in range(n):
            a = strength * f[i]
            w[i] = (w[i] + a * anchor[i]) / (one + a)
            g = k * np.float32(d[i])
            f[i] += forget * (g * g - f[i])
            anchor[i] += follow * (w[i] - anchor[i])
    if strategy.average.shape[0]:
        mean = strategy.average[start : start + n]
        share = np.float32(numbers[AVERAGE])
        for i in range(n):
            mean[i] += share * (w[i] - mean[i])


@njit(nogil=True, cache=True, forceinline=True)
def pull_one(strategy, w, i, g, rate):
    """The same for weight i of w [P], moved by the gradient g."""
    numbers = strategy.numbers
    if strategy.initial.shape[0]:
        to_first = rate * numbers[L2_INIT]
        w[i] = (w[i] + to_first * strategy.initial[i]) / (1.0 + to_first)
    if numbers[L2] > 0.0:
        w[i] /= 1.0 + rate * numbers[L2]
    if strategy.fisher.shape[0]:
        a = rate * numbers[EWC] * strategy.fisher[i]
        w[i] = (w[i] + a * strategy.anchor[i]) / (1.0 + a)
        strategy.fisher[i] += numbers[FORGET] * (g * g - strategy.fisher[i])
        strategy.anchor[i] += numbers[FOLLOW] * (w[i] - strategy.anchor[i])
    if strategy.average.shape[0]:
        strategy.average[i] += numbers[AVERAGE] * (w[i] - strategy.average[i])


@njit(nogil=True, cache=True)
def reframe(strategy, start, length, ratio):
    """Bring what stands beside a run of weights to a new unit of their target."""
    for i in range(start, start + length):
        if strategy.anchor.shape[0]:
            strategy.anchor[i] *= ratio
            strategy.fisher[i] *= ratio * ratio
        if strategy.average.shape[0]:
            strategy.average[i] *= ratio
        if strategy.before.shape[0]:
            strategy.before[i] *= ratio


@njit(nogil=True, cache=True)
def shift_beside(strategy, i, by):
    """Move what stands beside a bias as the bias was moved."""
    if strategy.anchor.shape[0]:
        strategy.anchor[i] += by
    if strategy.average.shape[0]:
        strategy.average[i] += by
    if strategy.before.shape[0]:
        strategy.before[i] += by
