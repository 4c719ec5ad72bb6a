"""A real Headwater to test from outside: real processes, a real broker, HTTP, signals.

Everything waits for a condition with a deadline; nothing sleeps to let time pass.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # two are not in its __all__
    AdminClient,
    NewPartitions,
    NewTopic,
)
from ruamel.yaml import YAML

from tests.processes import PATIENCE_S, free_port, is_alive

CHECKOUT = Path(__file__).parent.parent.parent
ANSWER_S = 60.0
"""How long an answer may take: on a machine that stands still for seconds, some do."""
_PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._ALL_BROKERS_DOWN,
}


def until(look: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Return the first true value of `look`; AssertionError says what never came."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"not within {patience_s:g} s: {what}"
        time.sleep(0.02)
    return found


def answered(ask: Callable[[], Any], what: str) -> Any:
    """Return what a test's own Kafka client is told; a broker that is busy, frozen or no leader yet
    is asked again."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            if not error.args[0].retriable() and error.args[0].code() not in _PASSING:
                raise
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {PATIENCE_S:g} s: {what}") from error


class Topic:
    """A fresh topic on a broker, and what tests do to it."""

    def __init__(
        self, bootstrap: str, partitions: int = 1, name: str | None = None, copies: int = 1,
        settings: dict[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.bootstrap = bootstrap
        self.name = name or f"t-{uuid.uuid4().hex[:10]}"
        self.admin = AdminClient({"bootstrap.servers": bootstrap})
        new = NewTopic(self.name, partitions, copies, config=settings or {})
        made = self.admin.create_topics([new])
        made[self.name].result(PATIENCE_S)
        self.partitions = partitions
        self.sent = 0
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5})
        self._base_ms = time.time_ns() // 1_000_000

    def publish(self, events: Iterable[Any], *, now: bool = False) -> None:
        """Send events round robin, consecutive milliseconds apart; bytes and None as they are."""
        for event in events:
            plain = event is None or isinstance(event, bytes)
            value = event if plain else json.dumps(event).encode()
            stamp = time.time_ns() // 1_000_000 if now else self._base_ms + self.sent
            while True:
                try:
                    self._producer.produce(
                        self.name, value, partition=self.sent % self.partitions, timestamp=stamp
                    )
                except BufferError:
                    self._producer.poll(0.1)
                    continue
                break
            self.sent += 1
        assert 0 == self._producer.flush(PATIENCE_S)

    def grow(self, partitions: int) -> None:
        """Add partitions up to this number."""
        wanted = NewPartitions(self.name, partitions)
        self.admin.create_partitions([wanted])[self.name].result(PATIENCE_S)
        self.partitions = partitions
        until(lambda: len(self.ends()) == partitions, "the new partitions")
        self._producer = Producer({"bootstrap.servers": self.bootstrap, "linger.ms": 5})

    def ends(self) -> dict[str, int]:
        """Return the end offset of each partition."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, "group.id": "look"})
        try:
            return answered(
                lambda: {
                    str(p): consumer.get_watermark_offsets(TopicPartition(self.name, p), 10)[1]
                    for p in range(self.partitions)
                },
                "the ends of the partitions",
            )
        finally:
            consumer.close()

    def delete_before(self, partition: int, offset: int) -> None:
        """Have Kafka delete records, as retention would."""
        place = TopicPartition(self.name, partition, offset)
        for done in self.admin.delete_records([place]).values():
            done.result(PATIENCE_S)

    def read_all(self) -> list[Any]:
        """Return every message of the topic."""
        consumer = Consumer({
            "bootstrap.servers": self.bootstrap, "group.id": "look", "enable.auto.commit": False,
            "enable.partition.eof": True, "auto.offset.reset": "earliest",
        })  # fmt: skip
        consumer.assign([TopicPartition(self.name, p, 0) for p in range(self.partitions)])
        found: list[Any] = []
        ended: set[int | None] = set()

        def all_read() -> bool:
            message = consumer.poll(1.0)
            if message is None:
                return False
            error = message.error()
            if error is None:
                found.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(message.partition())
            elif not error.retriable() and error.code() not in _PASSING:
                raise KafkaException(error)
            return len(ended) == self.partitions

        try:
            until(all_read, f"the ends of {self.name}")
        finally:
            consumer.close()
        return found


class Service:
    """One model's settings in a folder, and the processes started for it."""

    def __init__(self, folder: Path, topic: Topic, **sections: Any) -> None:
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.config = folder / "headwater.yaml"
        self.sections: dict[str, Any] = {
            "name": "tested",
            "kafka": {"bootstrap_servers": topic.bootstrap, "topics": [topic.name]},
            "event": {
                "features": {"x": {"type": "number"}, "c": {"type": "category"}},
                "targets": {"y": {"type": "binary"}},
            },
            "model": {"kind": "linear"},
            "learning": {"linger_ms": 10},
            "state": {"directory": str(folder / "state")},
            "runtime": {"directory": str(folder / "run")},
            "api": {"port": self.port},
        }
        self.change(**sections)
        self._running: list[subprocess.Popen[bytes]] = []

    def change(self, **sections: Any) -> None:
        """Merge sections into the settings file."""
        for name, value in sections.items():
            merged = isinstance(value, dict) and name in self.sections
            self.sections[name] = self.sections[name] | value if merged else value
        with self.config.open("w") as file:
            YAML().dump(self.sections, file)

    def command(
        self, *arguments: str, timeout_s: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of headwater to its end."""
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments], cwd=CHECKOUT, capture_output=True,
            text=True, timeout=timeout_s, check=False,
        )  # fmt: skip

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run a command with --config and --json; return what it printed."""
        done = self.command(*arguments, "--config", str(self.config), "--json")
        assert code == done.returncode, done.stderr
        return json.loads(done.stdout)

    def start(self, command: str = "run", *options: str) -> subprocess.Popen[bytes]:
        """Start `run`, `learner` or `api`; its output goes to a file in the folder."""
        log = (self.folder / f"{command}.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "-m", "service", command, "--config", str(self.config), *options],
            cwd=CHECKOUT, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()
        self._running.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """SIGTERM, wait, return the exit code."""
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def close(self) -> None:
        """Kill what still runs, the whole session of each."""
        for process in self._running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def log(self, command: str = "run") -> str:
        """Return what a process wrote."""
        return (self.folder / f"{command}.log").read_text(errors="replace")

    def get(self, path: str) -> tuple[int, Any]:
        """Return the status and the JSON body; (0, None) when nobody listens."""
        return self._ask(urllib.request.Request(self.url + path))

    def predict(self, *events: dict[str, Any], query: str = "") -> tuple[int, Any]:
        """Ask for predictions."""
        body = json.dumps({"events": list(events)}).encode()
        return self._ask(urllib.request.Request(f"{self.url}/v1/predict{query}", body))

    def model(self, digest: bool = False) -> dict[str, Any] | None:
        """Return /v1/model, None while there are no weights."""
        status, body = self.get("/v1/model" + ("?digest=true" if digest else ""))
        return body if status == 200 else None

    def status(self) -> dict[str, Any]:
        """Return what the learner itself says at the side door, not what was last known of it."""
        deadline = time.monotonic() + PATIENCE_S
        while (status := self.json("status"))["uptime_seconds"] is None:
            assert time.monotonic() < deadline, f"no learner answers; {self._last_words()}"
        return status

    def learner_pid(self) -> int | None:
        """Return the pid in the learner's heartbeat."""
        from service.weights.live_reader import LiveReader

        reader = LiveReader(self.folder / "run")
        beat = reader.heartbeat()
        reader.close()
        return beat["pid"] if beat else None

    def learned(self, n: int, patience_s: float = PATIENCE_S) -> dict[str, Any]:
        """Wait until so many events are learned; return /v1/model."""

        def enough() -> dict[str, Any] | None:
            model = self.model()
            return model if model and model["events_learned"] >= n else None

        return until(enough, f"{n} events learned; {self._last_words()}", patience_s)

    def state_is(self, *states: str) -> dict[str, Any]:
        """Wait until the learner is in one of these states; return /v1/model's learner. Of a process
        that has ended only "down" counts: another state is what it said last."""

        def there() -> dict[str, Any] | None:
            pid = self.learner_pid()
            if "down" not in states and (pid is None or not is_alive(pid)):
                return None
            _, body = self.get("/v1/model")
            learner = (body or {}).get("learner")
            return learner if learner and learner["state"] in states else None

        return until(there, f"learner {states}; {self._last_words()}")

    def metrics(self) -> dict[str, float]:
        """Return every sample of /metrics by its text; none while nobody answers. Other processes
        write theirs once a second: their figures are waited for."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=ANSWER_S) as reply:
                lines = reply.read().decode().splitlines()
        except (OSError, http.client.HTTPException):
            return {}
        pairs = (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def _last_words(self) -> str:
        logs = [p.read_text(errors="replace")[-1500:] for p in self.folder.glob("*.log")]
        return "\n".join(logs)

    def _ask(self, request: urllib.request.Request) -> tuple[int, Any]:
        try:
            try:
                with urllib.request.urlopen(request, timeout=ANSWER_S) as reply:
                    return reply.status, json.loads(reply.read())
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, json.loads(error.read())
        except (OSError, http.client.HTTPException):  # nobody, or somebody who died over it
            return 0, None
