"""`headwater demo-producer`: the demo's clicks, sent without end to the Kafka of the settings.

For a service that runs elsewhere, in containers for example: it only produces. The taste of those
who click changes at once every so often, so that one sees the model follow.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption
from service.cli.side_door import settings_of

if TYPE_CHECKING:
    from service.settings import Settings
    from service.stream.broker import Outgoing
    from service.stream.kafka import KafkaBroker

_TELL_S = 10.0


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
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the demo's clicks to the first topic of the settings until stopped (Ctrl-C, SIGTERM)."""
    from service import logs
    from service.stream.publishing import Sent, publish

    logs.configure("demo-producer")
    found = settings_of(path, set_)
    topic, stop = found.kafka.topics[0], threading.Event()
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

    try:
        publish(producer, _clicks(topic, rate, change_s, for_s, stop), rate, sent, progress)
    finally:
        producer.close()
        broker.close()
    if as_json:
        ended = {"topic": topic, "sent": sent.sent, "acknowledged": sent.acknowledged}
        typer.echo(json.dumps(ended))
    else:
        _say(f"ended: {sent.sent:,} sent, {sent.acknowledged:,} acknowledged")
    if sent.acknowledged < sent.sent:
        _say(f"headwater: {sent.sent - sent.acknowledged} were not acknowledged: {sent.reason}")
        raise typer.Exit(1)


def _clicks(
    topic: str, rate: int, change_s: float, for_s: float | None, stop: threading.Event
) -> Iterator[Outgoing]:
    """Draw messages until told to stop."""
    import msgspec

    from service.cli.demo_stream import Clicks
    from service.stream.broker import Outgoing

    clicks, began, taste = Clicks(change_s, seed=time.time_ns()), time.monotonic(), 0
    while not stop.is_set():
        elapsed = time.monotonic() - began
        if for_s is not None and elapsed >= for_s:
            return
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
