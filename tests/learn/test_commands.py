"""Commands that wait for the loop: done once, or refused with a reason, never left hanging."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from service.learn.commands import Commands, Refused
from tests.processes import PATIENCE_S


def asking(commands: Commands, got: list[Any]) -> threading.Thread:
    """Ask in a thread, as the side door does; what comes of it is appended to `got`."""

    def ask() -> None:
        try:
            got.append(commands.ask({"command": "rollback"}))
        except Refused as refused:
            got.append(str(refused))

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_command_that_takes_long_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Patience ends for a command that is not begun, not for one that is under way.
    """
    monkeypatch.setattr("service.learn.commands._PATIENCE_S", 0.05)
    commands, got, begun, release = Commands(), list[Any](), threading.Event(), threading.Event()
    commands.open()

    def do(request: dict[str, Any]) -> dict[str, Any]:
        begun.set()
        assert release.wait(PATIENCE_S)
        return {"version": 151}

    def run() -> None:
        while not begun.is_set():
            commands.obey(do, wait_s=0.05)

    loop = threading.Thread(target=run)
    loop.start()
    asker = asking(commands, got)
    while not begun.wait(0.05):
        if not asker.is_alive():  # the loop was too slow to begin it: ask again
            assert ["rollback: not begun within 0.05 s"] == got
            got.clear()
            asker = asking(commands, got)
    asker.join(0.2)  # four times the patience
    still_asking = asker.is_alive()
    release.set()
    asker.join(PATIENCE_S)
    loop.join(PATIENCE_S)

    assert (True, [{"version": 151}]) == (still_asking, got)


def test_a_command_that_was_given_up_is_not_done_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Who was told "not begun" can rely on it.
    """
    monkeypatch.setattr("service.learn.commands._PATIENCE_S", 0.01)
    commands, got, done = Commands(), list[Any](), list[Any]()
    commands.open()
    asking(commands, got).join(PATIENCE_S)
    commands.obey(lambda request: done.append(request) or {})  # type: ignore[func-returns-value]

    assert ["rollback: not begun within 0.01 s"] == got
    assert [] == done


def test_a_learner_that_stops_refuses_what_still_waits() -> None:
    """
    Nobody who asked at the wrong moment is left waiting, and the stop waits for nobody.
    """
    commands, got = Commands(), list[Any]()
    commands.open()
    asker = asking(commands, got)
    while asker.is_alive():
        commands.close()
        asker.join(0.01)

    assert got[0] in {
        "rollback: the learner is stopping",
        "rollback: the learner is not taking commands now",
    }
    with pytest.raises(Refused, match="not taking commands"):
        commands.ask({"command": "pause"})
