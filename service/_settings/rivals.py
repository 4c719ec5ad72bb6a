"""Rules about challengers: each must be able to learn this stream in the way it is told to.

Each is looked at as if it were the model. Works on the plain tree, as rules.py does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from pydantic import BaseModel

from service._settings.challengers import METRICS
from service._settings.kinds import IDLE
from service._settings.problems import Found
from service._settings.tree import default_at

Tree = dict[str, object]
Rules = Callable[[type[BaseModel], Tree], Iterator[Found]]

OF_THE_STREAM = (
    "batch_rows", "linger_ms", "threads", "holdout", "frozen_after", "seed", "shed", "shed_after_seconds",
)  # fmt: skip
"""Settings of `learning` that are one for all models."""


def broken(model: type[BaseModel], tree: Tree, rules: Rules) -> Iterator[Found]:
    """Tell which rules the tree breaks. rules: those about one model and how it learns."""
    challengers = _section(tree, "challengers")
    usual = _section(tree, "learning")
    for name, section in challengers.items():
        if not isinstance(section, dict):
            continue
        where, own = ("challengers", name), _section(section, "learning")
        if section.get("pretrained") is not None:
            msg = "a challenger starts from nothing: it has no weights of before"
            yield Found((*where, "pretrained"), msg, "Leave it out.")
        for key in OF_THE_STREAM:
            if key in own:
                msg = "is one for all models of a stream"
                yield Found((*where, "learning", key), msg, f"Set learning.{key}.")
        alone = {
            **tree,
            "model": {k: v for k, v in section.items() if k not in ("learning", "pretrained")},
            "learning": {**usual, **own},
            "drift": {},
        }
        for found in rules(model, alone):
            if (moved := _moved(model, found, where, own)) is not None:
                yield moved
    yield from _promote(tree, challengers)


def _moved(model: type[BaseModel], found: Found, where: tuple[str, ...], own: Tree) -> Found | None:
    """Return what was found of a challenger taken for the model, where it really stands; None where
    it was found of a setting of steps that is meant for others."""
    section, *keys = found.where
    if section == "model":
        hint = found.hint.replace("model.", f"{'.'.join(where)}.")
        return Found((*where, *keys), found.msg, hint)
    if section == "learning":
        if keys[0] in own:
            return Found((*where, "learning", *keys), found.msg, found.hint)
        if keys[0] in IDLE:
            return None
        none = json.dumps(default_at(model, ("learning", keys[0])))
        path = ".".join(where)
        hint = f"Set {path}.learning.{keys[0]}: {none}, or choose another {path}.kind."
        return Found(where, f"learning.{'.'.join(keys)}: {found.msg}", hint)
    if section == "event" and keys[-1] == "type":
        return Found((*where, "kind"), f"target {keys[1]} {found.msg}", "Choose another kind.")
    return None  # of the event alone: told where it stands


def _promote(tree: Tree, challengers: Tree) -> Iterator[Found]:
    promote = tree.get("promote")
    if not isinstance(promote, dict):
        return
    if not challengers:
        yield Found(
            ("promote",), "has no effect: there are no challengers", "Name one, or drop it."
        )
    targets = _section(tree, "event", "targets")
    target, metric = promote.get("target"), promote.get("metric")
    if target is None:
        if len(targets) > 1:
            hint = f"Set promote.target to one of {', '.join(targets)}."
            yield Found(("promote",), "several targets, and none is said to decide", hint)
            return
        target = next(iter(targets), None)
    elif not isinstance(target, str):
        return  # told by the type
    elif target not in targets:
        hint = f"Known: {', '.join(targets)}."
        yield Found(("promote", "target"), f"{target!r} is no target", hint)
        return
    spec = targets.get(str(target))
    known = METRICS.get(str(spec.get("type")) if isinstance(spec, dict) else "")
    if metric is not None and known is not None and metric not in known:
        yield Found(
            ("promote", "metric"),
            f"{metric} does not fit target {target}",
            f"Set {' or '.join(known)}.",
        )


def _section(tree: Tree, *where: str) -> Tree:
    section: object = tree
    for key in where:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}
