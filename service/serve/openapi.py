"""The OpenAPI document: every route, with the exact fields of this model.

Knows the routes' shapes (CONTRACTS of HTTP) and the recipe's schemas. Built from the recipe of
the live weights, or from the settings until there are any.
"""

from __future__ import annotations

from service import __version__
from service.model.recipe import Recipe
from service.serve import openapi_admin, openapi_inference
from service.serve.openapi_components import components
from service.serve.problems import CODES
from service.serve.schema import Json, example_event


def document(recipe: Recipe, *, admin: bool = False) -> Json:
    """Return the whole document; with /v1/admin where there is a token for it."""
    found = _document(recipe)
    openapi_inference.add_to(found, recipe)
    if admin:
        openapi_admin.add_to(found)
    return found


def _document(recipe: Recipe) -> Json:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Headwater: {recipe.name}",
            "version": __version__,
            "description": "Predictions from weights that keep learning from a Kafka stream.",
        },
        "tags": [{"name": "predictions"}, {"name": "model"}, {"name": "operations"}],
        "paths": _paths(recipe),
        "components": {"schemas": components(recipe), "responses": _problems()},
    }


def _paths(recipe: Recipe) -> Json:
    return {
        "/v1/predict": {"post": _predict(recipe)},
        "/v1/model": {
            "get": _get(
                "getModel",
                "The version that answers: its scores, its age, its learner",
                "model",
                _json("ModelReport"),
                [400, 503],
                [_query("digest", "true: also the sha256 of each part of the state.", "boolean")],
            )
        },
        "/v1/schema": {
            "get": _get(
                "getSchema",
                "JSON Schemas of an event and of a prediction",
                "model",
                _json("Schemas"),
            )
        },
        "/healthz": {
            "get": _get("getHealth", "The process answers", "operations", _json("Health"))
        },
        "/readyz": {
            "get": _get(
                "getReady", "Weights can be served", "operations", _json("Readiness"), [503]
            )
        },
        "/metrics": {
            "get": _get(
                "getMetrics",
                "Metrics of every process, for Prometheus",
                "operations",
                {"text/plain": {"schema": {"type": "string"}}},
            )
        },
        "/openapi.json": {
            "get": _get(
                "getOpenapi",
                "This document",
                "operations",
                {"application/json": {"schema": {"type": "object"}}},
            )
        },
        "/docs": {
            "get": _get(
                "getDocs",
                "This document as a page to try it on",
                "operations",
                {"text/html": {"schema": {"type": "string"}}},
            )
        },
    }


def _predict(recipe: Recipe) -> Json:
    return {
        "operationId": "predict",
        "summary": "Predict events from the live weights",
        "tags": ["predictions"],
        "parameters": [
            _query(
                "model", '"brief": leave the offsets out of "model".', "string", ["full", "brief"]
            ),
            _query("strict", "true: refuse unknown and missing fields.", "boolean"),
            {
                "name": "intervals",
                "in": "query",
                "description": "Say between which values each number lies with this probability.",
                "schema": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
            },
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/PredictRequest"},
                    "example": {"events": [example_event(recipe.schema)]},
                }
            },
        },
        "responses": {
            "200": {
                "description": "One prediction per event, all from one version.",
                "headers": _model_headers(),
                "content": _json("PredictReply"),
            },
            **_refusals([400, 408, 413, 415, 422, 503]),
        },
    }


def _get(
    operation: str,
    summary: str,
    tag: str,
    content: Json,
    refusals: list[int] | None = None,
    parameters: list[Json] | None = None,
) -> Json:
    return {
        "operationId": operation,
        "summary": summary,
        "tags": [tag],
        "parameters": parameters or [],
        "responses": {
            "200": {"description": summary, "content": content},
            **_refusals(refusals or []),
        },
    }


def _query(name: str, description: str, kind: str, known: list[str] | None = None) -> Json:
    schema = {"type": kind} if known is None else {"type": kind, "enum": known}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _json(component: str) -> Json:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{component}"}}}


def _model_headers() -> Json:
    texts = {
        "X-Model-Version": "Version the predictions were computed from.",
        "X-Model-Lineage": "Its lineage.",
        "X-Model-Age-Seconds": "Now minus its publish time.",
        "X-Request-ID": "The request's id: yours if it was sane, else made.",
    }
    return {
        name: {"description": text, "schema": {"type": "string"}} for name, text in texts.items()
    }


def _refusals(statuses: list[int]) -> Json:
    return {str(s): {"$ref": f"#/components/responses/Problem{s}"} for s in statuses}


def _problems() -> Json:
    by_status: dict[int, list[str]] = {}
    for code, meaning in CODES.items():
        by_status.setdefault(meaning.status, []).append(code)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        f"Problem{status}": {"description": " or ".join(codes), "content": content}
        for status, codes in by_status.items()
    }
