"""The shapes of requests and replies, as components of the OpenAPI document.

Knows CONTRACTS' HTTP objects and the recipe's schemas. Does not know routes.
"""

from __future__ import annotations

from typing import Any

from service.metrics import STATES
from service.model.recipe import Recipe
from service.serve.problems import CODES
from service.serve.schema import (
    Json,
    event_schema,
    example_prediction,
    interval_schema,
    prediction_schema,
)
from service.settings import MAIN

STALE = (
    "True when the version is known to be behind the topic, or nobody can tell: the learner is "
    "down (no heartbeat for 3 seconds) or frozen, or it is halted, paused, restoring or replaying "
    "while records wait (a lag that is unknown counts as records)."
)
_NUMBER: Json = {"type": "number", "minimum": 0}
_COUNT: Json = {"type": "integer", "minimum": 0}
_OFFSETS: Json = {
    "type": "object",
    "description": "Per topic and partition, the first offset that is not in the weights.",
    "additionalProperties": {"type": "object", "additionalProperties": _COUNT},
}


def _object(properties: Json, **more: Any) -> Json:
    return {"type": "object", "properties": properties, "required": sorted(properties), **more}


def _list(component: str) -> Json:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{component}"}}


def _text(*, null: bool = False) -> Json:
    return {"type": ["string", "null"] if null else "string"}


def _reply(properties: Json) -> Json:
    """Return the shape of a reply; `ranking` and `intervals` are there where they were asked for."""
    ranking = {
        "type": "array",
        "items": _COUNT,
        "description": "With top: the place in the request of each prediction.",
    }
    intervals: Json = {
        **_list("Interval"),
        "description": "With ?intervals: of each prediction, where the numbers lie.",
    }
    shape = _object(properties)
    more = {"ranking": ranking, "intervals": intervals}
    return {**shape, "properties": {**properties, **more}}


def _request() -> Json:
    """Return the shape of a request: events, or candidates in one context."""
    top = _object(
        {
            "n": {"type": "integer", "minimum": 1, "description": "How many, best first."},
            "target": {**_text(), "description": "Needed where there are several."},
            "class": {**_text(), "description": "multiclass: whose probability counts."},
        },
        additionalProperties=False,
    )
    context = {"type": "object", "description": "Fields that every candidate has unless it says."}
    return {
        "type": "object",
        "properties": {
            "events": _list("Event"),
            "candidates": _list("Event"),
            "context": context,
            "top": {**top, "required": ["n"]},
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["events"]}, {"required": ["candidates"]}],
    }


def _answered_by(recipe: Recipe) -> Json:
    """Return the property that says which model answered, where there are several."""
    if not recipe.challengers:
        return {}
    names = [MAIN, *recipe.challengers]
    return {"answered_by": {"enum": names, "description": "Which of the models answered."}}


def _challenger(figures: Json) -> Json:
    target = _object({"scored": _COUNT, "metrics": figures, "fading": figures})
    return _object(
        {
            "kind": _text(),
            "serves": {"type": "boolean", "description": "Whether it answers."},
            "events_learned": _COUNT,
            "rests": {**_COUNT, "description": "Events for which it sits out, having failed."},
            "failures": {"type": "object", "additionalProperties": _COUNT},
            "targets": {"type": "object", "additionalProperties": target},
        }
    )


def components(recipe: Recipe) -> Json:
    """Return every named schema."""
    model: Json = {
        "name": _text(),
        "version": {**_COUNT, "description": "Number of the journal entry that made the weights."},
        "lineage": _text(),
        "events_learned": _COUNT,
        "trained_through": _OFFSETS,
        "age_seconds": {**_NUMBER, "description": "Now minus the publish time of this version."},
        "stale": {"type": "boolean", "description": STALE},
    }
    brief = _object(model)
    brief["required"] = [name for name in brief["required"] if name != "trained_through"]
    brief["properties"] |= _answered_by(recipe)
    figures: Json = {"type": "object", "additionalProperties": {"type": ["number", "null"]}}
    return {
        "Event": event_schema(recipe, "#/components/schemas/Event"),
        "Prediction": prediction_schema(recipe),
        "Interval": interval_schema(recipe),
        "PredictRequest": _request(),
        "PredictReply": _reply(
            {
                "predictions": {
                    **_list("Prediction"),
                    "examples": [[example_prediction(recipe.schema)]],
                },
                "model": {"$ref": "#/components/schemas/Model"},
            }
        ),
        "Model": brief,
        "ModelReport": _object(
            {
                **model,
                **_answered_by(recipe),
                "model": {"$ref": "#/components/schemas/Model"},
                "event_time": _text(null=True),
                "published_at": _text(),
                "layout": {**_text(), "pattern": "^sha256:[0-9a-f]{64}$"},
                "digest": {"type": ["object", "null"], "additionalProperties": _text()},
                "targets": {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "properties": {
                            "type": _text(),
                            "metrics": figures,
                            "fading": figures,
                            "held_out": {"type": ["object", "null"]},
                            "intervals": figures,
                        },
                        "required": ["type", "metrics", "fading", "baselines", "held_out"],
                    },
                },
                "learning_rate": {"type": ["number", "null"], "exclusiveMinimum": 0},
                "challengers": {
                    "type": "object",
                    "description": "How each model does; empty where there are no challengers.",
                    "additionalProperties": _challenger(figures),
                },
                "learner": {"$ref": "#/components/schemas/Learner"},
            }
        ),
        "Learner": _object(
            {
                "state": {"enum": list(STATES)},
                "reason": _text(null=True),
                "heartbeat_age_seconds": {"type": ["number", "null"]},
                "lag_records": {"type": ["integer", "null"]},
                "progress": {"type": ["number", "null"]},
            }
        ),
        "Schemas": _object({"event": {"type": "object"}, "prediction": {"type": "object"}}),
        "Health": _object({"status": {"const": "ok"}}),
        "Readiness": _object(
            {
                "status": {"const": "ready"},
                "degraded": {"type": "array", "items": _text()},
                "version": _COUNT,
            }
        ),
        "Problem": _object(
            {
                "type": _text(),
                "title": _text(),
                "status": {"type": "integer"},
                "code": {"enum": sorted(CODES)},
                "detail": _text(),
                "error": _text(),
                "request_id": _text(),
                "errors": {
                    "type": "array",
                    "items": _object({"loc": {"type": "array"}, "code": _text(), "msg": _text()}),
                },
            }
        ),
    }
