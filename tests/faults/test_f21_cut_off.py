"""A log that was cut off: a replica that had less became the leader, and others were written."""

from __future__ import annotations

import pytest

from service.stream.records import Cut, DataLoss, Offsets
from service.stream.source import Source
from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.fakes.broker import FakeBroker
from tests.faults.accounts import settled
from tests.faults.clusters import Cluster, chaos, described, leader

PLACE = ("t", 0)


def opened(broker: FakeBroker, cursor: int, epoch: int | None = None) -> Source:
    """A source at this offset, read under this leader epoch."""
    cursors: Offsets = {PLACE: cursor}
    return Source(
        broker, ["t"], cursors, batch_rows=100, linger_s=0.01, buffer_records=1000,
        clock=broker.clock, wall_ms=broker.clock.wall_ms,
        epochs=None if epoch is None else {PLACE: epoch},
    )  # fmt: skip


def write(broker: FakeBroker, n: int) -> None:
    """Append n records."""
    for _ in range(n):
        broker.append(PLACE, b"")


def test_f21_a_log_that_was_cut_off_and_written_anew_is_a_loss() -> None:
    """
    The offset is there again, with another record: the leader epoch of the cursor tells.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    write(broker, 10)
    cut = opened(broker, 0).next_cut(1.0)
    assert isinstance(cut, Cut)
    assert ({PLACE: 10}, {PLACE: 0}) == (cut.next_offsets, cut.epochs)
    broker.elect_unclean(PLACE, 6)
    write(broker, 20)

    source = opened(broker, 10, cut.epochs[PLACE])
    loss = source.next_cut(1.0)

    assert DataLoss("t", 0, "truncated", 10, 0, 6) == loss
    source.skip_to(PLACE, loss.available_high)
    cut = source.next_cut(1.0)
    assert isinstance(cut, Cut)
    assert (list(range(6, 26)), {PLACE: 1}) == ([r.offset for r in cut.records], cut.epochs)


def test_f21_a_new_leader_that_has_everything_is_no_loss() -> None:
    """
    Epochs grow with every election; only what is missing matters.
    """
    broker = FakeBroker()
    broker.create_topic("t", 1)
    write(broker, 10)
    broker.elect_unclean(PLACE, 10)
    write(broker, 5)

    cut = opened(broker, 10, 0).next_cut(1.0)

    assert isinstance(cut, Cut)
    assert [10, 11, 12, 13, 14] == [r.offset for r in cut.records]


@chaos
@pytest.mark.e2e
@pytest.mark.kafka
@pytest.mark.timeout(600)
def test_f21_an_unclean_election_halts_whoever_had_learned_what_is_gone(
    make_service, tmp_path_factory
):
    """Two replicas. The follower dies, fifty more are written and learned, the leader dies, the
    follower comes back and leads with less, a hundred others are written over the fifty. Halted,
    whether the learner was running or down meanwhile. With on_data_loss: skip it goes on where the
    log was cut off and learns every other one, once."""
    cluster = Cluster(
        tmp_path_factory.mktemp("kafka-unclean"), 3,
        {"unclean.leader.election.enable": "true", "min.insync.replicas": "1"},
    )  # fmt: skip
    topic = Topic(cluster.bootstrap, copies=2)
    running, down = make_service(topic), make_service(topic)
    try:
        first, other = replicas(topic)
        processes = [running.start(), down.start()]
        topic.publish(events(100))
        cluster.kill(other)
        until(lambda: in_sync(topic) == [first], "the follower out of the set")
        topic.publish(events(50, 1))
        for service in (running, down):
            service.learned(150)
        assert 0 == down.stop(processes[1])
        cluster.kill(first)
        cluster.start(other)
        until(lambda: leader(topic) == other, "an unclean election")
        topic.publish(events(100, 2))
        until(lambda: topic.ends() == {"0": 200}, "a hundred others from offset 100 on")
        processes[1] = down.start()

        for service in (running, down):
            reason = service.state_is("halted")["reason"]
            assert "the log was cut off at 100, before offset 150" in reason
            assert 150 == service.predict(CLICK)[1]["model"]["events_learned"]
        for service, process in zip((running, down), processes, strict=True):
            assert 0 == service.stop(process)
            service.change(kafka={"on_data_loss": "skip"})
            service.start()
            settled(service, topic, learned=250)
    finally:
        cluster.kill()


def replicas(topic: Topic) -> tuple[int, int]:
    """Return the nodes that hold partition 0, its leader first."""

    def known() -> tuple[int, int] | None:
        found = described(topic)
        if found is None or found.leader <= 0 or len(found.isrs) < 2:
            return None
        return found.leader - 1, next(n for n in found.replicas if n != found.leader) - 1

    pair: tuple[int, int] = until(known, "a leader and a follower")
    return pair


def in_sync(topic: Topic) -> list[int]:
    """Return the nodes that are in sync for partition 0."""
    found = described(topic)
    return [] if found is None else [node - 1 for node in found.isrs]
