"""What each kind of field may hold in an event, in JSON Schema's words, with an example of it."""

from __future__ import annotations

import re
from typing import Any

from service.events.times import PER_SECOND
from service.events.values import LARGEST, MOST_NAMES
from service.serve import spelled
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

Json = dict[str, Any]

_ONE_NUMBER: list[Json] = [
    {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
    {"type": "string", "pattern": spelled.NUMBER},
]
_NULL: Json = {"type": "null"}
_NUMBER: Json = {
    "anyOf": [*_ONE_NUMBER, _NULL],
    "description": "A number, also as a text. Missing or null: unknown.",
    "examples": [12.5],
}
_BOOLEAN_TEXT = (
    r"^\s*([tT]([rR][uU][eE])?|[fF]([aA][lL][sS][eE])?|[yY]([eE][sS])?|[nN][oO]?|[oO][nN]"
    r"|[oO][fF][fF]|[01])\s*$"
)
_BOOLEAN: Json = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "number", "enum": [0, 1]},
        {"type": "string", "pattern": _BOOLEAN_TEXT},
        _NULL,
    ],
    "description": "true or false; also 1, 0, and yes, no, on, off, t, f, y, n in any case.",
    "examples": [True],
}
_SCALARS = ["string", "number", "boolean", "null"]
_CATEGORY: Json = {
    "type": _SCALARS,
    "description": 'A category, compared as text: 17, "17" and 17.0 are one. Missing: unknown.',
    "examples": ["a"],
}
_TEXT: Json = {
    "type": _SCALARS,
    "description": "A text. Missing or null: unknown.",
    "examples": ["Two words"],
}
_NAMES: Json = {"type": "array", "items": {"type": _SCALARS}, "maxItems": MOST_NAMES}
IN_A_MAP = "InAMap"


def any_name(definitions: str) -> Json:
    """Return what one name of a map may hold; an object counts by the names in it.

    definitions: reference of where the schema itself lies, under the name IN_A_MAP.
    """
    return {
        "anyOf": [
            {"type": "number", "minimum": -LARGEST, "maximum": LARGEST},
            {"type": ["string", "boolean", "null"]},
            {**_NAMES, "maxItems": MOST_NAMES - 1},  # the name above it counts too
            {
                "type": "object",
                "additionalProperties": {"$ref": definitions + IN_A_MAP},
                "maxProperties": MOST_NAMES - 1,
            },
        ],
    }


_MOMENT_S = 1_769_860_800  # 2026-01-31T12:00:00Z


def described(spec: Feature, definitions: str) -> Json:
    """Return the schema of a field's value, with one example. definitions: see any_name."""
    match spec:
        case NumberFeature():
            return _NUMBER
        case BooleanFeature():
            return _BOOLEAN
        case CategoryFeature():
            return _CATEGORY
        case TextFeature():
            return _TEXT
        case MapFeature():
            return _map(definitions)
        case CategoriesFeature():
            return _categories(spec)
        case VectorFeature():
            return _vector(spec)
        case TimeFeature():
            return _time(spec)


def _map(definitions: str) -> Json:
    return {
        "type": ["object", "null"],
        "additionalProperties": {"$ref": definitions + IN_A_MAP},
        "maxProperties": MOST_NAMES,
        "description": "Names, each with a number, a text, a boolean, a list of texts, or an "
        f"object of such names; {MOST_NAMES} names and listed values in all.",
        "examples": [{"colour": "red", "weight": 1.5}],
    }


def _categories(spec: CategoriesFeature) -> Json:
    said = f"A list of names, at most {MOST_NAMES}"
    if spec.separator is None:
        return {
            **_NAMES,
            "type": ["array", "null"],
            "description": f"{said}.",
            "examples": [["a", "b"]],
        }
    mark = re.escape(spec.separator)
    piece = rf"((?!{mark})[\s\S])*"
    text = {"type": "string", "pattern": f"^({piece}{mark}){{0,{MOST_NAMES - 1}}}{piece}$"}
    return {
        "anyOf": [_NAMES, text, {"type": ["number", "boolean", "null"]}],
        "description": f"{said}; or one text with {spec.separator!r} between them.",
        "examples": [spec.separator.join("ab")],
    }


def _vector(spec: VectorFeature) -> Json:
    numbers = {"type": "array", "items": {"anyOf": _ONE_NUMBER}}
    return {
        "anyOf": [{**numbers, "minItems": spec.size, "maxItems": spec.size}, _NULL],
        "description": f"A list of {spec.size} numbers. Missing or null: unknown.",
        "examples": [[0.5] * spec.size],
    }


def _time(spec: TimeFeature) -> Json:
    if spec.format in PER_SECOND:
        return {
            "anyOf": [*spelled.since_1970(spec.format, spec.zone), _NULL],
            "description": f"A time as a number since 1970 UTC, in {spec.format}.",
            "examples": [_MOMENT_S * PER_SECOND[spec.format]],
        }
    said = f"A time as 2026-01-31T12:00:00Z; without an offset it is in {spec.zone}."
    if spec.format == "auto":
        said = f"{said} Also a number since 1970 UTC, its unit told by its size."
    forms = [{"type": "string", "pattern": spelled.iso(spec.zone)}, _NULL]
    if spec.format == "auto":
        forms += spelled.since_1970("auto", spec.zone)
    return {"anyOf": forms, "description": said, "examples": ["2026-01-31T12:00:00Z"]}
