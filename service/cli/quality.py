"""How good a snapshot's predictions were, in a line per target, and what changed before it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.cli.figures import figure

_TOLD = ("log_loss", "auc", "accuracy", "mae", "r2")
"""The figures worth a place in a list; `inspect` shows all."""
_MOST_CHANGES = 8


def quality(one: dict[str, Any]) -> Iterator[str]:
    """Yield the lines below a snapshot; `one` is an element of `snapshots list --json`.

    >>> one = {"metrics": {"y": {"mae": 1.0, "rmse": 2.0}}, "fading": {"y": {"mae": 0.5}},
    ...        "held_out": {"y": None}, "learning_rate": 0.05,
    ...        "changed": {"learning.clip": [None, 2.0]}}
    >>> list(quality(one))
    ['y: mae 1.0000 (recent 0.5000); rate 0.05', 'since the one before: learning.clip: null, now 2.0']
    """
    rate = "" if one["learning_rate"] is None else f"; rate {one['learning_rate']:.4g}"
    for target, metrics in one["metrics"].items():
        recent, held = one["fading"][target], (one["held_out"][target] or {}).get("metrics", {})
        figures = [
            f"{name} {figure(metrics[name])}{_beside(recent.get(name), held.get(name))}"
            for name in _TOLD
            if metrics.get(name) is not None
        ]
        if figures:
            yield f"{target}: {', '.join(figures)}{rate}"
    changed = [f"{name}: {_text(old)}, now {_text(new)}" for name, (old, new) in _few(one)]
    if changed:
        more = len(one["changed"]) - len(changed)
        yield f"since the one before: {'; '.join(changed)}" + (f"; {more} more" if more else "")


def _beside(recent: float | None, held: float | None) -> str:
    found = [
        f"{name} {figure(value)}"
        for name, value in (("recent", recent), ("held out", held))
        if value is not None
    ]
    return f" ({', '.join(found)})" if found else ""


def _few(one: dict[str, Any]) -> list[tuple[str, list[Any]]]:
    return list(one["changed"].items())[:_MOST_CHANGES]


def _text(value: object) -> str:
    return "null" if value is None else str(value)
