"""`headwater demo-producer`: clicks for a service that runs elsewhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from service import settings
from service.cli.demo_stream import Clicks
from service.events.decode import Decoder
from service.events.schema import Schema
from tests.deploy.files import CHECKOUT, DEPLOY
from tests.e2e.service import Topic, until

CONFIG = DEPLOY / "compose" / "headwater.yaml"


def test_the_settings_of_compose_take_the_clicks() -> None:
    """
    Every click can be used, and all that a click holds is learned from.
    """
    found = settings.load(CONFIG, environment={})
    drawn = Clicks(10.0).draw(200, 0.0)
    values = [msgspec.json.encode(one.features | {"click": one.click}) for one in drawn]
    decoded = Decoder(Schema(found.event), seed=0).decode_records(values)

    assert set(drawn[0].features) - {"id"} <= set(found.event.features)
    assert ([], 200) == (decoded.faults, len(decoded.row))


@pytest.mark.kafka
def test_clicks_are_sent_until_it_is_stopped(any_bootstrap: str, tmp_path: Path) -> None:
    """
    SIGTERM, as containers are stopped with, ends it with 0 and nothing unacknowledged.
    """
    topic = Topic(any_bootstrap, 2)
    given = ["--rate", "200", "--set", f"kafka.topics={topic.name}"]
    given += [
        "--set",
        f"kafka.bootstrap_servers={any_bootstrap}",
        "--set",
        "kafka.dead_letter_topic=null",
    ]
    with subprocess.Popen(
        [sys.executable, "-m", "service", "demo-producer", "--config", str(CONFIG), *given],
        cwd=tmp_path,
        env={"PATH": os.defpath, "PYTHONPATH": str(CHECKOUT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: sum(topic.ends().values()) > 100, "a hundred clicks")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=240)
    sent = sum(topic.ends().values())

    assert 0 == process.returncode, said
    assert f"ended: {sent} sent, {sent} acknowledged" in said
