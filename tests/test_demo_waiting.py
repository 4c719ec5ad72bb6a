"""What the demo says while there is no prediction yet, and of a service that will never give one."""

from __future__ import annotations

import io
import urllib.error
from email.message import Message

import pytest

from service.cli.demo_waiting import reason_in, troubles_in, waiting

NOT_READY = b'{"learner":{"state":"restoring","reason":"compiling"},"code":"NOT_READY"}'


def refused(body: bytes) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://127.0.0.1/", 503, "no", Message(), io.BytesIO(body))


def test_a_first_start_says_that_it_compiles_and_how_long_that_takes() -> None:
    said = waiting(reason_in(refused(NOT_READY)), 12.0)

    assert "compiling the model, once" in said
    assert "up to a minute (12 s so far)" in said


@pytest.mark.parametrize(
    "error",
    [
        refused(b""), refused(b"<html>"), refused(b'{"learner":{"reason":null}}'),
        refused(b'{"code":"OVERLOADED"}'), ConnectionRefusedError(), TimeoutError(),
    ],
)  # fmt: skip
def test_what_says_nothing_of_the_learner_is_waited_for_without_a_reason(error: Exception) -> None:
    assert reason_in(error) is None
    assert waiting(None, 3.0) == "waiting for the learner (3 s so far) ..."


def test_the_last_words_of_a_part_that_ended_are_found_among_the_lines_of_a_log() -> None:
    log = (
        '{"event": "child_started", "pid": 7}\n'
        "headwater: no room for the weights\n"
        '{"event": "child_ended", "error": "headwater: not this"}\n'
        "headwater: still no room\n"
    )

    assert troubles_in(log) == ["no room for the weights", "still no room"]
