"""Who takes part in an end-to-end test beside the service: one who asks, and one who publishes."""

from __future__ import annotations

import threading

from tests.e2e.service import Service, Topic
from tests.e2e.test_learning import CLICK, events


class Client(threading.Thread):
    """Asks for predictions all the time, and keeps what it saw."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.stopped = threading.Event()
        self.failed: list[tuple[int, object]] = []
        self.versions: list[tuple[str, int]] = []
        self.digests: dict[tuple[str, int], dict[str, str]] = {}
        self.conflicts: list[tuple[str, int]] = []

    def run(self) -> None:
        """Until stopped."""
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            status, body = self._service.predict(CLICK)
            if status == 200:
                self.versions.append((body["model"]["lineage"], body["model"]["version"]))
            else:
                self.failed.append((status, body))
            if turn % 5 == 0 and (model := self._service.model(digest=True)):
                key = (model["lineage"], model["version"])
                if self.digests.setdefault(key, model["digest"]) != model["digest"]:
                    self.conflicts.append(key)


class Publisher(threading.Thread):
    """Publishes good, bad and unlabelled events until stopped."""

    def __init__(self, topic: Topic) -> None:
        super().__init__(daemon=True)
        self.topic = topic
        self.stopped = threading.Event()
        self.counts = {"learned": 0, "dead_lettered": 0, "filtered": 0}

    def run(self) -> None:
        """About two thousand events a second."""
        seed = 0
        while not self.stopped.wait(0.05):
            seed += 1
            self.topic.publish([*events(97, seed), b"not json", None, {"x": 1}], now=True)
            self.counts["learned"] += 97
            self.counts["dead_lettered"] += 1
            self.counts["filtered"] += 2


def another(service: Service, pid: int) -> bool:
    """Whether another learner gives signs of life."""
    return service.learner_pid() != pid
