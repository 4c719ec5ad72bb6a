"""`headwater doctor`: each thing that a learner needs is looked at, and what is wrong is named with
what to do, on a Kafka with rights, on the embedded broker, and where nobody answers."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # not in its __all__
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner

from service.cli import doctor_kafka, doctor_machine, doctor_places
from service.cli.main import app
from service.settings import Settings
from service.weights.lock import DirectoryLock, holder

Doctor = Callable[..., dict[str, Any]]

TEXT = """
name: pay
kafka: {{bootstrap_servers: "{servers}", topics: [{topic}], dead_letter_topic: {topic}.dead{more}}}
event:
  features: {{amount: {{type: number}}, merchant: {{type: category}}}}
  targets: {{is_fraud: {{type: binary}}}}
model: {{kind: linear}}
state: {{directory: {folder}/state}}
runtime: {{directory: {folder}/run}}
api: {{port: 0}}
"""
LOGIN = (
    ", client: {security.protocol: SASL_PLAINTEXT, sasl.mechanism: PLAIN, "
    "sasl.username: headwater, sasl.password: headwater-secret}"
)


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    """Run the command in this process; return the checks by name, and the code it ended with."""

    def run(servers: str, topic: str = "payments", more: str = "", *set_: str) -> dict[str, Any]:
        path = tmp_path / "headwater.yaml"
        path.write_text(TEXT.format(servers=servers, topic=topic, folder=tmp_path, more=more))
        given = [part for one in set_ for part in ("--set", one)]
        done = CliRunner().invoke(app, ["doctor", "-c", str(path), "--json", *given])
        said = json.loads(done.stdout)
        assert said["ok"] == (done.exit_code == 0)
        assert {"ok", "checks"} == set(said)
        for check in said["checks"]:
            assert {"name", "status", "detail", "fix"} == set(check)
            assert (check["fix"] is None) == (check["status"] == "ok")
        return {check["name"]: check for check in said["checks"]} | {"code": done.exit_code}

    monkeypatch.setattr(doctor_kafka, "ANSWER_S", 5.0)
    return run


class Cluster:
    """A Kafka with rights, as its administrator has it."""

    def __init__(self, bootstrap: str) -> None:
        login: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap, "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN", "sasl.username": "admin", "sasl.password": "admin-secret",
        }  # fmt: skip
        self.bootstrap = bootstrap
        self.topic = f"t-{uuid.uuid4().hex[:10]}"
        self._admin = AdminClient(login)
        self._producer = Producer(login)

    def create(self, topic: str, **settings: str) -> None:
        config = {name.replace("_", "."): value for name, value in settings.items()}
        self._admin.create_topics([NewTopic(topic, 2, config=config)])[topic].result(30)

    def allow(self, kind: str, name: str, operation: str) -> None:
        binding = AclBinding(
            ResourceType[kind], name, ResourcePatternType.LITERAL, "User:headwater", "*",
            AclOperation[operation], AclPermissionType.ALLOW,
        )  # fmt: skip
        self._admin.create_acls([binding])[binding].result(30)

    def publish(self, *events: dict[str, Any]) -> None:
        for event in events:
            self._producer.produce(self.topic, json.dumps(event))
        assert 0 == self._producer.flush(30)


@pytest.fixture
def cluster(kafka_sasl_bootstrap: str) -> Cluster:
    return Cluster(kafka_sasl_bootstrap)


@pytest.mark.kafka
def test_each_right_that_is_missing_is_named_until_all_is_well(
    doctor: Doctor, cluster: Cluster
) -> None:
    """From no rights to all: what the doctor says goes from one missing right to the next."""
    topic = cluster.topic
    name, dead = f"topic {topic}", f"{topic}.dead"

    def look() -> dict[str, Any]:
        return doctor(cluster.bootstrap, topic, LOGIN)

    cluster.create(topic, retention_ms="604800000")
    cluster.create(dead)
    nothing = look()
    assert "ok" == nothing["kafka"]["status"]
    assert "Describe and Read" in nothing[name]["fix"]
    assert "fail" == nothing["dead letters"]["status"]

    cluster.allow("TOPIC", topic, "DESCRIBE")
    cluster.allow("TOPIC", dead, "DESCRIBE")
    cluster.publish({"amount": 1.0, "is_fraud": 0})
    described = look()
    assert ("fail", 1) == (described[name]["status"], described["code"])
    assert "Read" in described[name]["fix"]
    assert f"may not write to {dead}" in described["dead letters"]["detail"]

    cluster.allow("TOPIC", topic, "READ")
    cluster.allow("TOPIC", dead, "WRITE")
    may = look()
    assert ("ok", 0) == (may[name]["status"], may["code"])
    assert "ok" == may["dead letters"]["status"]
    assert {"warn"} == {may[f"retention {topic}"]["status"], may["consumer group"]["status"]}

    cluster.allow("TOPIC", topic, "DESCRIBE_CONFIGS")
    cluster.allow("GROUP", "headwater-pay", "READ")
    well = look()
    assert "7 days" in well[f"retention {topic}"]["detail"]
    asked = (
        "kafka",
        name,
        f"retention {topic}",
        f"events {topic}",
        "consumer group",
        "dead letters",
    )
    assert {"ok"} == {well[one]["status"] for one in asked}


@pytest.mark.kafka
def test_what_a_topic_keeps_and_holds_is_held_against_the_settings(
    doctor: Doctor, kafka_bootstrap: str
) -> None:
    """A topic that drops records sooner than snapshots are taken fails; bad events are counted."""
    topic = f"t-{uuid.uuid4().hex[:10]}"
    admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
    new = NewTopic(topic, 2, config={"retention.ms": "20000", "cleanup.policy": "compact,delete"})
    admin.create_topics([new])[topic].result(30)
    empty = doctor(kafka_bootstrap, topic)
    assert "no record" in empty[f"events {topic}"]["detail"]
    assert ("fail", 1) == (empty[f"retention {topic}"]["status"], empty["code"])
    assert "does not exist yet" in empty["dead letters"]["detail"]

    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    events = [{"amount": 1.5, "is_fraud": 0}] * 30 + [{"amount": "much", "is_fraud": 0}] * 10
    for i, event in enumerate(events):
        producer.produce(topic, json.dumps(event), key=str(i), partition=i % 2)
    assert 0 == producer.flush(30)
    seen = doctor(kafka_bootstrap, topic, "", "snapshots.every_seconds=0.5")
    events_check = seen[f"events {topic}"]
    assert "warn" == events_check["status"]
    assert "30 of the newest 40" in events_check["detail"]
    assert "amount" in events_check["detail"]
    assert "ok" == seen[f"topic {topic}"]["status"]
    assert "offsets kept 40" in seen[f"topic {topic}"]["detail"]

    missing = doctor(kafka_bootstrap, f"{topic}-no")
    assert "does not exist" in missing[f"topic {topic}-no"]["detail"]
    assert "--create" in missing[f"topic {topic}-no"]["fix"]


def test_a_kafka_that_is_not_there_is_told_and_the_rest_is_looked_at(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody listens on port 1."""
    monkeypatch.setattr(doctor_kafka, "ANSWER_S", 1.0)
    seen = doctor("127.0.0.1:1")
    assert ("fail", 1) == (seen["kafka"]["status"], seen["code"])
    assert "127.0.0.1:1" in seen["kafka"]["detail"]
    rest = {"state directory", "disk", "fsync", "learner", "runtime directory", "live weights",
            "port", "processors", "memory", "clock", "versions"}  # fmt: skip
    assert rest <= set(seen)


def test_the_embedded_broker_needs_nothing_before_run(doctor: Doctor) -> None:
    """It is started by `run`."""
    seen = doctor("embedded")
    assert "ok" == seen["kafka"]["status"]
    assert "headwater run" in seen["kafka"]["detail"]


def test_a_learner_at_work_is_seen_and_not_disturbed(doctor: Doctor, tmp_path: Path) -> None:
    """The lock is looked at, not taken."""
    state = tmp_path / "state" / "pay"
    assert holder(state) is None
    with DirectoryLock.acquire(state) as held:
        assert "is at work" in doctor("embedded")["learner"]["detail"]
        held.check()
    assert "none is at work" in doctor("embedded")["learner"]["detail"]
    assert holder(state) is None


def test_places_that_cannot_be_written_or_are_full_fail(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be; a disk with a megabyte left."""
    (tmp_path / "state").write_text("a file")
    seen = doctor("embedded")
    assert "fail" == seen["state directory"]["status"]
    (tmp_path / "state").unlink()

    usage = SimpleNamespace(total=1 << 30, used=1 << 30, free=1 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    full = doctor("embedded")
    assert {"fail"} == {full["disk"]["status"], full["live weights"]["status"]}
    assert "--shm-size" in full["live weights"]["fix"]


def test_a_disk_that_takes_nothing_is_a_finding_and_no_crash(
    doctor: Doctor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full, to the last page: the other checks follow."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    seen = doctor("embedded")
    assert ("fail", 1) == (seen["fsync"]["status"], seen["code"])
    assert "port" in seen


def test_a_port_that_is_taken_is_told(doctor: Doctor) -> None:
    """Taken by something that is no Headwater."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        seen = doctor("embedded", "payments", "", f"api.port={port}")
    assert ("fail", 1) == (seen["port"]["status"], seen["code"])
    assert "api.port" in seen["port"]["fix"]
    assert "ok" == doctor("embedded", "payments", "", f"api.port={port}")["port"]["status"]


def test_what_a_container_may_use_is_what_counts(
    doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a processor and 300 MB, as a control group says it, in both of its versions."""
    group = tmp_path / "cgroup"
    monkeypatch.setattr(doctor_machine, "_GROUP", group)
    (group / "cpu").mkdir(parents=True)
    (group / "memory").mkdir()
    (group / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (group / "memory" / "memory.limit_in_bytes").write_text(f"{300 << 20}\n")
    first = doctor("embedded")
    (group / "cpu.max").write_text("50000 100000\n")
    (group / "memory.max").write_text(f"{300 << 20}\n")
    for seen in (first, doctor("embedded")):
        assert ("warn", "fail") == (seen["processors"]["status"], seen["memory"]["status"])
        assert "may use 0.5" in seen["processors"]["detail"]
        assert "300 MiB" in seen["memory"]["detail"]
    (group / "cpu.max").write_text("max 100000\n")
    (group / "memory.max").write_text("max\n")
    free = doctor("embedded")
    assert "may use" not in free["processors"]["detail"]


def test_a_worker_takes_more_memory_where_it_needs_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does for a module of the user's own, alone or among the experts of a mixture."""
    group = tmp_path / "cgroup"
    group.mkdir()
    (group / "memory.max").write_text(f"{900 << 20}\n")
    monkeypatch.setattr(doctor_machine, "_GROUP", group)
    event = {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}}
    said = []
    for model in ({}, {"kind": "a.b:C"}, {"experts": ["auto", "a.b:C"]}):
        tree = {"name": "n", "kafka": {"topics": ["t"]}, "event": event, "model": model}
        found = doctor_machine.findings(Settings.model_validate(tree), 1 << 20)
        said += [one.status for one in found if one.name == "memory"]

    assert ["warn", "fail", "fail"] == said


def test_the_file_system_of_a_folder_is_the_innermost_mount(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What the kernel lists; a folder on no tmpfs is warned of."""
    assert doctor_places.file_system(Path("/proc/self")) == "proc"


def test_people_read_a_line_for_each_check_with_what_to_do_below(tmp_path: Path) -> None:
    """Without --json."""
    path = tmp_path / "headwater.yaml"
    path.write_text(TEXT.format(servers="embedded", topic="payments", folder=tmp_path, more=""))
    (tmp_path / "state").write_text("a file")
    done = CliRunner().invoke(app, ["doctor", "-c", str(path)])
    lines = done.stdout.splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("FAIL  state directory: "))
    assert "state.directory" in lines[at + 1]
    assert " failed" in lines[-1]
    assert 1 == done.exit_code
