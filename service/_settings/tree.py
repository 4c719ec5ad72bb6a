"""Ask a settings model what may stand where. Knows models, no setting and no value."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel

Where = tuple[str, ...]
"""Keys from the root to one setting; items of lists by their number."""


def kinds_at(model: type[BaseModel], where: Where) -> list[Any]:
    """Return the types a setting may have: plain classes, `tuple` for lists, NoneType for null.

    Empty where no setting can be.
    """
    kinds = _leaves([model])
    for key in where:
        below: list[Any] = []
        for kind in kinds:
            if _is_section(kind):
                if key in kind.model_fields:
                    below.append(kind.model_fields[key].annotation)
            elif typing.get_origin(kind) is dict:
                below.append(typing.get_args(kind)[1])
            elif typing.get_origin(kind) is tuple and key.isdigit():
                below.append(typing.get_args(kind)[0])
        kinds = _leaves(below)
    return [tuple if typing.get_origin(kind) is tuple else kind for kind in kinds]


def keys_at(model: type[BaseModel], where: Where, type_name: object = None) -> list[str]:
    """Return the keys that are known at a place; of one kind of field where `type_name` is given."""
    sections = [kind for kind in kinds_at(model, where) if _is_section(kind)]
    if len(sections) > 1:
        chosen = [s for s in sections if type_name == s.model_fields["type"].default]
        sections = chosen or sections
    return list(dict.fromkeys(key for section in sections for key in section.model_fields))


def default_at(model: type[BaseModel], where: Where) -> object:
    """Return the default of a setting."""
    *section, key = where
    (kind,) = kinds_at(model, tuple(section))
    default: object = kind.model_fields[key].get_default(call_default_factory=True)
    return default


def places_of(model: type[BaseModel], key: str) -> list[str]:
    """Return the dotted names of settings that `key` may have meant: port, or api_port."""
    return [
        ".".join(where)
        for where in _settings(model, ())
        if where[-1] == key or "_".join(where) == key
    ]


def _settings(model: type[BaseModel], where: Where) -> Iterator[Where]:
    for key, field in model.model_fields.items():
        yield (*where, key)
        for kind in _leaves([field.annotation]):
            if _is_section(kind):
                yield from _settings(kind, (*where, key))


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _leaves(annotations: Iterable[Any]) -> list[Any]:
    """Take unions, Annotated and Literal apart."""
    leaves: list[Any] = []
    for annotation in annotations:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated:
            leaves += _leaves(typing.get_args(annotation)[:1])
        elif origin in {typing.Union, types.UnionType}:
            leaves += _leaves(typing.get_args(annotation))
        elif origin is typing.Literal:
            leaves.append(str)
        else:
            leaves.append(annotation)
    return leaves
