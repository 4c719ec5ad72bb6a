"""The settings that say what is learned."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service._settings.event import Section


class ModelSettings(Section):
    """What is learned."""

    kind: Literal["auto", "linear", "mlp"] = Field(
        "auto", description="auto (today: linear), linear, or mlp (one hidden layer)."
    )
    hidden: int = Field(64, ge=1, le=4096, description="mlp: width of the hidden layer, in units.")
    embedding: int = Field(
        8, ge=1, le=512, description="mlp: numbers that stand for one category, in numbers."
    )
    layer_norm: bool = Field(
        False, description="mlp: bring the hidden sums of an event to mean 0 and variance 1."
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="mlp: share of hidden units that are left out while an event is learned, as a "
        "share; predictions use all.",
    )
