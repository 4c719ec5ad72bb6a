"""Optimizer rules for one weight and for runs of weights, compiled. Knows no model.

Kernels, here and in the other files of this room, carry no annotations: numba infers the types of
their arrays at the first call and would ignore what is written. Docstrings give the shapes.

Formulas are those of torch.optim: SGD with momentum (no dampening, no Nesterov), Adagrad
(Duchi, Hazan, Singer 2011), Adam (Kingma, Ba 2015). Rows of a table are lazy: their momentum
and Adam averages move when the row is touched, as in torch.optim.SparseAdam.

`hyper` is float64: [learning rate, momentum, beta1, beta2, eps, clip (0: none), cap (0: none)].

The cap bounds what one event can do, whatever it holds. Two lengths are compared with their usual
ones (running root mean squares, kept in the state): that of the row's inputs, and that of the
slopes of its number targets. Where one is more than `cap` times the usual, the row's gradient is
shortened accordingly, unless the step it makes is small beside the weights that it moves. So one
absurd label or amount can neither throw the weights far away nor fill Adagrad's sums. Slopes of
log losses are bounded by themselves and are left alone: a rare class is no outlier.
Thresholds relative to what is usual and to the weights: Tang et al., "Improving Training Stability
for Multitask Ranking Models in Recommender Systems" (KDD 2023).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

SGD, MOMENTUM, ADAGRAD, ADAM = 0, 1, 2, 3
RULES = {"sgd": SGD, "momentum": MOMENTUM, "adagrad": ADAGRAD, "adam": ADAM}
SLOTS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("velocity",),
    "adagrad": ("square_sum",),
    "adam": ("mean", "square_mean"),
}
"""Names of each rule's arrays; each has the shape of the weights."""
BLOCK = 64
"""Weights per touched-flag: 64 float32 are one 256-byte block of the image."""
LARGEST_NORM = 1e15
"""A row whose gradient is longer than this is treated as not finite: its square would leave
float32."""
CAP_AFTER = 100.0
"""Rows that are learned before the usual length is trusted."""
SHARE_OF_WEIGHTS = 0.1
"""A step no longer than this share of the weights that it moves is never capped."""
MOST_SURPRISE = 1000.0
"""A length counts in the usual one with at most so many times it: a row in a million is usual."""
FORGET = 1.0 / 20000.0
"""Slowest rate of the running mean square: it forgets after about 20,000 rows."""


def hyper_of(
    learning_rate: float,
    momentum: float,
    betas: tuple[float, float],
    rule: str,
    clip: float | None,
    cap: float | None,
) -> NDArray[np.float64]:
    """Return the numbers that the compiled passes read."""
    eps = 1e-8 if rule == "adam" else 1e-10
    return np.array([learning_rate, momentum, betas[0], betas[1], eps, clip or 0.0, cap or 0.0])


@njit(nogil=True, cache=True)
def move_one(rule, theta, slot0, slot1, touched, i, g, hyper, c1, c2, strategy):
    """Move weight `i` by gradient `g`. c1, c2: Adam's bias corrections 1 - beta^t."""
    lr = hyper[0]
    if rule == 0:
        theta[i] -= lr * g
    elif rule == 1:
        v = hyper[1] * slot0[i] + g
        slot0[i] = v
        theta[i] -= lr * v
    elif rule == 2:
        s = slot0[i] + g * g
        slot0[i] = s
        theta[i] -= lr * g / (math.sqrt(s) + hyper[4])
    else:
        m = hyper[2] * slot0[i] + (1.0 - hyper[2]) * g
        v = hyper[3] * slot1[i] + (1.0 - hyper[3]) * g * g
        slot0[i] = m
        slot1[i] = v
        theta[i] -= lr * (m / c1) / (math.sqrt(v / c2) + hyper[4])
    touched[i >> 6] = 1


@njit(nogil=True, cache=True)
def move_run(rule, theta, slot0, slot1, touched, start, d, factor, hyper, c1, c2, strategy):
    """Move the weights from `start` on by the gradient factor * d [n], all in float32, so that
    the compiler can use vector instructions. `strategy` is left alone: see
    strategies/bent.py."""
    n = d.shape[0]
    lr, eps = np.float32(hyper[0]), np.float32(hyper[4])
    b1, b2 = np.float32(hyper[2]), np.float32(hyper[3])
    one, k = np.float32(1.0), np.float32(factor)
    w = theta[start : start + n]
    if rule == 0:
        for i in range(n):
            w[i] -= lr * (k * d[i])
    elif rule == 1:
        v = slot0[start : start + n]
        momentum = np.float32(hyper[1])
        for i in range(n):
            v[i] = momentum * v[i] + k * d[i]
            w[i] -= lr * v[i]
    elif rule == 2:
        s = slot0[start : start + n]
        for i in range(n):
            g = k * d[i]
            s[i] += g * g
            w[i] -= lr * g / (np.sqrt(s[i]) + eps)
    else:
        m, u = slot0[start : start + n], slot1[start : start + n]
        a1, a2 = one / np.float32(c1), one / np.float32(c2)
        for i in range(n):
            g = k * d[i]
            m[i] = b1 * m[i] + (one - b1) * g
            u[i] = b2 * u[i] + (one - b2) * (g * g)
            w[i] -= lr * (m[i] * a1) / (np.sqrt(u[i] * a2) + eps)
    for block in range(start >> 6, (start + n - 1 >> 6) + 1):
        touched[block] = 1


@njit(nogil=True, cache=True, inline="always")
def clipped(norm, weight, hyper):
    """Return the factor for a row's gradient of length `norm`: its weight, and the clip."""
    scaled = norm * weight
    if hyper[5] > 0.0 and scaled > hyper[5]:
        return weight * hyper[5] / scaled
    return weight


@njit(nogil=True, cache=True, inline="always")
def share_of(length, usual, hyper):
    """Return the share of a row's gradient that the cap lets through, by one of its lengths. usual,
    float64 [2]: rows so far, their running mean square."""
    if hyper[6] > 0.0 and usual[0] >= CAP_AFTER and usual[1] > 0.0:
        most = hyper[6] * math.sqrt(usual[1])
        if length > most:
            return most / length
    return 1.0


@njit(nogil=True, cache=True, inline="always")
def grow_usual(length, usual):
    """Take a length into the usual one; one outlier counts for at most MOST_SURPRISE of it."""
    usual[0] += 1.0
    if usual[0] > CAP_AFTER:
        length = min(length, MOST_SURPRISE * math.sqrt(usual[1]))
    usual[1] += max(1.0 / usual[0], FORGET) * (length * length - usual[1])


@njit(nogil=True, cache=True, inline="always")
def is_small_step(rule, norm, weights_length, hyper):
    """Whether the step of a gradient of this length is small beside the weights that it moves;
    known only where the step is the gradient times the rate."""
    return rule <= 1 and hyper[0] * norm <= SHARE_OF_WEIGHTS * weights_length


@njit(nogil=True, cache=True, inline="always")
def capped(length, steep, usual, hyper):
    """Return the share of a row's gradient that the cap lets through, by both of its lengths, and
    take them into the usual ones.

    length: of its inputs; steep: sum of squares of the slopes of its number targets. usual, float64
    [4]: rows and running mean square of lengths, then of slopes."""
    share = share_of(length, usual[:2], hyper)
    if steep > 0.0:
        share *= share_of(math.sqrt(steep), usual[2:], hyper)
        grow_usual(math.sqrt(steep), usual[2:])
    grow_usual(length, usual[:2])
    return share


@njit(nogil=True, cache=True, forceinline=True)
def count_step(rule, steps, t, hyper):
    """Count a step in steps[t]; return Adam's bias corrections 1 - beta^t, which others ignore."""
    steps[t] += 1
    if rule != 3:
        return 1.0, 1.0
    return 1.0 - hyper[2] ** steps[t], 1.0 - hyper[3] ** steps[t]


@njit(nogil=True, cache=True, forceinline=True)
def squares_of(rows, r):
    """Return the squared length of the inputs of row r, and of the 1 that a bias is fed with."""
    x, spans, values = rows.x, rows.spans, rows.values
    total = 1.0 + rows.ids.shape[1]
    for j in range(x.shape[1]):
        total += float(x[r, j]) * float(x[r, j])
    for e in range(spans[r, 0], spans[r, -1]):
        total += float(values[e]) * float(values[e])
    return total


@njit(nogil=True, cache=True)
def length_of(run):
    """Return the sum of squares of float32 weights [n], as float64."""
    total = 0.0
    for i in range(run.shape[0]):
        total += float(run[i]) * float(run[i])
    return total


@njit(nogil=True, cache=True)
def touched_are_finite(theta, touched):
    """Whether every weight of theta [P] in a touched block (uint8 [P / 64]) is finite."""
    for block in range(touched.shape[0]):
        if touched[block]:
            total = np.float32(0.0)
            for i in range(block * BLOCK, (block + 1) * BLOCK):
                total += theta[i] * np.float32(0.0)
            if total != np.float32(0.0):
                return False
    return True


@njit(nogil=True, cache=True)
def rescale_run(rule, theta, slot0, slot1, touched, start, length, ratio):
    """Multiply a run of weights by ratio, and their optimizer state as their gradients scale:
    sums of gradients by ratio, sums of squares by its square."""
    for i in range(start, start + length):
        theta[i] *= ratio
        if rule == 1 or rule == 3:
            slot0[i] *= ratio
        if rule == 2:
            slot0[i] *= ratio * ratio
        if rule == 3:
            slot1[i] *= ratio * ratio
        touched[i >> 6] = 1
