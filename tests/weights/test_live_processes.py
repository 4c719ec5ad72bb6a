"""The live file between processes: stress, kills, and pins of the dead."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.weights.live import LiveReader, LiveWriter
from tests.weights.live_actors import LAYOUT, PATIENCE_S

Start = Callable[..., "subprocess.Popen[str]"]
NBYTES = 1 << 20
ALL = np.ones(NBYTES // 256, dtype=np.uint8)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start an actor on the test's directory; none outlives the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(role: str, *rest: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.weights.live_actors", role, str(tmp_path)]
        actor = subprocess.Popen(
            [*command, *map(str, rest)],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(actor)
        return actor

    yield begin
    for actor in started:
        actor.kill()
        actor.wait()
        for pipe in (actor.stdin, actor.stdout):
            assert pipe
            pipe.close()


def said(actor: subprocess.Popen[str]) -> dict[str, Any]:
    """What an actor says next, or at its end."""
    assert actor.stdout
    line: dict[str, Any] = json.loads(actor.stdout.readline())
    return line


def image(version: int) -> np.ndarray:
    return np.full(NBYTES // 8, version, dtype=np.uint64).view(np.uint8)


def published(directory: Path, *versions: int) -> LiveWriter:
    writer = LiveWriter.open(directory, nbytes=NBYTES, layout=LAYOUT)
    for version in versions:
        assert writer.publish(image(version), ALL, {"version": version})
    return writer


@pytest.mark.parametrize(
    ("machine", "others", "pause_s", "versions", "retries"),
    [
        pytest.param("x86_64", 0, 0.0, 300, 0, id="pinned"),
        pytest.param("x86_64", 64, 0.005, 20, 20, id="no-cell-left"),
        pytest.param("x86_64", 0, 0.060, 0, 5, id="slower-than-the-writer-waits"),
        pytest.param("arm64", 64, 0.005, 5, 5, id="no-cell-left-with-fences"),
    ],
)
def test_no_read_is_ever_torn(
    tmp_path: Path,
    start: Start,
    machine: str,
    others: int,
    pause_s: float,
    versions: int,
    retries: int,
) -> None:
    """
    A writer publishes as fast as it can; every image a reader calls intact is one version's.

    Without a pin only reads that are short beside the writer's gaps are intact, so there it leaves
    gaps as long as the longest read.
    """
    published(tmp_path, 1).close()
    start("write", NBYTES, machine, PATIENCE_S, pause_s if others else 0.0)
    readers = [
        start("read", machine, others, pause_s, versions, retries),
        start("read", machine, 0, 0.0, 300, 0),
    ]
    seen = [said(reader) for reader in readers]

    assert [0, 0] == [one["torn"] for one in seen]
    assert [0, 0] == [one["fell"] for one in seen]
    assert seen[0]["advanced"] >= versions
    assert seen[0]["retried"] >= retries
    assert seen[1]["advanced"] >= 300


def test_a_killed_writer_never_leaves_a_torn_image(tmp_path: Path, start: Start) -> None:
    """
    Thirty writers are killed at any moment, most of them in the middle of a slot.
    """
    published(tmp_path, 1).close()
    watcher = start("read", "x86_64", 0, 0.0, 30, 0)
    seen = [said(start("kill", NBYTES, 30)), said(watcher)]

    assert [0, 0] == [one["torn"] for one in seen]
    assert [0, 0] == [one["fell"] for one in seen]
    assert seen[0]["left_odd"] > 0
    with published(tmp_path, seen[0]["version"] + 1):
        reader = LiveReader(tmp_path)
        with reader.pinned() as slot:
            assert slot
            assert {seen[0]["version"] + 1} == set(slot.image.view(np.uint64).tolist())
        reader.close()


@pytest.mark.parametrize("how", ["well-behaved", "careless"])
def test_a_pin_of_another_process_is_respected(tmp_path: Path, start: Start, how: str) -> None:
    """
    Also after another reader there was closed, which must not drop the process's locks; and if
    other code drops them, a refresh takes them again.
    """
    with published(tmp_path, 1) as writer:
        holder = start("hold", how)
        assert {"pinned": 1} == said(holder)
        assert writer.publish(image(2), ALL, {"version": 2})
        refused = not writer.publish(image(3), ALL, {"version": 3})
        output, _ = holder.communicate("\n")

        assert refused
        assert {"intact": True} == json.loads(output)


def test_a_pin_of_a_killed_process_is_void(tmp_path: Path, start: Start) -> None:
    """
    The writer does not wait for the dead.
    """
    with published(tmp_path, 1) as writer:
        holder = start("hold")
        assert {"pinned": 1} == said(holder)
        holder.kill()
        holder.wait()

        assert writer.publish(image(2), ALL, {"version": 2})
        assert writer.publish(image(3), ALL, {"version": 3})


def test_a_reader_in_the_writers_process_does_not_cost_others_their_pins(
    tmp_path: Path, start: Start
) -> None:
    """
    Closing it closes nothing that the writer needs to tell the living from the dead.
    """
    with published(tmp_path, 1) as writer:
        holder = start("hold")
        assert {"pinned": 1} == said(holder)
        own = LiveReader(tmp_path)
        own.pin()
        own.close()
        writer.publish(image(2), ALL, {"version": 2})

        assert not writer.publish(image(3), ALL, {"version": 3})


def test_a_reader_follows_a_writer_that_comes_back(tmp_path: Path, start: Start) -> None:
    """
    The first writer is killed; a second one continues the same file.
    """
    published(tmp_path, 1).close()
    reader = LiveReader(tmp_path)
    for _ in range(2):
        writer = start("write", NBYTES, "x86_64", PATIENCE_S, 0.0)
        assert grows(reader)
        writer.kill()
        writer.wait()
    assert "" == reader.trouble
    reader.close()


def grows(reader: LiveReader, deadline_s: float = PATIENCE_S) -> bool:
    """Whether another version than the present one comes in time."""
    with reader.pinned() as slot:
        before = slot.meta["version"] if slot else 0
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        reader.refresh()
        with reader.pinned() as slot:
            if slot and slot.meta["version"] > before:
                return True
    return False
