"""The compiled passes as torch operators: headwater::linear_*, headwater::mlp_*, ::apply.

The CPU body of each operator is a numba kernel over the tensors' own memory: no copy, no GIL,
no fastmath, hence deterministic. Importing this module registers the operators.
"""

from __future__ import annotations

import torch
from torch import Tensor

from service.model import linear, mlp, steps

_LEARN = (
    "theta", "slot0", "slot1", "counts", "touched", "frames", "usual",
    "scores", "losses", "norms", "applied",
)  # fmt: skip
_GRADIENT = ("scores", "grads", "moved")


@torch.library.custom_op("headwater::linear_learn", mutates_args=_LEARN, device_types="cpu")
def linear_learn(  # noqa: PLR0913 - an operator's arguments are its tensors
    rule: int, theta: Tensor, slot0: Tensor, slot1: Tensor, counts: Tensor, touched: Tensor,
    frames: Tensor, targets: Tensor, dense: Tensor, tables: Tensor, sizes: Tensor, hyper: Tensor,
    usual: Tensor, x: Tensor, ids: Tensor, y: Tensor, weights: Tensor,
    scores: Tensor, losses: Tensor, norms: Tensor, applied: Tensor,
) -> None:  # fmt: skip
    linear.learn(rule, *(
        t.numpy() for t in (
            theta, slot0, slot1, counts, touched, frames, targets, dense, tables, sizes, hyper,
            usual, x, ids, y, weights, scores, losses, norms, applied,
        )
    ))  # fmt: skip


@torch.library.custom_op("headwater::linear_gradient", mutates_args=_GRADIENT, device_types="cpu")
def linear_gradient(  # noqa: PLR0913
    theta: Tensor, frames: Tensor, targets: Tensor, dense: Tensor, tables: Tensor,
    x: Tensor, ids: Tensor, y: Tensor, weights: Tensor,
    scores: Tensor, grads: Tensor, moved: Tensor,
) -> None:  # fmt: skip
    linear.gradient(*(
        t.numpy() for t in (
            theta, frames, targets, dense, tables, x, ids, y, weights, scores, grads, moved,
        )
    ))  # fmt: skip


@torch.library.custom_op("headwater::mlp_learn", mutates_args=_LEARN, device_types="cpu")
def mlp_learn(  # noqa: PLR0913
    rule: int, theta: Tensor, slot0: Tensor, slot1: Tensor, counts: Tensor, touched: Tensor,
    frames: Tensor, targets: Tensor, dense: Tensor, heads: Tensor, tables: Tensor,
    embedding: int, size: int, hyper: Tensor, usual: Tensor,
    x: Tensor, ids: Tensor, y: Tensor, weights: Tensor,
    scores: Tensor, losses: Tensor, norms: Tensor, applied: Tensor,
) -> None:  # fmt: skip
    before = (theta, slot0, slot1, counts, touched, frames, targets, dense, heads, tables)
    after = (hyper, usual, x, ids, y, weights, scores, losses, norms, applied)
    given = [*(t.numpy() for t in before), embedding, size, *(t.numpy() for t in after)]
    mlp.learn(rule, *given)


@torch.library.custom_op("headwater::mlp_gradient", mutates_args=_GRADIENT, device_types="cpu")
def mlp_gradient(  # noqa: PLR0913
    theta: Tensor, frames: Tensor, targets: Tensor, dense: Tensor, heads: Tensor, tables: Tensor,
    embedding: int, size: int, x: Tensor, ids: Tensor, y: Tensor, weights: Tensor,
    scores: Tensor, grads: Tensor, moved: Tensor,
) -> None:  # fmt: skip
    before = (theta, frames, targets, dense, heads, tables)
    after = (x, ids, y, weights, scores, grads, moved)
    given = [*(t.numpy() for t in before), embedding, size, *(t.numpy() for t in after)]
    mlp.gradient(*given)


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
