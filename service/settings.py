"""Every setting: its name, type, default, unit and meaning; and `load`, the one door to them.

Defaults stand here (those of events and of the API in _settings) and nowhere else. `load` reads the YAML file, lets the environment and
then `overrides` speak over it, and reports everything that is wrong at once (BadSettings),
each problem with its place and its remedy. Each part of the service is given its own section,
never the whole tree.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from service import crash
from service._settings import doubts as _doubts
from service._settings import environment, reading
from service._settings.adapt import MOST_TIMES, AdaptSettings
from service._settings.api import ApiSettings
from service._settings.challengers import (
    MAIN,
    METRICS,
    MOST,
    ChallengerName,
    ChallengerSettings,
    PromoteSettings,
)
from service._settings.drift import DriftSettings
from service._settings.event import (
    BinaryTarget,
    BooleanFeature,
    CategoriesFeature,
    CategoryFeature,
    EventSettings,
    EventTime,
    Feature,
    MapFeature,
    MulticlassTarget,
    NumberFeature,
    NumberTarget,
    Section,
    TextFeature,
    TimeFeature,
    VectorFeature,
)
from service._settings.experts import ExpertSettings
from service._settings.folders import runtime_root
from service._settings.guard import GuardSettings
from service._settings.learning import LearningSettings
from service._settings.model import ModelSettings
from service._settings.module import EXPERTS, MIXTURES, PretrainedSettings
from service._settings.values import (
    Name,
    ScalarText,
    Servers,
    Start,
    Topic,
    Topics,
    start_moment,
)
from service.errors import Problem
from service.redact import redacted

__all__ = [
    "EXPERTS",
    "MAIN",
    "METRICS",
    "MIXTURES",
    "MOST_TIMES",
    "AdaptSettings",
    "ApiSettings",
    "BinaryTarget",
    "BooleanFeature",
    "CategoriesFeature",
    "CategoryFeature",
    "ChallengerSettings",
    "DeadLetterLimit",
    "DriftSettings",
    "EventSettings",
    "EventTime",
    "ExpertSettings",
    "Feature",
    "GuardSettings",
    "KafkaSettings",
    "Keep",
    "LearningSettings",
    "MapFeature",
    "ModelSettings",
    "MulticlassTarget",
    "NumberFeature",
    "NumberTarget",
    "PretrainedSettings",
    "PromoteSettings",
    "RuntimeSettings",
    "Section",
    "Settings",
    "SnapshotSettings",
    "StateSettings",
    "TextFeature",
    "TimeFeature",
    "VectorFeature",
    "load",
    "runtime_directory",
    "shown",
    "state_directory",
]


class DeadLetterLimit(Section):
    """When bad events are too many to be bad luck: learning halts, nothing more is drained."""

    consecutive: int = Field(
        100, ge=0, description="Halt after so many bad events in a row, in events; 0: never."
    )
    ratio: float = Field(
        0.5, ge=0, le=1, description="Halt above this share of bad events in a window; 0: never."
    )
    window: int = Field(
        1000, ge=0, description="Events over which the ratio is taken, in events; 0: no ratio."
    )


class KafkaSettings(Section):
    """Where events come from."""

    bootstrap_servers: Servers = Field(
        "localhost:9092",
        description="Brokers as host:port, separated by commas; `embedded` starts a local broker "
        "for development.",
    )
    topics: Topics = Field(
        description="Topics to learn from; every partition of each is read. `topic: x` is "
        "accepted for one."
    )
    start: Start = Field(
        "earliest",
        description="Where to begin when there is no snapshot: earliest, latest, or an ISO time "
        "(UTC unless it says otherwise). Ignored, with a warning, once there is one.",
    )
    on_data_loss: Literal["halt", "skip"] = Field(
        "halt",
        description="What to do when records that were not learned are gone from the topic: halt "
        "and wait for an operator, or skip them (counted and journaled).",
    )
    dead_letter_topic: Topic | None = Field(
        None,
        description="Topic for events that cannot be used, each with its reason; null: such "
        "events are only counted.",
    )
    dead_letter_limit: DeadLetterLimit = Field(
        default_factory=DeadLetterLimit,
        description="How many bad events are too many.",
    )
    client: dict[str, ScalarText] = Field(
        default_factory=dict,
        description="Settings of librdkafka, by their own names. Those that would break a promise "
        "or load code are refused.",
    )
    discovery_seconds: float = Field(
        2.0,
        gt=0,
        le=60,
        description="How often new partitions, and topics made anew, are looked for, in seconds.",
    )
    buffer_records: int = Field(
        50_000,
        ge=1,
        description="Most records held in memory while ordering them by time, in records.",
    )

    @property
    def start_ms(self) -> int | None:
        """`start` in milliseconds since 1970 UTC; None for earliest and latest."""
        moment = start_moment(self.start)
        return None if moment is None else round(moment.timestamp() * 1000)

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show everything but secrets."""
        for name, value in super().__repr_args__():
            yield name, redacted(value)


class StateSettings(Section):
    """Where snapshots and journal are kept."""

    directory: Path = Field(
        Path("./state"),
        description="Folder that holds a folder per model name; a relative one is relative to the "
        "working directory.",
    )


class Keep(Section):
    """Which snapshots are kept; pinned ones always are."""

    last: int = Field(5, ge=1, description="The newest, in snapshots.")
    hourly: int = Field(24, ge=0, description="The first of each hour, for so many hours.")
    daily: int = Field(7, ge=0, description="The first of each day, for so many days.")


class SnapshotSettings(Section):
    """When state goes to disk."""

    every_seconds: float = Field(30.0, gt=0, description="Between two snapshots, in seconds.")
    keep: Keep = Field(default_factory=Keep, description="Which snapshots are kept.")


class RuntimeSettings(Section):
    """What learner and API share while they run."""

    directory: Path | None = Field(
        None,
        description="Folder for live weights, control socket and metrics of this one model. null: "
        "one on a tmpfs where there is one.",
    )
    publish_ms: int = Field(
        10, ge=1, le=60_000, description="Shortest time between two publishes, in milliseconds."
    )
    hang_seconds: float | None = Field(
        60.0,
        ge=1,
        description="`run` kills a learner that gives no sign of life for so long, and starts it "
        "again, in seconds; null: never. Waiting for a disk is no hang for five minutes.",
    )


class Settings(Section):
    """All settings of one model."""

    name: Name = Field(description="Name of the model: in the API, and of its folder of state.")
    kafka: KafkaSettings = Field(description="Where events come from.")
    event: EventSettings = Field(description="What an event is.")
    model: ModelSettings = Field(default_factory=ModelSettings, description="What is learned.")
    learning: LearningSettings = Field(
        default_factory=LearningSettings, description="How it is learned."
    )
    challengers: dict[ChallengerName, ChallengerSettings] = Field(
        default_factory=dict,
        max_length=MOST,
        description="Other models that learn the same events, by name: scored side by side, and "
        "ready to answer (`headwater promote NAME`).",
    )
    promote: PromoteSettings | None = Field(
        None,
        description="When a challenger takes over by itself; null: only when somebody says so.",
    )
    guard: GuardSettings = Field(
        default_factory=GuardSettings, description="What keeps a bad stream from being served."
    )
    drift: DriftSettings = Field(
        default_factory=DriftSettings,
        description="What is done to see, and to answer, that the stream has changed.",
    )
    state: StateSettings = Field(default_factory=StateSettings, description="Where state is kept.")
    snapshots: SnapshotSettings = Field(
        default_factory=SnapshotSettings, description="When state goes to disk."
    )
    runtime: RuntimeSettings = Field(
        default_factory=RuntimeSettings, description="What processes share."
    )
    api: ApiSettings = Field(default_factory=ApiSettings, description="Where answers are given.")


def load(
    path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Read the settings: the file, over it the environment, over that `overrides`.

    The file is `path`, else what HEADWATER_CONFIG names, else ./headwater.yaml. `overrides`
    maps dotted names to values; texts among them are read by the type of the setting. Raises
    BadSettings with every problem that there is.
    """
    environment = os.environ if environment is None else environment
    return reading.read(Settings, path, overrides or {}, environment)


def doubts(settings: Settings) -> list[Problem]:
    """Return what can be used and will seldom do what is wanted, each with what to do."""
    usual, event = settings.learning, settings.event
    found = [
        *_doubts.doubts(event, settings.model, usual),
        *_doubts.of_challengers(event, settings.challengers, usual),
    ]
    return [Problem(".".join(one.where), None, one.msg, one.hint) for one in found]


def crash_point(variables: Mapping[str, str] | None = None) -> crash.Armed | None:
    """Return where a test has this process killed, None in ordinary use; `load` checked it."""
    return environment.crash_point(os.environ if variables is None else variables)


def state_directory(settings: Settings) -> Path:
    """Return the folder of this model's snapshots and journal, absolute."""
    return settings.state.directory.expanduser().resolve() / settings.name


def runtime_directory(settings: Settings) -> Path:
    """Return the folder that this model's processes share while they run. Not made here.

    The one that the settings name; else one of this model's own on a tmpfs, whose name holds a
    hash of the state directory, so that models of one machine never meet in it.
    """
    if settings.runtime.directory is not None:
        return settings.runtime.directory.expanduser().resolve()
    state = str(state_directory(settings)).encode()
    return runtime_root() / f"{settings.name}-{hashlib.sha256(state).hexdigest()[:8]}"


def shown(settings: Settings) -> dict[str, object]:
    """Return the settings in force as plain values, without secrets."""
    tree = redacted(settings.model_dump(mode="json"))
    assert isinstance(tree, dict), "a model dumps to a mapping"
    return tree
