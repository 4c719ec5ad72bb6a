"""Real Kafkas of a test's own, whose brokers it may stop, kill and freeze."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import Topic, answered
from tests.processes import PATIENCE_S

SCRIPT = Path(__file__).parent.parent.parent.parent / "shared" / "kafka" / "kafka"
CHAOS = bool(os.environ.get("HEADWATER_TEST_CHAOS"))  # noqa: TID251 - the suite's own name

chaos = pytest.mark.skipif(
    not CHAOS, reason="takes long (several brokers, whole processes): HEADWATER_TEST_CHAOS=1"
)


class Cluster:
    """Some brokers in a folder, started by the script beside the checkout."""

    def __init__(
        self, folder: Path, nodes: int, settings: Mapping[str, str] | None = None, port: int = 0
    ) -> None:
        if not SCRIPT.is_file():
            pytest.skip(f"no real Kafka: no {SCRIPT}")
        self.folder = folder
        given = [f"{name}={value}" for name, value in (settings or {}).items()]
        options = [part for one in given for part in ("--set", one)]
        self.bootstrap = self._script("start", "--port", str(port), "--nodes", str(nodes), *options)

    def start(self, node: int | None = None) -> None:
        """Start one broker again, or all."""
        self._script("start", *self._of(node))

    def stop(self, node: int | None = None) -> None:
        """Stop one broker, or all, as an operator would."""
        self._script("stop", *self._of(node))

    def kill(self, node: int | None = None) -> None:
        """Kill one broker, or all."""
        self._script("stop", "--kill", *self._of(node))

    def pause(self, node: int | None = None) -> None:
        """Freeze one broker, or all."""
        self._script("pause", *self._of(node))

    def resume(self, node: int | None = None) -> None:
        """Go on."""
        self._script("resume", *self._of(node))

    def _of(self, node: int | None) -> list[str]:
        return [] if node is None else ["--node", str(node)]

    def _script(self, command: str, *options: str) -> str:
        done = subprocess.run(
            [sys.executable, str(SCRIPT), command, str(self.folder), *options],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout.strip()


def leader(topic: Topic, partition: int = 0) -> int | None:
    """Return the node (0, 1, ...) that leads a partition; None while there is none."""
    found = described(topic, partition)
    return None if found is None or found.leader <= 0 else found.leader - 1


def described(topic: Topic, partition: int = 0) -> Any:
    """Return what the cluster says of a partition; None while it says nothing."""
    ask = functools.partial(topic.admin.list_topics, topic.name, timeout=10)
    found = answered(ask, f"what the cluster says of {topic.name}").topics
    return found[topic.name].partitions.get(partition) if topic.name in found else None
