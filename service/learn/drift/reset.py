"""A head that starts anew: a target's own weights as before the first event (drawn, or those of the
file that the model began from), and their optimizer's memory with them. What targets share, and what scales them, stays."""

from __future__ import annotations

from service.events.schema import Target
from service.model.layout import Layout
from service.model.names import escape, head_of
from service.model.state import State


def head(state: State, target: Target) -> None:
    """Reset every tensor of the state that is the target's own, by its name."""
    layout = state.layout
    fresh = State.fresh(layout)
    if layout.recipe.from_file:
        for name in ("initial", *layout.as_weights):
            fresh.flats[name][:] = state.flats["initial"]
        fresh.theta[:] = state.flats["initial"]
    for entry in layout.entries:
        if not _is_own(layout, entry.part, entry.name, target):
            continue
        entry.view(state.image)[...] = entry.view(fresh.image)
        if entry.part == "weights" and entry.offset >= layout.theta:
            first = (entry.offset - layout.theta) // 4
            state.touched[first // 64 : (first + entry.nbytes // 4 - 1) // 64 + 1] = 1


def _is_own(layout: Layout, part: str, name: str, target: Target) -> bool:
    own = head_of(target.name)
    if part == "metrics":
        return False
    if name in layout.extras:
        return layout.extras[name].target == target.name
    return name.startswith(own) or f"/{own}" in name or name == f"steps/{escape(target.name)}"
