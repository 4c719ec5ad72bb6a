"""Compiles the kernels around a user's module before they are needed, without one."""

from __future__ import annotations

import numpy as np

from service.model.kinds import module_passes
from service.model.kinds.compiled import Given
from service.model.kinds.module import Heads
from service.model.kinds.seam import Moving
from service.model.steps import RULES, hyper_of


def compile_all() -> None:
    """Call each kernel once, with arguments of the types that it gets."""
    targets = np.array([[0, 0, 1, 0], [2, 1, 1, 1]], dtype=np.int64)
    theta, slot0, slot1 = (np.zeros(64, dtype=np.float32) for _ in range(3))
    hyper = hyper_of(0.1, 0.0, (0.9, 0.999), "adagrad", None, 32.0)
    moving = Moving(
        RULES["adagrad"], hyper, theta, slot0, slot1, np.zeros(3, dtype=np.int64), np.zeros(1, dtype=np.uint8),
        np.zeros((2, 5)), np.zeros(4), None, (),
    )  # fmt: skip
    rows = Given(
        np.zeros((2, 1), dtype=np.float32),
        np.zeros((2, 1), dtype=np.int64),
        np.zeros((2, 1), dtype=np.int64),
        np.empty(0, dtype=np.int64),
        np.empty(0, dtype=np.float32),
        np.array([[1.0, 2.0], [0.0, 3.0]]),
    )
    outs, scores, losses = np.zeros((2, 2)), np.zeros((2, 2)), np.zeros((2, 2))
    emphasis, heads = np.ones(2), Heads(np.array([[0, 2, 1], [1, 3, 1]], dtype=np.int64))
    ids, values = np.zeros(1, dtype=np.int64), np.zeros((1, 4), dtype=np.float32)
    module_passes.link_all(targets, moving.frames, outs, scores)
    module_passes.judge(
        targets, moving.frames, outs, rows.y, scores, losses, np.zeros(2, dtype=np.uint8)
    )
    module_passes.slopes(
        targets, emphasis, moving, outs, rows, np.ones(2), np.zeros(2), np.zeros((2, 2))
    )
    module_passes.settle(targets, emphasis, heads, moving, outs, rows)
    module_passes.step_rows(moving, 0, ids, values, 1.0)
    module_passes.add_rows(0, ids, values, theta, np.zeros(64, dtype=np.uint8))
