"""The operator's hand on a real service: commands, /v1/admin, pins, the audit log."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import CHECKOUT, Service, Topic, until
from tests.e2e.test_learning import events
from tests.processes import PATIENCE_S, free_port

pytestmark = pytest.mark.e2e
Make = Callable[..., Service]
TOKEN = "a-token-of-this-test"


def admin(service: Service, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request to /v1/admin, with the token."""
    raw = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"{service.url}/v1/admin{path}", raw, {"authorization": f"Bearer {TOKEN}"}, method=method
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return reply.status, json.loads(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def audited(service: Service) -> list[tuple[str, str, str]]:
    """Who, what and what became of it, from the audit log."""
    log = service.folder / "state" / "tested" / "audit.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    return [(line["by"], line["command"], line["outcome"]) for line in lines]


def served(service: Service, version: int) -> Any:
    """The model with its digest, once this version or a later one answers."""
    model = service.model(digest=True)
    return model if model is not None and model["version"] >= version else None


def pins(service: Service) -> dict[str, bool]:
    """Whether each snapshot is pinned, as the command line lists them."""
    return {s["id"]: s["pinned"] for s in service.json("snapshots", "list")["snapshots"]}


def turns(service: Service, topic: Topic) -> None:
    """Freeze, learn in the shadow, unfreeze, roll back twice: by turns over either way."""
    before = service.model(digest=True)
    assert before is not None
    assert "frozen" == service.json("freeze")["state"]
    topic.publish(events(50, 1))
    until(lambda: service.status()["events_learned"] == 100, "learned in the shadow")
    frozen = service.model(digest=True)
    assert frozen is not None
    assert before["digest"]["weights"] == frozen["digest"]["weights"]
    assert admin(service, "POST", "/unfreeze")[1]["state"] in {"idle", "learning"}
    service.learned(100)
    status, back = admin(
        service, "POST", "/rollback", {"to": before["version"], "skip_to": "now", "reason": "test"}
    )
    assert (200, before["version"], 50) == (status, back["rolled_back_to"], back["skipped"])
    assert back["version"] > before["version"]
    rolled_back = until(lambda: served(service, back["version"]), "the weights of before")
    assert before["digest"]["weights"] == rolled_back["digest"]["weights"]
    again = service.json("rollback", "--to", str(before["version"]))
    assert (before["version"], 0) == (again["rolled_back_to"], again["skipped"])
    service.learned(100)


def test_an_operator_works_over_http_and_the_command_line(
    make_service: Make, embedded_bootstrap: str
) -> None:
    """What one does the other sees; a pin works with and without a learner; each command that
    changes something is in the audit log, under the name of who gave it."""
    topic = Topic(embedded_bootstrap)
    port = free_port()
    service = make_service(topic, api={"port": port, "admin_token": TOKEN})
    service.url = f"http://127.0.0.1:{port}"
    process = service.start()
    topic.publish(events(50))
    service.learned(50)

    assert "paused" == admin(service, "POST", "/pause", {"reason": "a look"})[1]["state"]
    assert "paused" == service.status()["state"]
    assert service.json("resume")["state"] in {"idle", "learning"}
    status, made = admin(service, "POST", "/snapshots")
    assert (200, True) == (status, made["id"] in pins(service))
    assert (200, {"id": made["id"], "pinned": True}) == admin(
        service, "POST", f"/snapshots/{made['id']}/pin"
    )
    listed = {s["id"]: s for s in admin(service, "GET", "/snapshots")[1]["snapshots"]}
    assert (True, True) == (listed[made["id"]]["pinned"], pins(service)[made["id"]])
    assert 404 == admin(service, "POST", "/snapshots/v000000000099-00000000/pin")[0]
    assert admin(service, "GET", "/status")[1].keys() == service.status().keys()
    turns(service, topic)
    assert 409 == admin(service, "POST", "/rollback", {"to": 10**9})[0]
    refused = service.command("rollback", "--to", str(10**9), "--config", str(service.config))
    assert (1, True) == (refused.returncode, "refused 'rollback'" in refused.stderr)
    assert 0 == service.stop(process)

    assert service.json("snapshots", "unpin", made["id"])["ok"]
    assert not pins(service)[made["id"]]
    unknown = service.command(
        "snapshots", "pin", "v000000000099-00000000", "--config", str(service.config)
    )
    assert (7, True) == (unknown.returncode, "there is no snapshot" in unknown.stderr)
    me = f"cli:{pwd.getpwuid(os.getuid()).pw_name}"
    assert [
        ("admin:127.0.0.1", "pause", "ok"),
        (me, "resume", "ok"),
        ("admin:127.0.0.1", "snapshot", "ok"),
        ("admin:127.0.0.1", "pin", "ok"),
        ("admin:127.0.0.1", "pin", "refused"),
        (me, "freeze", "ok"),
        ("admin:127.0.0.1", "unfreeze", "ok"),
        ("admin:127.0.0.1", "rollback", "ok"),
        (me, "rollback", "ok"),
        ("admin:127.0.0.1", "rollback", "refused"),
        (me, "rollback", "refused"),
        (me, "unpin", "ok"),
        (me, "pin", "refused"),
    ] == audited(service)
    texts = [path.read_text(errors="replace") for path in service.folder.glob("*.log")]
    assert not any(TOKEN in text for text in texts)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGHUP, 0), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["ctrl-c", "terminal-closed", "killed"],
)
def test_whatever_ends_a_demo_ends_all_that_it_started(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """No process of it is left, and no folder where it could still remove one."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "service", "demo", "--json", "--port", "0"],
        cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},  # noqa: TID251 - handed on
    )  # fmt: skip
    assert demo.stderr is not None
    assert "starting" in demo.stderr.readline()
    until(lambda: list(tmp_path.glob("headwater-demo-*/run.log")), "the service of the demo")
    until(lambda: "learner" in started(tmp_path), "its learner")
    demo.send_signal(number)
    demo.communicate(timeout=PATIENCE_S)

    assert code == demo.returncode
    until(lambda: not started(tmp_path), "the end of all processes")
    if number != signal.SIGKILL:
        assert [] == list(tmp_path.glob("headwater-demo-*"))


def started(folder: Path) -> str:
    """Return the command lines of processes that name a folder."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = one.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in line:
                found.append(line)
    return "\n".join(found)
