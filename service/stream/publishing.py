"""From rows to messages: which timestamp, which key, which partition; and sending them in time.

A message's timestamp is its event's own time where it has one that Kafka takes. Otherwise it is one
millisecond after the message before, or the clock if that is later, so that the order of sending
survives being spread over partitions. The key is the event's id; messages without one go to the
partitions in turns.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec

from service.events import values
from service.settings import EventSettings, EventTime, NumberFeature, NumberTarget
from service.stream.broker import Failure, Outgoing, Producer
from service.stream.files import Row, to_json

_AHEAD_MS = 50 * 60_000
"""Brokers refuse timestamps an hour ahead of their clock."""

_TICK_S = 0.001
_SERVE_S = 0.2
_FLUSH_S = 60.0


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Stamps:
    """Timestamps of messages, in order."""

    def __init__(self, spec: EventTime | None, wall_ms: Callable[[], int] = _wall_ms) -> None:
        self._spec = spec
        self._wall_ms = wall_ms
        self._last: int | None = None
        self._first_own: int | None = None
        self._newest_own = 0
        self._shift = 0

    def of(self, event: object) -> int:
        """Return the timestamp of the next message."""
        now = self._wall_ms()
        own = self._own(event)
        if own is not None and 0 <= own + self._shift <= now + _AHEAD_MS:
            self._first_own = own if self._first_own is None else self._first_own
            self._newest_own = max(self._newest_own, own)
            self._last = own + self._shift
        elif self._last is None:
            self._last = now
        elif self._first_own is not None:
            self._last += 1
        else:
            self._last = min(max(self._last + 1, now), now + _AHEAD_MS)
        return self._last

    def again(self) -> None:
        """The same events follow once more: theirs are later times now."""
        if self._first_own is not None:
            self._shift += self._newest_own - self._first_own + 1

    def _own(self, event: object) -> int | None:
        if self._spec is None or not isinstance(event, dict):
            return None
        try:
            return values.time_ms(self._spec, event.get(self._spec.field))
        except values.BadValue:
            return None  # sent all the same: the learner will say what is wrong with it


class Messages:
    """Makes messages of rows."""

    def __init__(self, event: EventSettings, topic: str, partitions: int) -> None:
        self.stamps = Stamps(event.time)
        self._topic = topic
        self._partitions = partitions
        self._id = event.id
        self._numbers = frozenset(
            name
            for name, spec in [*event.features.items(), *event.targets.items()]
            if isinstance(spec, NumberFeature | NumberTarget)
        )
        self._looks_inside = event.time is not None or event.id is not None
        self._turn = 0

    def of(self, row: Row) -> Outgoing:
        """Return the message of a row. Bytes are sent as they are."""
        event = self._event(row)
        key = self._key(event)
        partition = self._turn if key is None else zlib.crc32(key)
        self._turn += 1
        return Outgoing(
            self._topic,
            to_json(row, self._numbers),
            key,
            timestamp_ms=self.stamps.of(event),
            partition=partition % self._partitions,
        )

    def _event(self, row: Row) -> object:
        if isinstance(row, dict) or not self._looks_inside:
            return row
        try:
            return msgspec.json.decode(row)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _key(self, event: object) -> bytes | None:
        if self._id is None or not isinstance(event, dict):
            return None
        try:
            text = values.text(event.get(self._id))
        except values.BadValue:
            return None
        return None if text is None else text.encode()


@dataclass
class Sent:
    """What became of the messages so far."""

    sent: int = 0
    failed: int = 0
    waiting: int = 0
    reason: str = ""

    @property
    def acknowledged(self) -> int:
        return self.sent - self.failed - self.waiting

    def count(self, failures: list[Failure]) -> None:
        if failures and not self.reason:
            self.reason = failures[0].error
        self.failed += len(failures)


def publish(
    producer: Producer,
    messages: Iterable[Outgoing],
    rate: float | None,
    sent: Sent,
    progress: Callable[[int], None],
    patience_s: float = _FLUSH_S,
) -> None:
    """Send messages, at most `rate` a second, and wait until they are acknowledged: as long as
    acknowledgements keep coming, each within `patience_s`.

    `sent` is kept up to date, so it tells the truth after an interruption as well.
    """
    began = served = time.monotonic()
    try:
        for message in messages:
            producer.send(message)
            sent.sent += 1
            now = time.monotonic()
            early = 0.0 if rate is None else began + sent.sent / rate - now
            if early > _TICK_S or now - served > _SERVE_S:
                _settle(producer, sent, 0.0)
                served = now
                progress(sent.sent)
            if early > _TICK_S:
                time.sleep(early)
    finally:
        progress(sent.sent)
        _finish(producer, sent, patience_s)


def _finish(producer: Producer, sent: Sent, patience_s: float) -> None:
    """Wait for acknowledgements as long as they keep coming."""
    _settle(producer, sent, 0.0)
    deadline = time.monotonic() + patience_s
    while sent.waiting and time.monotonic() < deadline:
        before = sent.waiting
        _settle(producer, sent, 0.5)
        if sent.waiting < before:
            deadline = time.monotonic() + patience_s


def _settle(producer: Producer, sent: Sent, timeout_s: float) -> None:
    sent.count(producer.flush(timeout_s))
    sent.waiting = producer.waiting()
