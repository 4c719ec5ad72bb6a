"""The best of the events of a request: which of them, and in which order. Does not know HTTP."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events.schema import Schema
from service.serve.problems import Refused, bad_events


class Top(msgspec.Struct):
    """What a request asks for: the `n` events of the highest prediction."""

    n: int
    target: str | None = None
    label: str | None = None
    """The class whose probability counts."""


def read_top(given: object) -> Top:
    """Return what "top" of a request says; Refused where it cannot be understood."""
    if not isinstance(given, dict):
        raise _wrong([], 'expected an object {"n": 10, "target": ...}')
    for name in given:
        if name not in {"n", "target", "class"}:
            raise _wrong([name[:64]], "is none of n, target, class", "unknown_field")
    n = given.get("n")
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise _wrong(["n"], "expected a whole number of at least 1")
    for name in ("target", "class"):
        if not isinstance(given.get(name), str | None):
            raise _wrong([name], "expected a text")
    return Top(n, given.get("target"), given.get("class"))


def ranked(top: Top, schema: Schema, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the rows of scores [N, outputs] that `top` asks for, best first; of equals the first.

    Refused where the target or the class is none of this model's, or is not named and there are
    several.
    """
    by_name = {target.name: target for target in schema.targets}
    if top.target is None and len(by_name) > 1:
        raise _wrong(["target"], f"name one of {', '.join(by_name)}", "missing_field")
    target = schema.targets[0] if top.target is None else by_name.get(top.target)
    if target is None:
        raise _wrong(["target"], f"is none of {', '.join(by_name)}", "unknown_field")
    column = target.start
    if target.kind == "multiclass":
        if top.label is None:
            raise _wrong(["class"], f"name a class of {target.name}", "missing_field")
        if top.label not in target.classes:
            raise _wrong(["class"], f"is none of {target.name}'s classes", "unknown_class")
        column += target.classes.index(top.label)
    elif top.label is not None:
        raise _wrong(["class"], f"{target.name} has no classes", "unknown_field")
    order: NDArray[np.int64] = np.argsort(-scores[:, column], kind="stable")[: top.n]
    return order


def _wrong(loc: list[object], msg: str, code: str = "wrong_type") -> Refused:
    return bad_events([{"loc": ["top", *loc], "code": code, "msg": msg}])
