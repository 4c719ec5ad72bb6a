"""The API as people start it: real processes, a real socket, kill -9."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pwd
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ruamel.yaml import YAML

from service import settings as settings_module
from service.control import ControlServer
from service.errors import SnapshotInvalid
from tests.processes import PATIENCE_S, is_alive, until, whole_lines
from tests.serve.conftest import EVENT, Learner

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HOME = Path(__file__).parent.parent.parent


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Api:
    """`headwater api` with a settings file of its own."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.config = folder / "headwater.yaml"
        tree = {
            "name": "payments",
            "kafka": {"bootstrap_servers": "localhost:1", "topics": ["payments"]},
            "event": EVENT,
            "model": {"kind": "linear"},
            "state": {"directory": str(folder / "state")},
            "runtime": {"directory": str(folder / "runtime")},
            "api": {"port": 0, "workers": workers},
        }
        with self.config.open("w") as file:
            YAML().dump(tree, file)
        self.settings = settings_module.load(self.config)
        self.runtime = settings_module.runtime_directory(self.settings)
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command("api"), stderr=log, env=environment(), cwd=folder
            )
        self.port = int(until(lambda: self.said("http://127.0.0.1:")).partition("/")[0])
        until(lambda: self.said_times('"event": "answering"') == workers)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "service", *arguments, "--config", str(self.config)]

    def said(self, words: str) -> str:
        return self.log.read_text().partition(words)[2].partition("\n")[0]

    def said_times(self, words: str) -> int:
        return self.log.read_text().count(words)

    def workers(self) -> list[int]:
        lines = [json.loads(line) for line in whole_lines(self.log) if line[:1] == "{"]
        pids = [line["pid"] for line in lines if line["event"] == "child_started"]
        return [pid for pid in pids if is_alive(pid)]

    def ask(
        self, method: str, path: str, body: object = None, timeout_s: float = PATIENCE_S
    ) -> Reply:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        with contextlib.closing(connection):
            raw = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, raw, {"connection": "close"})
            reply = connection.getresponse()
            return Reply(reply.status, dict(reply.getheaders()), reply.read())

    def predict(self) -> Reply:
        return self.ask("POST", "/v1/predict", {"events": [{"amount": 1, "merchant": "a"}]})

    def learner(self) -> Learner:
        learner = Learner(self.runtime, self.settings)
        learner.publish(7)
        learner.beat()
        return learner


def environment() -> dict[str, str]:
    ours = {"PYTHONPATH": str(HOME), "PROMETHEUS_MULTIPROC_DIR": "/nowhere"}
    return {**os.environ, **ours}  # noqa: TID251 - handed on


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    yield from _api(tmp_path, 2)


@pytest.fixture
def lonely(tmp_path: Path) -> Iterator[Api]:
    """An API of one worker."""
    yield from _api(tmp_path, 1)


def _api(folder: Path, workers: int) -> Iterator[Api]:
    api = Api(folder, workers)
    yield api
    started = api.workers()
    api.process.kill()
    api.process.wait()
    for pid in started:  # they would end by themselves, in a second or two
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: not api.workers())


def test_it_starts_before_the_learner_and_sees_it_come(lonely: Api) -> None:
    """
    503 with Retry-After while there is nothing; predictions as soon as a learner publishes.
    """
    before = lonely.predict()
    with lonely.learner().writer:
        after = until(lambda: reply if (reply := lonely.predict()).status == 200 else None)

    assert (503, "1", "NOT_READY") == (
        before.status,
        before.headers["retry-after"],
        before.json()["code"],
    )
    assert 7 == after.json()["model"]["version"]
    assert "server" not in after.headers


def test_no_connection_is_lost_when_every_worker_is_killed(api: Api) -> None:
    """
    The parent holds the socket: who connects while no worker lives is answered by the next one.
    """
    with api.learner().writer:
        until(lambda: api.predict().status == 200)
        before = api.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        reply = api.predict()

        assert 200 == reply.status
        assert not set(before) & set(api.workers())


def test_no_request_fails_while_a_worker_is_replaced(api: Api) -> None:
    """
    SIGTERM to one worker under load: it answers what it took, others take the rest.
    """
    replies: list[int] = []
    failures: list[str] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            try:
                replies.append(api.predict().status)
            except OSError as error:
                failures.append(repr(error))

    with api.learner().writer:
        until(lambda: api.predict().status == 200)
        clients = [threading.Thread(target=load) for _ in range(3)]
        for client in clients:
            client.start()
        for _ in range(3):
            leaving = api.workers()[0]
            os.kill(leaving, signal.SIGTERM)
            until(partial(replaced, api, leaving))
        done.set()
        for client in clients:
            client.join()

    assert [] == failures
    assert {200} == set(replies)


def replaced(api: Api, leaving: int) -> bool:
    workers = api.workers()
    return leaving not in workers and len(workers) == 2


def test_one_scrape_shows_every_worker(api: Api) -> None:
    """
    Whichever worker is asked, the samples of both are there.
    """

    def seen() -> bool:
        api.ask("GET", "/healthz")
        text = api.ask("GET", "/metrics").body.decode()
        name = 'headwater_http_requests_total{code="200",method="GET",process="api-%d"'
        return all(name % n in text for n in (0, 1))

    until(seen)


def test_prometheus_own_ways_are_warned_of(shared: Api) -> None:
    """
    PROMETHEUS_MULTIPROC_DIR changes nothing here, and a worker says so.
    """
    assert shared.said_times("prometheus_multiproc_dir_ignored")
    assert 200 == shared.ask("GET", "/metrics").status


def test_sigterm_ends_clean(api: Api) -> None:
    """
    Exit 0, no process left, and the last counts are on disk.
    """
    api.ask("GET", "/healthz")
    workers = api.workers()
    api.process.send_signal(signal.SIGTERM)

    assert 0 == api.process.wait(PATIENCE_S)
    assert not any(map(is_alive, workers))
    written = [path.read_text() for path in api.runtime.glob("metrics-api-*.json")]
    assert any('[["GET","/healthz","200"],1.0]' in text for text in written)


def test_workers_do_not_outlive_their_parent(api: Api) -> None:
    """
    kill -9 of the parent frees the port.
    """
    workers = api.workers()
    api.process.kill()
    until(lambda: not any(map(is_alive, workers)))

    with pytest.raises(ConnectionRefusedError):
        api.ask("GET", "/healthz")


def test_a_taken_port_is_a_settings_error(lonely: Api, tmp_path: Path) -> None:
    """
    The second one to start says which setting to change, and exits with 3.
    """
    ended = subprocess.run(
        [*lonely.command("api"), "--set", f"api.port={lonely.port}"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )

    assert 3 == ended.returncode
    assert "api.port" in ended.stderr
    assert f"port {lonely.port} on 127.0.0.1 is taken" in ended.stderr


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"BLAH\r\n\r\n", 400, "BAD_REQUEST"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "BAD_REQUEST"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n", 400, "BAD_REQUEST"),
        (b"GET / HTTP/1.1\r\na: " + b"x" * 70_000, 431, "HEADERS_TOO_LARGE"),
        (b"GET /" + b"x" * 70_000, 431, "HEADERS_TOO_LARGE"),
        (
            b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            400,
            "BAD_REQUEST",
        ),
    ],
)
def test_what_is_not_http_gets_a_problem(shared: Api, raw: bytes, status: int, code: str) -> None:
    """
    Also the bytes that never become a request are answered in the contract's shape.
    """
    with socket.create_connection(("127.0.0.1", shared.port), timeout=PATIENCE_S) as client:
        client.sendall(raw)
        reply = http.client.HTTPResponse(client)
        reply.begin()
        problem = json.loads(reply.read())

    assert "application/problem+json" == reply.headers["content-type"]
    assert (status, code) == (reply.status, problem["code"])
    assert reply.headers["x-request-id"] == problem["request_id"]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    yield from _api(tmp_path_factory.mktemp("shared"), 1)


def test_many_requests_at_once_over_one_connection(shared: Api) -> None:
    """
    Pipelined requests are answered in order.
    """
    with socket.create_connection(("127.0.0.1", shared.port), timeout=PATIENCE_S) as client:
        one = b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-request-id: %d\r\n\r\n"
        client.sendall(b"".join(one % n for n in range(5)))
        received = b""
        while received.count(b'{"status":"ok"}') < 5:
            received += client.recv(65_536)

    ids = [line for line in received.split(b"\r\n") if line.startswith(b"x-request-id")]
    assert [b"x-request-id: %d" % n for n in range(5)] == ids


def headwater(api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        api.command(*arguments),
        capture_output=True,
        text=True,
        env=environment(),
        timeout=PATIENCE_S,
        check=False,
    )


def test_status_without_a_learner_is_down(shared: Api) -> None:
    """
    Nobody answers: exit 0, state "down", and what the live file last said.
    """
    with shared.learner().writer as writer:
        writer.beat({"heartbeat_ns": 1, "state": "learning", "reason": None, "lag_records": 4})
    ended = headwater(shared, "status", "--json")
    told = json.loads(ended.stdout)

    assert (0, "down", 4) == (ended.returncode, told["state"], told["lag_records"])
    assert 7 == told["published"]["version"] == told["published_version"]


def test_a_status_has_the_same_keys_whoever_gives_it(shared: Api) -> None:
    """
    A program that reads a status need not know whether the learner is up.
    """
    down = json.loads(headwater(shared, "status", "--json").stdout)
    with ControlServer(shared.runtime / "control.sock", lambda _: {"state": "idle", "version": 3}):
        up = json.loads(headwater(shared, "status", "--json").stdout)

    assert down.keys() == up.keys()
    assert ("down", "idle", 3) == (down["state"], up["state"], up["version"])
    assert down.keys() >= {"lineage", "partitions", "snapshot", "outcomes", "heartbeat_age_seconds"}


def test_status_is_what_the_learner_says(shared: Api) -> None:
    """
    With a learner there, its own words, for programs and for people.
    """
    words = {"state": "learning", "version": 1234567, "partitions": [{"topic": "[red]", "lag": 1}]}
    with ControlServer(shared.runtime / "control.sock", lambda _: dict(words)):
        for_programs = headwater(shared, "status", "--json")
        for_people = headwater(shared, "status")

    assert words.items() <= json.loads(for_programs.stdout).items()
    assert "1234567" in for_people.stdout
    assert "[red]" in for_people.stdout


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["pause"], {"command": "pause"}),
        (["resume"], {"command": "resume"}),
        (["freeze"], {"command": "freeze"}),
        (["unfreeze"], {"command": "unfreeze"}),
        (["snapshots", "create"], {"command": "snapshot"}),
        (["snapshots", "pin", "v7"], {"command": "pin", "id": "v7"}),
        (["snapshots", "unpin", "v7"], {"command": "unpin", "id": "v7"}),
        (["rollback", "--to", "7"], {"command": "rollback", "to": 7, "skip_to": None}),
        (
            ["rollback", "--to", "7", "--skip-to", "now", "--timeout", "30"],
            {"command": "rollback", "to": 7, "skip_to": "now"},
        ),
        (
            ["rollback", "--to", "7", "--skip-to", "9", "--set", "api.workers=2"],
            {"command": "rollback", "to": 7, "skip_to": 9},
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_commands_reach_the_learner(
    shared: Api, arguments: list[str], command: dict[str, Any]
) -> None:
    """
    What an operator says goes through the side door, with the name of the user who says it.
    """
    heard: list[dict[str, Any]] = []

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        heard.append(request)
        return {"state": "paused", "id": "v000000000007-1f2e3d4c"}

    with ControlServer(shared.runtime / "control.sock", handle):
        ended = headwater(shared, *arguments, "--json")

    user = pwd.getpwuid(os.getuid()).pw_name
    assert (0, [command | {"by": f"cli:{user}"}]) == (ended.returncode, heard), ended.stderr
    assert json.loads(ended.stdout)["ok"]


def test_a_version_to_skip_to_is_a_number(shared: Api) -> None:
    """
    What is neither a word nor a version is a mistake in the command: exit 2.
    """
    ended = headwater(shared, "rollback", "--to", "7", "--skip-to", "then")

    assert (2, True) == (ended.returncode, "then" in ended.stderr)


def test_a_refusal_says_why_and_ends_with_its_code(shared: Api) -> None:
    """
    What the learner refuses is told in its own words, and 7 means that there is no such snapshot.
    """

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        raise SnapshotInvalid("there is no snapshot 'v7'")

    with ControlServer(shared.runtime / "control.sock", handle):
        ended = headwater(shared, "snapshots", "pin", "v7")

    assert (7, True) == (ended.returncode, "there is no snapshot 'v7'" in ended.stderr)


def test_a_long_command_is_waited_for_no_longer_than_it_is_said(shared: Api) -> None:
    """
    --timeout gives up waiting; the message says that nobody knows what became of it.
    """
    release = threading.Event()

    def handle(request: dict[str, Any]) -> dict[str, Any]:
        release.wait(PATIENCE_S)
        return {}

    with ControlServer(shared.runtime / "control.sock", handle):
        ended = headwater(shared, "rollback", "--to", "7", "--timeout", "0.3")
        release.set()

    assert (1, True) == (ended.returncode, "no answer to 'rollback'" in ended.stderr)
    assert "headwater status" in ended.stderr


def test_a_command_without_a_learner_says_so(shared: Api) -> None:
    """
    Nothing was changed, and the exit code says that nothing was.
    """
    ended = headwater(shared, "pause")

    assert 1 == ended.returncode
    assert "no learner answers" in ended.stderr


def test_an_offer_to_upgrade_is_ignored(lonely: Api) -> None:
    """
    Java's client offers `Upgrade: h2c` beside every body: the body is read all the same.
    """
    lonely.learner()
    until(lambda: lonely.predict().status == 200)
    body = b'{"events":[{"amount":1}]}'
    head = (
        b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\n"
        b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with socket.create_connection(("127.0.0.1", lonely.port), timeout=PATIENCE_S) as client:
        client.sendall(head + body)
        reply = client.recv(65_536)

    assert reply.startswith(b"HTTP/1.1 200")
