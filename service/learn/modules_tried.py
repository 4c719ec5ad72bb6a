"""Tries every module of the user's own that a recipe names. For a process of its own."""

from __future__ import annotations

from service.learn.module_rules import Examined, examine
from service.model.kinds import told_of
from service.model.recipe import Recipe


def examine_all(recipe: Recipe) -> Examined:
    """Try every module of a recipe; BadSettings names the first rule that is broken, and by which."""
    if not recipe.modules:
        return examine(recipe)
    each: dict[str, Examined] = {}
    for name in recipe.modules:
        one = recipe.of_module(name)
        with told_of(one.kind):
            each[name] = examine(one)
    return Examined(
        sum(one.parameters for one in each.values()),
        round(sum(one.row_us for one in each.values()), 1),
        [f"{name}: {warning}" for name, one in each.items() for warning in one.warnings],
    )
