"""What a cluster says about topics, asked without waiting: which partitions, then which offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent import futures
from typing import Any

from service.errors import TopicMissing
from service.stream.broker import Survey, TopicSurvey
from service.stream.records import TP

_NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"

Asked = dict[TP, futures.Future[Any]]


class KafkaSurvey:
    """One look at some topics; call it until it is not None."""

    def __init__(
        self,
        described: dict[str, futures.Future[Any]],
        list_ends: Callable[[Sequence[TP]], tuple[Asked, Asked]],
        answer: Callable[[futures.Future[Any]], Any],
    ) -> None:
        """`described`: asked already. `list_ends`: asks for low and high offsets. `answer`: takes
        an answer, in our errors."""
        self._described = described
        self._list_ends = list_ends
        self._answer = answer
        self._topics: dict[str, Any] | None = None
        self._lows: Asked = {}
        self._highs: Asked = {}

    def __call__(self, timeout_s: float) -> Survey | None:
        if self._topics is None:
            if not _all_done(self._described.values(), timeout_s):
                return None
            self._topics = {t: self._found(future) for t, future in self._described.items()}
            partitions = [
                (topic, partition.id)
                for topic, described in self._topics.items()
                if described is not None
                for partition in described.partitions
            ]
            if partitions:
                self._lows, self._highs = self._list_ends(partitions)
        if not _all_done([*self._lows.values(), *self._highs.values()], timeout_s):
            return None
        return {topic: self._seen(topic, found) for topic, found in self._topics.items()}

    def _seen(self, topic: str, described: Any) -> TopicSurvey | None:
        if described is None:
            return None
        try:
            return TopicSurvey(identity(described), self._watermarks(topic))
        except TopicMissing:
            return None  # deleted between the two questions

    def _found(self, future: futures.Future[Any]) -> Any:
        try:
            return self._answer(future)
        except TopicMissing:
            return None

    def _watermarks(self, topic: str) -> dict[int, tuple[int, int]]:
        return {
            tp[1]: (self._answer(low).offset, self._answer(self._highs[tp]).offset)
            for tp, low in self._lows.items()
            if tp[0] == topic
        }


def identity(described: Any) -> str | None:
    """Return the id of a described topic; None on brokers that give it none."""
    text = str(described.topic_id)
    return None if text == _NO_ID else text


def _all_done(asked: Iterable[futures.Future[Any]], timeout_s: float) -> bool:
    return not futures.wait(asked, timeout_s).not_done
