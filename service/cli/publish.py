"""`headwater publish`: send the events of a file to the topic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.cli.options import ConfigOption, JsonOption, SetOption, overrides

if TYPE_CHECKING:
    from service.settings import Settings
    from service.stream.broker import Outgoing
    from service.stream.kafka import KafkaBroker
    from service.stream.publishing import Messages, Sent

_DAY_MS = 86_400_000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(publish)


def publish(
    file: Annotated[
        Path,
        typer.Argument(
            help="csv, csv.gz, jsonl, jsonl.gz or parquet, oldest event first; - is jsonl on "
            "stdin. Lines of jsonl are sent as they are.",
            show_default=False,
        ),
    ],
    path: ConfigOption = None,
    rate: Annotated[
        float | None,
        typer.Option(min=0.001, help="Most events a second.", show_default=False),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most events to send.", show_default=False)
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Begin again at the end, for ever.")] = False,
    topic: Annotated[
        str | None,
        typer.Option(help="Another topic than the first of the settings.", show_default=False),
    ] = None,
    partitions: Annotated[
        int, typer.Option(min=1, help="Partitions of the topic, if it must be created.")
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")] = False,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the events of a file to Kafka; ends with what was sent and acknowledged."""
    from service import logs, settings
    from service.cli.progress import bar
    from service.stream.files import STDIN, count_rows, kind_of
    from service.stream.publishing import Messages, Sent
    from service.stream.publishing import publish as send

    if loop and file == STDIN:
        raise typer.BadParameter("stdin cannot be read again", param_hint="--loop")
    kind_of(file)
    logs.configure("publish")
    found = settings.load(path, overrides(set_))
    say = _nothing if quiet else _say
    expected = None if loop and limit is None else count_rows([file], limit)
    broker = _broker(found)
    name = topic or found.kafka.topics[0]
    spread = _topic(broker, name, partitions, say)
    messages = Messages(found.event, name, spread)
    producer, sent, began = broker.producer(), Sent(), time.monotonic()
    made = _made(messages, found.event.columns, file, limit, loop=loop)
    if not quiet:
        made = _warned(made, broker, name, found)
    try:
        with (
            bar("publishing", expected, "records")
            if not quiet
            else nullcontext(_nothing) as progress
        ):
            send(producer, made, rate, sent, progress)
    finally:
        _tell(name, sent, time.monotonic() - began, as_json=as_json)
        producer.close()
    if sent.acknowledged < sent.sent:
        why = sent.reason or "Kafka did not answer"
        _say(f"headwater: {sent.sent - sent.acknowledged} were not acknowledged: {why}")
        raise typer.Exit(1)


def _broker(found: Settings) -> KafkaBroker:
    from service import settings
    from service.stream.embedded import address
    from service.stream.kafka import KafkaBroker

    servers = found.kafka.bootstrap_servers
    if servers == "embedded":
        servers = address(settings.runtime_directory(found))
    return KafkaBroker(servers, name=found.name, client=found.kafka.client)


def _topic(broker: KafkaBroker, topic: str, partitions: int, say: Callable[[str], None]) -> int:
    """Return how many partitions the topic has; create it if it is missing."""
    from service.errors import TopicMissing

    try:
        return len(broker.partitions(topic))
    except TopicMissing:
        broker.create_topic(topic, partitions, {"retention.ms": "-1"})
        say(f"topic {topic} created, partitions: {partitions}; it keeps its records for ever")
        return partitions


def _made(
    messages: Messages, wanted: tuple[str, ...], file: Path, limit: int | None, *, loop: bool
) -> Iterator[Outgoing]:
    from service.stream.files import rows

    done = 0
    while True:
        before = done
        for row in islice(rows(file, wanted), None if limit is None else limit - done):
            yield messages.of(row)
            done += 1
        if not loop or done in (before, limit):
            return
        messages.stamps.again()


def _warned(
    made: Iterator[Outgoing], broker: KafkaBroker, topic: str, found: Settings
) -> Iterator[Outgoing]:
    """Say so when the topic will not keep events as old as the first one, or its time is odd."""
    from service.cli.doctor_events import odd_time
    from service.errors import HeadwaterError

    first = next(made, None)
    if first is None:
        return
    spec = found.event.time
    if spec is not None and (what := odd_time(first.timestamp_ms or 0, spec)) is not None:
        _say(f"warning: the first event is {what} See event.time.format.")
    age_ms = time.time_ns() // 1_000_000 - (first.timestamp_ms or 0)
    try:
        kept = broker.topic_settings(topic)
    except HeadwaterError as error:
        kept = {}
        _say(f"how long topic {topic} keeps its records is not known: {error}")
    kept_ms = int(kept.get("retention.ms", "-1"))
    if 0 <= kept_ms < age_ms and kept.get("message.timestamp.type") != "LogAppendTime":
        _say(
            f"warning: these events are {age_ms / _DAY_MS:,.0f} days old, and topic {topic} keeps "
            f"records for {kept_ms / _DAY_MS:,.0f}: Kafka will delete them soon. "
            "Set its retention.ms to -1 first."
        )
    yield from chain([first], made)


def _tell(topic: str, sent: Sent, seconds: float, *, as_json: bool) -> None:
    if as_json:
        told = {
            "topic": topic,
            "sent": sent.sent,
            "acknowledged": sent.acknowledged,
            "seconds": round(seconds, 3),
        }
        typer.echo(json.dumps(told))
    else:
        typer.echo(
            f"{sent.sent:,} records sent to {topic}, {sent.acknowledged:,} acknowledged, "
            f"{seconds:.1f} seconds"
        )


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _nothing(_: object) -> None:
    """Say nothing, show nothing."""
