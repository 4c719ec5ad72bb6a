"""The parent process, with small children that do as they are told."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.errors import BadSettings
from service.serve.listening import listen, url_of
from service.settings import ApiSettings
from service.supervise import FINAL, ONLY_AT_FIRST, prepare
from service.weights.pulse import HeartbeatIn
from tests.processes import PATIENCE_S, is_alive, lost_s, until, whole_lines

PARENT = """
import json, sys
from pathlib import Path
from service import logs
from service.supervise import Child, Supervisor
from service.weights.pulse import HeartbeatIn, Pulse

def child(one):
    watched, hang_s = one.pop("watched", None), one.pop("hang_s", 60.0)
    return Child(**one, pulse=watched and Pulse(HeartbeatIn(Path(watched)), hang_s))

def restarting(name, reason):
    print(name, reason, flush=True)

logs.configure("supervisor")
children = [child(one) for one in json.loads(sys.argv[1])]
sys.exit(Supervisor(children, restarting=restarting).run())
"""

# argv: name, what to do, folder for marks, "--parent-fd", fd
CHILD = """
import os, pathlib, signal, sys, time
from service.supervise import end_with_parent

name, does, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])

def mark(word):
    with (folder / "marks").open("a") as marks:
        marks.write(f"{name} {word}\\n")

def stop(*_):
    mark("stopped")
    os._exit(int(does.partition(":")[2] or 0))

signal.signal(signal.SIGTERM, signal.SIG_IGN if does == "stubborn" else stop)
end_with_parent(int(sys.argv[5]))
(folder / f"{name}.new").write_text(str(os.getpid()))
(folder / f"{name}.new").rename(folder / f"{name}.pid")
mark("started")
if does.startswith("exit:"):
    os._exit(int(does[5:]))
if does.startswith("beats"):
    from service.weights.live_writer import LiveWriter
    live = LiveWriter.open(folder / "run", nbytes=4096, layout=b"{}")
    while not (folder / "enough").exists():
        live.beat({"state": "idle", "pid": os.getpid()})
        time.sleep(0.1)
    os._exit(int(does.partition(":")[2]))
while True:
    time.sleep(3600)
"""


class Family:
    """A parent and its children, and the marks they leave in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parent: subprocess.Popen[bytes] | None = None

    def start(self, *children: tuple[str, str], **more: Any) -> None:
        """Start the parent with these children, more being said of the first."""
        told: list[dict[str, Any]] = [
            {
                "name": name,
                "command": [sys.executable, "-c", CHILD, name, does, str(self.folder)],
                "stops": at,
            }
            for at, (name, does) in enumerate(children)
        ]
        told[0] |= more
        with (self.folder / "log").open("wb") as log, (self.folder / "said").open("wb") as said:
            self.parent = subprocess.Popen(
                [sys.executable, "-c", PARENT, json.dumps(told)], stderr=log, stdout=said
            )

    def pid(self, name: str) -> int:
        """Return the id of a child that has started and is alive."""

        def look() -> int | None:
            with contextlib.suppress(FileNotFoundError):
                pid = int((self.folder / f"{name}.pid").read_text())
                return pid if is_alive(pid) else None
            return None

        return until(look)

    def signal(self, number: int) -> None:
        assert self.parent is not None
        self.parent.send_signal(number)

    def ends_with(self) -> int:
        assert self.parent is not None
        return self.parent.wait(PATIENCE_S)

    def marks(self) -> list[str]:
        """Return what the children have written; nothing while none has."""
        with contextlib.suppress(FileNotFoundError):
            return whole_lines(self.folder / "marks")
        return []

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, whole_lines(self.folder / "log"))
        return [line for line in lines if line["event"] == event]


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    assert family.parent is not None
    family.parent.kill()
    family.parent.wait()
    for path in tmp_path.glob("*.pid"):
        pid = int(path.read_text())
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.e2e
def test_a_child_that_dies_is_started_again(family: Family) -> None:
    """
    kill -9 costs a child its life, not the service.
    """
    family.start(("learner", "steady"), ("api-0", "steady"))
    first, other = family.pid("learner"), family.pid("api-0")
    os.kill(first, signal.SIGKILL)
    second = until(lambda: pid if (pid := family.pid("learner")) != first else None)

    assert is_alive(second)
    assert other == family.pid("api-0")


@pytest.mark.e2e
def test_f34_a_child_that_hangs_is_killed_and_started_again(family: Family) -> None:
    """
    F34: alive and silent is not alive. Seen from outside a stopped process hangs: it is killed
    after the threshold (2 s) and within twice of it, and counted apart from those that ended.
    """
    (family.folder / "run").mkdir()
    family.start(("learner", "beats"), watched=str(family.folder / "run"), hang_s=2.0)
    first = family.pid("learner")
    last_beat = HeartbeatIn(family.folder / "run")
    until(lambda: (beat := last_beat()) and beat[0] == first)
    with lost_s() as lost:
        stopped_s = time.monotonic()
        os.kill(first, signal.SIGSTOP)
        until(lambda: family.logged("child_hung"))
        took_s, late_s = time.monotonic() - stopped_s, lost()
    second = until(lambda: pid if (pid := family.pid("learner")) != first else None)
    until(lambda: (beat := last_beat()) and beat[0] == second)

    # the last beat was before the stop; a look in between
    assert 1.5 < took_s < 2 * 2.0 + 1.0 + 2 * late_s
    assert "learner hung\n" == (family.folder / "said").read_text()
    assert [-9] == [line["exit_code"] for line in family.logged("child_ended")]


@pytest.mark.e2e
def test_a_child_that_keeps_dying_is_started_ever_later(family: Family) -> None:
    """
    0.2 seconds, then twice as long each time.
    """
    family.start(("learner", "exit:1"), ("api-0", "steady"))
    family.pid("api-0")
    ended = until(lambda: found if len(found := family.logged("child_ended")) >= 3 else None)

    assert [0.2, 0.4, 0.8] == [line["restart_in_s"] for line in ended[:3]]
    assert {1} == {line["exit_code"] for line in ended}


@pytest.mark.e2e
@pytest.mark.parametrize("code", sorted(FINAL))
def test_an_exit_that_would_come_again_is_final(family: Family, code: int) -> None:
    """
    Bad settings, a lock, no valid snapshot: everything stops, with the learner's own code.
    """
    family.start(("learner", f"exit:{code}"), ("api-0", "steady"))

    assert code == family.ends_with()


@pytest.mark.e2e
@pytest.mark.parametrize("code", sorted(ONLY_AT_FIRST))
def test_a_learner_that_had_got_going_does_not_take_the_api_with_it(
    family: Family, code: int
) -> None:
    """
    Exit 5 of a learner that had given signs of life: another one is at work in its directory; exit 3:
    somebody wrote bad settings, or bad code of a module, since it started. Only the learner ends, and it
    is tried again, also where the next ones never get going.
    """
    (family.folder / "run").mkdir()
    family.start(
        ("learner", f"beats:{code}"), ("api-0", "steady"), watched=str(family.folder / "run")
    )
    learner, worker = family.pid("learner"), family.pid("api-0")
    last_beat = HeartbeatIn(family.folder / "run")
    until(lambda: (beat := last_beat()) and beat[0] == learner)
    (family.folder / "enough").touch()  # for those that come after it too: they never beat
    until(lambda: len(family.logged("child_ended")) >= 3)

    assert {code} == {line["exit_code"] for line in family.logged("child_ended")}
    assert {"learner"} == {line["child"] for line in family.logged("child_ended")}
    assert is_alive(worker)
    assert [] == family.logged("stopping_for_good")


@pytest.mark.e2e
def test_a_learner_that_finds_its_directory_taken_ends_everything(family: Family) -> None:
    """
    Exit 5 before any sign of life is a mistake of who started it: said at once.
    """
    (family.folder / "run").mkdir()
    family.start(("learner", "exit:5"), ("api-0", "steady"), watched=str(family.folder / "run"))

    assert 5 == family.ends_with()


@pytest.mark.e2e
def test_the_learner_stops_before_the_workers(family: Family) -> None:
    """
    On SIGTERM the API answers until the learner has taken its last snapshot; exit 0.
    """
    family.start(("learner", "steady"), ("api-0", "steady"))
    family.pid("learner"), family.pid("api-0")
    until(lambda: len(family.marks()) == 2)
    family.signal(signal.SIGTERM)

    assert 0 == family.ends_with()
    assert ["learner stopped", "api-0 stopped"] == family.marks()[2:]


@pytest.mark.e2e
def test_ctrl_c_is_130(family: Family) -> None:
    """
    SIGINT stops as SIGTERM does, and the exit code says that it was an interruption.
    """
    family.start(("learner", "steady"))
    family.pid("learner")
    until(family.marks)
    family.signal(signal.SIGINT)

    assert 130 == family.ends_with()
    assert ["learner started", "learner stopped"] == family.marks()


@pytest.mark.e2e
def test_a_second_signal_does_not_wait(family: Family) -> None:
    """
    Who says it twice means it: everything is killed at once.
    """
    family.start(("learner", "stubborn"), ("api-0", "steady"), grace_s=3600)
    learner, worker = family.pid("learner"), family.pid("api-0")
    family.signal(signal.SIGTERM)
    until(lambda: family.logged("stopping"))
    family.signal(signal.SIGTERM)

    assert 130 == family.ends_with()
    assert not is_alive(learner)
    assert not is_alive(worker)


@pytest.mark.e2e
def test_a_child_that_does_not_stop_is_killed(family: Family) -> None:
    """
    After its grace a child is killed, the others still stop in order, and it is not a success.
    """
    family.start(("learner", "stubborn"), ("api-0", "steady"), grace_s=0.2)
    learner = family.pid("learner")
    family.pid("api-0")
    family.signal(signal.SIGTERM)

    assert 1 == family.ends_with()
    assert not is_alive(learner)
    assert "api-0 stopped" == family.marks()[-1]


@pytest.mark.e2e
def test_a_learner_that_stops_badly_is_told(family: Family) -> None:
    """
    A last snapshot that failed is in the exit code, though everything stopped as asked.
    """
    family.start(("learner", "steady:7"), ("api-0", "steady"))
    family.pid("learner"), family.pid("api-0")
    until(lambda: len(family.marks()) == 2)
    family.signal(signal.SIGTERM)

    assert 7 == family.ends_with()


@pytest.mark.e2e
def test_children_end_with_their_parent(family: Family) -> None:
    """
    kill -9 of the parent is a SIGTERM for its children: none is left behind.
    """
    family.start(("learner", "steady"), ("api-0", "steady"))
    pids = [family.pid("learner"), family.pid("api-0")]
    until(lambda: len(family.marks()) == 2)
    family.signal(signal.SIGKILL)
    until(lambda: not any(map(is_alive, pids)))

    assert ["api-0 stopped", "learner stopped"] == sorted(family.marks()[2:])


@pytest.mark.e2e
def test_ctrl_c_at_a_terminal_is_for_the_parent_alone(family: Family) -> None:
    """
    Children are in sessions of their own: the terminal does not signal them.
    """
    family.start(("learner", "steady"))
    learner = family.pid("learner")

    assert learner == os.getsid(learner)


@pytest.mark.e2e
def test_a_folder_named_service_is_not_taken_for_this_package(tmp_path: Path) -> None:
    """
    Users have folders named "service" too; children run this package all the same.
    """
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit(77)")
    program = """
import subprocess, sys
from service.supervise import Child, Supervisor, python
sys.exit(Supervisor([Child("version", python("version"))]).run())
"""
    home = str(Path(__file__).parent.parent)
    ended = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": home},  # noqa: TID251 - handed on
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert 2 == ended.returncode, "`version` knows no --parent-fd; 77 would be the other package"
    assert b"--parent-fd" in ended.stderr


def test_a_port_that_is_taken_says_what_to_do() -> None:
    """
    The message names the setting, its environment variable and a way out; exit 3.
    """
    with listen(ApiSettings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadSettings) as caught:
            listen(ApiSettings(port=port))
    (problem,) = caught.value.problems

    assert 3 == caught.value.exit_code
    assert "api.port" == problem.path
    assert f"port {port} on 127.0.0.1 is taken" in problem.msg
    assert "HEADWATER_API__PORT" in problem.hint


def test_a_host_that_is_not_ours_is_a_setting() -> None:
    """
    An address of another machine cannot be listened on.
    """
    with pytest.raises(BadSettings) as caught:
        listen(ApiSettings(host="192.0.2.1", port=0))

    assert "api.host" == caught.value.problems[0].path


@pytest.mark.parametrize(("host", "start"), [("127.0.0.1", "http://127.0.0.1:")])
def test_the_address_is_one_to_click(host: str, start: str) -> None:
    """
    Port 0 picks a free one, and the address says which.
    """
    with listen(ApiSettings(host=host, port=0)) as listener:
        assert url_of(listener) == f"{start}{listener.getsockname()[1]}"


def test_the_runtime_directory_is_the_users_own(tmp_path: Path) -> None:
    """
    Mode 0700, also of the folder above it, which other users could guess.
    """
    directory = tmp_path / "headwater-1000" / "payments-0123abcd"
    prepare(directory)

    assert [0o700, 0o700] == [path.stat().st_mode & 0o777 for path in (directory, directory.parent)]


def test_metrics_of_workers_before_us_are_forgotten(tmp_path: Path) -> None:
    """
    A worker that is not started any more is not shown for ever; the learner's file stays.
    """
    for name in ("metrics-api-7.json", "metrics-learner.json"):
        (tmp_path / name).write_text("{}")
    prepare(tmp_path)

    assert ["metrics-learner.json"] == [path.name for path in tmp_path.iterdir()]
