"""Pieces of kernels, and memory that may only be read, as tests call them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import njit

from service.model.compiling import lent
from service.model.experts.seam import Held


def opened(module: Any, *names: str) -> SimpleNamespace:
    """Return pieces of a module as kernels of their own: Python has no way into a piece."""
    return SimpleNamespace(**{name: _kernel(getattr(module, name)) for name in names})


def _kernel(piece: Any) -> Callable[..., Any]:
    @njit
    def call(*args):
        return piece(*args)

    return call


def readable(held: Held) -> Held:
    """Return the same memory as the API has it: nobody sets its flags."""
    nothing = np.empty(0, np.uint8)
    return Held({n: lent(a) for n, a in held.at.items()}, dict.fromkeys(held.flags, nothing))
