"""What the Open Inference Protocol asks by GET: is it up, is it ready, what does it take.

Knows the protocol's shapes. Does not know how tensors are read or events scored.
"""

from __future__ import annotations

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service import __version__
from service.events.schema import Target
from service.model.recipe import Recipe
from service.serve.inference import Infer
from service.serve.live_model import LiveModel
from service.serve.named_model import check_name, check_version, served_now
from service.serve.served import Served
from service.serve.tensor_fields import inputs_of

PREFIX = "/v2"
MODEL = f"{PREFIX}/models/{{model}}"
VERSION = f"{MODEL}/versions/{{version}}"
EXTENSIONS = ("binary_tensor_data", "online-learning")
PLATFORM = "headwater_online"

Json = dict[str, Any]


class InferenceRoutes:
    """The routes under /v2. `fallback` describes the model until its weights do."""

    def __init__(self, live: LiveModel, infer: Infer, fallback: Recipe) -> None:
        self._live = live
        self._infer = infer
        self._fallback = fallback

    def table(self) -> list[Route]:
        """Return the routes; HEAD is answered wherever GET is."""
        return [
            Route(PREFIX, self.server, methods=["GET"]),
            Route(f"{PREFIX}/health/live", self.live, methods=["GET"]),
            Route(f"{PREFIX}/health/ready", self.ready, methods=["GET"]),
            Route(f"{PREFIX}/models", self.models, methods=["GET"]),
            Route(f"{PREFIX}/repository/index", self.index, methods=["POST"]),
            Route(MODEL, self.model, methods=["GET"]),
            Route(VERSION, self.model, methods=["GET"]),
            Route(f"{MODEL}/ready", self.model_ready, methods=["GET"]),
            Route(f"{VERSION}/ready", self.model_ready, methods=["GET"]),
            Route(f"{MODEL}/infer", self._infer, methods=["POST"]),
            Route(f"{VERSION}/infer", self._infer, methods=["POST"]),
        ]

    async def server(self, _: Request) -> Response:
        return _json({"name": "headwater", "version": __version__, "extensions": EXTENSIONS})

    async def live(self, _: Request) -> Response:
        return _json({"live": True})

    async def ready(self, _: Request) -> Response:
        self._served()
        return _json({"ready": True, "live": True})

    async def models(self, _: Request) -> Response:
        return _json({"models": [self._recipe().name]})

    async def index(self, _: Request) -> Response:
        """List the model as Triton lists a repository; what a request asks beside is not read."""
        name, served = self._recipe().name, self._live.served
        if served is None:
            why = self._live.not_ready().detail
            return _json([{"name": name, "version": "", "state": "UNAVAILABLE", "reason": why}])
        version = str(served.version)
        return _json([{"name": name, "version": version, "state": "READY", "reason": ""}])

    async def model(self, request: Request) -> Response:
        recipe = self._recipe()
        self._check(request, recipe)
        served = self._live.served
        return _json(metadata(recipe, [] if served is None else [str(served.version)]))

    async def model_ready(self, request: Request) -> Response:
        recipe = self._recipe()
        self._check(request, recipe)
        self._served()
        return _json({"name": recipe.name, "ready": True})

    def _check(self, request: Request, recipe: Recipe) -> None:
        check_name(recipe, request.path_params["model"])
        if (version := request.path_params.get("version")) is not None:
            check_version(self._served(), version)

    def _recipe(self) -> Recipe:
        self._live.follow()
        return self._live.recipe or self._fallback

    def _served(self) -> Served:
        self._live.follow()
        return served_now(self._live)


def metadata(recipe: Recipe, versions: list[str]) -> Json:
    """Return the description of the model: its inputs and outputs, -1 for "any number"."""
    inputs = inputs_of(recipe.schema).items()
    return {
        "name": recipe.name,
        "versions": versions,
        "platform": PLATFORM,
        "inputs": [
            {"name": name, "datatype": taken.datatype, "shape": taken.shape}
            for name, taken in inputs
        ],
        "outputs": [_output(target) for target in recipe.schema.targets],
    }


def _output(target: Target) -> Json:
    shape = [-1, target.outputs] if target.kind == "multiclass" else [-1]
    found = {"name": target.name, "datatype": "FP64", "shape": shape}
    return found | ({"parameters": {"classes": target.classes}} if target.classes else {})


def _json(value: object) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
