"""What the module of a guest was when the recipe was made, and weights laid out by that alone."""

from __future__ import annotations

import numpy as np

from service.model.kinds.module import Module
from service.model.kinds.seam import Extra, Parameter
from service.model.recipe import ModuleCode, Recipe


def code_of(recipe: Recipe, source: str) -> ModuleCode:
    """Return what the module of a recipe is now; BadSettings where it cannot be made."""
    module = Module(recipe)
    types = {one.name: one.dtype for one in module.extras}
    buffers = {name: str(types[name]) for name in module.shapes() if name in types}
    return ModuleCode(source, module.shapes(), buffers)


def as_recorded(code: ModuleCode) -> tuple[tuple[Parameter, ...], tuple[Extra, ...]]:
    """Return weights and buffers as a state speaks of them, where the code is another one now."""
    weights = tuple(
        Parameter(name, tuple(shape), initial=np.zeros(shape, dtype=np.float32))
        for name, shape in code.shapes.items()
        if name not in code.buffers
    )
    kept = tuple(
        Extra("weights", name, dtype, tuple(code.shapes[name]), quiet=True)  # type: ignore[arg-type]
        for name, dtype in code.buffers.items()
    )
    return weights, kept
