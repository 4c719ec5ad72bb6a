"""What the image holds of challengers beside their own tensors: which model answers, and how each
does. Needs no torch.

Challenger NAME's tensors are named challenger/NAME/<as they would be named of a model alone>, and
lie together: its part of the image is the image of a state of its own. What is of all models
together is named rivals/...
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from service.errors import BadSettings
from service.events.schema import Target
from service.model import prequential
from service.model.names import escape
from service.settings import MAIN

if TYPE_CHECKING:
    from service.model.layout import Layout

NAME_BYTES = 32
SERVES = "rivals/serves"
"""The name of the model that answers, as UTF-8; nothing but zeros: the main one."""
COURSE = "rivals/course"
"""[2]: labelled events since another model began to answer; how often one did."""
SCORES = "rivals/main/"
"""Scores of the main model by target, whoever answers; those of a challenger are among its own."""
DUEL = "rivals/duel/"
"""[6] of each model that could take over: see learn/duel.py."""
REST = "rivals/rest/"
"""[3] of each challenger: how often it was not finite, how often it raised, and for how many events
it still sits out."""
BESIDE = ("challenger/", "rivals/")
"""How the names of all tensors begin that are not the main model's."""
NOT_FINITE, RAISED, LEFT = 0, 1, 2
FAILURES = {"not_finite": NOT_FINITE, "raised": RAISED}

Shape = tuple[str, str, str, tuple[int, ...]]
"""Part, name, dtype and shape of a tensor."""


def tensors(targets: tuple[Target, ...], names: list[str]) -> Iterator[Shape]:
    """Return what is of all models together. names: of the challengers."""
    yield "weights", SERVES, "uint8", (NAME_BYTES,)
    yield "metrics", COURSE, "int64", (2,)
    for target in targets:
        yield "metrics", SCORES + escape(target.name), "float64", (prequential.size_of(target),)
    for name in (MAIN, *names):
        yield "metrics", DUEL + name, "float64", (6,)
    for name in names:
        yield "metrics", REST + name, "int64", (3,)


def prefix(name: str) -> str:
    """Return how the names of a challenger's own tensors begin."""
    return f"challenger/{name}/"


@contextlib.contextmanager
def told_of(name: str) -> Iterator[None]:
    """Have what is refused of a model say where in the settings of a challenger it stands."""
    try:
        yield
    except BadSettings as error:
        start = f"challengers.{name}."
        raise BadSettings(
            [
                p if p.path.startswith("event.")
                else replace(p, path=start + p.path.removeprefix("model."))
                for p in error.problems
            ]
        ) from None  # fmt: skip


def named_in(cell: NDArray[np.uint8]) -> str:
    """Return the name that the cell of SERVES holds."""
    return cell.tobytes().rstrip(b"\0").decode("ascii") or MAIN


def write_name(cell: NDArray[np.uint8], name: str) -> None:
    """Have the cell of SERVES hold this name."""
    raw = b"" if name == MAIN else name.encode("ascii")
    cell[:] = np.frombuffer(raw.ljust(NAME_BYTES, b"\0"), dtype=np.uint8)


def report(layout: Layout, image: NDArray[np.uint8]) -> dict[str, dict[str, Any]]:
    """Return how each model did, the main one first: {name: {"kind", "serves", "events_learned",
    "rests", "failures", "targets": {target: {"scored", "metrics", "fading"}}}}; nothing where there
    are no challengers. rests: labelled events for which one that failed still sits out."""
    if not layout.rivals:
        return {}

    def vector(part: str, name: str) -> NDArray[Any]:
        return np.array(layout.by_name[part, name].view(image))

    serves = named_in(vector("weights", SERVES).astype(np.uint8))
    found = {}
    for name in (MAIN, *layout.rivals):
        own = layout if name == MAIN else layout.rivals[name].layout
        before = "" if name == MAIN else prefix(name)
        scores = SCORES if name == MAIN else f"{before}prequential/"
        rest = np.zeros(3, np.int64) if name == MAIN else vector("metrics", REST + name)
        found[name] = {
            "kind": own.recipe.model.kind,
            "serves": name == serves,
            "events_learned": int(vector("metrics", f"{before}outcomes")[0]),
            "rests": int(rest[LEFT]),
            "failures": {reason: int(rest[at]) for reason, at in FAILURES.items()},
            "targets": {
                t.name: _brief(t, vector("metrics", scores + escape(t.name)))
                for t in layout.schema.targets
            },
        }
    return found


def _brief(target: Target, vector: NDArray[np.float64]) -> dict[str, Any]:
    full = prequential.report(target, vector)
    return {key: full[key] for key in ("scored", "metrics", "fading")}
