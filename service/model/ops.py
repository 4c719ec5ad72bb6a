"""The compiled passes as torch operators: headwater::<kind>_learn, ::<kind>_gradient, ::apply.

The CPU body of each operator is a numba kernel over the tensors' own memory: no copy, no GIL,
no fastmath, hence deterministic. The operators of a kind are registered when it is first used.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from service.model import steps
from service.model.kinds.compiled import Given, Passes
from service.model.kinds.seam import Moving

Operator = Callable[..., None]
_STATE = len(Moving._fields) - 2  # rule and extras stand apart


def learn(
    name: str,
    passes: Passes,
    tables: tuple[NDArray[Any], ...],
    moving: Moving,
    rows: tuple[NDArray[Any], ...],
    into: tuple[NDArray[Any], ...],
) -> None:
    """Run headwater::<name>_learn."""
    state = _tensors((*moving[1:-1], *moving.extras))
    _operator(name, "learn", passes)(
        moving.rule, state, _tensors(tables), _tensors(rows), _tensors(into)
    )


def gradient(
    name: str,
    passes: Passes,
    tables: tuple[NDArray[Any], ...],
    moving: Moving,
    rows: tuple[NDArray[Any], ...],
    into: tuple[NDArray[Any], ...],
) -> None:
    """Run headwater::<name>_gradient."""
    state = _tensors((*moving[1:-1], *moving.extras))
    _operator(name, "gradient", passes)(
        moving.rule, state, _tensors(tables), _tensors(rows), _tensors(into)
    )


@functools.cache
def _operator(name: str, verb: str, passes: Passes) -> Operator:
    kernel = getattr(passes, verb)
    changed = ("state", "into") if verb == "learn" else ("into",)

    @torch.library.custom_op(f"headwater::{name}_{verb}", mutates_args=changed, device_types="cpu")
    def operator(
        rule: int, state: list[Tensor], tables: list[Tensor], rows: list[Tensor], into: list[Tensor]
    ) -> None:
        held: list[Any] = [t.numpy() for t in state]
        moving = Moving._make((rule, *held[:_STATE], tuple(held[_STATE:])))
        *given, weights = (t.numpy() for t in rows)
        kernel(
            passes.tables(*(t.numpy() for t in tables)), moving, Given(*given), weights,
            *(t.numpy() for t in into),
        )  # fmt: skip

    return operator


def _tensors(arrays: Iterable[NDArray[Any]]) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


@torch.library.custom_op(
    "headwater::apply", mutates_args=("theta", "slot0", "slot1", "touched"), device_types="cpu"
)
def apply(  # noqa: PLR0913
    rule: int, theta: Tensor, slot0: Tensor, slot1: Tensor, touched: Tensor,
    grads: Tensor, moved: Tensor, hyper: Tensor, c1: Tensor, c2: Tensor,
) -> None:  # fmt: skip
    steps.apply_gradient(rule, *(
        t.numpy() for t in (theta, slot0, slot1, touched, grads, moved, hyper, c1, c2)
    ))  # fmt: skip
