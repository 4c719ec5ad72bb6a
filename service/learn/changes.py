"""May this state go on under these settings? Compares two recipes, name by name.

Learning settings may change at any restart. A field or an interaction may be added; one may be
removed only when the operator says so; what a name means may not change under the weights that
learned it. Where a field lies in an event may change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from service.errors import LayoutChanged
from service.model.kinds import class_of
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import MAIN

Meanings = dict[str, dict[str, Any]]
"""By the name of a field: what its values mean to the weights."""
_HOW_IT_COMES = {"path", "separator"}
"""What says how a field is written in an event, and nothing of what its values mean."""
_HINT = "Undo the change, or give the model another name or state directory to start anew."


def compare(
    old: Recipe, new: Recipe, accept_removed: Collection[str] = ()
) -> Literal["same", "settings", "layout"]:
    """Return what must be journaled before going on; LayoutChanged when going on is not safe."""
    if old == new:
        return "same"
    problems = [
        *_fields("feature", _features(old), _features(new), accept_removed),
        *_fields("target", _targets(old), _targets(new), accept_removed),
        *_fields("interaction", _crosses(old), _crosses(new), accept_removed),
    ]
    problems += _models(old, new)
    for name in sorted(old.challengers.keys() & new.challengers.keys()):
        for problem in _models(old.challengers[name], new.challengers[name]):
            again = "under another name it begins anew"
            problems.append(f"challengers.{name}: {problem}; {again}")
    if old.learning.seed != new.learning.seed:
        problems.append("learning.seed: it decides where every category lies")
    if problems:
        raise LayoutChanged(
            "the state on disk does not fit the settings:\n  "
            + "\n  ".join(problems)
            + f"\n{_HINT}"
        )
    return "settings" if _tensors(old) == _tensors(new) else "layout"


def serving(serves: str, new: Recipe) -> None:
    """LayoutChanged where the model that answers is not in the settings any more."""
    if serves != MAIN and serves not in new.challengers:
        raise LayoutChanged(
            f"challengers.{serves} is gone from the settings, or has another name, and it is the model "
            f"that answers. Put it back, say `headwater promote {MAIN}` (or another challenger), then "
            "take it out"
        )


def challengers_changed(old: Recipe, new: Recipe) -> Iterator[str]:
    """Tell which challengers are gone, with what they learned, and which begin."""
    for name in sorted(old.challengers.keys() - new.challengers.keys()):
        yield f"the challenger {name} is gone, and what it learned"
    for name in sorted(new.challengers.keys() - old.challengers.keys()):
        yield f"the challenger {name} begins: it has learned nothing yet"


def _models(old: Recipe, new: Recipe) -> list[str]:
    """Return why one model cannot go on under the settings of another."""
    if old.kind != new.kind:
        return [
            f"model.kind: the state is of a {old.kind} model, not {new.kind}; with model.kind: "
            f"{old.kind} it goes on"
        ]
    return class_of(new.kind).misfits(old, new) + _modules(old, new)


def _modules(old: Recipe, new: Recipe) -> list[str]:
    """A user's code may change as long as its weights have the same names and shapes."""
    if old.module is None or new.module is None:
        return []
    now = new.module.shapes
    return [
        f"{new.kind}: {name} has the shape {shape} in the state, {now.get(name, 'none')} in its code"
        for name, shape in old.module.shapes.items()
        if now.get(name) != shape
    ]


def modules_changed(old: Recipe, new: Recipe) -> Iterator[str]:
    """Tell what is to be known of modules of the user's own, and experts, that are not as they were."""
    before, after = old.codes, new.codes
    for module in sorted(before.keys() & after.keys()):
        if before[module].source != after[module].source:
            yield (
                f"the code of {module} changed; where its weights fit, whether they still mean the "
                "same is not known here. Versions before cannot be replayed with it"
            )
    for name in sorted(old.modules.keys() & new.modules.keys()):
        if old.modules[name].shapes != new.modules[name].shapes:
            yield f"the expert {name} begins anew: its weights have other shapes now"
    gone = [
        *(set(old.model.built_in) - set(new.model.built_in)),
        *(old.modules.keys() - new.modules.keys()),
    ]
    for name in sorted(gone):
        yield f"the expert {name} is gone, and what it learned"


def _tensors(recipe: Recipe) -> list[tuple[str, str, str, tuple[int, ...]]]:
    return [(e.part, e.name, e.dtype, e.shape) for e in Layout(recipe).entries]


def _features(recipe: Recipe) -> Meanings:
    return {
        n: spec.model_dump(mode="json", exclude=_HOW_IT_COMES)
        for n, spec in recipe.event.features.items()
    }


def _crosses(recipe: Recipe) -> Meanings:
    tables = recipe.schema.tables
    return {t.name: {"fields": t.members} for t in tables if t.kind == "cross"}


def _targets(recipe: Recipe) -> Meanings:
    return {
        t.name: {"type": t.kind, "classes": t.classes, "positive": t.positive, "scaled": t.scaled}
        for t in recipe.schema.targets
    }


def _fields(
    kind: str,
    old: Meanings,
    new: Meanings,
    accept_removed: Collection[str],
) -> list[str]:
    problems = [
        f"{kind} {name!r} is gone: its weights would be dropped; say --accept-removed {name}"
        for name in sorted(old.keys() - new.keys())
        if name not in accept_removed
    ]
    for name in sorted(old.keys() & new.keys()):
        for key, before in old[name].items():
            after = new[name].get(key)
            if before != after:
                said = f"{kind} {name!r}: {key} was {before!r}, now {after!r}"
                problems.append(said + (_keeps_its_scale(name, before) if key == "scaled" else ""))
                break
    return problems


def _keeps_its_scale(target: str, scaled: bool) -> str:
    """Return how a target that followed the number fields stays as it was when they change."""
    scale = "auto" if scaled else "none"
    return (
        "; where it does not say so itself it follows the number fields: to keep it, say "
        f"event.targets.{target}.scale: {scale}"
    )
