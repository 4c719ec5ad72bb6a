"""Which experts a mixture is made of, and modules of the user's own among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    model_serializer,
)

from service._settings.event import Section
from service._settings.module import ALL, EXPERTS, REFERENCE, Argument, dotted, is_class
from service._settings.problems import Found
from service._settings.tree import Where
from service._settings.values import nearest, refuse

Tree = dict[str, object]

OWN = ("name", "arguments", "step_rows", "optimizer", "learning_rate", "momentum", "beta1", "beta2", "clip")  # fmt: skip
"""What an entry may say of a module of the user's own, and of nothing else."""
CLASSES, NUMBERS = ("bayes", "newton"), ("squares", "quantiles", "steps")
"""Experts that learn classes only, and numbers only."""


def _check_expert(kind: str) -> str:
    if kind not in (*ALL, *EXPERTS) and not is_class(kind):
        msg = (
            f"there is no expert {kind!r}; there are {', '.join(EXPERTS)}, and auto for all of them"
        )
        refuse(msg, dotted(kind) or (
            f"Did you mean {meant}?" if (meant := nearest(kind, [*ALL, *EXPERTS]))
            else "Name some of them, or package.module:Class for a module of your own."
        ))  # fmt: skip
    return "auto" if kind in ALL else kind


def _check_name(name: str) -> str:
    taken = name in (*ALL, *EXPERTS)
    if taken or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
        why = "is the name of another expert" if taken else "is no name for an expert"
        refuse(f"{name!r} {why}", "Use 1 to 64 letters, digits, '.', '_' or '-'.")
    return name


ExpertKind = Annotated[
    str,
    AfterValidator(_check_expert),
    WithJsonSchema({"anyOf": [{"enum": ["auto", *EXPERTS]}, {"type": "string", "pattern": REFERENCE}]}),
]  # fmt: skip


class ExpertSettings(Section):
    """One of the experts of a mixture: `newton` means {kind: newton}."""

    kind: ExpertKind = Field(
        description="auto: all that are built in; the name of one; or package.module:Class, a "
        "torch.nn.Module of your own. What follows is for such a module."
    )
    name: Annotated[str, AfterValidator(_check_name)] | None = Field(
        None, description="What it is called in metrics and in the state; null: as its class."
    )
    arguments: dict[str, Argument] = Field(
        default_factory=dict, description="What its constructor is given, by name."
    )
    step_rows: int | None = Field(
        None, ge=1, le=1_000_000, description="Rows in one step, in rows; null: as in `learning`, "
        "as what follows."
    )  # fmt: skip
    optimizer: Literal["sgd", "adagrad", "adam"] | None = Field(
        None, description="How a gradient becomes a change of weights."
    )
    learning_rate: float | None = Field(None, gt=0, le=100, description="Length of a step.")
    momentum: float | None = Field(
        None, ge=0, lt=1, description="sgd: share of the last step kept."
    )
    beta1: float | None = Field(None, ge=0, lt=1, description="adam: memory of the gradient.")
    beta2: float | None = Field(None, ge=0, lt=1, description="adam: memory of its square.")
    clip: float | None = Field(
        None, gt=0, description="Longest mean gradient of a step, as a norm."
    )

    @model_serializer(mode="wrap")
    def _short(self, spelled_out: SerializerFunctionWrapHandler) -> object:
        said = {k: v for k, v in spelled_out(self).items() if k == "kind" or v not in (None, {})}
        return self.kind if len(said) == 1 else said

    @property
    def is_module(self) -> bool:
        """Whether it is a module of the user's own."""
        return ":" in self.kind

    @property
    def steps(self) -> dict[str, object]:
        """What it says of its steps that is not as in `learning`."""
        named = {name: getattr(self, name) for name in OWN[2:]}
        return {name: value for name, value in named.items() if value is not None}


def _spelled_out(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


Entry = Annotated[
    ExpertSettings,
    BeforeValidator(_spelled_out, json_schema_input_type=ExpertKind | ExpertSettings),
]


def _check_some(entries: tuple[ExpertSettings, ...]) -> tuple[ExpertSettings, ...]:
    if not entries:
        refuse("is empty", "Name at least one of the experts, or leave it out for all.")
    return entries


Entries = Annotated[tuple[Entry, ...], AfterValidator(_check_some)]


def built_in(entries: Sequence[ExpertSettings]) -> tuple[str, ...]:
    """Return the built-in experts that are asked for, in the order in which they are asked."""
    named = {one.kind for one in entries}
    return tuple(name for name in EXPERTS if "auto" in named or name in named)


def modules(entries: Sequence[ExpertSettings]) -> dict[str, ExpertSettings]:
    """Return the modules of the user's own by the names they go by: what they say, or the name of
    the class, with a number where that is taken."""
    own = [one for one in entries if one.is_module]
    taken = {*EXPERTS, *(one.name for one in own if one.name)}
    found: dict[str, ExpertSettings] = {}
    for one in own:
        name = one.name
        if name is None:
            first = one.kind.partition(":")[2]
            names = (first, *(f"{first}-{n}" for n in range(2, len(own) + len(taken) + 2)))
            name = next(each for each in names if each not in taken)
            taken.add(name)
        found[name] = one
    return found


def broken(tree: Tree, kind: str) -> Iterator[Found]:
    """Tell which rules the list of experts breaks. kind: what model.kind says."""
    model = tree.get("model")
    given = model.get("experts") if isinstance(model, dict) else None
    if not isinstance(given, list):
        return
    spelled = [_spelled_out(one) for one in given]
    entries: list[Tree] = [one if isinstance(one, dict) else {} for one in spelled]
    kinds = [str(one.get("kind", "")) for one in entries]
    if kind not in ALL and kinds != ["auto"]:
        msg = f"has no effect: it belongs to a mixture of experts, the model is {kind}"
        yield Found(("model", "experts"), msg, f"Set model.kind: {ALL[-1]}, or leave it out.")
        return
    everything = set(ALL) & set(kinds)
    for at, (one, name) in enumerate(zip(entries, kinds, strict=True)):
        where = ("model", "experts", str(at))
        if ":" not in name:
            for key in (key for key in OWN if key in one and name):
                msg = f"has no effect: {name} is no module of your own"
                yield Found((*where, key), msg, "Leave it out.")
            if name in kinds[:at] or (everything and name in EXPERTS):
                why = "is listed twice" if name in kinds[:at] else "is one of auto already"
                yield Found(where, f"{name} {why}", "Take one of them out.")
        else:
            yield from _idle(tree, one, where)
    names = [str(one["name"]) for one in entries if one.get("name") is not None]
    for name in sorted({name for name in names if names.count(name) > 1}):
        msg = f"two experts are called {name}"
        yield Found(("model", "experts"), msg, "Give each a name of its own.")
    if not everything:
        yield from _unlearned(tree, kinds)


def _idle(tree: Tree, entry: Tree, where: Where) -> Iterator[Found]:
    """Tell what an entry says of steps that its optimizer has no use for."""
    learning = tree.get("learning")
    usual = learning.get("optimizer", "adagrad") if isinstance(learning, dict) else "adagrad"
    optimizer = entry.get("optimizer") or usual
    for name, needs in (("momentum", "sgd"), ("beta1", "adam"), ("beta2", "adam")):
        if entry.get(name) is not None and optimizer != needs:
            msg = f"has no effect: it belongs to {needs}, the optimizer is {optimizer}"
            yield Found((*where, name), msg, f"Set optimizer: {needs} beside it, or leave it out.")


def _unlearned(tree: Tree, kinds: list[str]) -> Iterator[Found]:
    """Tell which targets none of the experts can learn."""
    event = tree.get("event")
    targets = event.get("targets") if isinstance(event, dict) else None
    for name, target in (targets if isinstance(targets, dict) else {}).items():
        of = target.get("type") if isinstance(target, dict) else None
        unfit = CLASSES if of == "number" else NUMBERS
        if kinds and all(kind in unfit for kind in kinds):
            msg = f"none of these experts can learn {name}, a target of type {of}"
            yield Found(("model", "experts"), msg, "Add another one, as nets.")
