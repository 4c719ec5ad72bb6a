"""The settings of a learning rate that moves by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service._settings.event import Section

MOST_TIMES = 30.0
"""How many times learning.learning_rate a rate may become, where no bound is named."""


class AdaptSettings(Section):
    """How the learning rate moves. `learning.learning_rate` is where it begins."""

    by: Literal["hypergradient", "held_out"] = Field(
        description="hypergradient: up while steps go on in the direction of the one before, down "
        "when they turn back; held_out: up while events that `learning.holdout` sets aside would be "
        "predicted better had the last step been longer, down when worse."
    )
    lowest: float = Field(1e-5, gt=0, le=100, description="It never falls below this.")
    highest: float | None = Field(
        None,
        gt=0,
        le=100,
        description="It never rises above this. null: 30 times learning.learning_rate.",
    )
    pace: float = Field(
        0.1, gt=0, le=1, description="Most that the rate changes at a step, as a share of itself."
    )
    every: int = Field(
        32,
        ge=1,
        le=65_536,
        description="Learned events in one step. Where neighbours resemble each other, take about as "
        "many as do, such as those of a day.",
    )
