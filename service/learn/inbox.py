"""The thread that reads ahead: fetch, cut and decode while the loop learns. Owns the source.

Only this thread touches the Kafka consumer; commits are left with it as a note. What it finds
goes through one bounded queue, in order; an exception of it is raised by `get` in the loop.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

import msgspec
import structlog

from service import crash
from service.errors import BrokerAway, TopicMissing
from service.events.decode import Decoded
from service.learn import suspect
from service.learn.herald import Waiting
from service.stream.records import Cut, DataLoss, Offsets, PartitionAdded, Record
from service.stream.source import Source

_log = structlog.get_logger(__name__)
_AHEAD = 4
_LAG_EVERY_S = 0.25
_AGAIN_S = 0.25
"""Between two questions to a Kafka that refuses to answer."""
STUCK_S = 120.0
"""A source that was asked for a cut answers within moments; it may ask the cluster meanwhile. Time
counts only as far as `get` looked: a process that was paused has not waited for anything."""
_FAREWELL_S = 60.0


class Ready(msgspec.Struct):
    """A cut, decoded."""

    cut: Cut
    decoded: Decoded


Item = Ready | DataLoss | PartitionAdded
OpenSource = Callable[[Callable[[], bool], Callable[[str], None]], Source | None]
"""(should_stop, told what is waited for) -> a source, None when told to stop."""


class Inbox:
    """Reads ahead of the loop, at most four cuts. `close` stops the thread and the source."""

    def __init__(
        self,
        open_source: OpenSource,
        decode: Callable[[Sequence[Record]], Decoded],
        poll_s: float = 0.05,
        in_hand: suspect.InHand | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.source: Source | None = None
        self._open_source = open_source
        self.lag: dict[tuple[str, int], int] = {}
        self.away: str | None = None
        """Why nothing comes, where that is not for want of records."""
        self.seconds: dict[str, float] = {"poll": 0.0, "decode": 0.0}
        self._decode = decode
        self._poll_s = poll_s
        self._in_hand = in_hand
        self._clock = clock
        self._before: Offsets = {}
        self._items: queue.Queue[Item | BaseException] = queue.Queue(_AHEAD)
        self._commit: Offsets | None = None
        self._waiting = Waiting(clock)
        self._asked_s: float | None = None
        """Since when the source is asked for a cut; None while it is not."""
        self._looked: tuple[float | None, float] = (None, 0.0)
        """Which question `get` saw open when it last looked, and when that was."""
        self._silent_s = 0.0
        self._hangs = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def get(self, timeout_s: float) -> Item | None:
        """Return the next item, None when nothing came in time. Raises what the thread raised, and
        BrokerAway when it hangs in the Kafka client."""
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            if self._is_stuck(timeout_s):
                self._hangs = True
                raise BrokerAway(
                    f"the Kafka client has not come back for {STUCK_S:g} s, as it does when the "
                    "clock was set back; only another process helps"
                ) from None
            return None
        if isinstance(item, BaseException):
            raise item
        return item

    def commit(self, offsets: Offsets) -> None:
        """Have these offsets committed soon, for lag tools; failures only count."""
        self._commit = offsets

    def close(self) -> None:
        """Stop reading. Items not taken are forgotten: the cursors of the learner count. A thread
        that hangs in the Kafka client is left behind: it hands over nothing any more."""
        self._stop.set()
        give_up_s = time.monotonic() + (0.0 if self._hangs else _FAREWELL_S)
        while self._thread.is_alive():
            if time.monotonic() > give_up_s:
                _log.error("source_left_behind", why="the Kafka client does not come back")
                return
            try:
                self._items.get(timeout=0.02)
            except queue.Empty:
                continue
        self._thread.join()

    def _is_stuck(self, timeout_s: float) -> bool:
        """Add up for how long one question is open; a gap between two looks counts as two waits."""
        asked_s, now_s = self._asked_s, self._clock()
        asked_before_s, looked_s = self._looked
        self._looked = (asked_s, now_s)
        if asked_s is None or asked_s != asked_before_s:
            self._silent_s = 0.0
            return False
        self._silent_s += min(now_s - looked_s, 2 * timeout_s)
        return self._silent_s > STUCK_S

    def _run(self) -> None:
        try:
            source = self._open_source(self._stop.is_set, self._wait_for)
            if source is not None:
                self.source = source
                self._read(source)
        except BaseException as error:  # noqa: BLE001 - raised again, in the loop's thread
            self._put(error)
        finally:
            if self.source is not None:
                self._commit_noted(self.source)
                self.source.close()

    def _read(self, source: Source) -> None:
        """Hand over cuts until told to stop, or until something is lost: that needs a decision."""
        lost, lag_due = self._lost(source), time.monotonic()
        self._before = dict(source.cursors)
        while not lost and not self._stop.is_set():
            self._asked_s = began = time.monotonic()
            found = source.next_cut(self._poll_s)
            self._asked_s, polled = None, time.monotonic()
            if self._stop.is_set():
                return
            self.seconds["poll"] += polled - began
            self._commit_noted(source)
            if polled >= lag_due:
                self.lag = source.lag()
                self._hear(source)
                lag_due = polled + _LAG_EVERY_S
            if isinstance(found, Cut):
                crash.point("after_poll")
                decoded = self._decode_in_hand(found)
                self.seconds["decode"] += time.monotonic() - polled
                crash.point("after_decode")
                self._put(Ready(found, decoded))
            elif found is not None:
                self._put(found)
                lost = isinstance(found, DataLoss)

    def _decode_in_hand(self, cut: Cut) -> Decoded:
        """Decode a cut; should the process die of it, its file says of what."""
        if self._in_hand is None:
            return self._decode(cut.records)
        self._in_hand.hold(
            suspect.DECODING, "live", suspect.between(self._before, cut.next_offsets)
        )
        self._before.update(cut.next_offsets)
        decoded = self._decode(cut.records)
        self._in_hand.release(suspect.DECODING)
        return decoded

    def _wait_for(self, why: str) -> None:
        self._waiting.tell(why)
        self.away = why

    def _commit_noted(self, source: Source) -> None:
        offsets, self._commit = self._commit, None
        if offsets is not None:
            source.commit(offsets)
            crash.point("after_commit")

    def _hear(self, source: Source) -> None:
        """Say so where Kafka is away, and when it is back."""
        if not source.answers:
            self._wait_for("Kafka does not answer")
        else:
            self._waiting.over()
            self.away = None

    def _lost(self, source: Source) -> bool:
        """Hand over what is gone already; True if anything is."""
        while not self._stop.is_set():
            try:
                losses = source.check()
            except (BrokerAway, TopicMissing) as error:
                self._wait_for(str(error))
                self._stop.wait(_AGAIN_S)
                continue
            self._waiting.over()
            self.away = None
            for loss in losses:
                self._put(loss)
            return bool(losses)
        return True

    def _put(self, item: Item | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._items.put(item, timeout=0.1)
            except queue.Full:
                continue
            return
