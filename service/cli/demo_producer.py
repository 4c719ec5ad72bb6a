"""`headwater demo-producer`: the demo's clicks, sent without end to the Kafka of the settings.

For a service that runs elsewhere, in containers for example: it only produces. The taste of those
who click changes at once every so often, so that one sees the model follow.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import settings_of

if TYPE_CHECKING:
    from service.settings import Settings
    from service.stream.broker import Outgoing
    from service.stream.kafka import KafkaBroker

_TELL_S = 10.0
_FLUSH_S = 5.0
"""How long an end waits for a Kafka that acknowledges nothing."""
_MOST_WAITING = 20_000
"""Messages that may wait for a Kafka that takes none; beyond, no more are made."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo_producer)


def demo_producer(
    path: ConfigOption = None,
    rate: Annotated[int, typer.Option(min=1, max=50_000, help="Events per second.")] = 1000,
    change_s: Annotated[
        float, typer.Option("--change", min=1.0, metavar="S", help="Between changes of taste.")
    ] = 120.0,
    for_s: Annotated[
        float | None,
        typer.Option("--for", min=0.1, metavar="S", help="Stop after so long.", show_default=False),
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(help="Another topic than the first of the settings.", show_default=False),
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the demo's clicks to the first topic of the settings until stopped (Ctrl-C, SIGTERM).

    Refused where the settings are not made for clicks: they would spoil somebody's topic.
    """
    from service import logs
    from service.stream.publishing import Sent, publish

    logs.configure("demo-producer")
    found = settings_of(path, set_)
    topic, stop = _fit(found, topic), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    broker = _broker(found)
    _have(broker, topic)
    producer, sent, told = broker.producer(), Sent(), time.monotonic()
    _say(f"sending {rate:,} clicks a second to {topic} at {found.kafka.bootstrap_servers}")

    def progress(_: int) -> None:
        nonlocal told
        if time.monotonic() - told > _TELL_S:
            told = time.monotonic()
            _say(f"{sent.sent:,} sent, {sent.acknowledged:,} acknowledged")

    def waiting() -> int:
        sent.count(producer.flush(0.0))  # it learns of acknowledgements only when asked
        return producer.waiting()

    clicks = _clicks(topic, rate, change_s, for_s, stop, waiting)
    try:
        publish(producer, clicks, rate, sent, progress, _FLUSH_S)
    finally:
        producer.close()
        broker.close()
    if as_json:
        ended = {"topic": topic, "sent": sent.sent, "acknowledged": sent.acknowledged}
        typer.echo(json.dumps(ended))
    else:
        _say(f"ended: {sent.sent:,} sent to {topic}, {sent.acknowledged:,} acknowledged")
    if sent.acknowledged < sent.sent:
        why = sent.reason or f"Kafka acknowledged nothing for {_FLUSH_S:g} s"
        _say(f"headwater: {sent.sent - sent.acknowledged:,} were not delivered: {why}")
        raise typer.Exit(1)


def _fit(found: Settings, topic: str | None) -> str:
    """Return the topic to send to; refuse one that is not learned from, or for other events."""
    from service.cli.demo_stream import SETTINGS
    from service.errors import BadSettings, Problem

    topics, event = found.kafka.topics, SETTINGS["event"]
    if topic is not None and topic not in topics:
        known = ", ".join(topics)
        raise typer.BadParameter(
            f"{topic!r} is not learned from; kafka.topics has {known}", param_hint="--topic"
        )
    problems = []
    for part, mine in (("features", found.event.features), ("targets", found.event.targets)):
        for name, one in mine.items():
            kind = event[part].get(name, {}).get("type")
            if kind != one.type:
                said = "none" if kind is None else f"one of type {kind}"
                problems.append(
                    Problem(
                        f"event.{part}.{name}", None,
                        f"is of type {one.type}, and the demo's clicks have {said}",
                        "demo-producer is for settings like those of the demo; `headwater publish` "
                        "sends events of yours.",
                    )
                )  # fmt: skip
    if problems:
        raise BadSettings(problems)
    return topic or topics[0]


def _clicks(
    topic: str,
    rate: int,
    change_s: float,
    for_s: float | None,
    stop: threading.Event,
    waiting: Callable[[], int],
) -> Iterator[Outgoing]:
    """Draw messages until told to stop; none while too many wait for Kafka."""
    import msgspec

    from service.cli.demo_stream import Clicks
    from service.stream.broker import Outgoing

    clicks, began, taste = Clicks(change_s, seed=time.time_ns()), time.monotonic(), 0
    while not stop.is_set():
        elapsed = time.monotonic() - began
        if for_s is not None and elapsed >= for_s:
            return
        if waiting() > _MOST_WAITING:
            _say(f"Kafka takes no messages: {waiting():,} wait, and no more are made meanwhile")
            while waiting() > _MOST_WAITING // 2 and not stop.wait(0.1):
                if for_s is not None and time.monotonic() - began >= for_s:
                    return
            continue
        for one in clicks.draw(max(1, rate // 20), elapsed):
            value = msgspec.json.encode(one.features | {"click": one.click})
            yield Outgoing(topic, value, timestamp_ms=time.time_ns() // 1_000_000)
        if clicks.taste != taste:
            taste = clicks.taste
            _say("the taste just changed: what people click is drawn anew")


def _broker(found: Settings) -> KafkaBroker:
    from service import settings
    from service.stream.embedded import address
    from service.stream.kafka import KafkaBroker

    servers = found.kafka.bootstrap_servers
    if servers == "embedded":
        servers = address(settings.runtime_directory(found))
    return KafkaBroker(servers, name=found.name, client=found.kafka.client)


def _have(broker: KafkaBroker, topic: str) -> None:
    """Create the topic if it is missing."""
    from service.errors import TopicMissing

    try:
        broker.partitions(topic)
    except TopicMissing:
        broker.create_topic(topic, 1)
        _say(f"topic {topic} created, partitions: 1")


def _say(text: str) -> None:
    typer.echo(text, err=True)
