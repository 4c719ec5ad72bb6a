"""The demo at work: events to publish, predictions to hold to account, a screen to fill.

A client like any other: it talks to Kafka and HTTP, and only reads the live file, to freeze a twin
of the model. Whatever ends it, the processes it started end too.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from service.cli.demo_ending import Ending
from service.cli.demo_service import DemoService
from service.cli.demo_stream import SETTINGS, Clicks, moment_of
from service.cli.demo_twin import Twin
from service.cli.demo_view import Frame, View
from service.errors import HeadwaterError
from service.stream.broker import Outgoing, Producer
from service.stream.kafka import KafkaBroker

_TICK_S = 0.05
_LOOK_S = 1.0
_DELETED_S = 2.5
"""For the topic on somebody's Kafka: all must be over five seconds after Ctrl-C."""
_KEPT_S = 60
"""Of the records; a restart needs those since the last snapshot, 30 seconds."""
_FREEZE_S = 60.0
"""When the twin is frozen, or at 0.6 of the first taste where that is sooner."""


class TopicLeft(HeadwaterError):
    """The demo's topic could not be deleted from somebody's Kafka."""


class Demo:
    """One demonstration in a folder of its own, on a broker of its own or on `bootstrap`."""

    def __init__(
        self, folder: Path, port: int | None, rate: int, change_s: float, view: View,
        ending: Ending, bootstrap: str | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._port = port
        self._rate = rate
        self._kept = _KEPT_S * rate
        """Records that the embedded broker keeps: it holds them in memory."""
        self._clicks = Clicks(change_s)
        self._freeze_s = min(_FREEZE_S, 0.6 * change_s)
        self._view = view
        self._bootstrap = bootstrap
        self._ending = ending

    def run(self, for_s: float | None) -> dict[str, Any]:
        """Run for so many seconds, or until interrupted; return the result to print."""
        tree, topic = dict(SETTINGS), SETTINGS["kafka"]["topics"][0]
        where = "an embedded broker, a learner and an API"
        if self._bootstrap is not None:
            topic = f"headwater-demo-{uuid.uuid4().hex[:8]}"
            tree["kafka"] = {"bootstrap_servers": self._bootstrap, "topics": [topic]}
            where = f"a learner and an API; topic {topic} on {self._bootstrap}"
        self._view.say(f"starting {where} ...")
        with contextlib.ExitStack() as stack:
            if self._bootstrap is not None:
                stack.enter_context(topic_on(self._bootstrap, topic))
            service = DemoService(self._folder, tree, self._port, lambda: self._ending.asked)
            stack.enter_context(service)
            broker = KafkaBroker(service.bootstrap(), name="demo-clicks")
            stack.callback(broker.close)
            broker.create_topic(topic, 1)
            producer = broker.producer()
            stack.callback(producer.close)
            return self._stream(service, broker, producer, topic, for_s)

    def _stream(
        self, service: DemoService, broker: KafkaBroker, producer: Producer, topic: str,
        for_s: float | None,
    ) -> dict[str, Any]:  # fmt: skip
        """Predict, then publish, twenty times a second."""
        self._introduce(service)
        forget = 0
        twin = Twin(service.runtime, self._freeze_s)
        began = looked = time.monotonic()
        taste, learned = 0, 0
        while not self._ending.asked and (for_s is None or time.monotonic() - began < for_s):
            elapsed = time.monotonic() - began
            shown = self._clicks.draw(max(1, round(self._rate * _TICK_S)), elapsed)
            if (scores := service.ask([one.features for one in shown])) is not None:
                twin.compare(shown, scores, elapsed)
            now_ms = time.time_ns() // 1_000_000
            for one in shown:
                value = msgspec.json.encode(one.features | {"click": one.click})
                producer.send(Outgoing(topic, value=value, timestamp_ms=now_ms))
            if self._clicks.taste != taste:
                taste = self._clicks.taste
                self._view.changed(elapsed)
            if (since := time.monotonic() - looked) > _LOOK_S:
                looked += since
                frame = self._frame(service, twin, elapsed)
                frame.events_per_s = (frame.learned - learned) / since
                learned = frame.learned
                self._view.show(frame)
                service.check()
                if self._bootstrap is None and frame.learned >= forget + 2 * self._kept:
                    forget = frame.learned - self._kept
                    broker.delete_records({(topic, 0): forget})
            time.sleep(max(0.0, began + elapsed + _TICK_S - time.monotonic()))
        self._view.say("stopping ...")
        return self._result(service, twin, time.monotonic() - began)

    def _introduce(self, service: DemoService) -> None:
        shown = self._clicks.draw(1, 0.0)[0]
        score = service.first([shown.features], self._view.say)[0]
        event = msgspec.json.encode(shown.features).decode()
        labelled = msgspec.json.encode(shown.features | {"click": 1}).decode()
        self._view.introduce(
            f"first prediction, version {service.model['version']}: click {score:.3f} for {event}",
            [
                f"echo '{labelled}' | {_ourselves()} publish -c {shlex.quote(str(service.config))} -",
                f"curl -s {service.url}/v1/predict -d '{{\"events\":[{event}]}}'",
                f"curl -s {service.url}/metrics | grep headwater_score",
            ],
        )

    def _frame(self, service: DemoService, twin: Twin, elapsed_s: float) -> Frame:
        live, frozen = twin.recent()
        median, slow = service.answered_in_ms()
        model = service.model
        return Frame(
            elapsed_s=elapsed_s,
            moment=moment_of(elapsed_s),
            version=model["version"],
            learned=model["events_learned"],
            age_s=model["age_seconds"],
            lag=service.lag(),
            fresh_ms=service.freshness_ms()["p50"],
            answered_ms=(median, slow),
            new_ads=self._clicks.new_ads,
            live=live,
            frozen=frozen,
        )

    def _result(self, service: DemoService, twin: Twin, seconds: float) -> dict[str, Any]:
        learned = service.model.get("events_learned", 0)
        live, frozen = twin.since_frozen()
        median, slow = service.answered_in_ms()
        return {
            "schema": "headwater.demo/1",
            "seconds": round(seconds, 2),
            "events_learned": learned,
            "events_per_second": round(learned / seconds),
            "version": service.model.get("version", 0),
            "freshness_ms": service.freshness_ms(),
            "predictions": {
                "requests": service.requests, "failed": service.failed,
                "p50_ms": median, "p99_ms": slow,
            },
            "live": live,
            "frozen": frozen | {"version": twin.version},
        }  # fmt: skip


def _ourselves() -> str:
    """Return how a shell calls us: by name where it finds it, else by path."""
    if shutil.which("headwater") is not None:
        return "headwater"
    return shlex.quote(str(Path(sys.executable).with_name("headwater")))


@contextlib.contextmanager
def topic_on(bootstrap: str, topic: str) -> Iterator[None]:
    """Have a topic on somebody's Kafka inside the block; it is deleted afterwards. TopicLeft where
    that cannot be."""
    with contextlib.closing(KafkaBroker(bootstrap, name="demo-clicks", timeout_s=4.0)) as broker:
        broker.create_topic(topic, 1)
    try:
        yield
    finally:
        ending = KafkaBroker(bootstrap, name="demo-clicks", timeout_s=_DELETED_S)
        with contextlib.closing(ending):
            try:
                ending.delete_topic(topic)
            except HeadwaterError as error:
                raise TopicLeft(
                    f"topic {topic} is left on {bootstrap}; delete it there, for nobody else will: "
                    f"{error}"
                ) from None
