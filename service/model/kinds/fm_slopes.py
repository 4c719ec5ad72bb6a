"""How far, and how straight, a step of the factorization machine moves an output, compiled.

Arguments are those of fm_passes; `model` is fm.Tables; sums [K] are those of one output.
"""

from __future__ import annotations

from numba import njit


@njit(nogil=True, cache=True)
def reach_of(theta, model, t, o, n, far, value, sums):
    """Return the squared length of d output / d weights of one output."""
    factors = model.factors[0]
    total = 1.0
    for i in range(n):
        v = theta[far[t, i] + o * factors : far[t, i] + (o + 1) * factors]
        inner = 1.0
        for k in range(factors):
            inner += (sums[k] - value[i] * v[k]) ** 2
        total += value[i] * value[i] * inner
    return total


@njit(nogil=True, cache=True)
def bend_of(theta, model, t, n, far, value, sums):
    """Return the b of output + a reach + a^2 b, the output after a step of a times d output / d
    weights; of a target with one output. It is what the pairs would give of that gradient."""
    total = 0.0
    for k in range(model.factors[0]):
        whole, squares = 0.0, 0.0
        for i in range(n):
            along = value[i] * value[i] * (sums[k] - value[i] * theta[far[t, i] + k])
            whole += along
            squares += along * along
        total += whole * whole - squares
    return 0.5 * total
