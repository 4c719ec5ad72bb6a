"""Settings of learning: the rule of steps, and the strategies, each off unless asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service._settings.adapt import AdaptSettings
from service._settings.event import Section


class ReplaySettings(Section):
    """Old events are learned again among the new ones."""

    memory: int = Field(1000, ge=1, le=1_000_000, description="Events kept, in events.")
    kind: Literal["reservoir", "balanced", "recent"] = Field(
        "reservoir",
        description="Which are kept. reservoir: each event so far with the same chance; balanced: "
        "as many of each class; recent: older ones fade out.",
    )
    rows: int = Field(
        1, ge=1, le=1000, description="Events learned again for each new one, in events."
    )
    weight: float = Field(1.0, gt=0, le=1000, description="What each of them counts.")


class AgemSettings(Section):
    """A step that would undo what the memory holds is bent until it does not."""

    memory: int = Field(1000, ge=1, le=1_000_000, description="Events kept, in events.")
    rows: int = Field(
        64, ge=1, le=100_000, description="Events of the memory that judge a step, in events."
    )


class EwcSettings(Section):
    """Weights that mattered are held near where they were."""

    strength: float = Field(1.0, gt=0, le=1e9, description="How firmly they are held.")
    decay: float = Field(
        0.999, ge=0, lt=1, description="Share that a step keeps of how much a weight mattered."
    )
    every: int = Field(
        1000, ge=1, description="Steps of a weight in which the point it is held at follows it."
    )


class AverageSettings(Section):
    """A running mean of the weights."""

    decay: float = Field(
        0.001, gt=0, le=1, description="Share of the way that the mean goes at each step."
    )
    serve: bool = Field(True, description="Whether predictions come from the mean.")


class LookaheadSettings(Section):
    """After each block of rows the weights go back part of the way."""

    share: float = Field(
        0.5,
        gt=0,
        lt=1,
        description="How far they go from where the block of `step_rows` rows began to where it "
        "ended, as a share.",
    )


class LearningSettings(Section):
    """How it is learned. May change at any restart; in force from the next version on."""

    batch_rows: int = Field(
        1024, ge=1, le=1_000_000, description="Most rows in one cut (micro-batch), in rows."
    )
    linger_ms: int = Field(
        20, ge=0, le=60_000, description="Longest wait for a cut to fill, in milliseconds."
    )
    step_rows: int = Field(
        32,
        ge=1,
        le=1_000_000,
        description="Rows in one optimizer step of models that learn by autograd, and between two "
        "looks into the memory of replay and agem, in rows. Other models learn row by row whatever "
        "it says.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Threads that learn the experts of a mixture side by side; null: as many as there "
        "are processors, at most 4. Changes no bit of what is learned.",
    )
    shed: Literal["auto", "never"] = Field(
        "auto",
        description="Whether a mixture of experts leaves work out while it is behind its stream, level "
        "by level, until it has caught up; see docs/operations.md. Each change is journaled. Other "
        "models have nothing to leave out.",
    )
    shed_after_seconds: float = Field(
        30.0,
        gt=0,
        le=86_400,
        description="How much may wait before that, in seconds that it would take to learn.",
    )
    optimizer: Literal["sgd", "adagrad", "adam"] = Field(
        "adagrad", description="How a gradient becomes a change of weights."
    )
    learning_rate: float = Field(0.05, gt=0, le=100, description="Length of a step.")
    momentum: float = Field(0.0, ge=0, lt=1, description="sgd: share of the last step kept.")
    beta1: float = Field(0.9, ge=0, lt=1, description="adam: memory of the gradient.")
    beta2: float = Field(0.999, ge=0, lt=1, description="adam: memory of its square.")
    clip: float | None = Field(
        None, gt=0, description="Longest gradient of one row, as a norm; null: no limit."
    )
    cap: float | None = Field(
        32.0,
        gt=1,
        description="Most that one event can do: where its inputs or its error on a number target are "
        "more than so many times the usual, its gradient is shortened to that; null: no cap.",
    )
    holdout: float = Field(
        0.0, ge=0, lt=1, description="Share of events that are scored and never learned."
    )
    frozen_after: int | None = Field(
        10_000,
        ge=0,
        description="A copy of the weights is frozen once this many events are learned, and its score "
        "is kept beside the live one: what learning is worth. In events; 0: as the model begins; "
        "null: no copy. Says nothing about what is learned.",
    )
    lookahead: LookaheadSettings | None = Field(
        None, description="Weights go back part of the way after each block; null: no."
    )
    adapt: AdaptSettings | None = Field(None, description="How the rate moves; null: not at all.")
    seed: int = Field(
        0, ge=0, lt=2**63, description="Seed of first weights and of category hashes."
    )
    l2: float = Field(0.0, ge=0, le=1e6, description="Pull of each weight that moves to zero.")
    l2_init: float = Field(
        0.0, ge=0, le=1e6, description="Pull of each weight that moves to its first value."
    )
    ewc: EwcSettings | None = Field(
        None, description="Hold weights that mattered (elastic weight consolidation); null: no."
    )
    freeze: tuple[str, ...] = Field(
        (),
        description="Weights that stay as they are, by names or patterns as in hidden/*. See "
        "docs/strategies.md for the names.",
    )
    trunk_every: int = Field(
        1,
        ge=1,
        description="Rows for one step of the weights that all targets share, in rows; each "
        "target's own move with every row.",
    )
    safe_steps: bool = Field(
        False,
        description="With sgd: steps that do not overshoot a label, whatever rate and weight.",
    )
    average: AverageSettings | None = Field(
        None, description="Keep a running mean of the weights, and predict from it; null: no."
    )
    replay: ReplaySettings | None = Field(
        None, description="Learn old events again among new ones; null: no."
    )
    agem: AgemSettings | None = Field(
        None, description="Bend steps that contradict old events (A-GEM); null: no."
    )
