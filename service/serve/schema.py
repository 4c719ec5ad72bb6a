"""JSON Schemas (draft 2020-12) of an event and of a prediction, for one recipe.

Knows what the decoder accepts and what the scorer gives, in JSON Schema's words, with an example
of each. Does not know HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy

from service.events.schema import Schema, Target
from service.model.recipe import Recipe
from service.serve.fields import IN_A_MAP, Json, any_name, described
from service.settings import (
    BooleanFeature,
    CategoriesFeature,
    CategoryFeature,
    Feature,
    MapFeature,
    NumberFeature,
    TextFeature,
    TimeFeature,
    VectorFeature,
)

__all__ = [
    "Json",
    "event_schema",
    "example_event",
    "example_prediction",
    "interval_schema",
    "prediction_schema",
]

DRAFT = "https://json-schema.org/draft/2020-12/schema"
Path = tuple[str, ...]

_STRICTEST_FIRST = (
    MapFeature, VectorFeature, CategoriesFeature, TimeFeature, BooleanFeature, NumberFeature,
    CategoryFeature, TextFeature,
)  # fmt: skip
"""So that the example of a place that several fields share suits all of them."""


def event_schema(recipe: Recipe, place: str = "#") -> Json:
    """Return the schema of one event as POST /v1/predict takes it.

    place: reference of where it will lie; # where it is a document of its own.
    """
    schema, definitions = recipe.schema, f"{place}/$defs/"
    properties = _properties(
        [(path, described(spec, definitions)) for path, spec in _features(schema)]
    )
    for name in _ignored(schema):
        properties.setdefault(name, {"description": "May be there; a prediction does not use it."})
    others: object = True
    if schema.rest is not None:
        others = {
            **any_name(definitions),
            "description": f"Any other field is learned from, in {schema.rest}.",
        }
    maps = any(isinstance(spec, MapFeature) for spec in schema.specs.values())
    return {
        "$schema": DRAFT,
        "title": f"Event of {recipe.name}",
        "description": (
            "Fields that are not listed are counted and otherwise ignored; ?strict=true refuses "
            "them, and missing ones too."
        ),
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "additionalProperties": others,
        "examples": [example_event(schema)],
        **({"$defs": {IN_A_MAP: any_name(definitions)}} if maps else {}),
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


def interval_schema(recipe: Recipe) -> Json:
    """Return the schema of an entry of `intervals` in a reply: of number targets alone."""
    ends: Json = {
        "type": ["array", "null"],
        "items": {"type": "number"},
        "minItems": 2,
        "maxItems": 2,
        "description": "From and to; null where too little is known yet.",
    }
    numbers = [target.name for target in recipe.schema.targets if target.kind == "number"]
    return {
        "type": "object",
        "properties": dict.fromkeys(numbers, ends),
        "required": numbers,
        "additionalProperties": False,
    }


def example_event(schema: Schema) -> Json:
    """Return an event with every feature."""
    example: Json = {}
    for path, spec in _features(schema):
        place = example
        for key in path[:-1]:
            place = place.setdefault(key, {})
        place.setdefault(path[-1], deepcopy(described(spec, "#/$defs/")["examples"][0]))
    if schema.rest is not None:
        example.setdefault("another_field", 1.5)
    return dict(sorted(example.items()))


def example_prediction(schema: Schema) -> Json:
    """Return a prediction of the shape a reply has."""
    return {target.name: _example(target) for target in schema.targets}


def _ignored(schema: Schema) -> list[str]:
    return sorted(schema.known - schema.features)


def _features(schema: Schema) -> list[tuple[Path, Feature]]:
    """Return path and settings of each field, but for the map of the rest: short paths first,
    and of one place the field that takes least."""
    fields = [
        (schema.paths[name], spec) for name, spec in schema.specs.items() if name != schema.rest
    ]
    return sorted(fields, key=lambda f: (len(f[0]), f[0], _STRICTEST_FIRST.index(type(f[1]))))


def _properties(fields: Sequence[tuple[Path, Json]]) -> Json:
    """Return the properties of one level of an event, objects below them included."""
    found: dict[str, list[Json]] = {}
    below: dict[str, list[tuple[Path, Json]]] = {}
    for path, said in fields:
        if len(path) == 1:
            found.setdefault(path[0], []).append(said)
        else:
            below.setdefault(path[0], []).append((path[1:], said))
    for key, inner in below.items():
        found.setdefault(key, []).append(
            {
                "type": ["object", "null"],
                "properties": _properties(inner),
                "description": "Fields inside. Missing or null: all of them unknown.",
            }
        )
    return {key: parts[0] if len(parts) == 1 else {"allOf": parts} for key, parts in found.items()}


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
