"""What the API answers, typed. Members that a newer service adds are ignored. Knows no HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

Figures = dict[str, float | None]
"""Scores by name; None where one is not defined yet."""
Offsets = dict[str, dict[str, int]]
"""Per topic and partition, the first offset that is not in the weights."""
Prediction = dict[str, float | dict[str, float]]
"""Of each target: a probability or a value; of a multiclass target the probability by class."""
Interval = dict[str, tuple[float, float] | None]
"""Of each number target: from and to; None where too little is known yet."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a reply was computed from."""

    name: str
    version: int
    lineage: str
    events_learned: int
    age_seconds: float
    """Now minus its publish time, in seconds."""
    stale: bool
    """It is known to be behind the topic, or nobody can tell."""
    trained_through: Offsets = {}
    """Empty where the reply was asked to be brief."""
    answered_by: str | None = None
    """Name of the model that answered, `main` or a challenger; None where there are no challengers."""


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """One prediction per event, in their order, all of one version."""

    predictions: list[Prediction]
    model: Model
    ranking: list[int] | None = None
    """With `top`: where each prediction stood in the request, counted from 0."""
    intervals: list[Interval] | None = None
    """With `intervals`: of each prediction, where the numbers lie."""


class Learner(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner says of itself; `down` is what its silence says."""

    state: str
    """restoring, replaying, learning, idle, paused, frozen, halted or down."""
    reason: str | None = None
    heartbeat_age_seconds: float | None = None
    lag_records: int | None = None
    progress: float | None = None
    """Share of a replay that is done, 0 to 1."""


class TargetReport(msgspec.Struct, frozen=True, kw_only=True):
    """How well one target was predicted, each event before it was learned."""

    type: str
    scored: int = 0
    metrics: Figures = {}
    """Of every scored event."""
    fading: Figures = {}
    """As `metrics`; each event weighs 0.999 for each one after it."""
    baselines: dict[str, Figures] = {}
    fading_baselines: dict[str, Figures] = {}
    held_out: dict[str, Any] | None = None
    intervals: Figures = {}
    """Of a number target, by level: share of recent labels inside the interval told before each."""


class ModelReport(Model, frozen=True, kw_only=True):
    """GET /v1/model: the version, its scores, the learner behind it."""

    targets: dict[str, TargetReport]
    learner: Learner
    layout: str
    published_at: str
    event_time: str | None = None
    learning_rate: float | None = None
    digest: dict[str, str] | None = None
    """The sha256 of each part of the state, where it was asked for."""
    challengers: dict[str, Any] = {}
    """How each model does, by name; empty where there are no challengers."""


class Schemas(msgspec.Struct, frozen=True):
    """JSON Schemas (draft 2020-12) of an event and of a prediction."""

    event: dict[str, Any]
    prediction: dict[str, Any]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether predictions can be had, and what is wrong if not."""

    alive: bool
    """Something answers there."""
    ready: bool
    """There are weights to answer from."""
    version: int | None = None
    degraded: list[str] = []
    """What is not as it should be although predictions are given, in words."""
    detail: str = ""
    """Why it is not alive or not ready, in words."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the learner does, also before there are weights."""

    learner: Learner
    model: Model | None = None
    """The version that answers; None before there is one."""


class Fault(msgspec.Struct, frozen=True):
    """One thing wrong in a request."""

    loc: list[str | int]
    """Where: ["events", 3, "amount"]."""
    code: str
    msg: str
