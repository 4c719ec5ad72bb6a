"""Everything the API answers by GET. Plain functions from request to response.

Knows what each reply holds. Does not know how scores are made or metrics kept.
"""

from __future__ import annotations

import hashlib
import time
from importlib.resources import files
from pathlib import Path

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import metrics
from service.metrics import Metrics
from service.model.recipe import Recipe
from service.model.scorer import Attached
from service.serve.aside import Aside
from service.serve.live_model import LiveModel
from service.serve.openapi import document
from service.serve.queries import flag
from service.serve.schema import Json, event_schema, prediction_schema
from service.serve.served import Served

_PAGE_RULES = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Routes:
    """The GET routes over one LiveModel. `fallback` describes events until weights do."""

    def __init__(
        self,
        live: LiveModel,
        aside: Aside,
        own_metrics: Metrics,
        directory: Path,
        fallback: Recipe,
        *,
        has_admin: bool = False,
    ) -> None:
        self._live = live
        self._aside = aside
        self._metrics = own_metrics
        self._directory = directory
        self._fallback = fallback
        self._has_admin = has_admin
        self._page = files("service.serve").joinpath("docs.html").read_bytes()

    def table(self) -> list[Route]:
        """Return the routes; HEAD is answered wherever GET is."""
        return [
            Route("/v1/model", self.model, methods=["GET"]),
            Route("/v1/schema", self.schema, methods=["GET"]),
            Route("/healthz", self.healthz, methods=["GET"]),
            Route("/readyz", self.readyz, methods=["GET"]),
            Route("/metrics", self.metrics, methods=["GET"]),
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.docs, methods=["GET"]),
        ]

    async def model(self, request: Request) -> Response:
        self._live.follow()
        if flag(request.query_params.getlist("digest"), "digest"):
            return _json(await self._aside.run(_report_with_digest))
        found, served = self._live.read(_found)
        return _json(_report(self._live, served, found, None))

    async def schema(self, _: Request) -> Response:
        recipe = self._recipe()
        return _json({"event": event_schema(recipe), "prediction": prediction_schema(recipe)})

    async def healthz(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        self._live.follow()
        served = self._live.served
        if served is None:
            raise self._live.not_ready()
        learner = self._live.learner
        degraded = [learner.sentence()] if learner.stale or not learner.up else []
        return _json({"status": "ready", "degraded": degraded, "version": served.version})

    async def metrics(self, _: Request) -> Response:
        self._live.follow()
        body = await run_in_threadpool(metrics.merge, self._metrics, self._directory)
        return Response(body, headers={"content-type": metrics.CONTENT_TYPE})

    async def openapi(self, _: Request) -> Response:
        return _json(document(self._recipe(), admin=self._has_admin))

    async def docs(self, _: Request) -> Response:
        headers = {"content-security-policy": _PAGE_RULES, "x-content-type-options": "nosniff"}
        return Response(self._page, media_type="text/html", headers=headers)

    def _recipe(self) -> Recipe:
        self._live.follow()
        return self._live.recipe or self._fallback


def _report_with_digest(live: LiveModel) -> Json:
    (found, digest), served = live.read_copy(lambda one: (_found(one), one.digest()))
    return _report(live, served, found, digest)


def _found(one: Attached) -> Json:
    return {
        "targets": one.targets(),
        "learning_rate": one.learning_rate(),
        "challengers": one.challengers(),
    }


def _report(live: LiveModel, served: Served, found: Json, digest: object) -> Json:
    learner = live.learner
    model = served.model(served.age_s(time.time_ns()), learner.stale)
    return {
        **model,
        "model": model,
        "event_time": served.event_time,
        "published_at": served.published_at,
        "layout": f"sha256:{hashlib.sha256(live.layout).hexdigest()}",
        "digest": digest,
        **found,
        "learner": learner,
    }


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
