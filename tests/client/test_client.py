"""service.client against a real API process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from service.client import Client, NotInTime, Problem, Top
from tests.client.conftest import Make
from tests.conftest import CHECKOUT
from tests.processes import PATIENCE_S, until
from tests.serve.conftest import Learner
from tests.serve.test_workers import Api, environment

EVENTS = [{"amount": 1.5, "merchant": "m1"}, {"amount": 950, "merchant": None}]
EXAMPLES = re.findall(
    r"^```python\n(.*?)^```\n\n```\n(.*?)^```$",
    (CHECKOUT / "docs" / "client.md").read_text(),
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API of one worker; before any learner, until a test asks for one."""
    api = Api(tmp_path_factory.mktemp("api"), 1)
    yield api
    api.process.terminate()
    api.process.wait()


@pytest.fixture(scope="module")
def learner(api: Api) -> Iterator[Learner]:
    """A learner that has published version 7."""
    with Client(f"http://127.0.0.1:{api.port}") as client:
        learner = api.learner()
        client.wait_for_version(7)
    with learner.writer:
        yield learner


@pytest.fixture
def client(api: Api, learner: Learner, make: Make) -> Iterator[Any]:
    """A client of an API that answers."""
    with make(f"http://127.0.0.1:{api.port}") as client:
        yield client


@pytest.mark.e2e
def test_before_there_are_weights_everything_says_so(api: Api, make: Make) -> None:
    """
    Health, status and a wait; a prediction is refused.
    """
    with make(f"http://127.0.0.1:{api.port}", attempts=1) as client:
        health = client.health()
        assert (True, False, None) == (health.alive, health.ready, health.version)
        assert "NOT_READY" in health.detail
        assert (None, "down") == (client.status().model, client.status().learner.state)
        with pytest.raises(NotInTime, match="version 1; seen: 503 NOT_READY"):
            client.wait_for_version(1, timeout_s=3.0)
        with pytest.raises(Problem, match="NOT_READY") as caught:
            client.predict([{}])
        assert 1.0 == caught.value.retry_after_s
        assert "is_fraud" in client.schema().prediction["required"]


@pytest.mark.e2e
def test_events_are_predicted(client: Any) -> None:
    """
    In order, with the version they come from; numbers of numpy are numbers.
    """
    found = client.predict(EVENTS)

    assert 2 == len(found.predictions)
    assert 0.5 == found.predictions[0]["is_fraud"]
    assert {"gift", "own", "other"} == found.predictions[0]["kind"].keys()
    assert ("payments", 7) == (found.model.name, found.model.version)
    assert {"payments": {"0": 700}} == found.model.trained_through
    assert found.ranking is None
    assert {} == client.predict(EVENTS, brief=True).model.trained_through
    of_numpy = [{"amount": np.float32(1.5), "merchant": np.int64(7)}, {"amount": float("nan")}]
    assert 2 == len(client.predict(of_numpy).predictions)


@pytest.mark.e2e
def test_intervals_of_numbers_are_told_where_asked_for(client: Any) -> None:
    """
    One for each prediction; null until enough is known. A level that is none is refused.
    """
    assert [{"refund": None}] * 2 == client.predict(EVENTS, intervals=0.9).intervals
    assert client.predict(EVENTS).intervals is None
    assert {"0.9": None}.items() <= client.model().targets["refund"].intervals.items()
    with pytest.raises(Problem, match=r"intervals=1.5: write \?intervals=0.9"):
        client.predict(EVENTS, intervals=1.5)


@pytest.mark.e2e
def test_candidates_are_ranked(client: Any) -> None:
    """
    The best of them in one context, by number or by name of the target.
    """
    candidates = [{"amount": n} for n in range(5)]
    top = Top(2, target="kind", label="own")
    found = client.predict(candidates=candidates, context={"merchant": "m"}, top=top)

    assert [0, 1] == found.ranking
    with pytest.raises(Problem) as caught:
        client.predict(candidates=candidates, top=2)
    assert ["top", "target"] == caught.value.errors[0].loc


@pytest.mark.e2e
def test_a_refusal_carries_the_problem(client: Any) -> None:
    """
    Code, status, each fault with its place, the request's id.
    """
    with pytest.raises(Problem, match="422 BAD_EVENT: 2 problems") as caught:
        client.predict([{"amount": "lots"}, {"merchant": [1]}])
    problem = caught.value

    assert (422, "BAD_EVENT", None) == (problem.status, problem.code, problem.retry_after_s)
    assert [["events", 0, "amount"], ["events", 1, "merchant"]] == [e.loc for e in problem.errors]
    assert "wrong_type" == problem.errors[0].code
    assert 32 == len(problem.request_id)
    with pytest.raises(Problem, match="missing"):
        client.predict([{"amount": 1}], strict=True)


@pytest.mark.e2e
def test_model_schema_status_and_health_are_told(client: Any) -> None:
    """
    Every member that the API has, with its type.
    """
    report = client.model(digest=True)
    status = client.status()
    health = client.health()

    assert ("payments", 7, 70) == (report.name, report.version, report.events_learned)
    assert {"is_fraud", "kind", "refund"} == report.targets.keys()
    assert ("binary", 0) == (report.targets["is_fraud"].type, report.targets["is_fraud"].scored)
    assert "no_change" in report.targets["is_fraud"].baselines
    assert report.layout.startswith("sha256:")
    assert report.digest is not None
    assert "weights" in report.digest
    assert client.model().digest is None
    assert status.learner.state in {"learning", "down"}
    assert 7 == status.model.version
    assert (True, True, 7) == (health.alive, health.ready, health.version)
    assert {"amount", "merchant"} <= client.schema().event["properties"].keys()


@pytest.mark.e2e
def test_a_version_is_waited_for(api: Api, learner: Learner, make: Make) -> None:
    """
    It returns the model that answers, once it is new enough; offsets count as versions do.
    """
    told: list[Any] = []

    def wait() -> None:
        with make(f"http://127.0.0.1:{api.port}") as client:
            told.append(client.wait_for_version(before + 1))
            learned = {"payments": {0: (before + 1) * 100}}
            told.append(client.wait_for_version(trained_through=learned))

    with Client(f"http://127.0.0.1:{api.port}") as client:
        before = client.health().version or 0
        thread = threading.Thread(target=wait)
        thread.start()
        learner.publish(before + 1)
        thread.join(PATIENCE_S)
        assert [before + 1] * 2 == [one.version for one in told]
        beyond = {"payments": {"0": 10**6}, "clicks": {"1": 5}}
        with pytest.raises(
            NotInTime, match="offset 1000000 of payments/0 and offset 5 of clicks/1"
        ):
            client.wait_for_version(trained_through=beyond, timeout_s=0.1)
        learner.publish(7)
        until(lambda: client.health().version == 7)


@pytest.mark.e2e
@pytest.mark.parametrize(("code", "printed"), EXAMPLES, ids=range(len(EXAMPLES)))
def test_the_examples_of_its_page_print_what_it_says(
    api: Api, learner: Learner, capsys: pytest.CaptureFixture[str], code: str, printed: str
) -> None:
    """
    docs/client.md, run as it stands but for the port.
    """
    code = code.replace("localhost:8080", f"127.0.0.1:{api.port}")
    exec(compile(code, "docs/client.md", "exec"), {})

    assert printed == capsys.readouterr().out


def test_its_page_has_examples() -> None:
    """
    Which the test above runs.
    """
    assert 3 == len(EXAMPLES) == (CHECKOUT / "docs" / "client.md").read_text().count("```python")


def test_it_needs_nothing_of_the_service() -> None:
    """
    Neither torch, numba, numpy nor Kafka is loaded with it, nor the settings.
    """
    code = "import json, sys, service.client; print(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env=environment(), capture_output=True,
        text=True, check=True, timeout=60,
    )  # fmt: skip
    loaded = json.loads(ended.stdout)
    heavy = {"torch", "numba", "numpy", "confluent_kafka", "fastapi", "pydantic", "uvicorn"}

    assert set() == heavy & set(loaded)
    ours = {name for name in loaded if name.startswith("service.")}
    assert {"service.client"} == {".".join(name.split(".")[:2]) for name in ours}
