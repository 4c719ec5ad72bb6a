"""`headwater healthcheck`: what a container's engine is told."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.weights.live_writer import LiveWriter

Check = Callable[..., Result]


class Answers(BaseHTTPRequestHandler):
    """Stands in for a worker: what each path answers is set by the test."""

    replies: dict[str, tuple[int, object]]

    def do_GET(self) -> None:
        status, body = self.replies[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body if isinstance(body, bytes) else json.dumps(body).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def worker() -> Iterator[ThreadingHTTPServer]:
    """A server on any free port."""
    Answers.replies = {}
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run the command with settings of its own."""
    path = tmp_path / "headwater.yaml"
    path.write_text(
        "name: m\nkafka: {topics: [t]}\n"
        "event: {features: {a: {type: number}}, targets: {y: {type: binary}}}\n"
        f"runtime: {{directory: {tmp_path / 'run'}}}\n"
    )

    def run(*arguments: str, port: int = 1) -> Result:
        given = ["healthcheck", "--config", str(path), "--set", f"api.port={port}", *arguments]
        return CliRunner().invoke(app, given)

    return run


@pytest.mark.parametrize(
    ("reply", "code", "said"),
    [
        ((200, {"status": "ready", "degraded": ["the learner is down"]}), 0, "the learner is down"),
        ((503, {"detail": "no weights are published yet"}), 1, "no weights are published yet"),
        ((500, b"\xff not JSON"), 1, "answers 500"),
        ((200, b"[1]"), 0, "answers 200"),
    ],
)
def test_ready_is_what_readyz_says(
    worker: ThreadingHTTPServer, check: Check, reply: tuple[int, object], code: int, said: str
) -> None:
    """
    200 is healthy, anything else is not; the reply's own sentence is passed on.
    """
    Answers.replies = {"/readyz": reply, "/healthz": (418, b"")}
    result = check("--ready", port=worker.server_port)

    assert code == result.exit_code
    assert said in result.output


def test_without_an_option_healthz_is_asked(worker: ThreadingHTTPServer, check: Check) -> None:
    """
    An API without weights is alive: it must not be restarted for that.
    """
    Answers.replies = {"/readyz": (503, b""), "/healthz": (200, {"status": "ok"})}

    assert 0 == check(port=worker.server_port).exit_code


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1", "localhost"])
def test_an_api_that_listens_everywhere_is_asked_on_loopback(
    worker: ThreadingHTTPServer, check: Check, host: str
) -> None:
    """
    The address of the settings is one to listen on, not always one to ask.
    """
    Answers.replies = {"/healthz": (200, {"status": "ok"})}
    allowed = ("--set", "api.allow_unauthenticated=true")
    result = check("--set", f"api.host={host}", *allowed, port=worker.server_port)

    assert 0 == result.exit_code, result.output


def test_a_proxy_of_the_environment_is_not_asked(
    worker: ThreadingHTTPServer, check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The API is in the same container, whatever leads out of it.
    """
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    Answers.replies = {"/healthz": (200, {"status": "ok"})}

    assert 0 == check(port=worker.server_port).exit_code


def test_an_api_that_is_not_there_is_not_healthy(check: Check) -> None:
    """
    The line says which address was asked.
    """
    result = check(port=1)

    assert 1 == result.exit_code
    assert "http://127.0.0.1:1/healthz does not answer" in result.output


def test_an_api_that_says_nothing_is_not_waited_for(check: Check) -> None:
    """
    A worker that hangs accepts and never answers.
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        result = check("--timeout", "0.2", port=silent.getsockname()[1])

    assert 1 == result.exit_code
    assert 60 > time.monotonic() - began


@pytest.mark.parametrize(
    ("age_s", "options", "code"),
    [(1, (), 0), (20, (), 0), (61, (), 1), (5, ("--within", "4"), 1), (90, ("--within", "199"), 0),
     (61, ("--set", "runtime.hang_seconds=null"), 1),
     (70, ("--set", "runtime.hang_seconds=180"), 0)],
)  # fmt: skip
def test_a_learner_lives_by_its_heartbeat(
    check: Check, tmp_path: Path, age_s: int, options: tuple[str, ...], code: int
) -> None:
    """
    The limit is that of the settings unless another is given; halted is alive.
    """
    (tmp_path / "run").mkdir()
    with LiveWriter.open(tmp_path / "run", nbytes=256, layout=b"{}") as writer:
        beat_ns = time.time_ns() - age_s * 10**9
        writer.beat({"state": "halted", "reason": "a person decides", "heartbeat_ns": beat_ns})
        result = check("--learner", "--json", *options)
    said = json.loads(result.output)

    assert (code, code == 0) == (result.exit_code, said["ok"])
    assert "the last heartbeat of the learner is" in said["detail"]


def test_a_learner_that_never_was_is_not_healthy(check: Check) -> None:
    """
    Before the first heartbeat a container is starting, which its start period covers.
    """
    result = check("--learner")

    assert 1 == result.exit_code
    assert "no learner has given a sign of life" in result.output


def test_nothing_heavy_is_imported(tmp_path: Path) -> None:
    """
    It is run every few seconds beside a learner that needs the processor.
    """
    (tmp_path / "headwater.yaml").write_text(
        "name: m\nkafka: {topics: [t]}\n"
        "event: {features: {a: {type: number}}, targets: {y: {type: binary}}}\n"
    )
    script = (
        "import sys\nfrom service.cli.main import app\n"
        "for more in ([], ['--learner']):\n"
        "    try: app(['healthcheck', *more])\n"
        "    except SystemExit as end: assert end.code == 1, end.code\n"
        "heavy = {'torch', 'numba', 'llvmlite', 'confluent_kafka', 'fastapi', 'uvicorn'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)\n"
    )
    checkout = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(checkout), "HEADWATER_API__PORT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
