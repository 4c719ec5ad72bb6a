"""F6: the file system of the state turns read-only under the learner, as ext4 does on an error."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos

pytestmark = [pytest.mark.e2e, pytest.mark.slow, chaos]


def _run(*command: str) -> str:
    """Return what went wrong; empty if nothing did."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return "" if done.returncode in {0, 1} and not done.stderr else done.stderr.strip()


class Disk:
    """A file system in a file."""

    def __init__(self, folder: Path) -> None:
        self.place, self._image = folder / "disk", folder / "disk.img"
        self.place.mkdir()
        with self._image.open("wb") as file:
            file.truncate(64 << 20)
        self.trouble = _run("mkfs.ext4", "-q", "-F", str(self._image)) or self.mount()

    def mount(self) -> str:
        """Put it in its place."""
        options = "loop,errors=remount-ro"
        return _run("mount", "-o", options, str(self._image), str(self.place))

    def fail(self) -> None:
        """Have an error: it refuses every write from now on, and forgets what was not flushed."""
        assert "" == _run("mount", "-o", "remount,abort", str(self.place))

    def mend(self) -> None:
        """Take it off (nobody may hold anything there), check it, and put it back."""
        assert "" == _run("umount", str(self.place))
        _run("e2fsck", "-fy", str(self._image))
        assert "" == self.mount()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that can fail."""
    made = Disk(tmp_path)
    if made.trouble:
        pytest.skip(f"this user may not mount a file system of its own: {made.trouble}")
    yield made
    _run("umount", "--lazy", str(made.place))


@pytest.mark.parametrize("killed", [False, True])
def test_f06_a_file_system_that_turned_read_only_is_waited_for(
    make_service, embedded_bootstrap, disk: Disk, killed: bool
) -> None:
    """Predictions go on from the version that is served, the reason is told, and the disk can be
    taken off. Back again, learning goes on: versions that the disk forgot come in a new lineage.
    The same where the learner is killed meanwhile, and another one starts on the bad disk."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, state={"directory": str(disk.place / "state")})
    process = service.start()
    topic.publish(events(50))
    before = service.learned(50)
    disk.fail()
    for seed in range(1, 5):
        topic.publish(events(50, seed))
    halted = service.state_is("halted")
    assert "Read-only file system" in halted["reason"]
    if killed:
        pid = service.learner_pid()
        assert "" == _run("kill", "-9", str(pid))
        until(lambda: service.learner_pid() != pid, "another learner")
        assert "Read-only file system" in service.state_is("halted")["reason"]
    told = service.status()
    assert ("halted", before["lineage"]) == (told["state"], told["lineage"])
    assert 200 == service.predict(CLICK)[0]
    disk.mend()

    after = service.learned(250)
    service.state_is("idle", "learning")
    assert after["lineage"] != before["lineage"]
    assert (250, 250) == (service.learned(250)["events_learned"], topic.ends()["0"])
    assert 0 == service.stop(process)
    whole = service.json("snapshots", "verify")
    assert (True, []) == (whole["ok"], whole["failures"])
