"""The side door: both ends, and everything that can come through it."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.control import ControlServer, Reply, ask
from service.errors import DataLost, LearnerAway, Locked
from tests.processes import PATIENCE_S


def echo(request: dict[str, Any]) -> Reply:
    match request["command"]:
        case "lose":
            raise DataLost("records 3..9 are gone")
        case "break":
            raise ZeroDivisionError("a bug")
    return {"heard": request}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    with ControlServer(path, echo) as server:
        yield server


def send(path: Path, raw: bytes) -> list[Any]:
    """Send bytes, then say that nothing more comes; return every reply."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(PATIENCE_S)
        client.connect(str(path))
        client.sendall(raw)
        client.shutdown(socket.SHUT_WR)
        with client.makefile("rb") as lines:
            return [json.loads(line) for line in lines]


def test_a_command_and_its_arguments_reach_the_learner(server: ControlServer, path: Path) -> None:
    """
    What `ask` sends is what `handle` gets, and what it returns comes back with ok=true.
    """
    reply = ask(path, "snapshot", PATIENCE_S, label="before the sale")

    assert {
        "ok": True,
        "heard": {"command": "snapshot", "label": "before the sale"},
    } == reply


def test_a_refusal_has_a_code(server: ControlServer, path: Path) -> None:
    """
    An error that the service understands comes back under its name.
    """
    assert {"ok": False, "error": "records 3..9 are gone", "code": "DATA_LOST"} == ask(
        path, "lose", PATIENCE_S
    )


def test_a_bug_in_one_command_closes_nothing(server: ControlServer, path: Path) -> None:
    """
    What nobody expected is a reply, and the next command is answered.
    """
    assert {"ok": False, "error": "ZeroDivisionError: a bug", "code": "INTERNAL"} == ask(
        path, "break", PATIENCE_S
    )
    assert ask(path, "status", PATIENCE_S)["ok"]


def test_several_commands_over_one_connection(server: ControlServer, path: Path) -> None:
    """
    One line, one reply, in order.
    """
    replies = send(path, b'{"command":"a"}\n{"command":"lose"}\n{"command":"b"}\n')

    assert ["a", None, "b"] == [reply.get("heard", {}).get("command") for reply in replies]


@pytest.mark.parametrize(
    "line",
    [b"\n", b"status\n", b"[]\n", b"{}\n", b'{"command":1}\n', b"\xff\n", b"[" * 100_000 + b"\n"],
)
def test_nonsense_is_refused(server: ControlServer, path: Path, line: bytes) -> None:
    """
    What is no command gets a reply that says so.
    """
    (reply,) = send(path, line)

    assert (False, "BAD_REQUEST") == (reply["ok"], reply["code"])


@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(raw=st.binary(max_size=300))
def test_any_bytes_leave_the_door_open(server: ControlServer, path: Path, raw: bytes) -> None:
    """
    After any bytes the next client is answered.
    """
    send(path, raw)

    assert ask(path, "status", PATIENCE_S)["ok"]


def test_a_silent_client_keeps_nobody_waiting(server: ControlServer, path: Path) -> None:
    """
    A client that connects and says nothing costs the others nothing.
    """
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        silent.sendall(b'{"comm')

        assert ask(path, "status", PATIENCE_S)["ok"]


def test_a_long_command_does_not_hold_up_a_status(path: Path) -> None:
    """
    Clients are answered side by side.
    """
    release = threading.Event()

    def handle(request: dict[str, Any]) -> Reply:
        if request["command"] == "snapshot":
            assert release.wait(PATIENCE_S)
        return {}

    with ControlServer(path, handle):
        replies: list[Reply] = []
        slow = threading.Thread(target=lambda: replies.append(ask(path, "snapshot", PATIENCE_S)))
        slow.start()
        quick = ask(path, "status", PATIENCE_S)
        release.set()
        slow.join()

    assert [{"ok": True}] == replies == [quick]


def test_closing_waits_for_the_command_under_way(path: Path) -> None:
    """
    Who was heard is answered, also when the learner is stopping.
    """
    heard, release = threading.Event(), threading.Event()

    def handle(request: dict[str, Any]) -> Reply:
        heard.set()
        assert release.wait(PATIENCE_S)
        return {"done": True}

    server = ControlServer(path, handle)
    replies: list[Reply] = []
    client = threading.Thread(target=lambda: replies.append(ask(path, "snapshot", PATIENCE_S)))
    client.start()
    assert heard.wait(PATIENCE_S)
    closing = threading.Thread(target=server.close)
    closing.start()
    release.set()
    closing.join()
    client.join()

    assert [{"ok": True, "done": True}] == replies


def test_only_the_owner_may_knock(server: ControlServer, path: Path) -> None:
    """
    The socket's mode is 0600.
    """
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_nobody_there_is_learner_away(path: Path) -> None:
    """
    No socket at all.
    """
    with pytest.raises(LearnerAway, match="no learner answers"):
        ask(path, "status", 1)


def test_a_dead_learners_socket_is_learner_away(path: Path) -> None:
    """
    A socket that nobody listens on, as a kill -9 leaves it.
    """
    leave_behind(path)

    with pytest.raises(LearnerAway, match="no learner answers"):
        ask(path, "status", 1)


def test_a_learner_that_hangs_is_learner_away(path: Path) -> None:
    """
    Connected, and then nothing.
    """
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()

        with pytest.raises(LearnerAway, match=r"within 0\.05 s"):
            ask(path, "status", 0.05)


def test_a_learner_that_dies_before_it_answers_is_away(path: Path) -> None:
    """
    Half a reply is none.
    """
    with socket.socket(socket.AF_UNIX) as dying:
        dying.bind(str(path))
        dying.listen()

        def die() -> None:
            client, _ = dying.accept()
            client.recv(100)
            client.sendall(b'{"ok":tr')
            client.close()

        thread = threading.Thread(target=die)
        thread.start()
        with pytest.raises(LearnerAway, match="went away"):
            ask(path, "status", PATIENCE_S)
        thread.join()


def test_a_socket_left_behind_is_replaced(path: Path) -> None:
    """
    The next learner opens its door where the dead one's was.
    """
    leave_behind(path)

    with ControlServer(path, echo):
        assert ask(path, "status", PATIENCE_S)["ok"]


def test_a_socket_that_is_answered_is_not_replaced(server: ControlServer, path: Path) -> None:
    """
    A second learner is turned away at the door too.
    """
    with pytest.raises(Locked, match="another learner answers"):
        ControlServer(path, echo)

    assert ask(path, "status", PATIENCE_S)["ok"]


def test_nothing_is_left_behind(path: Path) -> None:
    """
    Closing removes the socket, a second close does nothing.
    """
    server = ControlServer(path, echo)
    server.close()
    server.close()

    assert not path.exists()


def test_closing_does_not_wait_for_who_says_nothing(path: Path) -> None:
    """
    A connection without a command under way is cut.
    """
    server = ControlServer(path, echo)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        ask(path, "status", PATIENCE_S)
        server.close()
        silent.settimeout(PATIENCE_S)

        assert b"" == silent.recv(1)


def test_closing_leaves_anothers_socket_alone(path: Path) -> None:
    """
    A learner that was replaced does not close the door of the next.
    """
    first = ControlServer(path, echo)
    path.unlink()
    with ControlServer(path, echo):
        first.close()

        assert ask(path, "status", PATIENCE_S)["ok"]


def test_a_long_path_works_too(tmp_path: Path) -> None:
    """
    The kernel takes about a hundred bytes; a runtime directory may be longer.
    """
    deep = tmp_path / ("d" * 90) / ("é" * 60)
    deep.mkdir(parents=True)
    path = deep / "control.sock"
    with ControlServer(path, echo):
        assert ask(path, "status", PATIENCE_S)["ok"]
        assert stat.S_ISSOCK(path.stat().st_mode)

    assert not path.exists()


def leave_behind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
