"""What the acts and orders of the learner process work with."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from service.learn.burial import Burial
from service.learn.course import Told
from service.learn.inbox import Inbox
from service.learn.keeping import Keeper
from service.learn.learner import Learner, Step
from service.learn.losses import Losses
from service.learn.publishing import Publisher
from service.learn.reach import Progress
from service.learn.shedding import Shedding
from service.learn.suspect import InHand
from service.learn.telemetry import Telemetry
from service.learn.twin.twin import Twin
from service.settings import GuardSettings, KafkaSettings


class Tools(msgspec.Struct):
    """What the acts work with; made and closed by the process."""

    publisher: Publisher
    keeper: Keeper
    burial: Burial
    losses: Losses
    telemetry: Telemetry
    kafka: KafkaSettings
    guard: GuardSettings
    reach: Callable[[int, Progress], Learner]
    """Makes a version again, telling how far it is."""
    tell: Told
    open_inbox: Callable[[Learner], Inbox]
    topic_id: Callable[[str], str | None]
    in_hand: InHand
    twin: Twin
    shedding: Shedding
    exit_on_halt: bool
    should_stop: Callable[[], bool]
    tell_drift: Callable[[Step, str], None] = lambda _step, _lineage: None
    """Says what alarms of drift a journaled cut had."""
    clock: Callable[[], float] = time.monotonic
    """Seconds, for what copies of the guard cost."""
