"""F6: the disk is full, read-only or broken while a snapshot is written.

Learning and serving go on, the snapshots before stay, nothing half is left, a counter tells, and
the next attempt after the disk is well again succeeds by itself. No flush is tried twice on one
file: the kernel may have dropped what it could not write.
"""

from __future__ import annotations

import errno
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.learn.keeping import Keeper
from service.learn.saving import Saver
from service.learn.telemetry import Telemetry
from service.metrics import Metrics
from service.weights import durable
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos
from tests.learn.cuts import learner, records, take

COUNTER = "headwater_snapshots_total"


class BrokenDisk:
    """Fails one kind of change below a directory while `broken`, and counts flushes per file."""

    def __init__(
        self, patch: pytest.MonkeyPatch, below: Path, call: str, number: int, nth: int
    ) -> None:
        self.broken = False
        self.flushes: list[int] = []
        self._below = below
        self._fds: dict[int, int] = {}
        self._calls = 0
        self._files = 0
        for name in ("create", "append", "flush", "close", "rename", "flush_directory"):
            real = getattr(durable, name)

            def standing_in(what, *rest, name=name, real=real):
                if name == "flush" and what in self._fds:
                    self.flushes.append(self._fds[what])
                if self.broken and name == call and self._is_below(what):
                    self._calls += 1
                    if self._calls % nth == 0:
                        raise OSError(number, os.strerror(number))
                result = real(what, *rest)
                if name == "create" and self._is_below(what):
                    self._files += 1
                    self._fds[result] = self._files
                if name == "close":
                    self._fds.pop(what, None)
                return result

            patch.setattr(durable, name, standing_in)

    def _is_below(self, what: Path | int) -> bool:
        if isinstance(what, int):
            return what in self._fds
        return self._below in (what, *what.parents)


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("create", errno.EROFS),
        ("append", errno.ENOSPC),
        ("append", errno.EIO),
        ("flush", errno.EIO),
        ("rename", errno.EIO),
        ("flush_directory", errno.EIO),
    ],
)
def test_f06_a_snapshot_that_fails_costs_nothing_but_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int, nth: int
) -> None:
    """Whichever change of the disk fails, and however."""
    of = learner()
    metrics = Metrics("learner")
    disk = BrokenDisk(monkeypatch, tmp_path / "snapshots", call, number, nth)
    with Journal.open(tmp_path / "journal") as journal:
        snapshots = Snapshots(tmp_path / "snapshots", Keep(last=3, hourly=0, daily=0))
        saver = Saver(snapshots, journal, {})
        keeper = Keeper(journal, saver, Telemetry(metrics), 0.0)

        def counted(result: str) -> float:
            take(of, records(5, of.standing.cursors["t", 0]))
            keeper.tick(of)
            return metrics.counter(COUNTER).get(result)

        until(lambda: counted("success") >= 2, "snapshots on a disk that is well")
        disk.broken = True
        until(lambda: counted("failure") >= 2, "attempts that fail")
        assert [] == snapshots.verify()
        assert snapshots.newest_valid() is not None
        disk.broken = False
        failed_at = of.standing.version
        well = metrics.counter(COUNTER).get("success")
        until(lambda: counted("success") > well, "a snapshot on the disk that is well again")
        saver.close()

    assert [] == snapshots.verify()
    assert [] == list(tmp_path.rglob(".tmp*"))
    newest = snapshots.list()[0].manifest
    assert newest is not None
    assert newest.version >= failed_at
    assert len(set(disk.flushes)) == len(disk.flushes)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of four megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m,mode=0700", "small", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if done.returncode != 0:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path, leave_bytes: int) -> Path:
    """Have so little room left on a disk."""
    filler = place / "filler"
    with filler.open("wb") as file:

        def filled() -> bool:
            room = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
            try:
                os.posix_fallocate(file.fileno(), 0, room - leave_bytes)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                os.ftruncate(file.fileno(), 0)  # others have written meanwhile
                return False
            return True

        until(filled, "a full disk")
    return filler


@chaos
@pytest.mark.e2e
@pytest.mark.slow
def test_f06_learning_and_serving_go_on_while_there_is_no_room_for_a_snapshot(
    make_service, embedded_bootstrap, small_disk: Path
) -> None:
    """The whole process on a full disk: the journal's few bytes still fit. With room again it saves
    by itself."""
    topic = Topic(embedded_bootstrap)
    service = make_service(
        topic, state={"directory": str(small_disk)}, snapshots={"every_seconds": 1}
    )
    process = service.start()
    topic.publish(events(50))
    service.learned(50)

    def counted(result: str) -> float:
        sample = f'{COUNTER}{{process="learner",result="{result}"}}'
        return service.metrics().get(sample, 0.0)

    until(lambda: counted("success") >= 1, "a first snapshot")
    filler = fill(small_disk, leave_bytes=48 * 1024)
    learned = 50
    for seed in range(1, 4):
        failures = counted("failure")
        topic.publish(events(20, seed))
        learned += 20
        service.learned(learned)
        assert 200 == service.predict(CLICK)[0]
        until(functools.partial(lambda before: counted("failure") > before, failures), "a failure")
    before = service.json("snapshots", "verify")
    assert (True, []) == (before["ok"], before["failures"])
    assert [] == list(small_disk.rglob(".tmp*"))
    well = counted("success")

    filler.unlink()
    until(lambda: counted("success") > well, "a snapshot, now that there is room")
    assert 0 == service.stop(process)
    newest = service.json("snapshots", "list")["snapshots"][0]
    assert (learned, True) == (newest["events_learned"], newest["valid"])


def halted_by_one_more(service: Service, topic: Topic) -> dict[str, Any] | None:
    """Publish one event: a small entry of the journal; return the learner once it is halted."""
    topic.publish(events(1, topic.sent))
    learner = service.get("/v1/model")[1]["learner"]
    return learner if learner["state"] == "halted" else None


@pytest.mark.e2e
@pytest.mark.slow
def test_f06_a_disk_without_room_for_the_journal_halts_learning_until_there_is(
    make_service, embedded_bootstrap, small_disk: Path
) -> None:
    """Nothing is published that is not journaled; the API answers; learning goes on by itself."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, state={"directory": str(small_disk)})
    process = service.start()
    topic.publish(events(50))
    before = service.learned(50)
    filler = fill(small_disk, leave_bytes=0)
    learner = until(lambda: halted_by_one_more(service, topic), "no room for an entry")

    assert "the journal cannot be written" in learner["reason"]
    assert 200 == service.predict(CLICK)[0]
    filler.unlink()
    service.learned(topic.sent)
    service.state_is("learning", "idle")
    assert before["lineage"] == service.model()["lineage"]
    assert 0 == service.stop(process)
