"""The compiled passes as torch operators: headwater::<kind>_learn, ::<kind>_gradient, ::apply.

The CPU body of each operator is a numba kernel over the tensors' own memory: no copy, no GIL,
no fastmath, hence deterministic. The operators of a kind are registered when it is first used.

`torch.library.Library`, not `custom_op`: the latter imports torch's compiler at the first call, which
no operator here needs; that is two seconds of each start, 70 MB, and a folder in the temporary one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from service.model.kinds.compiled import Given, Passes
from service.model.kinds.seam import Moving
from service.model.strategies import bent as bent_steps
from service.model.strategies.view import Strategy

Operator = Callable[..., None]
_STATE = len(Moving._fields) - 3  # rule, strategy and extras stand apart
_BENT = len(Strategy._fields)
_untyped: Any = torch.library.Library
_library = _untyped("headwater", "FRAGMENT")
"""What is registered lives as long as this."""


def learn(
    name: str,
    passes: Passes,
    tables: tuple[NDArray[Any], ...],
    moving: Moving,
    rows: tuple[NDArray[Any], ...],
    into: tuple[NDArray[Any], ...],
) -> None:
    """Run headwater::<name>_learn."""
    _operator(name, "learn", passes)(
        moving.rule, moving.strategy is not None, packed(moving), _tensors(tables), _tensors(rows),
        _tensors(into),
    )  # fmt: skip


def gradient(
    name: str,
    passes: Passes,
    tables: tuple[NDArray[Any], ...],
    moving: Moving,
    rows: tuple[NDArray[Any], ...],
    into: tuple[NDArray[Any], ...],
) -> None:
    """Run headwater::<name>_gradient."""
    _operator(name, "gradient", passes)(
        moving.rule, moving.strategy is not None, packed(moving), _tensors(tables), _tensors(rows),
        _tensors(into),
    )  # fmt: skip


def prepare(name: str, passes: Passes) -> None:
    """Register the operators of a kind now: before several threads use them for the first time."""
    for verb in ("learn", "gradient"):
        _operator(name, verb, passes)


@functools.cache
def _operator(name: str, verb: str, passes: Passes) -> Operator:
    kernel = getattr(passes, verb)
    changed = ("state", "into") if verb == "learn" else ("into",)

    def operator(
        rule: int, bent: bool, state: list[Tensor], tables: list[Tensor], rows: list[Tensor],
        into: list[Tensor],
    ) -> None:  # fmt: skip
        *given, weights = (t.numpy() for t in rows)
        kernel(
            passes.tables(*(t.numpy() for t in tables)), unpacked(rule, bent, state), Given(*given),
            weights, *(t.numpy() for t in into),
        )  # fmt: skip

    return _registered(f"{name}_{verb}", operator, changed)


def _registered(name: str, body: Operator, changed: tuple[str, ...]) -> Operator:
    """Make headwater::<name> an operator, and return it. `changed`: the arguments it writes to."""
    schema = torch.library.infer_schema(body, mutates_args=changed)
    _library.define(name + schema)
    _library.impl(name, body, "CPU")
    found: Operator = getattr(torch.ops.headwater, name).default
    return found


def packed(moving: Moving) -> list[Tensor]:
    """Return the arrays of what learning changes, as an operator takes them."""
    return _tensors((*moving[1:-2], *(moving.strategy or ()), *moving.extras))


def unpacked(rule: int, bent: bool, state: list[Tensor]) -> Moving:
    """Return what `packed` took apart."""
    held: list[Any] = [t.numpy() for t in state]
    strategy, end = None, _STATE
    if bent:
        end += _BENT
        strategy = Strategy._make(held[_STATE:end])
    return Moving._make((rule, *held[:_STATE], strategy, tuple(held[end:])))


def _tensors(arrays: Iterable[NDArray[Any]]) -> list[Tensor]:
    return [torch.from_numpy(array) for array in arrays]


def _apply(rule: int, bent: bool, state: list[Tensor], by: list[Tensor]) -> None:
    """Run bent_steps.apply_gradient; `by`: gradient, moved, c1, c2."""
    bent_steps.apply_gradient(unpacked(rule, bent, state), *(t.numpy() for t in by))


apply = _registered("apply", _apply, ("state",))
