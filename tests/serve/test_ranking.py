"""Candidates in one context, and the best of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.serve.asgi import Client
from tests.serve.conftest import Learner

CONTEXT = {"merchant": "m1"}
CANDIDATES = [{"amount": 1}, {"amount": 9}, {"amount": 5}, {"amount": 9}]


@pytest.fixture(autouse=True)
def _learned(learner: Learner) -> None:
    """Weights that like large amounts."""
    weights = learner.state.parts()["weights"]
    weights["head/is_fraud/number/amount"][0] = 0.5
    weights["head/kind/number/amount"][0, 1] = -0.5
    weights["normaliser/amount"][:] = weights["normaliser/amount"].new_tensor([100.0, 4.0, 4.0])
    learner.publish(8)


def post(client: Client, **request: Any) -> Any:
    """The answer to a request."""
    return client.post("/v1/predict", request)


def test_candidates_are_events_with_the_context_in_them(client: Client) -> None:
    """The same predictions as of whole events; a candidate's own field wins."""
    whole = [{**CONTEXT, **one} for one in CANDIDATES] + [{"merchant": "m2", "amount": 2}]
    own = {"merchant": "m2", "amount": 2}
    plain = post(client, events=whole).json()
    found = post(client, context=CONTEXT, candidates=[*CANDIDATES, own]).json()

    assert found["predictions"] == plain["predictions"]
    assert "ranking" not in found


def test_the_best_come_first_and_say_where_they_stood(client: Client) -> None:
    """Of equals the first; n may be more than there are."""
    top = {"n": 3, "target": "is_fraud"}
    every = post(client, context=CONTEXT, candidates=CANDIDATES).json()["predictions"]
    found = post(client, context=CONTEXT, candidates=CANDIDATES, top=top).json()

    assert [1, 3, 2] == found["ranking"]
    assert [every[i] for i in (1, 3, 2)] == found["predictions"]
    many = post(client, events=CANDIDATES, top={**top, "n": 99}).json()
    assert [1, 3, 2, 0] == many["ranking"]
    assert [] == post(client, candidates=[], top=top).json()["ranking"]


def test_a_class_can_be_what_counts(client: Client) -> None:
    """Its probability, not the likeliest class."""
    top = {"n": 2, "target": "kind", "class": "own"}

    assert [0, 2] == post(client, candidates=CANDIDATES, top=top).json()["ranking"]


@pytest.mark.parametrize(
    ("request_", "loc"),
    [
        ({"top": {"n": 1}}, ["top", "target"]),
        ({"top": {"n": 1, "target": "nobody"}}, ["top", "target"]),
        ({"top": {"n": 1, "target": "kind"}}, ["top", "class"]),
        ({"top": {"n": 1, "target": "kind", "class": "x"}}, ["top", "class"]),
        ({"top": {"n": 1, "target": "is_fraud", "class": "x"}}, ["top", "class"]),
        ({"top": {"n": 0, "target": "is_fraud"}}, ["top", "n"]),
        ({"top": {"n": True, "target": "is_fraud"}}, ["top", "n"]),
        ({"top": {"n": 1.5, "target": "is_fraud"}}, ["top", "n"]),
        ({"top": {"n": 1, "target": 7}}, ["top", "target"]),
        ({"top": {"n": 1, "targets": "is_fraud"}}, ["top", "targets"]),
        ({"top": [1]}, ["top"]),
        ({"context": [1]}, ["context"]),
        ({"context": {"amount": "lots"}, "candidates": [{}, {}]}, ["context", "amount"]),
        ({"context": {}, "candidates": [{}, {"amount": "lots"}]}, ["candidates", 1, "amount"]),
        ({"context": {}, "candidates": [{}, 3]}, ["candidates", 1]),
        ({"candidates": {}}, ["candidates"]),
        ({"events": []}, ["events"]),
    ],
    ids=str,
)
def test_what_cannot_be_understood_is_refused_with_its_place(
    client: Client, request_: dict[str, Any], loc: list[object]
) -> None:
    """One error, though the context is in every candidate."""
    answer = client.post("/v1/predict", {"candidates": CANDIDATES, **request_})

    assert 422 == answer.status, answer.json()
    assert [loc] == [error["loc"] for error in answer.json()["errors"]]


def test_a_context_goes_with_candidates_only(client: Client) -> None:
    """It would be dropped silently otherwise."""
    answer = post(client, events=[{}], context=CONTEXT)

    assert (422, ["context"]) == (answer.status, answer.json()["errors"][0]["loc"])


def test_a_long_context_of_many_candidates_is_refused_before_it_is_copied(client: Client) -> None:
    """Four megabytes would be forty gigabytes of work."""
    answer = post(client, context={"merchant": "m" * 100_000}, candidates=[{}] * 1000)

    assert (413, "TOO_LARGE") == (answer.status, answer.json()["code"])
    assert "candidates" in answer.json()["detail"]


def test_as_many_candidates_as_events_are_allowed(client: Client) -> None:
    """The fields of the context are not counted among them."""
    context = {f"f{i}": i for i in range(20)}
    answer = post(client, context=context, candidates=[{"amount": 1}] * 10_000)
    assert 200 == answer.status
    more = post(client, context=context, candidates=[{"amount": 1}] * 10_001)

    assert (413, "TOO_LARGE") == (more.status, more.json()["code"])
    assert np.isfinite(answer.json()["predictions"][-1]["is_fraud"])
