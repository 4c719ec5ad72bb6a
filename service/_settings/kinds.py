"""Rules about kinds of models: what one cannot learn, and settings that mean nothing to it."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from service._settings import experts
from service._settings.module import MIXTURES
from service._settings.problems import Found
from service._settings.tree import default_at

Tree = dict[str, object]

OWNERS: dict[str, str] = {
    "hidden": "mlp",
    "embedding": "mlp",
    "layer_norm": "mlp",
    "dropout": "mlp",
    "factors": "fm",
    "width": "rls",
    "forgetting": "rls",
}
"""Settings of `model` that mean something to one kind only."""
REFUSED: dict[tuple[str, str], str] = {
    ("svm", "number"): "a number has no margin, which is all that a hinge looks at",
    ("rls", "binary"): "least squares are of numbers; a probability is not one of them",
    ("bayes", "number"): "naive Bayes counts classes",
    ("rls", "multiclass"): "least squares are of numbers; a probability is not one of them",
    ("newton", "number"): "logistic regression is of classes; squares is its like for numbers",
    ("squares", "binary"): "least squares are of numbers; newton is their like for classes",
    ("squares", "multiclass"): "least squares are of numbers; newton is their like for classes",
    ("quantiles", "binary"): "a class has no place among others; newton is its like for classes",
    (
        "quantiles",
        "multiclass",
    ): "a class has no place among others; newton is its like for classes",
    ("habits", "binary"): "it is for three classes and more; newton sees the labels before",
    ("habits", "number"): "it counts classes; steps is its like for numbers",
    ("steps", "binary"): "a number rises, falls or stays; a class does not",
    ("steps", "multiclass"): "a number rises, falls or stays; a class does not",
    ("factors", "multiclass"): "its factors are of one answer: yes or no, or a number",
}
"""Kind of model and type of target that do not go together, and why."""
IDLE = ("optimizer", "learning_rate", "momentum", "beta1", "beta2")
"""Settings of `learning` that say how steps are taken; nothing to a kind that takes none."""
_NEEDED: dict[str, tuple[int, frozenset[str], str]] = {
    "factors": (2, frozenset(("category",)), "it is of pairs of categories, and there are no two"),
    "words": (
        1,
        frozenset(("text", "categories", "map")),
        "it is of texts, lists and maps, and there is none",
    ),
}
"""Fields without which an expert alone has no members: how many, of which types, and why."""
_DENSE = {"number": 2, "boolean": 2, "time": 5, "text": 5}


def broken(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    """Tell which rules about the kind of model the tree breaks."""
    section = _section(tree, "model")
    kind = section.get("kind", default_at(model, ("model", "kind")))
    if not isinstance(kind, str):
        return
    for name, owner in OWNERS.items():
        where = ("model", name)
        if name in section and kind != owner and section[name] != default_at(model, where):
            message = f"has no effect: it belongs to {owner}, the model is {kind}"
            yield Found(where, message, f"Set model.kind: {owner}, or leave it out.")
    for name, target in _section(tree, "event", "targets").items():
        of = target.get("type") if isinstance(target, dict) else None
        if isinstance(of, str) and (kind, of) in REFUSED:
            yield Found(
                ("event", "targets", name, "type"),
                f"cannot be learned by model.kind {kind}: {REFUSED[kind, of]}",
                "Choose another model.kind, as auto, linear, mlp or fm, or another target.",
            )
    if kind == "rls":
        yield from _least_squares(model, tree, section.get("width"))
    if kind in MIXTURES:
        yield from _mixture(tree, kind)
    yield from experts.broken(tree, kind)
    features = _section(tree, "event", "features").values()
    types = [str(f.get("type")) if isinstance(f, dict) else "" for f in features]
    needed, fields, why = _NEEDED.get(kind, (0, frozenset(), ""))
    if types and sum(t in fields for t in types) < needed:
        yield Found(
            ("model", "kind"),
            f"{kind} has nothing to learn from: {why}",
            "Add such a field to event.features, or choose auto, which takes all fields.",
        )


def _mixture(tree: Tree, kind: str) -> Iterator[Found]:
    """Tell what is asked of the one rate of a mixture, which has many; see doubts.py for the rest."""
    if _section(tree, "learning").get("adapt"):
        message = f"has no effect: in {kind} members with other rates take over"
        yield Found(("learning", "adapt"), message, "Leave it out.")
    react = _section(tree, "drift").get("react", [])
    asked = {"raise_rates", "reset_head"} & set(react if isinstance(react, list) else [react])
    for name in sorted(map(str, asked)):
        message = f"{name} has no effect: in {kind} the weights of members follow drift"
        yield Found(("drift", "react"), message, "Take it out; log and webhook work.")


def _least_squares(model: type[BaseModel], tree: Tree, width: object) -> Iterator[Found]:
    learning = _section(tree, "learning")
    for name in IDLE:
        where = ("learning", name)
        if name in learning and learning[name] != default_at(model, where):
            message = "has no effect: rls takes no gradient steps, it solves"
            yield Found(
                where, message, "Leave it out, or set model.forgetting for how fast it learns."
            )
    if learning.get("adapt"):
        message = "has no effect: rls has no learning rate"
        yield Found(("learning", "adapt"), message, "Leave it out; model.forgetting is its pace.")
    for name, target in _section(tree, "event", "targets").items():
        if isinstance(target, dict) and target.get("weight", 1.0) != 1.0:
            message = "has no effect: rls solves for each target by itself"
            yield Found(("event", "targets", name, "weight"), message, "Leave it out.")
    react = _section(tree, "drift").get("react", [])
    if "raise_rates" in (react if isinstance(react, list) else [react]):
        message = "raise_rates has no effect: rls has no learning rate"
        yield Found(("drift", "react"), message, "Take it out; reset_head works.")
    width = default_at(model, ("model", "width")) if width is None else width
    features = [f for f in _section(tree, "event", "features").values() if isinstance(f, dict)]
    needed = 1 + sum(_inputs(feature) for feature in features)
    named = any(
        f.get("type") in {"category", "categories", "map", "text", "time"} for f in features
    )
    needed += named or bool(_section(tree, "event").get("interactions"))
    if isinstance(width, int) and needed > width:
        yield Found(
            ("model", "width"),
            f"{width} is too few: these features need {needed} inputs, the bias among them",
            f"Set model.width to {needed} or more, or take fewer or shorter features.",
        )


def _inputs(feature: Tree) -> int:
    """Return how many dense inputs a feature has, its unknown flag among them."""
    size = feature.get("size")
    if feature.get("type") == "vector":
        return 1 + size if isinstance(size, int) else 0
    return _DENSE.get(str(feature.get("type")), 0)


def _section(tree: Tree, *where: str) -> Tree:
    section: object = tree
    for key in where:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}
