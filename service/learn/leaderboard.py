"""How each member of a mixture of experts did, in the units of its target."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from service.events.schema import Target
from service.learn.learner import Learner
from service.model.kinds.seam import Standing


def leaderboard(learner: Learner) -> list[dict[str, Any]]:
    """Return how each member of a mixture did: [{"target", "expert", "weight", "awake", "rows",
    "restarts", "metrics", "fading"}], with "failures" where a module failed on events; the best of a
    target first; nothing where the model is one. A member that was not scored yet has None for its
    figures."""
    found = []
    for target, scale, one in members_of(learner):
        pairs = (one.loss, one.mark), (one.recent_loss, one.recent_mark)
        figures: list[dict[str, float | None]] = [
            {name: value if one.rows else None for name, value in told.items()}
            for told in (figures_of(target, *pair, scale=scale) for pair in pairs)
        ]
        found.append({
            "target": target.name, "expert": one.member, "weight": round(one.weight, 4),
            "awake": one.awake, "rows": int(one.rows), "restarts": one.restarts,
            "metrics": figures[0], "fading": figures[1],
            **({"failures": one.failures} if one.failures else {}),
        })  # fmt: skip
    return found


def members_of(learner: Learner) -> Iterator[tuple[Target, float, Standing]]:
    """Yield each member with its target and the scale of the target's frame, the best of a target
    first: of a number the one with the least absolute error, else with the least log loss."""
    for target, frame in zip(learner.recipe.schema.targets, learner.state.frames, strict=True):
        members = learner.layout.kind.standings(learner.state.extras).get(target.name, [])
        by_error = target.kind == "number"  # as a mixture predicts a number
        order = sorted(members, key=lambda m: (m.rows == 0, m.mark if by_error else m.loss))
        for one in order:
            yield target, float(frame[4]), one


def figures_of(target: Target, loss: float, mark: float, scale: float) -> dict[str, float]:
    """Return its metrics by name; see seam.Standing for loss and mark."""
    if target.kind == "number":
        return {"mae": mark * scale, "rmse": loss**0.5 * scale}
    return {"accuracy": mark, "log_loss": loss}
