"""The API as one ASGI application.

Knows how its parts are put together. Does not know processes or sockets. It answers from the
moment it is made: 503 until there are weights, and from the last good ones when the learner dies.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NoReturn

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Route

from service import __version__
from service.logs import logger
from service.metrics import Metrics
from service.model.kinds import recipe_of
from service.model.scorer import Scorer
from service.serve.admin import PREFIX, Admin
from service.serve.aside import Aside
from service.serve.edge import Edge
from service.serve.inference import Infer
from service.serve.inference_routes import InferenceRoutes
from service.serve.live_metrics import show_live
from service.serve.live_model import LiveModel, scorer_from, warm
from service.serve.predict import Predict
from service.serve.problems import Refused
from service.serve.routes import Routes
from service.serve.scoring import Scoring
from service.settings import Settings

_log = logger(__name__)

FOLLOW_IDLE_S = 0.2
MOST_AT_ONCE = 512
"""Most requests under way in one worker; one more is OVERLOADED."""


def create_app(
    settings: Settings,
    directory: Path,
    metrics: Metrics,
    *,
    make_scorer: Callable[[bytes], Scorer] = scorer_from,
    most_at_once: int = MOST_AT_ONCE,
) -> FastAPI:
    """Build the API over the live file in `directory` (the runtime directory)."""
    retries = metrics.counter("headwater_read_retries_total")

    def open_live() -> LiveModel:
        return LiveModel(directory, retries, make_scorer)

    recipe = recipe_of(settings)
    live = open_live()
    aside = Aside(open_live)
    scoring = Scoring(settings.api, live, aside, metrics)
    token = settings.api.admin_token
    admin = None if token is None else Admin(directory, token.get_secret_value())
    routes = Routes(live, aside, metrics, directory, recipe, has_admin=admin is not None)
    show_live(live, metrics)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        warm(recipe)
        following = asyncio.create_task(_keep_following(live))
        yield
        following.cancel()
        if admin is not None:
            admin.close()
        aside.close()
        live.close()

    app = FastAPI(
        title="Headwater",
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _routing_problem},
    )
    table = [
        Route("/v1/predict", Predict(scoring), methods=["POST"]),
        *routes.table(),
        *InferenceRoutes(live, Infer(scoring), recipe).table(),
        *(admin.table() if admin is not None else ()),
    ]
    app.router.routes.extend(table)
    app.add_middleware(
        Edge,
        metrics=metrics,
        routes=frozenset(route.path for route in table),
        most_at_once=most_at_once,
    )
    return app


_MEANT = ("/v1/predict", "/v1/model", "/v1/schema", "/healthz", "/readyz", "/metrics", "/docs")
_LONGEST_PATH = 64
_LISTED = "GET /docs shows what there is, as a page; GET /openapi.json is the same for programs"


async def _keep_following(live: LiveModel) -> None:
    """See new versions, layouts and states also while nobody asks."""
    while True:
        try:
            live.follow()
        except Exception:  # noqa: BLE001 - one bad look must not be the last one
            _log.exception("live_file_not_followed")
        await asyncio.sleep(FOLLOW_IDLE_S)


async def _routing_problem(request: Request, error: Exception) -> NoReturn:
    """Say 404 and 405 as every other problem is said."""
    assert isinstance(error, HTTPException), error
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        raise Refused(
            "METHOD_NOT_ALLOWED",
            f"{request.url.path} takes {allowed}",
            headers=[(b"allow", allowed.encode())],
        )
    raise Refused("NOT_FOUND", _not_here(request.url.path))


def _not_here(path: str) -> str:
    """Say what may have been meant by a path that leads nowhere."""
    if path == PREFIX or path.startswith(f"{PREFIX}/"):
        return (
            f"no such command, or {PREFIX} is off: it is on where api.admin_token (better "
            f"HEADWATER_API__ADMIN_TOKEN_FILE) is set; {_LISTED}"
        )
    close = difflib.get_close_matches(path[:_LONGEST_PATH], _MEANT, n=1, cutoff=0.7)
    meant = f"did you mean {close[0]}? " if close and close[0] != path else ""
    return f"{meant}{_LISTED}"
