"""Mistakes that are met at the start, and those that Kafka tells of, each made in a place of its own."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from service.cli import doctor_kafka
from service.learn import warm
from service.serve import learner_door
from service.stream.kafka import KafkaBroker
from service.weights import durable
from service.weights.lock import DirectoryLock
from tests.mistakes import running
from tests.mistakes.conftest import Do, Page, Said, make, picked
from tests.mistakes.mistake import Mistake, changed

Ask = Callable[[Mistake, Callable[[], Said]], None]
FIXTURES = Path(__file__).parent.parent / "fixtures" / "layout-2" / "linear"


def made(
    mistake: Mistake, headwater: Do, folder: Path, *, old: str = "", new: str = ""
) -> tuple[int, str]:
    """Make the mistake; `new` stands for `old` in its settings, and the other way in what is said."""
    assert mistake.settings is not None
    assert old in mistake.settings
    make(mistake, folder, mistake.settings.replace(old, new) if old else None)
    code, said = headwater(mistake.command)
    return code, picked(said.replace(new, old) if old else said, mistake.only)


def test_a_port_that_is_taken(headwater: Do, page: Page, tmp_path: Path) -> None:
    """
    Told before anything is started.
    """
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        make(running.PORT_TAKEN, tmp_path)
        code, said = headwater(running.PORT_TAKEN.command, HEADWATER_API__PORT=port)

    page.holds(running.PORT_TAKEN, (code, said.replace(port, "8080")))


@pytest.mark.parametrize("mistake", [running.RUNTIME_FOLDER, running.STATE_FOLDER])
def test_a_folder_that_cannot_be_made(
    mistake: Mistake, headwater: Do, page: Page, tmp_path: Path
) -> None:
    """
    A file is in its way: as good as a right that is missing, and the same for root.
    """
    make(mistake, tmp_path)
    code, said = headwater(mistake.command, HEADWATER_API__PORT="0")

    page.holds(mistake, (code, said))


def test_a_second_learner(headwater: Do, page: Page, tmp_path: Path) -> None:
    """
    Kept out by the lock, which the first one holds as long as it lives.
    """
    with DirectoryLock.acquire(tmp_path / "state" / "pay"):
        page.holds(running.SECOND_LEARNER, made(running.SECOND_LEARNER, headwater, tmp_path))


def test_a_tmpfs_that_is_too_small(
    headwater: Do, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Found when the live weights are given their room, not when they are written to.
    """

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)

    page.holds(running.SMALL_TMPFS, made(running.SMALL_TMPFS, headwater, tmp_path))


def test_a_disk_that_is_full(
    headwater: Do, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The first thing that is written to the state directory finds no room.
    """

    create = durable.create

    def full(path: Path) -> int:
        if path.is_relative_to(tmp_path / "state"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return create(path)

    monkeypatch.setattr(durable, "create", full)

    page.holds(running.FULL_DISK, made(running.FULL_DISK, headwater, tmp_path))


def test_the_state_of_another_model(
    headwater: Do, page: Page, tmp_path: Path, embedded_bootstrap: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """
    A state directory that somebody copied, or a name that was given to another model: refused before
    anything is learned (so nothing has to be compiled for it here).
    """
    monkeypatch.setattr(warm, "compile_passes", lambda _: None)
    state = tmp_path / "state" / "pay"
    state.mkdir(parents=True)
    for name in ("journal", "snapshots"):
        shutil.copytree(FIXTURES / name, state / name)

    page.holds(
        running.OTHER_MODEL,
        made(
            running.OTHER_MODEL, headwater, tmp_path, old="localhost:9092", new=embedded_bootstrap
        ),
    )


@pytest.fixture
def patient(page: Page, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Ask a Kafka that does not answer; longer where the machine was too busy to hear why."""

    def ask(mistake: Mistake, once: Callable[[], Said]) -> None:
        seconds, ended = 0.5, (0, "")
        while not page.knows(mistake, ended) and seconds < 30.0:
            monkeypatch.setattr(doctor_kafka, "ANSWER_S", seconds)
            ended, seconds = once(), 6 * seconds
        page.holds(mistake, ended)

    return ask


def test_nobody_listens(headwater: Do, patient: Ask, tmp_path: Path) -> None:
    """
    A port that nobody has.
    """
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{unheard.getsockname()[1]}"
        make(running.BROKER_DOWN, tmp_path, changed("localhost:9092", place))

        def once() -> Said:
            code, said = headwater(running.BROKER_DOWN.command)
            assert "[thrd:" not in said  # librdkafka's own words
            return code, picked(said.replace(place, "localhost:9092"), running.BROKER_DOWN.only)

        patient(running.BROKER_DOWN, once)


def test_a_host_that_is_not_known(headwater: Do, patient: Ask, tmp_path: Path) -> None:
    """
    A name that no host may have, so that no resolver has to be asked, which might be away here.
    """
    mistake = running.NO_SUCH_HOST

    patient(mistake, lambda: made(mistake, headwater, tmp_path, old="kafak", new="k" * 70))


def test_tls_to_a_listener_that_has_none(
    headwater: Do, patient: Ask, tmp_path: Path, embedded_bootstrap: str
) -> None:
    """
    The listener hangs up.
    """
    mistake, here = running.TLS_TO_PLAIN, embedded_bootstrap

    patient(mistake, lambda: made(mistake, headwater, tmp_path, old="localhost:9092", new=here))


class Elsewhere:
    """Passes on what is sent to a broker, and in its replies names another host for it."""

    def __init__(self, broker: str, host: bytes) -> None:
        self._there, _, port = broker.partition(":")
        assert len(self._there) == len(host), "lengths stand before names"
        self._port, self._host = int(port), host
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.bootstrap_servers = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            broker = socket.create_connection((self._there, self._port))
            for source, sink, named in ((client, broker, False), (broker, client, True)):
                threading.Thread(target=self._pass, args=(source, sink, named), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, named: bool) -> None:
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data.replace(self._there.encode(), self._host) if named else data)
        except OSError:
            return
        finally:
            sink.close()


@pytest.fixture
def elsewhere(embedded_bootstrap: str) -> Iterator[str]:
    """Address of a broker that says that it is to be reached where it does not listen."""
    passes = Elsewhere(embedded_bootstrap, b"127.0.0.9")
    yield passes.bootstrap_servers
    passes.close()


def test_a_listener_that_is_advertised_elsewhere(
    headwater: Do, patient: Ask, tmp_path: Path, elsewhere: str, embedded_bootstrap: str
) -> None:
    """
    The first connection works, the one to the address that the broker names does not: there nobody
    listens.
    """
    mistake, own = running.ADVERTISED, embedded_bootstrap.partition(":")[2]

    def once() -> Said:
        code, said = made(mistake, headwater, tmp_path, old="localhost:9092", new=elsewhere)
        return code, said.replace("127.0.0.9", "172.18.0.2").replace(own, "9092")

    patient(mistake, once)


@pytest.fixture
def topic(embedded_bootstrap: str) -> str:
    """A topic that has nothing in it."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    broker = KafkaBroker(embedded_bootstrap, name="mistakes")
    broker.create_topic(name, 1)
    broker.close()
    return name


def _publish(bootstrap: str, topic: str, *events: dict[str, object]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for event in events:
        producer.produce(topic, json.dumps(event))
    assert 0 == producer.flush(30)


def test_a_topic_that_is_not_there(
    headwater: Do, page: Page, tmp_path: Path, embedded_bootstrap: str
) -> None:
    """
    With the command that makes it.
    """
    page.holds(
        running.TOPIC_MISSING,
        made(
            running.TOPIC_MISSING, headwater, tmp_path,
            old="localhost:9092", new=embedded_bootstrap,
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("mistake", "event"),
    [
        (running.NO_LABEL, {"amount": 12.5, "merchant": "m17", "fraud": 0}),
        (running.SECONDS, {"amount": 12.5, "is_fraud": 0, "at": 1_700_000_000}),
    ],
)
def test_events_that_do_not_fit(
    mistake: Mistake, event: dict[str, object], headwater: Do, page: Page, tmp_path: Path,
    embedded_bootstrap: str, topic: str, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """
    The newest events are looked at.
    """
    _publish(embedded_bootstrap, topic, event, event)
    monkeypatch.setenv("HEADWATER_KAFKA__TOPICS", topic)
    code, said = made(mistake, headwater, tmp_path, old="localhost:9092", new=embedded_bootstrap)

    page.holds(mistake, (code, said.replace(topic, "payments")))


def test_publish_warns_of_a_time_in_another_unit(
    headwater: Do, tmp_path: Path, embedded_bootstrap: str, topic: str
) -> None:
    """
    Kafka's retention would go by it.
    """
    (tmp_path / "events.jsonl").write_text('{"amount": 12.5, "is_fraud": 0, "at": 1700000000}\n')
    settings = running.SECONDS.settings
    assert settings is not None
    make(running.SECONDS, tmp_path, settings.replace("localhost:9092", embedded_bootstrap))
    code, said = headwater("headwater publish events.jsonl", HEADWATER_KAFKA__TOPICS=topic)

    assert 0 == code
    assert (
        "warning: the first event is of 1970-01-20, as at is read (ms): is it in another unit? See "
        "event.time.format." in said
    )


def test_status_says_why_nothing_is_learned(
    headwater: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Every event was filtered, since none had a label; and no word of it once something is learned.
    """
    told = {
        "state": "idle", "uptime_seconds": 1.0, "events_learned": 0,
        "outcomes": {"filtered/unlabelled": 4200},
    }  # fmt: skip
    monkeypatch.setattr(learner_door, "status", lambda _: told)
    make(running.NO_LABEL, tmp_path)
    hint = "nothing is learned: none of 4,200 events had a label in is_fraud"

    assert hint in headwater("headwater status")[1]
    told["events_learned"] = 1
    assert hint not in headwater("headwater status")[1]


@pytest.mark.kafka
@pytest.mark.parametrize("mistake", running.SASL, ids=[one.what for one in running.SASL])
def test_a_kafka_that_lets_nobody_in(
    mistake: Mistake, headwater: Do, patient: Ask, tmp_path: Path, kafka_sasl_bootstrap: str
) -> None:
    """
    Told in the words of the broker, with the setting that is to be mended.
    """
    there = kafka_sasl_bootstrap

    patient(mistake, lambda: made(mistake, headwater, tmp_path, old="localhost:9092", new=there))
