"""F49: a state directory restored from the backup of another topic or another cluster.

Through a whole process on a real Kafka, a topic of the same name and another identity is tried in
tests/e2e/test_surviving.py::test_a_topic_made_anew_is_not_mistaken_for_the_old_one. The embedded
broker's topics have no identity.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from service.stream.source import Source
from tests.e2e.service import Topic
from tests.e2e.test_learning import events
from tests.fakes.broker import FakeBroker


@pytest.mark.e2e
def test_f49_a_state_that_knows_none_of_the_topics_is_refused(
    make_service, embedded_bootstrap, tmp_path: Path
) -> None:
    """Exit 7, naming what it learned from and what the settings name; the state is left alone."""
    topic, stranger = Topic(embedded_bootstrap), Topic(embedded_bootstrap)
    service = make_service(topic)
    process = service.start("learner")
    service.start("api")
    topic.publish(events(50))
    service.learned(50)
    assert 0 == service.stop(process)
    backup = Path(shutil.copytree(service.folder / "state", tmp_path / "backup"))
    before = {path: path.read_bytes() for path in backup.rglob("*.hwj")}

    elsewhere = make_service(stranger, state={"directory": str(backup)})
    refused = elsewhere.command("learner", "--config", str(elsewhere.config))

    assert 7 == refused.returncode
    assert f"has learned from {topic.name}, the settings name {stranger.name}" in refused.stderr
    assert before == {path: path.read_bytes() for path in backup.rglob("*.hwj")}


def test_f49_a_topic_of_the_same_name_in_another_cluster_is_another_topic() -> None:
    """Its offsets would fit; its identity does not: that is a loss before the first record."""
    here, there = FakeBroker(), FakeBroker()
    there.create_topic("elsewhere", 1)
    for broker in (here, there):
        broker.create_topic("t", 1)
        for n in range(20):
            broker.append(("t", 0), b"{}", timestamp_ms=n)
    assert here.topic_id("t") != there.topic_id("t")

    source = Source(
        there, ["t"], {("t", 0): 10}, batch_rows=10, linger_s=0.01, buffer_records=100,
        topic_ids={"t": here.topic_id("t")}, clock=there.clock, wall_ms=there.clock.wall_ms,
    )  # fmt: skip
    losses = source.check()
    source.close()

    assert [("t", 0, "recreated")] == [(one.topic, one.partition, one.reason) for one in losses]
