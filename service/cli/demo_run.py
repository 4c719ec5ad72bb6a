"""The demo at work: processes to start and stop, events to publish, predictions to hold to account.

A client like any other: it talks to Kafka and HTTP, and only reads the live file, to freeze a twin
of the model. Whatever ends it, the processes it started end too.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from ruamel.yaml import YAML

from service import settings
from service.cli.demo_stream import SETTINGS, Clicks, Impression
from service.cli.demo_twin import Twin
from service.errors import BrokerAway, HeadwaterError
from service.settings import Settings
from service.stream.broker import Outgoing, Producer
from service.stream.embedded import address
from service.stream.kafka import KafkaBroker
from service.supervise import python

_TICK_S = 0.05
_TELL_S = 5.0
_PATIENCE_S = 300.0  # a slow machine compiles for minutes, once
_ANSWER_S, _STOP_S = 30.0, 30.0


class Demo:
    """One demonstration in a folder of its own."""

    def __init__(
        self, folder: Path, port: int, rate: int, change_s: float, say: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._config = folder / "demo.yaml"
        self._url = f"http://127.0.0.1:{_free_port(port)}"
        self._rate = rate
        self._clicks = Clicks(change_s)
        self._change_s = change_s
        self._say = say
        self.interrupted = False
        """Ctrl-C ended it."""
        self._stop = False
        self._latencies: list[float] = []
        self._failed = 0
        self._model: dict[str, Any] = {}

    def run(self, for_s: float | None) -> dict[str, Any]:
        """Run for so many seconds, or until interrupted; return the result to print."""
        found = self._settings()
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGTERM, self._on_signal)
        command = python("run", "--config", str(self._config))
        log = (self._folder / "run.log").open("wb")
        with log, subprocess.Popen(
            command, stderr=log, stdout=log, start_new_session=True
        ) as service:  # fmt: skip
            try:
                return self._show(found, service, for_s)
            finally:
                service.send_signal(signal.SIGTERM)
                try:
                    service.wait(_STOP_S)
                except subprocess.TimeoutExpired:
                    service.kill()

    def _settings(self) -> Settings:
        port = int(self._url.rpartition(":")[2])
        tree = SETTINGS | {
            "state": {"directory": str(self._folder / "state")},
            "runtime": {"directory": str(self._folder / "runtime")},
            "api": {"port": port},
        }
        with self._config.open("w") as file:
            YAML().dump(tree, file)
        return settings.load(self._config)

    def _show(
        self, found: Settings, service: subprocess.Popen[bytes], for_s: float | None
    ) -> dict[str, Any]:
        self._say("starting an embedded broker, a learner and an API ...")
        runtime = settings.runtime_directory(found)
        broker = KafkaBroker(self._broker(service, runtime), name="demo-clicks")
        producer = broker.producer()
        topic = found.kafka.topics[0]
        broker.create_topic(topic, 1)
        twin = Twin(runtime, freeze_after_s=self._change_s * 0.6)
        try:
            self._until_it_answers(service)
            return self._stream(service, producer, topic, twin, for_s)
        finally:
            producer.close()
            broker.close()

    def _until_it_answers(self, service: subprocess.Popen[bytes]) -> None:
        """Ask until there is a prediction; what it says before the first event is 0.5."""
        deadline = time.monotonic() + _PATIENCE_S
        shown = self._clicks.draw(1, 0.0)
        while (scores := self._ask(shown)) is None:
            if self._stop or service.poll() is not None or time.monotonic() > deadline:
                raise HeadwaterError(f"the service did not start:\n{self._last_words()}")
            time.sleep(_TICK_S)
        self._introduce(shown[0], scores[0])

    def _stream(
        self, service: subprocess.Popen[bytes], producer: Producer, topic: str, twin: Twin,
        for_s: float | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Predict, then publish, twenty times a second."""
        began = told = time.monotonic()
        taste = 0
        while not self._stop and (for_s is None or time.monotonic() - began < for_s):
            elapsed = time.monotonic() - began
            shown = self._clicks.draw(max(1, round(self._rate * _TICK_S)), elapsed)
            if (scores := self._ask(shown)) is not None:
                twin.compare(shown, scores, elapsed)
            now_ms = time.time_ns() // 1_000_000
            for one in shown:
                value = msgspec.json.encode(one.features | {"click": one.click})
                producer.send(Outgoing(topic, value=value, timestamp_ms=now_ms))
            if self._clicks.taste != taste:
                taste = self._clicks.taste
                self._say("*** the taste just changed: what people click is drawn anew ***")
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                self._say(self._line(elapsed, twin))
            if service.poll() is not None:
                raise HeadwaterError(f"the service ended early:\n{self._last_words()}")
            time.sleep(max(0.0, began + elapsed + _TICK_S - time.monotonic()))
        return self._result(time.monotonic() - began, twin)

    def _broker(self, service: subprocess.Popen[bytes], runtime: Path) -> str:
        """Return the address of the embedded broker as soon as it answers."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and service.poll() is None and not self._stop:
            try:
                return address(runtime)
            except BrokerAway:
                time.sleep(_TICK_S)
        raise HeadwaterError(f"the service did not start:\n{self._last_words()}")

    def _last_words(self) -> str:
        lines = (self._folder / "run.log").read_text(errors="replace").splitlines()
        return "\n".join(lines[-15:])

    def _ask(self, shown: list[Impression]) -> list[float] | None:
        """Return predictions, None while there are none yet; count what fails."""
        body = msgspec.json.encode({"events": [one.features for one in shown]})
        request = urllib.request.Request(f"{self._url}/v1/predict", body, method="POST")
        began = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_S) as reply:
                answer = msgspec.json.decode(reply.read())
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            self._failed += bool(self._latencies)
            return None
        self._latencies.append(time.monotonic() - began)
        self._model = answer["model"]
        return [p["click"] for p in answer["predictions"]]

    def _introduce(self, shown: Impression, score: float) -> None:
        event = msgspec.json.encode(shown.features).decode()
        self._say(
            f"first prediction, version {self._model['version']}: click {score:.3f} for {event}\n\n"
            "Three things to try in another terminal:\n"
            f"  curl -s {self._url}/v1/predict -d '{{\"events\":[{event}]}}'\n"
            f"  curl -s {self._url}/v1/model\n"
            f"  curl -s {self._url}/metrics | grep headwater_score\n"
        )

    def _metric(self, name: str) -> str:
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=_ANSWER_S) as reply:
            lines = reply.read().decode().splitlines()
        return "\n".join(line for line in lines if line.startswith(name))

    def _line(self, elapsed: float, twin: Twin) -> str:
        live, frozen = twin.recent()
        figures = f"log-loss of the last 5,000: live {live:.3f}" if live is not None else ""
        if frozen is not None:
            figures += f", frozen {frozen:.3f}"
        fresh = self._freshness()["p50"]
        return (
            f"{elapsed:5.0f} s  version {self._model['version']:>6}  "
            f"{self._model['events_learned']:>9,} events learned, "
            f"fresh in {'-' if fresh is None else f'{fresh:.0f}'} ms  {figures}"
        )

    def _result(self, seconds: float, twin: Twin) -> dict[str, Any]:
        latencies = np.array(self._latencies) * 1000
        learned = self._model.get("events_learned", 0)
        live, frozen = twin.since_frozen()
        return {
            "schema": "headwater.demo/1",
            "seconds": round(seconds, 2),
            "events_learned": learned,
            "events_per_second": round(learned / seconds),
            "version": self._model.get("version", 0),
            "freshness_ms": self._freshness(),
            "predictions": {
                "requests": len(latencies) + self._failed,
                "failed": self._failed,
                "p50_ms": _quantile(latencies, 0.5),
                "p99_ms": _quantile(latencies, 0.99),
            },
            "live": live,
            "frozen": frozen | {"version": twin.version},
        }

    def _freshness(self) -> dict[str, float | None]:
        try:
            text = self._metric("headwater_freshness_seconds_bucket")
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return {"p50": None, "p99": None}
        return {"p50": _from_buckets(text, 0.5), "p99": _from_buckets(text, 0.99)}

    def _on_signal(self, number: int, _: object) -> None:
        self._stop = True
        self.interrupted = self.interrupted or number == signal.SIGINT


def _free_port(wanted: int) -> int:
    """Return the wanted port if nobody listens there, else any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _quantile(values: np.ndarray[Any, Any], q: float) -> float | None:
    return round(float(np.quantile(values, q)), 3) if len(values) else None


def _from_buckets(text: str, q: float) -> float | None:
    """Return a quantile in milliseconds, interpolated inside its bucket as Prometheus does."""
    buckets = sorted(
        (float(line.partition('le="')[2].partition('"')[0]), float(line.rpartition(" ")[2]))
        for line in text.splitlines()
    )
    if not buckets or not buckets[-1][1]:
        return None
    rank, below, counted = q * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= rank:
            edge = below if edge == float("inf") else edge
            return round(1000 * (below + (edge - below) * (rank - counted) / (count - counted)), 2)
        below, counted = edge, count
    return None
