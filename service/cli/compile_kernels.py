"""`headwater compile-kernels`: compile now what a start would compile; for the build of an image.

Knows which kinds of models there are. What is compiled is kept where numba keeps it, beside the
installation. What a start needs beyond it (rare pairs of settings) is compiled there and then.
"""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from service.errors import HeadwaterError
from service.settings import EXPERTS, MIXTURES

_STRATEGIES: tuple[dict[str, Any], ...] = (
    {"l2": 1e-9, "ewc": {}, "agem": {"memory": 2, "rows": 1}},
    {"lookahead": {}},
)
"""Of each of these there are kernels of their own, whatever the kind."""
_WITHOUT = frozenset({"rls", *MIXTURES})
"""Kinds that follow no strategy of the pass."""
_FIELDS: dict[str, dict[str, Any]] = {
    "number": {}, "boolean": {}, "category": {}, "categories": {}, "text": {}, "vector": {"size": 2},
    "map": {}, "time": {},
}  # fmt: skip


_TARGETS: tuple[tuple[dict[str, Any], object], ...] = (
    ({"type": "binary"}, 1),
    ({"type": "multiclass", "classes": ["x", "y"]}, "x"),
    ({"type": "number"}, 2),
)
"""A model of one target has arrays laid out unlike one of several; and a label of each."""


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
    from service.weights import live_copy

    event = EventSettings.model_validate({
        "features": {name: {"type": name, **more} for name, more in _FIELDS.items()},
        "targets": {"y": {"type": "binary"}},
    })  # fmt: skip
    began = time.monotonic()
    for kind in kinds or [kind for kind in KINDS if kind not in EXPERTS]:  # mixture has them all
        for learning in ({}, *(() if kind in _WITHOUT else _STRATEGIES)):
            warm.compile_passes(
                Recipe(
                    "image",
                    event,
                    ModelSettings.model_validate({"kind": kind}),
                    LearningSettings.model_validate(learning),
                )
            )
        _learn_alone(kind)
        typer.echo(f"{kind}: compiled, {time.monotonic() - began:.0f} s so far", err=True)
    module_warm.compile_all()
    live_copy.warm()


def _learn_alone(kind: str) -> None:
    """Learn two events with a model of one target, ask whether it may be served, and score."""
    import msgspec

    from service.learn import warm
    from service.learn.learner import Learner
    from service.learn.standing import Standing
    from service.model.kinds import KINDS
    from service.model.recipe import Recipe
    from service.settings import EventSettings, LearningSettings, ModelSettings
    from service.stream.records import Record

    for target, label in _TARGETS:
        if target["type"] not in KINDS[kind].learns:
            continue
        event = {"features": {"number": {"type": "number"}}, "targets": {"y": target}}
        recipe = Recipe(
            "image",
            EventSettings.model_validate(event),
            ModelSettings.model_validate({"kind": kind}),
            LearningSettings(),
        )
        learner = Learner.fresh(recipe, Standing(version=0, lineage="0" * 16, cursors={}))
        value = msgspec.json.encode({"number": 1.5, "y": label})
        records = [Record("image", 0, offset, offset, None, value, None) for offset in (0, 1)]
        learner.take(records, learner.decode(records), {("image", 0): 2})
        if not learner.is_fit():
            raise HeadwaterError(f"a model of kind {kind} is not finite after two events")
        warm.score_once(recipe, learner.state.image.tobytes())
