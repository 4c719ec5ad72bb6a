"""Whether predictions are numbers, compiled; see restarts.py."""

from __future__ import annotations

from service.model.compiling import kernel

FURTHEST = 1e4
"""Furthest that a label or a prediction of it lies from 0, in units of the target's frame."""


@kernel
def sound(p):
    """Return whether all of p [N, K, O] is within reach; what is no number is not."""
    for r in range(p.shape[0]):
        for k in range(p.shape[1]):
            for o in range(p.shape[2]):
                if not abs(p[r, k, o]) <= FURTHEST:
                    return False
    return True
