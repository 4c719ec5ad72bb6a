"""`headwater publish`, the command itself, into brokers that are really there."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from service.stream.records import Record
from tests.stream.labs import KafkaLab, fresh_name, read_to_end

Headwater = Callable[..., subprocess.CompletedProcess[str]]

SETTINGS = """
name: publishing
kafka:
  bootstrap_servers: {servers}
  topics: [{topic}]
event:
  time: {{field: at, format: ms}}
  features:
    n: {{type: number}}
    c: {{type: category}}
  targets:
    y: {{type: number}}
runtime: {{directory: {runtime}}}
"""


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def lab(request: pytest.FixtureRequest) -> KafkaLab:
    found: KafkaLab = request.getfixturevalue(f"{request.param}_lab")
    return found


@pytest.fixture
def topic() -> str:
    return fresh_name()


@pytest.fixture
def config(tmp_path: Path, request: pytest.FixtureRequest, topic: str) -> str:
    """Settings for a fresh topic of the broker that the test uses."""
    servers = "embedded"
    if "lab" in request.fixturenames:
        servers = request.getfixturevalue("lab").bootstrap
    path = tmp_path / "headwater.yaml"
    path.write_text(SETTINGS.format(servers=servers, topic=topic, runtime=tmp_path / "runtime"))
    return str(path)


def stored(lab: KafkaLab, topic: str) -> list[Record]:
    partitions = lab.broker.partitions(topic)
    reader = lab.broker.reader({(topic, partition): 0 for partition in partitions})
    records, _ = read_to_end(lab, reader, len(partitions))
    reader.close()
    return sorted(records, key=lambda record: record.timestamp_ms)


def test_a_csv_is_sent_whole_and_in_order(
    headwater: Headwater, lab: KafkaLab, config: str, topic: str, tmp_path: Path
) -> None:
    """
    The topic is created, every row arrives with its own time, and the last line counts them.
    """
    path = tmp_path / "x.csv.gz"
    lines = [f"{i}.50,c{i},,{1_600_000_000_000 + i}" for i in range(100)]
    path.write_bytes(gzip.compress("\n".join(["n,c,y,at", *lines]).encode()))

    done = headwater("publish", "--config", config, str(path), "--partitions", "4")

    assert 0 == done.returncode, done.stderr
    assert done.stdout.startswith(f"100 records sent to {topic}, 100 acknowledged, ")
    assert f"topic {topic} created, partitions: 4" in done.stderr
    records = stored(lab, topic)
    assert [1_600_000_000_000 + i for i in range(100)] == [r.timestamp_ms for r in records]
    assert b'{"n":7.50,"c":"c7","at":"1600000000007"}' == records[7].value
    assert {0, 1, 2, 3} == {r.partition for r in records}


def test_lines_on_stdin_are_sent_as_they_are(
    headwater: Headwater, lab: KafkaLab, config: str, topic: str, tmp_path: Path
) -> None:
    """
    Malformed ones as well: that is how bad input is tried out.
    """
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"n": 1}\n{broken\n')

    done = headwater("publish", "--config", config, str(path), "--json")

    assert {"topic": topic, "sent": 2, "acknowledged": 2} == {
        k: v for k, v in json.loads(done.stdout).items() if k != "seconds"
    }
    assert [b'{"n": 1}', b"{broken"] == [r.value for r in stored(lab, topic)]


def test_a_limit_and_a_loop_go_together(
    headwater: Headwater, lab: KafkaLab, config: str, topic: str, tmp_path: Path
) -> None:
    """
    A file of two rows, looped to five, with times that go on.
    """
    path = tmp_path / "x.csv"
    path.write_text("n,at\n1,1600000000000\n2,1600000000010\n")

    done = headwater("publish", "--config", config, str(path), "--loop", "--limit", "5", "-q")

    assert (0, "") == (done.returncode, done.stderr)
    assert [0, 10, 11, 21, 22] == [r.timestamp_ms - 1_600_000_000_000 for r in stored(lab, topic)]


@pytest.mark.kafka
def test_events_older_than_retention_are_warned_of(
    headwater: Headwater, kafka_lab: KafkaLab, tmp_path: Path, topic: str
) -> None:
    """
    Kafka goes by a record's timestamp: it would delete such events within minutes.
    """
    config, path = tmp_path / "headwater.yaml", tmp_path / "x.csv"
    config.write_text(SETTINGS.format(servers=kafka_lab.bootstrap, topic=topic, runtime=tmp_path))
    path.write_text("n,at\n1,1000000000000\n")
    kafka_lab.broker.create_topic(topic, 1)

    done = headwater("publish", "--config", str(config), str(path))

    assert "Kafka will delete them soon" in done.stderr


def test_without_a_running_embedded_broker_it_says_what_to_start(
    headwater: Headwater, config: str, tmp_path: Path
) -> None:
    """
    `embedded` means the broker of `headwater run`, which is not running.
    """
    path = tmp_path / "x.csv"
    path.write_text("n\n1\n")

    done = headwater("publish", "--config", config, str(path))

    assert 1 == done.returncode
    assert "headwater run" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x.txt"], 1, "what is in it?"),
        (["-", "--loop"], 2, "stdin cannot be read again"),
        (["x.csv", "--rate", "0"], 2, "rate"),
    ],
)
def test_wrong_usage_is_explained(
    headwater: Headwater, config: str, arguments: list[str], code: int, said: str
) -> None:
    """
    Before any broker is asked.
    """
    done = headwater("publish", "--config", config, *arguments)

    assert code == done.returncode
    assert said in done.stderr
