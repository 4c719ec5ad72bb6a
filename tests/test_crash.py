"""Crash points: where they are, what arms them, what they cost in ordinary use: nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service import crash, logs, settings
from service.cli import arming
from service.errors import Problem
from tests.processes import PATIENCE_S

CHECKOUT = Path(__file__).parent.parent
GOOD = "{name: a, kafka: {topics: [a]}, event: {features: {x: {type: number}}, targets: {y: {type: binary}}}}"
_DIES = """
import sys
from service import crash
crash.arm(crash.read(sys.argv[1]))
for hit in range(1, 10):
    print(hit, flush=True)
    crash.point("after_poll", lambda: print("last act", flush=True))
    crash.point("after_decode")
"""


def placed() -> list[str]:
    """Every name that stands at a point in the service."""
    return [
        name
        for path in (CHECKOUT / "service").rglob("*.py")
        for name in re.findall(r'crash\.point\(\s*"(\w+)"', path.read_text())
    ]


def run(armed: str) -> subprocess.CompletedProcess[str]:
    """Run a process that passes the points `after_poll` and `after_decode` nine times."""
    return subprocess.run(
        [sys.executable, "-c", _DIES, armed], cwd=CHECKOUT, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},  # noqa: TID251
    )  # fmt: skip


def test_every_point_stands_at_one_place():
    """A name is hit somewhere, and nowhere twice."""
    assert sorted(crash.POINTS) == sorted(placed())


def test_every_point_says_what_the_world_holds():
    """A sentence for each, and a line in docs/reliability.md."""
    page = (CHECKOUT / "docs" / "reliability.md").read_text()

    assert [] == [name for name, said in crash.POINTS.items() if len(said) < 10]
    assert [] == [
        name for name, said in crash.POINTS.items() if f"| `{name}` | {said} |" not in page
    ]


def test_a_process_dies_at_the_hit_that_is_named():
    """The third time it comes by, after its last act, by SIGKILL."""
    done = run("after_poll:3")

    assert (-signal.SIGKILL, "1\n2\n3\nlast act\n") == (done.returncode, done.stdout)


def test_without_a_count_it_is_the_first_hit():
    assert "1\n" == run("after_decode").stdout


def test_a_point_that_is_not_passed_kills_nobody():
    assert 0 == run("mid_gc").returncode


@pytest.mark.parametrize("text", ["nowhere", "after_poll:0", "after_poll:", "after_poll:-1"])
def test_what_is_no_point_is_refused_at_the_start(
    refused_settings: Callable[..., dict[str, Problem]], text: str
):
    """As any other mistake in the settings, whatever the command."""
    problem = refused_settings(GOOD, HEADWATER_CRASHPOINT=text)["HEADWATER_CRASHPOINT"]

    assert "nowhere" not in text or "after_poll" in problem.msg


def test_a_command_ends_with_the_exit_code_of_bad_settings(
    headwater: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
):
    """Exit 3, and the names that there are."""
    (tmp_path / "headwater.yaml").write_text(GOOD)

    done = headwater("learner", HEADWATER_CRASHPOINT="nowhere")

    assert 3 == done.returncode
    assert "snap_before_rename" in done.stderr


@pytest.mark.parametrize("command", [("config", "check"), ("config", "show", "--json")])
def test_settings_that_are_looked_at_say_what_is_armed(
    headwater: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path, command: tuple[str]
):
    """On stderr: what is on stdout stays as it is."""
    (tmp_path / "headwater.yaml").write_text(GOOD)

    plain, armed = headwater(*command), headwater(*command, HEADWATER_CRASHPOINT="after_poll:7")

    assert (0, plain.stdout) == (armed.returncode, armed.stdout)
    assert "after_poll (hit 7)" in armed.stderr
    assert "after_poll" not in plain.stderr


@pytest.mark.parametrize("arms", [arming.arm, arming.warn])
def test_a_process_that_will_die_says_so(
    arms: Callable[[], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """In its log, at once: nobody should wonder later. `run` says it for those it starts."""
    logs.configure("learner")
    monkeypatch.setenv("HEADWATER_CRASHPOINT", "after_poll:7")
    try:
        arms()
        was_armed = crash._armed is not None
    finally:
        crash.arm(None)
    [said] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    assert ("crash_point_armed", "after_poll", 7) == (said["event"], said["point"], said["nth"])
    assert was_armed == (arms is arming.arm)


class TestOnce:
    """The point in a file: whoever dies takes it away, so that the next process goes on."""

    def armed(self, tmp_path: Path, text: str) -> crash.Armed | None:
        """What a process that starts now is armed with."""
        file = tmp_path / "point"
        if text:
            file.write_text(text)
        return settings.crash_point({"HEADWATER_CRASHPOINT_FILE": str(file)})

    def test_no_file_arms_nothing(self, tmp_path: Path):
        assert None is self.armed(tmp_path, "")

    def test_a_file_arms_its_point(self, tmp_path: Path):
        wanted = crash.Armed("mid_gc", 2, tmp_path / "point")

        assert wanted == self.armed(tmp_path, "mid_gc:2\n")

    def test_the_file_is_gone_before_the_process_is(self, tmp_path: Path, monkeypatch):
        """A process that starts in its place finds nothing to die of."""
        died: list[bool] = []
        monkeypatch.setattr(crash, "_die", lambda: died.append((tmp_path / "point").exists()))
        crash.arm(self.armed(tmp_path, "mid_gc"))
        try:
            crash.point("mid_gc")
        finally:
            crash.arm(None)

        assert [False] == died
        assert "mid_gc" == (tmp_path / "point.hit").read_text()

    def test_a_file_with_another_point_by_now_kills_nobody(self, tmp_path: Path, monkeypatch):
        died: list[str] = []
        monkeypatch.setattr(crash, "_die", lambda: died.append("dead"))
        crash.arm(self.armed(tmp_path, "mid_gc"))
        (tmp_path / "point").write_text("after_poll")
        try:
            crash.point("mid_gc")
        finally:
            crash.arm(None)

        assert [] == died
        assert (tmp_path / "point").exists()
