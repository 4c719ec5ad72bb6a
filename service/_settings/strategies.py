"""Rules about strategies of learning: which go with which kind of model, and with each other.

Works on the plain tree, as rules.py does.
"""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from service._settings.module import MIXTURES
from service._settings.problems import Found
from service._settings.tree import default_at

Tree = dict[str, object]

_ALL = (
    "l2", "l2_init", "ewc", "freeze", "trunk_every", "average", "lookahead", "agem", "safe_steps",
)  # fmt: skip
_MOST = {*_ALL} - {"trunk_every"}
_KINDS: dict[str, set[str]] = {
    "linear": _MOST,
    "mlp": {*_ALL},
    "svm": _MOST,
    "fm": _MOST,
}
"""What each kind of model can follow beside the weights of classes, which all can, and replay, which
all but mixtures can."""
_MODULE = _MOST
"""What a module of the user's own can."""
_ONE_HEAD = {"linear", "svm", "fm"}
"""Kinds of which each target has weights of its own."""
_NOT_TOGETHER = (
    ("agem", "lookahead", "each of them says where a block of rows ends"),
    ("adapt", "agem", "a bent step says nothing about the rate"),
    ("adapt", "lookahead", "a step that is taken back says nothing about the rate"),
)


def broken(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    """Tell which rules the tree breaks."""
    learning = _section(tree, "learning")
    chosen = _section(tree, "model").get("kind", default_at(model, ("model", "kind")))
    kind = chosen if isinstance(chosen, str) else "auto"
    for name in _ALL:
        where = ("learning", name)
        asked = name in learning and learning[name] not in ([], default_at(model, where))
        if asked and name not in _KINDS.get(kind, _MODULE if ":" in kind else set()):
            can = ", ".join(k for k, names in _KINDS.items() if name in names)
            hint = f"Leave it out, or choose a model.kind that can: {can}."
            yield Found(where, f"a model of kind {kind} cannot follow it", hint)
    if kind in MIXTURES and learning.get("replay") is not None:
        hint = "Leave it out, or choose model.kind: linear, mlp or fm."
        msg = f"a model of kind {kind} has memories of its own, in which an event comes once"
        yield Found(("learning", "replay"), msg, hint)
    for one, other, why in _NOT_TOGETHER:
        if learning.get(one) is not None and learning.get(other) is not None:
            yield Found(("learning", one), f"does not go with {other}: {why}", "Keep one of them.")
    yield from _safe(model, tree, learning, kind)
    yield from _classes(tree, learning)


def _safe(model: type[BaseModel], tree: Tree, learning: Tree, kind: str) -> Iterator[Found]:
    if learning.get("safe_steps") is not True:
        return
    where = ("learning", "safe_steps")
    optimizer = learning.get("optimizer", default_at(model, ("learning", "optimizer")))
    momentum = learning.get("momentum", 0.0)
    if optimizer != "sgd" or momentum != 0.0:
        hint = "Set learning.optimizer: sgd and no momentum, or leave it out."
        yield Found(where, "needs plain sgd: other rules choose the length of a step", hint)
    targets = _section(tree, "event", "targets")
    if len(targets) > 1 and kind not in _ONE_HEAD:
        msg = (
            f"targets of a {kind} model share weights: a step that is safe for one moves the others"
        )
        yield Found(where, msg, "Leave it out, or keep one target.")
    for name, target in targets.items():
        if kind != "svm" and isinstance(target, dict) and target.get("type") == "multiclass":
            hint = "Leave it out, choose model.kind: svm, or ask one binary question per class."
            yield Found(where, f"target {name} has several classes: no safe step is known", hint)


def _classes(tree: Tree, learning: Tree) -> Iterator[Found]:
    targets = _section(tree, "event", "targets")
    types = {n: t.get("type") for n, t in targets.items() if isinstance(t, dict)}
    replay = _section(learning, "replay")
    if replay.get("kind") == "balanced" and not {"binary", "multiclass"} & set(types.values()):
        where = ("learning", "replay", "kind")
        yield Found(where, "balanced needs a target with classes", "Use reservoir or recent.")
    for name, target in targets.items():
        if not isinstance(target, dict):
            continue
        where, given = ("event", "targets", name), target.get("class_weights")
        weighted = [key for key in ("class_weights", "balance") if target.get(key)]
        if len(weighted) == 2:
            yield Found((*where, "balance"), "stands beside class_weights", "Keep one of them.")
        known = target.get("classes") if types[name] == "multiclass" else ["0", "1"]
        if isinstance(given, dict) and isinstance(known, list | tuple):
            names = [str(k) for k in known]
            for key in given:
                if str(key) not in names:
                    msg = f"{key!r} is no class of this target"
                    yield Found((*where, "class_weights"), msg, f"Known: {', '.join(names)}.")


def _section(tree: Tree, *where: str) -> Tree:
    section: object = tree
    for key in where:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}
