"""What the API answers by GET."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from service.metrics import STATES, Metrics, file_of
from service.model.kinds import recipe_of
from service.model.scorer import Scorer
from service.serve.app import create_app
from service.serve.openapi import document
from service.serve.schema import event_schema
from service.settings import Settings
from tests.serve.asgi import Client
from tests.serve.conftest import Learner, settings_of


def schema_of(client: Client, component: str) -> Any:
    components = client.get("/openapi.json").json()["components"]
    schema = {"$ref": f"#/components/schemas/{component}", "components": components}
    return jsonschema.Draft202012Validator(schema)


def test_model_reports_version_scores_and_learner(client: Client, learner: Learner) -> None:
    """
    /v1/model is the "model" object and more, as the OpenAPI document says.
    """
    report = client.get("/v1/model").json()

    schema_of(client, "ModelReport").validate(report)
    assert 7 == report["version"] == report["model"]["version"]
    assert "2023-11-14T22:13:20.123+00:00" == report["event_time"]
    assert f"sha256:{hashlib.sha256(learner.recipe.to_json()).hexdigest()}" == report["layout"]
    assert {"is_fraud": "binary", "kind": "multiclass", "refund": "number"} == {
        name: target["type"] for name, target in report["targets"].items()
    }
    assert report["digest"] is None


def test_the_digest_is_that_of_the_weights(client: Client, learner: Learner) -> None:
    """
    ?digest=true hashes the very state that the version names.
    """
    digest = client.get("/v1/model?digest=true").json()["digest"]

    assert Scorer(learner.recipe).attach(learner.state.image).digest() == digest
    assert {"weights", "optimizer", "metrics"} == digest.keys()


def test_an_impossible_event_time_is_none(client: Client, learner: Learner) -> None:
    """
    A producer's clock in the year 200,000 does not break the report.
    """
    learner.publish(8, event_time_ms=2**53 - 1)

    assert client.get("/v1/model").json()["event_time"] is None


@pytest.mark.parametrize("state", [state for state in STATES if state != "down"])
def test_the_learners_state_is_told(client: Client, learner: Learner, state: str) -> None:
    """
    State, reason, lag and progress come from the heartbeat.
    """
    learner.beat(state, reason="because", lag_records=5, progress=0.5)
    told = client.get("/v1/model").json()["learner"]

    assert told.pop("heartbeat_age_seconds") < 60
    assert {"state": state, "reason": "because", "lag_records": 5, "progress": 0.5} == told


def test_a_silent_learner_is_down(client: Client, learner: Learner) -> None:
    """
    A heartbeat older than three seconds is none.
    """
    learner.beat(heartbeat_ns=0)

    assert "down" == client.get("/v1/model").json()["learner"]["state"]


def test_ready_says_what_is_degraded(client: Client, learner: Learner) -> None:
    """
    A halted learner takes no readiness away: the weights are served, and the body says why.
    """
    learner.beat("halted", reason="too many bad events", lag_records=9)
    answer = client.get("/readyz")

    assert 200 == answer.status
    assert ["the learner is halted: too many bad events"] == answer.json()["degraded"]


def test_ready_without_anything_to_say(client: Client) -> None:
    """
    A learner that learns degrades nothing.
    """
    assert {"status": "ready", "degraded": [], "version": 7} == client.get("/readyz").json()


def test_health_needs_no_weights(unborn: Client) -> None:
    """
    The process answers, whatever the learner does.
    """
    assert (200, {"status": "ok"}) == (unborn.get("/healthz").status, unborn.get("/healthz").json())


def test_head_is_answered_where_get_is(client: Client) -> None:
    """
    Load balancers ask with HEAD.
    """
    assert 200 == client.request("HEAD", "/readyz").status


def test_schemas_are_json_schemas_with_valid_examples(unborn: Client) -> None:
    """
    /v1/schema holds draft 2020-12 schemas, and their examples obey them.
    """
    schemas = unborn.get("/v1/schema").json()

    assert {"event", "prediction"} == schemas.keys()
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
        jsonschema.validate(schema["examples"][0], schema, jsonschema.Draft202012Validator)


def test_the_example_event_can_be_predicted(client: Client) -> None:
    """
    What the schema shows is what the API takes, and what it gives obeys the other schema.
    """
    schemas = client.get("/v1/schema").json()
    events = schemas["event"]["examples"]
    answer = client.post("/v1/predict?strict=true", {"events": events})

    assert 200 == answer.status
    jsonschema.validate(answer.json()["predictions"][0], schemas["prediction"])


@pytest.mark.parametrize(
    ("event", "valid"),
    [
        ({}, True),
        ({"amount": None, "merchant": None}, True),
        ({"amount": "1e3", "merchant": 17}, True),
        ({"amount": " -.5 ", "merchant": True, "colour": {}}, True),
        ({"amount": True}, False),
        ({"amount": "many"}, False),
        ({"amount": 1e31}, False),
        ({"merchant": []}, False),
        ({"merchant": {}}, False),
    ],
)
def test_the_schema_says_what_the_decoder_does(
    client: Client, settings: Settings, event: dict[str, object], valid: bool
) -> None:
    """
    An event is valid by the schema exactly when the API takes it.
    """
    schema = event_schema(recipe_of(settings))

    assert valid is jsonschema.Draft202012Validator(schema).is_valid(event)
    assert valid is (200 == client.post("/v1/predict", {"events": [event]}).status)


def test_openapi_describes_every_route(
    tmp_path: Path, settings: Settings, metrics: Metrics
) -> None:
    """
    The document is written by hand; this keeps it whole.
    """
    app: FastAPI = create_app(settings, tmp_path, metrics)
    routes = {r.path: r.methods or set() for r in app.routes if isinstance(r, Route)}
    paths = document(recipe_of(settings))["paths"]

    assert {path: methods - {"HEAD"} for path, methods in routes.items()} == {
        path: {method.upper() for method in methods} for path, methods in paths.items()
    }


def test_openapi_is_whole(unborn: Client) -> None:
    """
    Every reference leads somewhere, every operation has a name of its own.
    """
    raw = unborn.get("/openapi.json")
    spec = raw.json()
    operations = [one["operationId"] for path in spec["paths"].values() for one in path.values()]

    assert "3.1.0" == spec["openapi"]
    assert len(operations) == len(set(operations))
    for reference in re.findall(r'"\$ref":"#/([^"]+)"', raw.body.decode()):
        place = spec
        for key in reference.split("/"):
            place = place[key]


def test_openapi_shows_the_fields_of_this_model(unborn: Client) -> None:
    """
    The page for POST /v1/predict names the very fields, before there are weights too.
    """
    schemas = unborn.get("/openapi.json").json()["components"]["schemas"]

    assert {"amount", "merchant"} <= schemas["Event"]["properties"].keys()
    assert ["is_fraud", "kind", "refund"] == schemas["Prediction"]["required"]


def test_openapi_follows_the_live_weights(
    tmp_path: Path, metrics: Metrics, learner: Learner
) -> None:
    """
    Where settings and weights differ, the weights say what is taken.
    """
    stale = settings_of(
        {"features": {"old": {"type": "number"}}, "targets": {"is_fraud": {"type": "binary"}}}
    )
    with Client(create_app(stale, tmp_path, metrics)) as client:
        schemas = client.get("/openapi.json").json()["components"]["schemas"]

    assert "old" not in schemas["Event"]["properties"]


def test_the_docs_page_needs_no_internet(unborn: Client) -> None:
    """
    No script, style, font or link of the page comes from another host, and none could.
    """
    answer = unborn.get("/docs")
    page = answer.body.decode()

    assert "text/html; charset=utf-8" == answer.headers["content-type"]
    assert not re.search(r"https?://|//[a-z0-9.-]+\.[a-z]{2,}/|@import|src\s*=", page)
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_docs_page_sets_names_as_text(unborn: Client) -> None:
    """
    A field may be called <script>; the page never builds markup from the document.
    """
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write", _page(unborn))


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to parse JavaScript with")
def test_the_docs_page_has_a_script_that_parses(tmp_path: Path, unborn: Client) -> None:
    """
    A page whose script does not parse shows nothing.
    """
    script = re.search(r"<script>(.*)</script>", _page(unborn), re.DOTALL)
    assert script is not None
    source = tmp_path / "page.js"
    source.write_text(script[1])

    assert 0 == subprocess.run(["node", "--check", source], check=False).returncode


def _page(client: Client) -> str:
    return client.get("/docs").body.decode()


def test_the_server_does_not_say_what_it_is(client: Client) -> None:
    """
    No Server header, no CORS.
    """
    headers = client.get("/v1/model", [(b"origin", b"http://elsewhere")]).headers

    assert not {"server", "x-powered-by", "access-control-allow-origin"} & headers.keys()


def test_metrics_cover_learner_and_workers(
    tmp_path: Path, client: Client, learner: Learner
) -> None:
    """
    One scrape of any worker shows every process, told apart by the label `process`.
    """
    other, writer = Metrics("api-1"), Metrics("learner")
    other.counter("headwater_http_requests_total").inc(3, "GET", "/healthz", "200")
    writer.gauge("headwater_version").set(7)
    other.write(file_of("api-1", tmp_path))
    writer.write(file_of("learner", tmp_path))
    client.get("/healthz")
    answer = client.get("/metrics")
    lines = answer.body.decode().splitlines()
    name = "headwater_http_requests_total"

    assert "text/plain; version=0.0.4; charset=utf-8" == answer.headers["content-type"]
    assert f'{name}{{code="200",method="GET",process="api-0",route="/healthz"}} 1.0' in lines
    assert f'{name}{{code="200",method="GET",process="api-1",route="/healthz"}} 3.0' in lines
    assert 'headwater_version{process="learner"} 7.0' in lines
    assert 'headwater_served_version{process="api-0"} 7.0' in lines
    assert 'headwater_learner_up{process="learner"} 1.0' in lines
    assert 'headwater_learner_state{process="learner",state="learning"} 1.0' in lines


def test_metrics_show_a_learner_that_is_down(client: Client, learner: Learner) -> None:
    """
    Up is 0 and the state is down when the heartbeat stops, whoever last wrote what.
    """
    learner.beat(heartbeat_ns=0)
    lines = client.get("/metrics").body.decode().splitlines()

    assert 'headwater_learner_up{process="learner"} 0.0' in lines
    assert 'headwater_learner_state{process="learner",state="down"} 1.0' in lines
    assert 'headwater_learner_state{process="learner",state="learning"} 0.0' in lines
