"""The embedded broker: starts alone, is found, keeps its records, leaves nothing behind."""

from __future__ import annotations

import importlib.resources
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.errors import BadSettings, BrokerAway, Locked
from service.stream.broker import Outgoing
from service.stream.embedded import EmbeddedBroker, address
from service.stream.kafka import KafkaBroker
from tests.processes import PATIENCE_S, until


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(autouse=True)
def _installed() -> None:
    pytest.importorskip("noida_db", reason="the extra `embedded` is not installed")


def test_it_answers_when_it_is_there(tmp_path: Path) -> None:
    """
    No waiting afterwards: a topic can be created at once.
    """
    with EmbeddedBroker(tmp_path) as broker:
        kafka = KafkaBroker(broker.bootstrap_servers, name="t")
        kafka.create_topic("t", 3)

        assert [0, 1, 2] == kafka.partitions("t")
        kafka.close()
    assert not answers(broker.port)


def test_others_find_it_by_the_runtime_directory(tmp_path: Path) -> None:
    """
    Its address is in a file while it runs, and gone afterwards.
    """
    runtime = tmp_path / "runtime"
    with EmbeddedBroker(tmp_path / "data", runtime_directory=runtime) as broker:
        assert broker.bootstrap_servers == address(runtime)

    with pytest.raises(BrokerAway, match="headwater run"):
        address(runtime)


def test_a_dead_broker_is_told_from_a_running_one(tmp_path: Path) -> None:
    """
    The file is there, and nobody answers: that is said, with the file's name.
    """
    (tmp_path / "embedded-broker.json").write_text('{"bootstrap_servers":"127.0.0.1:1"}')

    with pytest.raises(BrokerAway, match="does not answer"):
        address(tmp_path)


def test_records_survive_a_restart(tmp_path: Path) -> None:
    """
    What was written is there at the next start.
    """
    with EmbeddedBroker(tmp_path) as broker:
        kafka = KafkaBroker(broker.bootstrap_servers, name="t")
        kafka.create_topic("t", 1)
        producer = kafka.producer()
        producer.send(Outgoing("t", b"x"))
        assert [] == producer.flush(PATIENCE_S)
        producer.close()
        kafka.close()

    with EmbeddedBroker(tmp_path) as broker:
        kafka = KafkaBroker(broker.bootstrap_servers, name="t")
        assert (0, 1) == kafka.watermarks(("t", 0))
        kafka.close()


def test_deleted_records_are_let_go(tmp_path: Path) -> None:
    """
    It has no retention of its own; deleting is how it stays small.
    """
    with EmbeddedBroker(tmp_path) as broker:
        kafka = KafkaBroker(broker.bootstrap_servers, name="t")
        kafka.create_topic("t", 1)
        producer = kafka.producer()
        for _ in range(100):
            producer.send(Outgoing("t", b"x" * 100))
        producer.flush(PATIENCE_S)
        producer.close()

        kafka.delete_records({("t", 0): 90})

        assert (90, 100) == kafka.watermarks(("t", 0))
        kafka.close()


def test_two_do_not_share_a_folder(tmp_path: Path) -> None:
    """
    The second says what is wrong, in the broker's own words; the first goes on.
    """
    with EmbeddedBroker(tmp_path) as broker:
        with pytest.raises(Locked, match="already running: another `headwater run`"):
            EmbeddedBroker(tmp_path)

        assert answers(broker.port)


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    """
    A port that was asked for is not exchanged for another.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()

        with pytest.raises(BrokerAway, match="in use"):
            EmbeddedBroker(tmp_path, port=taken.getsockname()[1])


def test_it_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    """
    kill -9 of the owner leaves no broker behind.
    """
    owner = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\n"
            "from pathlib import Path\n"
            "from service.stream.embedded import EmbeddedBroker\n"
            "print(EmbeddedBroker(Path(sys.argv[1])).port, flush=True)\n"
            "time.sleep(600)\n",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    port = int(owner.stdout.readline())
    assert answers(port)

    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()

    until(lambda: not answers(port))


def test_without_the_extra_it_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The settings ask for something that is not installed.
    """

    def nothing(package: str) -> Path:
        raise ModuleNotFoundError(package)

    monkeypatch.setattr(importlib.resources, "files", nothing)

    with pytest.raises(BadSettings, match=r"headwater\[embedded\]"):
        EmbeddedBroker(tmp_path)
