"""Before the first record: wait until the topics exist, and find the offsets to begin at."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from service.errors import BrokerAway, TopicMissing
from service.stream.broker import Broker
from service.stream.records import Offsets


def wait_for_topics(
    broker: Broker,
    topics: Sequence[str],
    stop: Callable[[], bool],
    on_wait: Callable[[str], None],
    pause: Callable[[], None] = lambda: time.sleep(0.5),
    still_here: Callable[[], None] = lambda: None,
) -> bool:
    """Return true as soon as every topic exists, false if `stop` says so before.

    `on_wait` is told what is waited for, each time that it changes. A broker that is away is
    waited for as well: neither is an error of ours. `still_here` is called at every look, so that
    waiting is no hang.
    """
    said = ""
    while not stop():
        still_here()
        reason = _missing(broker, topics)
        if reason is None:
            return True
        if reason != said:
            on_wait(reason)
            said = reason
        pause()
    return False


def resolve_start(broker: Broker, topics: Sequence[str], start: str) -> Offsets:
    """Return where to begin in every partition: earliest, latest, or an ISO time (naive is UTC)."""
    offsets: Offsets = {}
    for topic in topics:
        for partition in broker.partitions(topic):
            place = (topic, partition)
            if start == "earliest":
                offsets[place] = broker.watermarks(place)[0]
            elif start == "latest":
                offsets[place] = broker.watermarks(place)[1]
            else:
                offsets[place] = broker.offset_for_time(place, _moment_ms(start))
    return offsets


def _missing(broker: Broker, topics: Sequence[str]) -> str | None:
    for topic in topics:
        try:
            broker.partitions(topic)
        except TopicMissing:
            return f"topic {topic} does not exist yet"
        except BrokerAway as error:
            return str(error)
    return None


def _moment_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
