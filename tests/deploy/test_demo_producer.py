"""`headwater demo-producer`: clicks for a service that runs elsewhere."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from service import settings
from service.cli import demo_producer
from service.cli.demo_stream import Clicks
from service.cli.main import app
from service.errors import BadSettings
from service.events.decode import Decoder
from service.events.schema import Schema
from service.stream.broker import Failure, Outgoing
from tests.deploy.files import CHECKOUT, DEPLOY
from tests.e2e.service import Topic, until

CONFIG = DEPLOY / "compose" / "headwater.yaml"


def test_the_settings_of_compose_take_the_clicks() -> None:
    """
    Every click can be used, and all that a click holds is learned from.
    """
    found = settings.load(CONFIG, environment={})
    drawn = Clicks(10.0).draw(200, 0.0)
    values = [msgspec.json.encode(one.features | {"click": one.click}) for one in drawn]
    decoded = Decoder(Schema(found.event), seed=0).decode_records(values)

    assert set(drawn[0].features) - {"id"} <= set(found.event.features)
    assert ([], 200) == (decoded.faults, len(decoded.row))


class Deaf:
    """A Kafka that has the topic, takes every message and acknowledges none."""

    def __init__(self) -> None:
        self.taken = 0

    def partitions(self, topic: str) -> list[int]:
        return [0]

    def producer(self) -> Deaf:
        return self

    def send(self, message: Outgoing) -> None:
        self.taken += 1

    def flush(self, timeout_s: float) -> list[Failure]:
        return []

    def waiting(self) -> int:
        return self.taken

    def close(self) -> None:
        """There is nothing to let go of."""


@pytest.fixture
def produce(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Run the command in this process on a Kafka that acknowledges nothing; signals are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    deaf = Deaf()
    monkeypatch.setattr(demo_producer, "_broker", lambda _: deaf)
    monkeypatch.setattr(demo_producer, "_FLUSH_S", 0.1)

    def run(*given: str) -> Result:
        return CliRunner().invoke(app, ["demo-producer", "--config", str(CONFIG), *given])

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_what_was_not_delivered_is_said_and_not_waited_for(
    produce: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Kafka is away at the end: how many were not delivered, and 1. Nor is a queue filled without end.
    """
    monkeypatch.setattr(demo_producer, "_MOST_WAITING", 100)
    ended = produce("--for", "0.5", "--rate", "2000")
    said = re.search(
        r"ended: (\d+) sent to clicks, 0 acknowledged\n"
        r"headwater: (\d+) were not delivered: Kafka acknowledged nothing for 0.1 s",
        ended.stderr,
    )

    assert 1 == ended.exit_code
    assert said is not None, ended.stderr
    assert said[1] == said[2] == "200"  # two draws of a twentieth of a second
    assert "Kafka takes no messages: 200 wait" in ended.stderr


def test_a_topic_of_others_is_left_alone(produce: Callable[..., Result], tmp_path: Path) -> None:
    """
    One that the settings do not have, and settings that are not made for clicks.
    """
    other = tmp_path / "pay.yaml"
    other.write_text(
        "name: pay\nkafka: {topics: [payments]}\nevent:\n  features: {price: {type: category}}\n"
        "  targets: {is_fraud: {type: binary}}\n"
    )
    topic = produce("--topic", "payments")
    fields = produce("--config", str(other))

    assert (2, True) == (topic.exit_code, "'payments' is not learned from" in topic.stderr)
    assert isinstance(fields.exception, BadSettings)
    assert ["event.features.price", "event.targets.is_fraud"] == [
        problem.path for problem in fields.exception.problems
    ]


@pytest.mark.kafka
def test_clicks_are_sent_until_it_is_stopped(any_bootstrap: str, tmp_path: Path) -> None:
    """
    SIGTERM, as containers are stopped with, ends it with 0 and nothing unacknowledged.
    """
    topic = Topic(any_bootstrap, 2)
    given = ["--rate", "200", "--set", f"kafka.topics={topic.name}"]
    given += [
        "--set",
        f"kafka.bootstrap_servers={any_bootstrap}",
        "--set",
        "kafka.dead_letter_topic=null",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "service", "demo-producer", "--config", str(CONFIG), *given],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: sum(topic.ends().values()) > 100, "a hundred clicks")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=240)
    sent = sum(topic.ends().values())

    assert 0 == process.returncode, said
    assert f"ended: {sent} sent to {topic.name}, {sent} acknowledged" in said
