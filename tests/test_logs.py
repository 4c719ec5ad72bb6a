"""Logs: one shape for all of them, on stderr, without secrets."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog

from service import logs
from service.redact import is_secret, redacted


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Put the logging of the test run back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def stream() -> io.StringIO:
    """Logs of a process called learner, as they would go to a pipe."""
    out = io.StringIO()
    logs.configure("learner", stream=out)
    return out


def last(stream: io.StringIO) -> dict[str, object]:
    found: dict[str, object] = json.loads(stream.getvalue().splitlines()[-1])
    return found


def fails(password: str) -> None:
    raise KeyError(len(password))


def test_a_line_is_json_with_its_fields(stream: io.StringIO) -> None:
    """
    In a pipe, a line is an object that names event, level, logger, process and time.
    """
    logs.logger("service.learn.loop").info("cut learned", rows=12)
    found = last(stream)

    assert ("cut learned", 12, "info", "service.learn.loop", "learner", True) == (
        found["event"],
        found["rows"],
        found["level"],
        found["logger"],
        found["process"],
        str(found["timestamp"]).endswith("Z"),
    )


def test_a_terminal_gets_columns() -> None:
    """
    A person reads lines, not objects.
    """
    out = Terminal()
    logs.configure("learner", stream=out)
    logs.logger("x").info("cut learned", rows=12)

    assert ("cut learned" in out.getvalue(), "{" in out.getvalue()) == (True, False)


def test_the_standard_library_goes_the_same_way(stream: io.StringIO) -> None:
    """
    What uvicorn and librdkafka log has the same shape.
    """
    logging.getLogger("uvicorn.error").warning("port %d taken", 80)

    assert ("port 80 taken", "learner") == (last(stream)["event"], last(stream)["process"])


def test_foreign_handlers_are_taken_away() -> None:
    """
    No line is written twice, in two shapes.
    """
    foreign = logging.getLogger("uvicorn.access")
    foreign.addHandler(logging.NullHandler())
    logs.configure("api-0", stream=io.StringIO())

    assert ([], True) == (foreign.handlers, foreign.propagate)


def test_warnings_are_logged(stream: io.StringIO) -> None:
    """
    A warning of a library is a line like others.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)

    assert "py.warnings" == last(stream)["logger"]


def test_what_is_below_the_level_is_not_written(stream: io.StringIO) -> None:
    """
    Details stay out unless they are asked for.
    """
    logs.logger("x").debug("detail")

    assert "" == stream.getvalue()


def test_secrets_are_hidden(stream: io.StringIO) -> None:
    """
    A field with the name of a secret is hidden, however deep it lies.
    """
    logs.logger("x").info("client", client={"sasl.password": "hunter2"}, token="hunter2")

    assert "hunter2" not in stream.getvalue()


@pytest.mark.parametrize("out", [io.StringIO(), Terminal()], ids=["pipe", "terminal"])
def test_a_traceback_shows_no_variables(out: io.StringIO) -> None:
    """
    An error is logged with its traceback, and without what the variables held.
    """
    logs.configure("learner", stream=out)
    password = "".join(["hunter", "2"])  # so that the source, which is shown, does not hold it
    try:
        fails(password)
    except KeyError:
        logs.logger("x").exception("failed")

    assert (True, False) == ("KeyError: 7" in out.getvalue(), "hunter2" in out.getvalue())


@pytest.mark.parametrize(
    "name",
    ["sasl.password", "ssl.key.password", "API_KEY", "token", "client_secret", "ssl.key.pem"],
)
def test_names_of_secrets(name: str) -> None:
    """
    What must not be shown is known by its name.
    """
    assert is_secret(name)


@pytest.mark.parametrize("name", ["monkey", "keys", "merchant", "sasl.username", "keep", "topic"])
def test_names_of_others(name: str) -> None:
    """
    What only looks a little like it is shown.
    """
    assert not is_secret(name)


def test_redaction_keeps_the_shape() -> None:
    """
    Lists, tuples and mappings stay what they are; a mapping named like a secret is looked into.
    """
    tree = {"token": {"type": "number"}, "list": [{"password": "x"}], "pair": ("a", 1)}

    assert {
        "token": {"type": "number"},
        "list": [{"password": "***"}],
        "pair": ("a", 1),
    } == redacted(tree)
