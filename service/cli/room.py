"""How much memory a model takes, where that may be more than was thought: a warning of `config check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from service._settings.event import MulticlassTarget
from service.errors import Problem

if TYPE_CHECKING:
    from service.settings import Settings

MANY = 50
"""Outputs of all targets below which no mixture is large; to count exactly takes a second."""
LARGE = 10**9
"""Bytes of a state that are worth a warning."""


def too_large(found: Settings) -> list[Problem]:
    """Return a warning where the state of a mixture takes more than a gigabyte."""
    targets = found.event.targets.values()
    outputs = sum(len(t.classes) if isinstance(t, MulticlassTarget) else 1 for t in targets)
    if not found.model.is_mixture or outputs <= MANY:
        return []
    from service.model.kinds import recipe_of
    from service.model.layout import Layout

    size = Layout(recipe_of(found)).nbytes
    if size <= LARGE:
        return []
    msg = f"the state takes {size / 1e9:.1f} GB of memory with {outputs:,} classes and targets"
    hint = (
        "Take fewer classes or targets, leave out texts, lists and maps, or choose model.kind: linear "
        "with fewer buckets."
    )
    return [Problem("event.targets", None, msg, hint)]
