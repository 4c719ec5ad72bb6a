"""A record that kills whoever decodes it, while it is read ahead: found, set aside, as any other.

No event kills our decoder that we know of. So the processes of this test are given a decoder that
can be killed: by a `sitecustomize` of the test's own on their path, as a broken library would be.
And there is an ordinary way: a record that needs more memory than there is.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.e2e.parties import Client
from tests.e2e.service import Service, Topic, until
from tests.e2e.test_killers import letters, rebuilt_from_nothing
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos

pytestmark = [pytest.mark.e2e, chaos]

CUSTOM = """
import importlib.machinery, signal, sys

class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "service.events.decode":
            return None
        spec = super().find_spec(name, path, target)
        run = spec.loader.exec_module
        def exec_module(module):
            run(module)
            decode = module.Decoder.decode_records
            def decode_records(self, payloads):
                if any(b"lethal" in payload for payload in payloads if payload):
                    signal.raise_signal(signal.SIGSEGV)
                return decode(self, payloads)
            module.Decoder.decode_records = decode_records
        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Finder)
"""


def survived(service: Service, topic: Topic, dead: Topic, deadly: list[object], n: int) -> None:
    """Publish the deadly ones among sixty more; assert that they are set aside and no others."""
    before = service.learned(n)
    client = Client(service)
    client.start()
    stream: list[object] = [*events(60, 1)]
    places = {(topic.name, 0, topic.sent + 20 + at) for at in range(len(deadly))}
    stream[20:20] = deadly
    topic.publish(stream)
    service.learned(n + 60, 240.0)
    until(lambda: service.status()["lag_records"] == 0, "the end of the topic")
    client.stopped.set()
    client.join()

    outcomes = service.status()["outcomes"]
    assert {"learned": n + 60, "quarantined/kills_process": len(deadly)} == outcomes
    assert places == letters(dead).keys()
    assert {"kills_process"} == {reason for reason, _ in letters(dead).values()}
    assert 3 == service.log().count("died_with_records_in_hand")
    assert ([], []) == (client.failed, client.conflicts)
    assert {before["lineage"]} == {lineage for lineage, _ in client.versions}
    assert sorted(v for _, v in client.versions) == [v for _, v in client.versions]


def test_records_that_kill_the_decoder_are_set_aside_on_the_third_death(
    make_service, embedded_bootstrap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It dies while it reads ahead, with nothing learned of that range. A replay from nothing leaves
    them alone too, and so does every restart."""
    (tmp_path / "sitecustomize.py").write_text(CUSTOM)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    topic, dead = Topic(embedded_bootstrap), Topic(embedded_bootstrap)
    service = make_service(topic, kafka={"dead_letter_topic": dead.name})
    process = service.start()
    topic.publish(events(100))
    lethal = {"x": 1.0, "c": "lethal", "y": 1}
    survived(service, topic, dead, [lethal, lethal], 100)

    model = service.model(digest=True)
    assert 0 == service.stop(process)
    rebuilt = rebuilt_from_nothing(service, model["version"])
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])
    process = service.start()
    topic.publish(events(10, 2))
    service.learned(170)
    assert 200 == service.predict(CLICK)[0]
    assert 3 == service.log().count("died_with_records_in_hand")
    assert 0 == service.stop(process)


class Squeezed(Topic):
    """A topic whose records are compressed."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap)
        self._producer = Producer({
            "bootstrap.servers": bootstrap, "compression.type": "gzip",
            "message.max.bytes": 100_000_000,
        })  # fmt: skip


def data_bytes(pid: int) -> int:
    """Return how much memory of its own a process has mapped."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if "VmData" in line).split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="there is no /proc here")
def test_a_record_that_needs_more_memory_than_there_is_is_set_aside(
    make_service, embedded_bootstrap
):
    """Some kilobytes on the wire are megabytes that stand for millions of events; and the learner's
    memory has a limit."""
    topic, dead = Squeezed(embedded_bootstrap), Topic(embedded_bootstrap)
    service = make_service(
        topic, kafka={"dead_letter_topic": dead.name, "dead_letter_limit": {"consecutive": 10**6}}
    )
    process = service.start()
    topic.publish(events(100))
    service.learned(100)
    pid = service.learner_pid()
    assert pid is not None
    most = data_bytes(pid) + (128 << 20)
    for one in (process.pid, pid):  # what is started in its place inherits it
        resource.prlimit(one, resource.RLIMIT_DATA, (most, most))
    huge = b"[" + b"{}," * 1_500_000 + b"{}]"
    survived(service, topic, dead, [huge], 100)
