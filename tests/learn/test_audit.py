"""The audit log: every command that changes something leaves a line, whatever becomes of it."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from service.control import ControlServer, ask
from service.errors import SnapshotInvalid
from service.learn.audit import NAME, Audit
from service.learn.commands import Refused

ROLLBACK = {"command": "rollback", "to": 100, "skip_to": "now", "by": "cli:ann"}


def done(request: dict[str, Any]) -> dict[str, Any]:
    return {"done": request["command"]}


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / NAME).read_text().splitlines()]


def test_a_command_that_was_done_leaves_a_line(tmp_path: Path) -> None:
    """
    Who, what, with which arguments, what became of it, and at which version.
    """
    reply = Audit(tmp_path, place=lambda: (151, "614f72b2bd0e07f1")).of(ROLLBACK, done)
    [line] = lines(tmp_path)

    assert {"done": "rollback"} == reply
    assert line.pop("at").endswith("+00:00")
    assert {
        "by": "cli:ann",
        "command": "rollback",
        "arguments": {"to": 100, "skip_to": "now"},
        "outcome": "ok",
        "detail": None,
        "version": 151,
        "lineage": "614f72b2bd0e07f1",
    } == line


def test_a_line_names_the_version_that_the_answer_names(tmp_path: Path) -> None:
    """
    Others may have been learned since; what the guard did is told with its own as well.
    """
    audit = Audit(tmp_path, place=lambda: (160, "614f72b2bd0e07f1"))
    audit.of(ROLLBACK, lambda _: {"version": 151, "lineage": "614f72b2bd0e07f1"})
    audit.note("guard", "freeze", place=(153, "614f72b2bd0e07f1"))
    audit.of(ROLLBACK, lambda _: {"id": "v1", "version": 140})

    assert [151, 153, 160] == [line["version"] for line in lines(tmp_path)]


@pytest.mark.parametrize(
    ("error", "outcome", "detail"),
    [
        (Refused("not while halted"), "refused", "not while halted"),
        (SnapshotInvalid("there is none"), "refused", "there is none"),
        (ZeroDivisionError("a bug"), "failed", "ZeroDivisionError: a bug"),
    ],
)
def test_a_command_that_was_not_done_leaves_its_reason(
    tmp_path: Path, error: Exception, outcome: str, detail: str
) -> None:
    """
    A refusal and a failure are recorded, and still reach whoever asked.
    """

    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)):
        Audit(tmp_path).of(ROLLBACK, refuse)

    [line] = lines(tmp_path)
    assert (outcome, detail) == (line["outcome"], line["detail"])


@pytest.mark.parametrize("command", ["status", "snapshots"])
def test_a_reading_leaves_nothing(tmp_path: Path, command: str) -> None:
    """
    What changes nothing is not recorded: a dashboard that asks each second fills no disk.
    """
    Audit(tmp_path).of({"command": command}, done)

    assert not (tmp_path / NAME).exists()


def test_what_the_guard_decides_is_recorded_under_its_name(tmp_path: Path) -> None:
    """
    An automatic decision stands beside those of people.
    """
    Audit(tmp_path).note("guard", "freeze", {"target": "y"}, detail="log-loss at twice its mean")

    [line] = lines(tmp_path)
    assert ("guard", "freeze", "ok", "log-loss at twice its mean") == (
        line["by"],
        line["command"],
        line["outcome"],
        line["detail"],
    )


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """
    Mode 0600, also where something left the file open to others.
    """
    (tmp_path / NAME).write_text("")
    (tmp_path / NAME).chmod(0o644)
    Audit(tmp_path).of(ROLLBACK, done)

    assert 0o600 == stat.S_IMODE((tmp_path / NAME).stat().st_mode)


def test_lines_are_only_added(tmp_path: Path) -> None:
    """
    The next process goes on where the last one stopped.
    """
    Audit(tmp_path).of(ROLLBACK, done)
    first = (tmp_path / NAME).read_bytes()
    Audit(tmp_path).of({"command": "pause"}, done)

    assert (tmp_path / NAME).read_bytes().startswith(first)
    assert ["cli:ann", "unknown"] == [line["by"] for line in lines(tmp_path)]


@pytest.mark.parametrize("torn_at", [1, 40, -1])
def test_a_torn_last_line_does_not_break_the_next(tmp_path: Path, torn_at: int) -> None:
    """
    A crash in the middle of a line costs that line alone.
    """
    audit = Audit(tmp_path)
    audit.of(ROLLBACK, done)
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + whole[:torn_at])
    audit.of({"command": "pause", "by": "cli:bob"}, done)

    first, torn, last = (tmp_path / NAME).read_bytes().splitlines()
    assert (whole, whole[:torn_at]) == (first + b"\n", torn)
    assert "cli:bob" == json.loads(last)["by"]


def test_a_disk_that_takes_nothing_does_not_stop_the_command(tmp_path: Path) -> None:
    """
    The command is done, the loss is counted, and the next line is written when it can be.
    """
    counted: list[int] = []
    folder = tmp_path / "state"
    audit = Audit(folder, failed=lambda: counted.append(1))

    assert {"done": "rollback"} == audit.of(ROLLBACK, done)
    assert (1, [1]) == (audit.failures, counted)

    folder.mkdir()
    audit.of(ROLLBACK, done)
    assert 1 == len(lines(folder))


def test_no_secret_is_written(tmp_path: Path) -> None:
    """
    An argument that is named like a secret is hidden, whoever sent it.
    """
    Audit(tmp_path).of({"command": "pause", "by": "x", "admin_token": "hunter2"}, done)

    assert "hunter2" not in (tmp_path / NAME).read_text()


def test_a_request_beyond_reason_makes_no_line_beyond_reason(tmp_path: Path) -> None:
    """
    A megabyte of arguments is cut short; the line is still JSON.
    """
    Audit(tmp_path).of({"command": "pause", "by": "é" * 9999, "junk": "é\n" * 99_999}, done)

    [line] = lines(tmp_path)
    assert len(json.dumps(line, ensure_ascii=False)) < 20_000


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    """
    Whoever may write to the folder cannot turn the log into a way to write elsewhere.
    """
    (tmp_path / "elsewhere").write_text("kept")
    (tmp_path / NAME).symlink_to(tmp_path / "elsewhere")
    audit = Audit(tmp_path)
    audit.of(ROLLBACK, done)

    assert (1, "kept") == (audit.failures, (tmp_path / "elsewhere").read_text())


def test_commands_of_several_clients_do_not_mix(tmp_path: Path) -> None:
    """
    The door's threads write whole lines, through a real side door.
    """
    audit, path = Audit(tmp_path), tmp_path / "control.sock"

    def ask_often(name: str) -> None:
        for _ in range(20):
            ask(path, "pause", 30, by=name)

    with ControlServer(path, lambda request: audit.of(request, done)):
        clients = [threading.Thread(target=ask_often, args=(f"cli:{n}",)) for n in range(4)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()

    by = [line["by"] for line in lines(tmp_path)]
    assert {f"cli:{n}": 20 for n in range(4)} == {name: by.count(name) for name in set(by)}


@pytest.mark.parametrize(
    ("by", "arguments"),
    [
        ("cli:\ud800", {}),
        ("cli:ann", {"reason": "\ud800"}),
        ("cli:ann", {"to": 10**30}),
        ("cli:ann", {"to": object()}),
    ],
)
def test_what_no_file_can_hold_does_no_harm_to_the_command(
    tmp_path: Path, by: str, arguments: dict[str, Any]
) -> None:
    """
    The command was done; a line is written, or its loss is counted.
    """
    audit = Audit(tmp_path)

    assert {"done": "pause"} == audit.of({"command": "pause", "by": by, **arguments}, done)
    written = lines(tmp_path) if audit.path.exists() else []
    assert 1 == len(written) + audit.failures
