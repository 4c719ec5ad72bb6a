"""Look at the topics from time to time: new partitions, retention, topics made anew or gone.

Asks without waiting (Broker.survey); `poll` is called often and is cheap. Knows nothing of
records. A topic must be missing at every look for three seconds to count as gone, since metadata
may be stale while brokers come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from service.errors import BrokerAway
from service.stream.broker import Broker, Survey, TopicSurvey
from service.stream.records import TP, DataLoss, Loss, Offsets, PartitionAdded

_GONE_AFTER_S = 3.0
_GONE_LOOK_S = 0.3
PROOF_S = 2.0
"""Longest that a record waits for the look that proves its topic. Time in which nobody polls does not
count, where that is long: see `_STALL_S`."""
_STALL_S = 1.5
"""So long between two polls, and the process was stopped, or the machine: it could not ask."""
_ANSWER_S = 10.0
_BETWEEN_S = 0.25
"""From the beginning of a look to the next one: many partitions ask for one look together."""


class Watch:
    """What was last seen of the topics. `topic_ids` are adopted when first seen."""

    def __init__(
        self,
        broker: Broker,
        topics: Sequence[str],
        topic_ids: Mapping[str, str | None],
        every_s: float,
    ) -> None:
        self.topic_ids: dict[str, str | None] = {t: topic_ids.get(t) for t in topics}
        self.lows: Offsets = {}
        self.highs: Offsets = {}
        self.failures = 0
        self.answers = True
        """Whether the broker answered when it was last asked."""
        self._broker = broker
        self._topics = list(topics)
        self._every_s = every_s
        self._due_s = float("-inf")
        self._pending: Callable[[float], Survey | None] | None = None
        self._missing_s: dict[str, float] = {}
        self.proven = 0
        """The number of the last look that was answered."""
        self.lost_s = 0.0
        """How long in all nobody could poll."""
        self._polled_s = float("-inf")
        self._begun = self._wanted = 0
        self._begun_s = self._asked_s = float("-inf")

    @property
    def proof(self) -> tuple[int, float]:
        """The last look that was answered, and for how long in all nobody could poll."""
        return self.proven, self.lost_s

    def prove(self, now_s: float) -> int:
        """Want one more look: what came just now may be of another topic of that name.

        Returns its number. One under way does not count, since it began before the record came.
        """
        self._wanted, self._asked_s = self._begun + 1, now_s - self.lost_s
        if self._pending is None:
            self.hurry()
        return self._wanted

    def hurry(self) -> None:
        """Look again at the next poll."""
        self._due_s = float("-inf")

    def wait_s(self, now_s: float) -> float:
        """How long until a poll may bring something."""
        soon = 0.005 if self._wanted > self.proven else 0.02
        return soon if self._pending else max(0.0, self._next_s - now_s)

    def poll(self, now_s: float, cursors: Offsets) -> list[PartitionAdded | DataLoss]:
        """Return what is new, if anything was seen since the last call."""
        gap_s, self._polled_s = now_s - self._polled_s, now_s
        if _STALL_S < gap_s < float("inf"):
            self.lost_s += gap_s
        if self._pending is None:
            if now_s < self._next_s:
                return []
            self._pending = self._broker.survey(self._topics)
            self._begun, self._begun_s = self._begun + 1, now_s
        try:
            survey = self._pending(0.0)
        except BrokerAway:
            self.failures += 1
            self.answers = False
            self._looked(now_s)
            return []
        if survey is None:
            return []
        self.answers, self.proven = True, self._begun
        self._looked(now_s)
        found: list[PartitionAdded | DataLoss] = []
        for topic, seen in survey.items():
            if self._is_gone(topic, seen, now_s):
                found += self._losses(topic, "topic_missing", seen, cursors)
            elif seen is not None and self._is_another(topic, seen):
                found += self._losses(topic, "recreated", seen, cursors)
            elif seen is not None:
                self._remember(topic, seen)
                found += [
                    PartitionAdded(topic, partition, low)
                    for partition, (low, _) in sorted(seen.watermarks.items())
                    if (topic, partition) not in cursors
                ]
        return found

    def check(self, cursors: Offsets) -> list[DataLoss]:
        """Compare cursors with what the broker has now. Raises BrokerAway if it does not say."""
        survey = self._broker.survey(self._topics)(_ANSWER_S)
        if survey is None:
            raise BrokerAway("Kafka does not say which records it has")
        found: list[DataLoss] = []
        for topic, seen in survey.items():
            if seen is None:
                found += self._losses(topic, "topic_missing", seen, cursors)
            elif self._is_another(topic, seen):
                found += self._losses(topic, "recreated", seen, cursors)
            else:
                self._remember(topic, seen)
                found += _out_of_range(topic, seen, cursors)
        return found

    def accept(self, topic: str) -> None:
        """Take the topic as it is now; its identity is adopted anew."""
        self.topic_ids[topic] = None
        self._missing_s.pop(topic, None)
        self.hurry()

    def _looked(self, now_s: float) -> None:
        self._pending, self._due_s = None, now_s + self._every_s
        if self._wanted > self.proven and now_s - self.lost_s - self._asked_s <= PROOF_S:
            self.hurry()

    @property
    def _next_s(self) -> float:
        return max(self._due_s, self._begun_s + _BETWEEN_S)

    def _is_gone(self, topic: str, seen: TopicSurvey | None, now_s: float) -> bool:
        if seen is not None:
            self._missing_s.pop(topic, None)
            return False
        self._due_s = min(self._due_s, now_s + _GONE_LOOK_S)
        return now_s - self._missing_s.setdefault(topic, now_s) >= _GONE_AFTER_S

    def _is_another(self, topic: str, seen: TopicSurvey) -> bool:
        known = self.topic_ids[topic]
        return known is not None and seen.topic_id is not None and known != seen.topic_id

    def _remember(self, topic: str, seen: TopicSurvey) -> None:
        if self.topic_ids[topic] is None:
            self.topic_ids[topic] = seen.topic_id
        for partition, (low, high) in seen.watermarks.items():
            self.lows[topic, partition], self.highs[topic, partition] = low, high

    def _losses(
        self, topic: str, reason: Loss, seen: TopicSurvey | None, cursors: Offsets
    ) -> Iterator[DataLoss]:
        watermarks = {} if seen is None else seen.watermarks
        for partition, cursor in _of(topic, cursors):
            low, high = watermarks.get(partition, (0, 0))
            yield DataLoss(topic, partition, reason, cursor, low, high)


def loss(partition: TP, wanted: int, watermarks: tuple[int, int]) -> DataLoss:
    """Say why `wanted` cannot be read, given what can."""
    low, high = watermarks
    return DataLoss(*partition, "retention" if wanted < low else "truncated", wanted, low, high)


def _out_of_range(topic: str, seen: TopicSurvey, cursors: Offsets) -> Iterator[DataLoss]:
    for partition, cursor in _of(topic, cursors):
        low, high = seen.watermarks.get(partition, (0, 0))
        if not low <= cursor <= high:
            yield loss((topic, partition), cursor, (low, high))


def _of(topic: str, cursors: Offsets) -> list[tuple[int, int]]:
    return sorted((tp[1], cursor) for tp, cursor in cursors.items() if tp[0] == topic)
