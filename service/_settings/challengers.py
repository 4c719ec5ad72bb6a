"""The settings of challengers: other models on the same stream, and when one takes over."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from service._settings.event import Section
from service._settings.learning import LearningSettings
from service._settings.model import ModelSettings
from service._settings.values import refuse

MAIN = "main"
"""How the model of the section `model` is called beside challengers."""
TAKEN = (MAIN, "live", "frozen", "held_out", "live_paired", "rule")
"""Names that mean something else where the names of challengers stand too."""
MOST = 16
METRICS: dict[str, tuple[str, ...]] = {
    "binary": ("log_loss", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
    "number": ("mae", "rmse"),
}
"""What models are compared by, by the type of the target; the first unless another is named."""


def _check_challenger(name: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,31}", name):
        refuse(
            f"{name!r} cannot name a challenger",
            "Use 1 to 32 small letters, digits, '_' or '-', starting with a letter.",
        )
    if name in TAKEN:
        refuse(
            f"{name!r} is taken: {', '.join(TAKEN)} mean something else beside challengers",
            "Choose another name.",
        )
    return name


ChallengerName = Annotated[
    str,
    AfterValidator(_check_challenger),
    WithJsonSchema({"type": "string", "pattern": "^[a-z][a-z0-9_-]{0,31}$"}),
]


class ChallengerSettings(ModelSettings):
    """Another model on the same stream: any settings of `model`, and a way to learn of its own."""

    learning: LearningSettings | None = Field(
        None,
        description="Where it learns otherwise than `learning` says: what stands here holds for "
        "this challenger, all else is as there. Not batch_rows, linger_ms, threads, holdout, shed, "
        "shed_after_seconds, frozen_after and seed, which are of the stream.",
    )

    def learns(self, usual: LearningSettings) -> LearningSettings:
        """Return how it learns. usual: what the section `learning` says."""
        own = self.learning
        if own is None:
            return usual
        return usual.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})

    @property
    def model(self) -> ModelSettings:
        """What it learns, as the section `model` would say it."""
        return ModelSettings.model_validate(self.model_dump(exclude={"learning"}))


class PromoteSettings(Section):
    """When a challenger takes over by itself: it was clearly better, window after window."""

    target: str | None = Field(
        None, description="The target that decides; null: the only one that there is."
    )
    metric: Literal["log_loss", "accuracy", "mae", "rmse"] | None = Field(
        None,
        description="What decides; null: log_loss for classes, mae for numbers. rmse compares "
        "squared errors.",
    )
    rows: int = Field(
        2000, ge=100, le=10_000_000, description="Labelled events in one window, in events."
    )
    windows: int = Field(
        3, ge=1, le=1000, description="Windows in a row in which it must be better, in windows."
    )
    margin: float = Field(
        0.02,
        ge=0,
        lt=1,
        description="How much less its loss must be, as a share of the loss of the model that answers.",
    )
    sure: float = Field(
        3.0,
        ge=0,
        le=100,
        description="And by so many standard errors of the difference, event by event.",
    )
    rest: int = Field(
        20_000,
        ge=0,
        description="Labelled events after a change of the model that answers, whoever ordered it, in "
        "which the rule makes no other, in events.",
    )
