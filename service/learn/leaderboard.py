"""How each member of a mixture of experts did, in the units of its target."""

from __future__ import annotations

from typing import Any

from service.events.schema import Target
from service.learn.learner import Learner


def leaderboard(learner: Learner) -> list[dict[str, Any]]:
    """Return how each member of a mixture did: [{"target", "expert", "weight", "rows",
    "restarts", "metrics", "fading"}], the best of a target first; nothing where the model is one."""
    found = []
    for target, frame in zip(learner.recipe.schema.targets, learner.state.frames, strict=True):
        members = learner.layout.kind.standings(learner.state.extras).get(target.name, [])
        for one in sorted(members, key=lambda m: m.loss):
            pairs = (one.loss, one.mark), (one.recent_loss, one.recent_mark)
            figures = [_figures(target, *pair, scale=float(frame[4])) for pair in pairs]
            found.append({
                "target": target.name, "expert": one.member, "weight": round(one.weight, 4),
                "rows": int(one.rows), "restarts": one.restarts, "metrics": figures[0], "fading": figures[1],
            })  # fmt: skip
    return found


def _figures(target: Target, loss: float, mark: float, scale: float) -> dict[str, float]:
    if target.kind == "number":
        return {"mae": mark * scale, "rmse": loss**0.5 * scale}
    return {"accuracy": mark, "log_loss": loss}
