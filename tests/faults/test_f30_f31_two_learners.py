"""F30, F31: two learners at one state directory. Never two writers, whoever was there first."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from service.errors import Locked
from service.weights.journal import Journal
from service.weights.lock import DirectoryLock
from service.weights.snapshots import SnapshotReader
from tests.e2e.service import Topic, until
from tests.e2e.test_learning import events
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.e2e


@pytest.mark.slow
def test_f30_a_learner_takes_the_place_of_a_killed_one_but_not_of_a_stopped_one(
    make_service, embedded_bootstrap
) -> None:
    """F30: the lock of a process that was killed is gone with it; that of one that sleeps is not:
    exit 5, naming it. It goes on when it wakes."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    service.start("api")
    first = service.start("learner")
    topic.publish(events(20))
    service.learned(20)

    first.send_signal(signal.SIGSTOP)
    second = service.command("learner", "--config", str(service.config))
    assert 5 == second.returncode
    assert str(first.pid) in second.stderr
    first.send_signal(signal.SIGCONT)
    topic.publish(events(20, 1))
    service.learned(40)

    first.send_signal(signal.SIGKILL)
    first.wait()
    service.start("learner")
    topic.publish(events(20, 2))
    service.learned(60)


@chaos
@pytest.mark.slow
def test_f31_a_learner_that_wakes_beside_a_newer_one_writes_nothing(
    make_service, embedded_bootstrap
) -> None:
    """F31: while it slept, its lock file was removed and another learner began. The one that wakes
    sees that, and ends with 5; the newer one's journal and snapshots are whole."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    old = service.start("learner")
    topic.publish(events(20))
    state = service.folder / "state" / "tested"
    until(lambda: Journal.reader(state / "journal").last_version, "a version")
    old.send_signal(signal.SIGSTOP)
    (state / "LOCK").unlink()

    newer = make_service(topic, state=service.sections["state"])
    newer.start()
    topic.publish(events(20, 1))
    newer.learned(40)
    old.send_signal(signal.SIGCONT)

    assert 5 == old.wait(PATIENCE_S)
    assert "another learner may be at work" in service.log("learner")
    topic.publish(events(20, 2))
    after = newer.learned(60)
    newer.json("snapshots", "create")
    entries = list(Journal.reader(state / "journal").read(0))
    assert [e["version"] for e in entries] == list(range(len(entries)))
    assert after["version"] == entries[-1]["version"]
    assert [] == SnapshotReader(state / "snapshots").verify()


def test_f31_a_lock_whose_file_was_removed_or_replaced_is_noticed(tmp_path: Path) -> None:
    """Also where the whole directory was put aside for another."""
    with DirectoryLock.acquire(tmp_path / "state") as lock:
        lock.check()
        (tmp_path / "state").rename(tmp_path / "aside")
        with pytest.raises(Locked, match="cannot be seen"):
            lock.check()
        with (
            DirectoryLock.acquire(tmp_path / "state"),
            pytest.raises(Locked, match="was replaced"),
        ):
            lock.check()
