"""What a stop, a loss and a second learner leave behind. For kills: tests/chaos."""

from __future__ import annotations

import time

import pytest

from service.stream.embedded import EmbeddedBroker
from tests.e2e.service import Topic, until
from tests.e2e.test_learning import CLICK, events
from tests.faults.clusters import chaos
from tests.processes import PATIENCE_S

pytestmark = pytest.mark.e2e


def test_sigterm_ends_clean_and_the_next_start_replays_nothing(make_service, embedded_bootstrap):
    """Exit 0, a snapshot of the last version, no entry to replay."""
    topic = Topic(embedded_bootstrap, 2)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(300))
    before = service.learned(300)

    assert 0 == service.stop(process)
    newest = service.json("snapshots", "list")["snapshots"][0]
    assert (before["version"], True) == (newest["version"], newest["valid"])
    service.start()
    after = service.learned(300)

    assert before["version"] == after["version"]
    until(lambda: '"entries_replayed": 0' in service.log(), "a start that replays nothing")


@chaos  # F30 and F31 try it as well
def test_a_second_learner_is_locked_out(make_service, embedded_bootstrap):
    """Exit 5, with the pid of the first; the first is not disturbed."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    service.start()
    topic.publish(events(10))
    service.learned(10)

    second = service.command("learner", "--config", str(service.config))

    assert 5 == second.returncode
    assert str(service.learner_pid()) in second.stderr
    assert 200 == service.predict(CLICK)[0]


def test_the_api_outlives_the_learner_and_picks_up_its_return(make_service, embedded_bootstrap):
    """Without a learner it answers from the last weights and says so."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    service.start("api")
    until(lambda: service.get("/healthz")[0] == 200, "the API")
    assert 503 == service.predict(CLICK)[0]
    learner = service.start("learner")
    topic.publish(events(50))
    service.learned(50)

    learner.kill()
    learner.wait()
    service.state_is("down")
    status, reply = service.predict(CLICK)
    assert (200, True) == (status, reply["model"]["stale"])

    topic.publish(events(50, 1))
    service.start("learner")
    service.learned(100)
    until(lambda: not service.predict(CLICK)[1]["model"]["stale"], "no longer stale")


def test_a_stream_of_bad_events_halts_learning_and_goes_no_further(
    make_service, embedded_bootstrap
):
    """The limit stops exactly at the hundredth; the API answers; resume goes on after the rest."""
    topic, dead = Topic(embedded_bootstrap), Topic(embedded_bootstrap)
    service = make_service(topic, kafka={"dead_letter_topic": dead.name})
    process = service.start()
    topic.publish(events(50))
    service.learned(50)
    topic.publish([b"bad"] * 150 + events(20))
    learner = service.state_is("halted")

    assert "100 in a row" in learner["reason"]
    assert 200 == service.predict(CLICK)[0]
    assert 100 == len(dead.read_all())
    status = service.status()
    assert (150, "halted") == (status["partitions"][0]["cursor"], status["state"])

    assert 0 == service.stop(process)
    service.start()
    service.state_is("halted")
    service.json("resume")
    service.learned(70)
    assert 150 == len(dead.read_all())


@pytest.mark.kafka
def test_records_gone_while_down_halt_the_learner_with_the_range(make_service, kafka_bootstrap):
    """Nothing is learned past a hole; the API answers; on_data_loss: skip goes on and counts."""
    topic = Topic(kafka_bootstrap)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(50))
    service.learned(50)
    assert 0 == service.stop(process)
    topic.publish(events(100, 1))
    topic.delete_before(0, 80)

    process = service.start()
    learner = service.state_is("halted")
    assert "offsets 50 to 79 are gone" in learner["reason"]
    assert 50 == service.predict(CLICK)[1]["model"]["events_learned"]
    assert 0 == service.stop(process)
    assert 4 == service.command(
        "learner", "--config", str(service.config), "--exit-on-halt"
    ).returncode  # fmt: skip

    service.change(kafka={"on_data_loss": "skip"})
    service.start()
    model = service.learned(120)
    assert {"0": 150} == model["trained_through"][topic.name]
    name = 'headwater_skipped_offsets_total{process="learner",reason="retention"}'
    until(lambda: service.metrics().get(name) == 30.0, "30 offsets counted as skipped")


@chaos  # F20 tries it as well
@pytest.mark.kafka
def test_a_topic_made_anew_is_not_mistaken_for_the_old_one(make_service, kafka_bootstrap):
    """Same name, offsets that look valid, another identity: halted. With on_data_loss: skip it is
    read from its beginning, in all its partitions."""
    topic = Topic(kafka_bootstrap, 2)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(50))
    service.learned(50)
    assert 0 == service.stop(process)
    topic.admin.delete_topics([topic.name])[topic.name].result(PATIENCE_S)

    def anew() -> Topic | None:
        try:
            return Topic(kafka_bootstrap, 2, name=topic.name)
        except Exception:  # noqa: BLE001 - the old one is still being deleted
            return None

    made_anew = until(anew, "the topic made anew")
    made_anew.publish(events(200, 1))
    process = service.start()

    assert "made anew" in service.state_is("halted")["reason"]
    assert 0 == service.stop(process)

    service.change(kafka={"on_data_loss": "skip"})
    service.start()
    assert {"0": 100, "1": 100} == service.learned(250)["trained_through"][topic.name]


def test_settings_may_change_at_a_restart_and_weights_stay(make_service, embedded_bootstrap):
    """A new rate and a new field are entries of the journal; a field removed is refused."""
    topic = Topic(embedded_bootstrap)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(400))
    service.learned(400)
    before = service.predict(CLICK)[1]
    assert 0 == service.stop(process)

    features = {**service.sections["event"]["features"], "new": {"type": "number"}}
    event = service.sections["event"] | {"features": features}
    service.change(learning={"learning_rate": 0.01}, event=event)
    process = service.start()
    after = until(
        lambda: (
            (r := service.predict(CLICK))[0] == 200
            and r[1]["model"]["version"] > before["model"]["version"]
            and r[1]
        ),
        "the new layout",
    )
    assert before["predictions"] == after["predictions"]
    assert before["model"]["lineage"] == after["model"]["lineage"]
    assert 0 == service.stop(process)

    service.change(event=service.sections["event"] | {"features": {"x": {"type": "number"}}})
    refused = service.command("learner", "--config", str(service.config))
    assert 7 == refused.returncode
    assert "--accept-removed c" in refused.stderr
    assert "--accept-removed new" in refused.stderr


@chaos
def test_a_learner_stops_clean_although_kafka_is_away(make_service, tmp_path):
    """The API answers and says stale; SIGTERM: a last snapshot, exit 0, in a few seconds."""
    with EmbeddedBroker(tmp_path / "broker") as broker:
        topic = Topic(broker.bootstrap_servers)
        service = make_service(topic)
        process = service.start()
        topic.publish(events(50))
        before = service.learned(50)
        broker.close()
        until(lambda: service.predict(CLICK)[1]["model"]["stale"], "stale, as Kafka is away")
        until(lambda: service.status()["reason"] == "Kafka does not answer", "the reason")

        began = time.monotonic()
        assert 0 == service.stop(process)

    assert time.monotonic() - began < 20.0
    newest = service.json("snapshots", "list")["snapshots"][0]
    assert (before["version"], None) == (newest["version"], newest["replayable"])
