"""Modules of the user's own that fail in a mixture: who they are, and when the log is told."""

from __future__ import annotations

import structlog

from service.learn.learner import Learner
from service.metrics import Metrics
from service.model.kinds.seam import Standing

_log = structlog.get_logger(__name__)


def ailing(learner: Learner) -> list[Standing]:
    """Return the standings of the experts that failed on events, each once."""
    if not learner.recipe.model.modules:
        return []
    (members, *_) = learner.layout.kind.standings(learner.state.extras).values()
    return [one for one in members if one.failures or one.resting]


def told(one: Standing) -> str:
    """Return what people are told of it."""
    why = f": {one.error}" if one.error else ""
    rests = "rests" if one.resting else "is asked again"
    return f"failed on {one.failures} events, {rests}{why}"


def warn(one: Standing) -> None:
    """Tell the log of it."""
    _log.warning(
        "expert_failed", expert=one.member, events=one.failures, rests=one.resting,
        error=one.error, note="the mixture goes on: the prior stands in for its votes",
    )  # fmt: skip


def warn_of(learner: Learner) -> None:
    """Tell the log of all that failed."""
    for one in ailing(learner):
        warn(one)


class Ward:
    """Tells of experts that fail: each time in the figures; in the log when it begins, when there are
    twice as many, and when one goes to rest or comes back."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._said: dict[str, tuple[int, bool]] = {}

    def look(self, learner: Learner) -> None:
        """Set the figures, and log what is new."""
        for one in ailing(learner):
            labels = {"expert": one.member}
            self._metrics.set_counter(
                "headwater_expert_failures_total", labels, float(one.failures)
            )
            self._metrics.gauge("headwater_expert_resting").set(float(one.resting), one.member)
            failures, resting = self._said.get(one.member, (0, False))
            if one.failures >= max(1, 2 * failures) or one.resting != resting:
                self._said[one.member] = one.failures, one.resting
                warn(one)
