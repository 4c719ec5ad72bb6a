"""What a crash, a stop, a loss and a second learner leave behind."""

from __future__ import annotations

import functools
import os
import random
import signal
import threading
import time

import pytest

from service.stream.embedded import EmbeddedBroker
from tests.e2e.service import Service, Topic, until
from tests.e2e.test_learning import CLICK, events

pytestmark = pytest.mark.e2e
KILLS = int(os.environ.get("HEADWATER_TEST_KILLS", "6"))  # noqa: TID251 - the suite's own name


class Client(threading.Thread):
    """Asks for predictions all the time, and keeps what it saw."""

    def __init__(self, service: Service) -> None:
        super().__init__(daemon=True)
        self._service = service
        self.stopped = threading.Event()
        self.failed: list[tuple[int, object]] = []
        self.versions: list[tuple[str, int]] = []
        self.digests: dict[tuple[str, int], dict[str, str]] = {}
        self.conflicts: list[tuple[str, int]] = []

    def run(self) -> None:
        """Until stopped."""
        turn = 0
        while not self.stopped.is_set():
            turn += 1
            status, body = self._service.predict(CLICK)
            if status == 200:
                self.versions.append((body["model"]["lineage"], body["model"]["version"]))
            else:
                self.failed.append((status, body))
            if turn % 5 == 0 and (model := self._service.model(digest=True)):
                key = (model["lineage"], model["version"])
                if self.digests.setdefault(key, model["digest"]) != model["digest"]:
                    self.conflicts.append(key)


class Publisher(threading.Thread):
    """Publishes good, bad and unlabelled events until stopped."""

    def __init__(self, topic: Topic) -> None:
        super().__init__(daemon=True)
        self.topic = topic
        self.stopped = threading.Event()
        self.counts = {"learned": 0, "dead_lettered": 0, "filtered": 0}

    def run(self) -> None:
        """About two thousand events a second."""
        seed = 0
        while not self.stopped.wait(0.05):
            seed += 1
            self.topic.publish([*events(97, seed), b"not json", None, {"x": 1}], now=True)
            self.counts["learned"] += 97
            self.counts["dead_lettered"] += 1
            self.counts["filtered"] += 2


def newer(service: Service, version: int) -> bool:
    """Whether a version after this one answers."""
    model = service.model()
    return model is not None and model["version"] > version


def another(service: Service, pid: int) -> bool:
    """Whether another learner gives signs of life."""
    return service.learner_pid() != pid


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_learner_killed_again_and_again_loses_nothing_and_repeats_nothing(  # noqa: PLR0915
    make_service, kafka_bootstrap
):
    """kill -9 under load on a real Kafka: every event once, every version bit for bit, no failed
    request, versions never fall; the final version rebuilt from nothing has the same digest."""
    topic = Topic(kafka_bootstrap, 4)
    dead = Topic(kafka_bootstrap, 1)
    service = make_service(
        topic, kafka={"dead_letter_topic": dead.name}, snapshots={"every_seconds": 2}
    )
    process = service.start()
    topic.publish(events(100))
    service.learned(100)
    client, publisher = Client(service), Publisher(topic)
    client.start()
    publisher.start()
    rng = random.Random(0)
    for kill in range(KILLS):
        pid = until(service.learner_pid, "a heartbeat")
        seen = service.model()["version"]
        until(functools.partial(newer, service, seen), "learning goes on")
        time.sleep(rng.uniform(0.0, 1.0))  # the moment of the kill is drawn, not waited for
        os.kill(pid, signal.SIGKILL)
        until(functools.partial(another, service, pid), f"a learner after kill {kill}", 30)
        service.state_is("learning", "idle")
    publisher.stopped.set()
    publisher.join()
    expected = {**publisher.counts, "learned": publisher.counts["learned"] + 100}
    service.learned(expected["learned"])
    until(lambda: service.status()["lag_records"] == 0, "the end of the topic")
    client.stopped.set()
    client.join()

    outcomes: dict[str, int] = {}
    for name, n in service.status()["outcomes"].items():
        outcome = name.partition("/")[0]
        outcomes[outcome] = outcomes.get(outcome, 0) + n
    assert expected == outcomes
    assert [] == client.failed
    assert 1 == len({lineage for lineage, _ in client.versions})
    assert sorted(v for _, v in client.versions) == [v for _, v in client.versions]
    assert [] == client.conflicts
    model = service.model(digest=True)
    assert topic.ends() == model["trained_through"][topic.name]
    places = {
        tuple(sorted((k, v) for k, v in m.headers() if k in {
            "headwater-topic", "headwater-partition", "headwater-offset", "headwater-row"
        }))
        for m in dead.read_all()
    }  # fmt: skip
    assert expected["dead_lettered"] == len(places)
    assert 0 == service.stop(process)
    rebuilt = service.json(
        "rebuild", "--version", str(model["version"]), "--from", "0",
        "--out", str(service.folder / "rebuilt"),
    )  # fmt: skip
    assert (model["digest"], True) == (rebuilt["digest"], rebuilt["verified"])
    versions = sorted(v for _, v in client.digests)
    some = service.json(
        "rebuild", "--version", str(versions[len(versions) // 2]), "--from", "0",
        "--out", str(service.folder / "some"),
    )  # fmt: skip
    assert client.digests[rebuilt["lineage"], some["version"]] == some["digest"]


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


def test_a_topic_made_anew_is_not_mistaken_for_the_old_one(make_service, kafka_bootstrap):
    """Same name, offsets that look valid, another identity: halted. With on_data_loss: skip it is
    read from its beginning, in all its partitions."""
    topic = Topic(kafka_bootstrap, 2)
    service = make_service(topic)
    process = service.start()
    topic.publish(events(50))
    service.learned(50)
    assert 0 == service.stop(process)
    topic.admin.delete_topics([topic.name])[topic.name].result(30)

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
        assert "Kafka does not answer" == service.status()["reason"]

        began = time.monotonic()
        assert 0 == service.stop(process)

    assert time.monotonic() - began < 20.0
    newest = service.json("snapshots", "list")["snapshots"][0]
    assert (before["version"], None) == (newest["version"], newest["replayable"])
