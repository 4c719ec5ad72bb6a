"""`headwater compile-kernels`: compile now what a start would compile; for the build of an image.

Knows which kinds of models there are. What is compiled is kept where numba keeps it, beside the
installation. What a start needs beyond it (rare pairs of settings) is compiled there and then.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

_STRATEGIES: tuple[dict[str, Any], ...] = (
    {"l2": 1e-9, "ewc": {}, "agem": {"memory": 2, "rows": 1}},
    {"lookahead": {}},
)
"""Of each of these there are kernels of their own, whatever the kind."""
_WITHOUT = frozenset({"rls"})
"""Kinds that follow no strategy of the pass."""
_FIELDS: dict[str, dict[str, Any]] = {
    "number": {}, "boolean": {}, "category": {}, "categories": {}, "text": {}, "vector": {"size": 2},
    "map": {}, "time": {},
}  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(hidden=True)(compile_kernels)


def compile_kernels(
    kinds: Annotated[
        list[str] | None,
        typer.Option("--kind", help="A kind of model, may be repeated; else all.", metavar="KIND"),
    ] = None,
) -> None:
    """Compile the kernels of every kind of model, field and strategy."""
    from service.learn import warm
    from service.model.kinds import KINDS, module_warm
    from service.model.recipe import Recipe
    from service.settings import EventSettings, LearningSettings, ModelSettings

    event = EventSettings.model_validate({
        "features": {name: {"type": name, **more} for name, more in _FIELDS.items()},
        "targets": {"y": {"type": "binary"}},
    })  # fmt: skip
    began = time.monotonic()
    for kind in kinds or KINDS:
        for learning in ({}, *(() if kind in _WITHOUT else _STRATEGIES)):
            warm.compile_passes(
                Recipe(
                    "image",
                    event,
                    ModelSettings.model_validate({"kind": kind}),
                    LearningSettings.model_validate(learning),
                )
            )
        typer.echo(f"{kind}: compiled, {time.monotonic() - began:.0f} s so far", err=True)
    module_warm.compile_all()
