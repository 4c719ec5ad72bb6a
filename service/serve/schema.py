"""JSON Schemas (draft 2020-12) of an event and of a prediction, for one recipe.

Knows what the decoder accepts and what the scorer gives, in JSON Schema's words, with an example
of each. Does not know HTTP.
"""

from __future__ import annotations

from typing import Any

from service.events.schema import Schema, Target
from service.model.recipe import Recipe

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]

_NUMERIC_TEXT = r"^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$"
_NUMBER: Json = {
    "anyOf": [
        {"type": "number", "minimum": -1e30, "maximum": 1e30},
        {"type": "string", "pattern": _NUMERIC_TEXT},
        {"type": "null"},
    ],
    "description": "A number, also as a text. Missing or null: unknown.",
}
_CATEGORY: Json = {
    "type": ["string", "number", "boolean", "null"],
    "description": 'A category, compared as text: 17, "17" and 17.0 are one. Missing: unknown.',
}


def event_schema(recipe: Recipe) -> Json:
    """Return the schema of one event as POST /v1/predict takes it."""
    schema = recipe.schema
    properties: Json = {
        name: {**_NUMBER, "examples": [12.5]} for name in (d.name for d in schema.dense)
    }
    properties |= {
        name: {**_CATEGORY, "examples": ["a"]} for name in (t.name for t in schema.tables)
    }
    for name in _ignored(schema):
        properties.setdefault(name, {"description": "May be there; a prediction does not use it."})
    return {
        "$schema": DRAFT,
        "title": f"Event of {recipe.name}",
        "description": (
            "Fields that are not listed are counted and otherwise ignored; ?strict=true refuses "
            "them, and missing ones too."
        ),
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": True,
        "examples": [example_event(schema)],
    }


def prediction_schema(recipe: Recipe) -> Json:
    """Return the schema of one prediction in a reply."""
    targets = recipe.schema.targets
    return {
        "$schema": DRAFT,
        "title": f"Prediction of {recipe.name}",
        "type": "object",
        "properties": {target.name: _prediction(target) for target in targets},
        "required": [target.name for target in targets],
        "additionalProperties": False,
        "examples": [example_prediction(schema=recipe.schema)],
    }


def example_event(schema: Schema) -> Json:
    """Return an event with every feature."""
    example: Json = dict.fromkeys((d.name for d in schema.dense), 12.5) | dict.fromkeys(
        (t.name for t in schema.tables), "a"
    )
    return dict(sorted(example.items()))


def example_prediction(schema: Schema) -> Json:
    """Return a prediction of the shape a reply has."""
    return {target.name: _example(target) for target in schema.targets}


def _ignored(schema: Schema) -> list[str]:
    return sorted(schema.known - schema.features)


def _prediction(target: Target) -> Json:
    probability: Json = {"type": "number", "minimum": 0, "maximum": 1}
    if target.kind == "binary":
        return {**probability, "description": "Probability of the positive label."}
    if target.kind == "number":
        return {"type": "number", "description": "The expected value."}
    return {
        "type": "object",
        "description": "Probability of each class; they add up to 1.",
        "properties": dict.fromkeys(target.classes, probability),
        "required": list(target.classes),
        "additionalProperties": False,
    }


def _example(target: Target) -> object:
    if target.kind == "binary":
        return 0.031
    if target.kind == "number":
        return 4.2
    share = round(1 / len(target.classes), 3)
    return dict.fromkeys(target.classes, share)
