"""What /v1/predict answers when it answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from service.metrics import Metrics
from service.serve import served
from service.serve.app import create_app
from service.serve.scoring import LARGE_EVENTS, MOST_UNKNOWN_NAMES
from service.serve.served import DOWN_AFTER_S
from tests.serve.asgi import Answer, Client
from tests.serve.conftest import Learner, settings_of

EVENT = {"amount": 12.5, "merchant": "m17"}


def predict(client: Client, *events: object, query: str = "") -> Answer:
    return client.post("/v1/predict" + query, {"events": list(events)})


def test_a_prediction_has_the_shape_of_its_targets(client: Client) -> None:
    """
    A binary target is a probability, a multiclass one {class: probability}, a number a value.
    """
    (prediction,) = predict(client, EVENT).json()["predictions"]

    assert {"is_fraud", "kind", "refund"} == prediction.keys()
    assert 0 <= prediction["is_fraud"] <= 1
    assert ["gift", "own", "other"] == list(prediction["kind"])
    assert pytest.approx(1) == sum(prediction["kind"].values())
    assert isinstance(prediction["refund"], float)


def test_the_reply_says_which_version_it_comes_from(client: Client) -> None:
    """
    The "model" object names version, lineage, offsets and age.
    """
    model = predict(client, EVENT).json()["model"]
    age_s = model.pop("age_seconds")

    assert 0 <= age_s < 60
    assert {
        "name": "payments",
        "version": 7,
        "lineage": "1f2e3d4c5b6a7980",
        "events_learned": 70,
        "trained_through": {"payments": {"0": 700}},
        "stale": False,
    } == model


def test_brief_leaves_the_offsets_out(client: Client) -> None:
    """
    ?model=brief is the "model" object without offsets, for readers of many partitions.
    """
    model = predict(client, EVENT, query="?model=brief").json()["model"]

    assert {"name", "version", "lineage", "events_learned", "age_seconds", "stale"} == model.keys()


def test_headers_name_the_version(client: Client) -> None:
    """
    Proxies and logs see the version without reading the body.
    """
    headers = predict(client, EVENT).headers

    assert "7" == headers["x-model-version"]
    assert "1f2e3d4c5b6a7980" == headers["x-model-lineage"]
    assert float(headers["x-model-age-seconds"]) < 60


def test_a_new_version_is_served_at_once(client: Client, learner: Learner) -> None:
    """
    The next request after a publication is answered from it; nothing is cached.
    """
    predict(client, EVENT)
    learner.publish(8)

    assert 8 == predict(client, EVENT).json()["model"]["version"]


def test_no_events_no_predictions(client: Client) -> None:
    """
    An empty list is a legal request.
    """
    answer = predict(client)

    assert (200, []) == (answer.status, answer.json()["predictions"])


def test_a_missing_feature_is_unknown_not_wrong(client: Client) -> None:
    """
    An event without features, or with null for one, gets a prediction.
    """
    assert 2 == len(predict(client, {}, {"amount": None}).json()["predictions"])


def test_numbers_may_be_texts(client: Client) -> None:
    """
    "12.5" is 12.5, as it is on the topic.
    """
    as_text, as_number = predict(
        client, {**EVENT, "amount": "12.5"}, {**EVENT, "amount": 12.5}
    ).json()["predictions"]

    assert as_number == as_text


@pytest.mark.parametrize("query", ["?debug=1", "?model=full&x=%ff", "?=&&;", "?strict=FALSE"])
def test_unknown_query_parameters_are_ignored(client: Client, query: str) -> None:
    """
    A proxy's own parameters, or nonsense, change nothing.
    """
    answer = predict(client, EVENT, query=query)

    assert 200 == answer.status
    assert "trained_through" in answer.json()["model"]


@pytest.mark.parametrize("kind", [b"text/plain", b"application/x-www-form-urlencoded", b"\xff"])
def test_the_content_type_does_not_matter(client: Client, kind: bytes) -> None:
    """
    `curl -d` sends a form's type; JSON is what is read, whatever it is called.
    """
    assert 200 == client.post("/v1/predict", {"events": [EVENT]}, [(b"content-type", kind)]).status


def test_a_body_in_pieces_is_one_body(client: Client) -> None:
    """
    Chunks of any size make the same request.
    """
    pieces = [b'{"even', b"", b'ts":[{"amount', b'":1}]}']

    assert 200 == client.request("POST", "/v1/predict", pieces).status


def test_a_large_request_gives_what_small_ones_give(client: Client) -> None:
    """
    What is computed aside is the same as what is computed on the event loop.
    """
    events = [{"amount": n, "merchant": f"m{n}"} for n in range(LARGE_EVENTS * 2)]
    alone = [predict(client, event).json()["predictions"][0] for event in events[:5]]

    together = predict(client, *events).json()["predictions"]

    assert len(events) == len(together)
    assert alone == together[:5]


def test_large_and_small_requests_are_answered_together(client: Client) -> None:
    """
    A large request does not change what others get meanwhile.
    """
    large = b'{"events":[' + b",".join([b'{"amount":1}'] * 5000) + b"]}"
    calls = [("POST", "/v1/predict", large), ("GET", "/healthz", b"")] * 4

    assert [200] * 8 == [answer.status for answer in client.together(*calls)]


def test_unknown_and_missing_fields_are_counted(client: Client, metrics: Metrics) -> None:
    """
    Each event counts each field it has too many or too few.
    """
    predict(client, {"amount": 1, "colour": "red"}, {"merchant": "a", "colour": "blue"})

    assert 2 == metrics.counter("headwater_field_unknown_total").get("colour")
    assert 1 == metrics.counter("headwater_field_missing_total").get("merchant")
    assert 1 == metrics.counter("headwater_field_missing_total").get("amount")


def test_targets_id_and_time_are_not_unknown(client: Client, metrics: Metrics) -> None:
    """
    An event copied from the topic is a good event to ask about.
    """
    predict(client, {**EVENT, "tx_id": "1", "tx_time": "2026-01-01T00:00:00", "is_fraud": 1})

    assert [] == metrics.counter("headwater_field_unknown_total").rows()


def test_unknown_names_do_not_grow_without_end(client: Client, metrics: Metrics) -> None:
    """
    A client that makes up names fills 50 series and one more, "<other>".
    """
    predict(client, {f"made_up_{n}": 1 for n in range(500)}, {"x" * 10_000: 1, "\x00\n": 1})

    counted = {
        labels[0]: n for labels, n in metrics.counter("headwater_field_unknown_total").rows()
    }

    assert MOST_UNKNOWN_NAMES + 1 == len(counted)
    assert 452 == counted["<other>"]


def test_a_lost_learner_makes_predictions_stale(
    client: Client, learner: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Without a heartbeat the API goes on answering, and says that it may be behind.
    """
    monkeypatch.setattr(served, "DOWN_AFTER_S", DOWN_AFTER_S)
    learner.beat(heartbeat_ns=time.time_ns() - 10**10)
    answer = predict(client, EVENT)

    assert (200, True) == (answer.status, answer.json()["model"]["stale"])


@pytest.mark.parametrize(
    ("state", "lag", "stale"),
    [
        ("learning", 5_000, False),
        ("idle", 0, False),
        ("paused", 0, False),
        ("paused", 1, True),
        ("halted", None, True),
        ("replaying", 3, True),
        ("frozen", 0, True),
    ],
)
def test_stale_says_whether_records_wait_in_vain(
    client: Client, learner: Learner, state: str, lag: int | None, stale: bool
) -> None:
    """
    A learner that is not learning makes weights stale when there is something to learn.
    """
    learner.beat(state, lag_records=lag)

    assert stale is predict(client, EVENT).json()["model"]["stale"]


def test_a_new_layout_is_picked_up(tmp_path: Path, client: Client, learner: Learner) -> None:
    """
    A learner that restarts with another field is followed without a restart of the API.
    """
    learner.writer.close()
    wider = settings_of(
        {
            "features": {"amount": {"type": "number"}, "city": {"type": "category"}},
            "targets": {"is_fraud": {"type": "binary"}},
        }
    )
    after = Learner(tmp_path, wider)
    after.publish(9)
    after.beat()
    answer = predict(client, {"amount": 1, "city": "Bern"}, query="?strict=true")
    after.writer.close()

    assert 9 == answer.json()["model"]["version"]
    assert ["is_fraud"] == list(answer.json()["predictions"][0])


def test_the_old_layout_is_served_until_the_new_one_has_weights(
    tmp_path: Path, client: Client, learner: Learner
) -> None:
    """
    A learner that replays into a new file takes nothing away from who asks meanwhile.
    """
    learner.writer.close()
    narrower = settings_of(
        {"features": {"amount": {"type": "number"}}, "targets": {"is_fraud": {"type": "binary"}}}
    )
    after = Learner(tmp_path, narrower)
    after.beat("replaying", lag_records=10)
    answer = predict(client, EVENT)
    after.writer.close()

    assert (200, 7) == (answer.status, answer.json()["model"]["version"])
    assert answer.json()["model"]["stale"]


def test_a_layout_of_another_version_is_not_ready(tmp_path: Path, metrics: Metrics) -> None:
    """
    Weights that this API cannot read are a 503 with the reason, not a crash.
    """
    settings = settings_of()
    learner = Learner(tmp_path, settings)
    learner.writer.close()
    strange = learner.recipe.to_json().replace(b'"event"', b'"evnet"')
    learner.writer = type(learner.writer).open(
        tmp_path, nbytes=learner.state.layout.nbytes, layout=strange
    )
    learner.publish(3)
    with learner.writer, Client(create_app(settings, tmp_path, metrics)) as client:
        answer = predict(client, EVENT)

    assert (503, "NOT_READY") == (answer.status, answer.json()["code"])
    assert "layout" in answer.json()["detail"]
