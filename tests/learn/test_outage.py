"""The disk under the state goes away and comes back: halted with the reason, then as before."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from service.control import ask
from service.errors import BadSettings
from service.learn import door, outage, process
from service.learn.commands import Commands
from service.learn.inbox import Inbox
from service.learn.learner import Learner
from service.learn.outage import Outage
from service.learn.probe import Command
from service.settings import Settings, runtime_directory, state_directory
from service.supervise import python
from service.weights import boot, durable
from service.weights.journal import Journal
from service.weights.live_reader import LiveReader
from tests.e2e.service import Topic, until
from tests.e2e.test_learning import events
from tests.learn.cuts import recipe
from tests.learn.desk import Desk
from tests.learn.test_inbox import Hanging
from tests.learn.test_restoring import Home

__all__ = ["home"]

TESTED = """
name: tested
kafka: {{bootstrap_servers: "none:1", topics: [t]}}
event: {{features: {{x: {{type: number}}}}, targets: {{y: {{type: binary}}}}}}
model: {{kind: linear}}
state: {{directory: {}}}
runtime: {{directory: {}}}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that has learned two cuts."""
    made = Home(tmp_path)
    made.learn()
    made.learn()
    return made


@pytest.mark.parametrize(("ahead", "anew"), [(0, False), (1, True)])
def test_clients_that_saw_more_than_the_journal_has_get_a_new_lineage(home, ahead, anew):
    """Whatever took the entries away: a flush that failed, and nothing that could note it."""
    lineage = home.learner.standing.lineage
    home.served = (lineage, 2 + ahead)

    restored = home.restart()

    assert anew == (restored.learner.standing.lineage != lineage)
    assert anew == any(
        "version 3 was served, but the journal ends at 2" in n for n in restored.notes
    )


def test_what_another_history_served_says_nothing(home):
    """The runtime directory may have been another model's."""
    home.served = ("0123456789abcdef", 99)

    assert [] == home.restart().notes


def test_a_read_only_disk_leaves_the_journal_as_it_is(tmp_path, monkeypatch):
    """Nothing of the entry was written, so nothing is in doubt, and the next try succeeds."""
    doubts: list[str] = []
    with Journal.open(tmp_path, on_failure=lambda: doubts.append("doubt")) as journal:
        journal.append({"version": 0})
        with monkeypatch.context() as patch:
            for name in ("append", "truncate"):
                patch.setattr(durable, name, _refuse(errno.EROFS))
            with pytest.raises(OSError, match="Read-only"):
                journal.append({"version": 1})
        journal.append({"version": 1})

    assert [] == doubts
    assert [0, 1] == [entry["version"] for entry in Journal.reader(tmp_path).read(0)]


def _refuse(number: int) -> Callable[..., Any]:
    def refuse(*_: object) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("closing_fails", [False, True])
def test_a_disk_that_fails_leaves_no_reader_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closing_fails: bool
) -> None:
    """The process waits for the disk and begins anew with another reader. The disk's error is what
    comes out, also where closing fails, which is logged."""
    desk, source, opened = Desk(tmp_path, recipe()), Hanging(), list[Inbox]()
    source.released.set()
    before = set(threading.enumerate())

    def open_inbox(learner: Learner) -> Inbox:
        opened.append(Inbox(lambda *_: source, learner.decode))  # type: ignore[arg-type]
        return opened[-1]

    def refuse_to_close(made: Inbox) -> None:
        close(made)
        raise RuntimeError("no farewell")

    desk.open_inbox, close = open_inbox, Inbox.close
    if closing_fails:
        monkeypatch.setattr(Inbox, "close", refuse_to_close)
    monkeypatch.setattr(desk.journal, "append", _refuse(errno.EIO))
    door = SimpleNamespace(commands=Commands(), acts=None)
    try:
        with capture_logs() as logs, pytest.raises(OSError, match=os.strerror(errno.EIO)):
            process._work(desk.acts, desk.orders, door, threading.Event(), tmp_path)  # type: ignore[arg-type]
    finally:
        desk.close()

    assert (1, True) == (len(opened), source.closed)
    assert "inbox" not in {thread.name for thread in set(threading.enumerate()) - before}
    said = [entry["error"] for entry in logs if entry["event"] == "source_not_closed"]
    assert (["no farewell"] if closing_fails else []) == said


def test_only_what_is_met_in_the_state_directory_is_its_disks_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_settings: Callable[..., Settings]
) -> None:
    """A full tmpfs under the live file, or a socket that times out, is not waited for as a disk that
    comes back. Errors of a write or a flush name no file: then it counts who was at work."""
    found = load_settings(TESTED.format(tmp_path / "state", tmp_path / "run"))
    monkeypatch.setattr(outage, "served_in", lambda _: ("feedbeef00000000", 7))
    disk = Outage(found, threading.Event())

    def passes(number: int, *path: str) -> bool:
        return disk.passes(OSError(number, os.strerror(number), *path))

    with Journal.open(tmp_path / "journal") as journal, monkeypatch.context() as patch:
        patch.setattr(durable, "append", _refuse(errno.EIO))
        with pytest.raises(OSError, match=os.strerror(errno.EIO)) as refused:
            journal.append({"version": 0})

    assert disk.passes(refused.value)
    assert passes(errno.EIO, str(tmp_path / "state" / "tested" / "journal" / "0.hwj"))
    assert not passes(errno.ENOENT, str(tmp_path / "state" / "tested" / "journal"))
    assert not passes(errno.ENOSPC, str(tmp_path / "run" / "live.json"))
    assert not passes(errno.ETIMEDOUT)


def test_a_disk_that_lacks_something_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load_settings: Callable[..., Settings]
) -> None:
    """A full tmpfs is not told as a full state directory, nor what is neither as one of them."""
    found = load_settings(TESTED.format(tmp_path / "state", tmp_path / "run"))
    disk = Outage(found, threading.Event())

    def told(number: int, *path: Path) -> str:
        return str(disk.in_words(OSError(number, os.strerror(number), *map(str, path))))

    with monkeypatch.context() as patch:
        patch.setattr(durable, "append", _refuse(errno.ENOSPC))
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)) as refused:
            door.present_or_new(tmp_path / "run", recipe())

    assert "runtime.directory" in str(disk.in_words(refused.value))
    assert str(tmp_path / "run") in str(disk.in_words(refused.value))
    assert "runtime.directory" in told(errno.EACCES, tmp_path / "run" / "control.sock")
    assert "state.directory" in told(errno.EACCES, tmp_path / "state" / "tested" / "journal")
    assert "state.directory" in told(errno.EACCES, tmp_path / "state")  # where it is to be made
    assert "directory" not in told(errno.EACCES, tmp_path / "nets.py")
    assert "directory" not in told(errno.EPERM)


class Process:
    """A learner process in a thread of its own, and what can be seen of it from outside."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.state_at, self.runtime_at = state_directory(settings), runtime_directory(settings)
        self.stop = threading.Event()
        self.error: BaseException | None = None
        self._reader: LiveReader | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            options = process.Options(Command(python("probe"), {}))
            process.main(self.settings, options, self.stop)
        except BaseException as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def beat(self) -> dict[str, Any]:
        """Return the last sign of life."""
        return self._look().heartbeat() or {}

    def served(self) -> dict[str, Any]:
        """Return what the live file says of the version that answers."""
        with self._look().pinned() as slot:
            return {} if slot is None else dict(slot.meta)

    def halted(self, why: str) -> None:
        """Wait until it says that it is halted, and why."""
        until(lambda: self.beat().get("state") == "halted" and why in self.beat()["reason"], why)

    def learned(self, n: int) -> dict[str, Any]:
        """Wait until so many events are served."""
        until(lambda: self.error or self.served().get("events_learned") == n, f"{n} learned")
        assert self.error is None
        return self.served()

    def end(self) -> None:
        """Stop it, clean."""
        self.stop.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive()
        if self._reader is not None:
            self._reader.close()

    def _look(self) -> LiveReader:
        self._reader = self._reader or LiveReader(self.runtime_at)
        self._reader.refresh()
        return self._reader


@pytest.fixture
def started(
    tmp_path: Path, load_settings: Callable[..., Settings], embedded_bootstrap: str
) -> Iterator[tuple[Process, Topic]]:
    """A learner that has learned fifty events, and its topic."""
    topic = Topic(embedded_bootstrap)
    text = f"""
name: tested
kafka: {{bootstrap_servers: "{embedded_bootstrap}", topics: [{topic.name}]}}
event:
  features: {{x: {{type: number}}, c: {{type: category}}}}
  targets: {{y: {{type: binary}}}}
model: {{kind: linear}}
learning: {{linger_ms: 5}}
state: {{directory: {tmp_path / "state"}}}
runtime: {{directory: {tmp_path / "run"}}}
"""
    topic.publish(events(50))
    learner = Process(load_settings(text))
    try:
        learner.learned(50)
        yield learner, topic
    finally:
        learner.end()


@pytest.mark.parametrize(
    ("calls", "number", "same_lineage"),
    [(["append", "truncate", "create"], errno.EROFS, True), (["flush"], errno.EIO, False)],
)
def test_f06_a_disk_that_refuses_halts_learning_and_is_waited_for(
    started: tuple[Process, Topic], monkeypatch: pytest.MonkeyPatch, calls: list[str], number: int,
    same_lineage: bool,
) -> None:  # fmt: skip
    """The version that is served stays, the reason is told and commands are answered; when the disk
    is well again learning goes on. A flush that failed makes a new lineage, and nothing else does."""
    learner, topic = started
    before = learner.served()
    with monkeypatch.context() as patch:
        for call in calls:
            patch.setattr(durable, call, _refuse(number))
        topic.publish(events(50, 1))
        learner.halted(f"the state directory cannot be used: [Errno {number}]")
        said = ask(learner.runtime_at / "control.sock", "status", 5.0)
        refused = ask(learner.runtime_at / "control.sock", "pause", 5.0)
        assert (True, "halted") == (said["ok"], said["state"])
        assert not refused["ok"]
        assert os.strerror(number) in refused["error"]
        assert before["lineage"] == learner.served()["lineage"]
    until(lambda: learner.beat()["state"] in {"idle", "learning"}, "it goes on")
    until(lambda: learner.served()["version"] >= learner.beat()["version"], "a version of now")
    after = learner.learned(100)

    assert same_lineage == (before["lineage"] == after["lineage"])
    learner.end()
    assert learner.error is None
    assert "down" == learner.beat()["state"]
    assert boot.clean_stop_version(learner.state_at) == after["version"]


def test_f06_a_state_that_is_gone_is_waited_for_and_not_begun_anew(
    started: tuple[Process, Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its disk was taken off under a learner at work; there is an empty folder in its place."""
    learner, topic = started
    away = learner.state_at.with_name("away")
    with monkeypatch.context() as patch:
        patch.setattr(durable, "append", _refuse(errno.EIO))
        topic.publish(events(50, 1))
        learner.halted("[Errno 5]")
        shutil.move(learner.state_at, away)
        learner.state_at.mkdir()
    outage = Outage(learner.settings, threading.Event())
    with pytest.raises(OSError, match="still served"):
        outage.look()
    assert [] == list(learner.state_at.iterdir())
    shutil.rmtree(learner.state_at)
    shutil.move(away, learner.state_at)

    outage.look()
    lineage = learner.served()["lineage"]
    assert lineage == learner.learned(100)["lineage"]


def test_f06_a_stop_while_the_disk_is_away_is_no_wish_to_begin_anew(
    started: tuple[Process, Topic], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees "halted" and starts it again must not get a new model in an empty folder."""
    learner, topic = started
    with monkeypatch.context() as patch:
        patch.setattr(durable, "append", _refuse(errno.EIO))
        topic.publish(events(50, 1))
        learner.halted("[Errno 5]")
        shutil.move(learner.state_at, learner.state_at.with_name("away"))
        learner.state_at.mkdir()
        learner.stop.set()
        learner.end()
    with pytest.raises(OSError, match="still served"):
        Outage(learner.settings, threading.Event()).look()
    assert [] == list(learner.state_at.iterdir())


def test_f06_where_nothing_is_served_a_bad_disk_ends_the_process(
    tmp_path: Path, load_settings: Callable[..., Settings]
) -> None:
    """With an error that says so, at once."""
    found = load_settings(TESTED.format(tmp_path / "state", tmp_path / "run"))
    (tmp_path / "state").write_text("a file")
    began = time.monotonic()

    with pytest.raises(BadSettings, match="cannot be used"):
        process.main(found, process.Options(Command([], {})), threading.Event())
    assert time.monotonic() - began < 5.0
