"""Requests that do not ask what was meant: each is made, and gets the problem of docs/mistakes.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service.metrics import Metrics
from service.serve.app import create_app
from tests.mistakes.conftest import Page
from tests.mistakes.mistake import Request
from tests.mistakes.requests import REQUESTS
from tests.serve.asgi import Client
from tests.serve.conftest import Learner, settings_of

EVENT = {
    "features": {"amount": {"type": "number"}, "merchant": {"type": "category"}},
    "targets": {"is_fraud": {"type": "binary"}},
}
TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Client]]:
    """An API without a token for its commands, and one that has one."""
    folder: Path = tmp_path_factory.mktemp("run")
    learner = Learner(folder, settings_of(EVENT))
    learner.publish(7)
    with (
        learner.writer,
        Client(create_app(settings_of(EVENT), folder, Metrics("api-0"))) as off,
        Client(
            create_app(settings_of(EVENT, api={"admin_token": TOKEN}), folder, Metrics("api-1"))
        ) as on,
    ):
        yield {False: off, True: on}


@pytest.mark.parametrize("request_", REQUESTS, ids=[one.what for one in REQUESTS])
def test_the_problem_is_the_one_of_the_page(
    request_: Request, clients: dict[bool, Client], page: Page
) -> None:
    """
    Status, and what it says in words.
    """
    method = request_.method or ("GET" if request_.body is None else "POST")
    answer = clients[request_.admin].request(
        method, request_.path, [(request_.body or "").encode()]
    )
    told = answer.json()

    page.holds(request_, (answer.status, f"{told['code']}: {told['detail']}"))
