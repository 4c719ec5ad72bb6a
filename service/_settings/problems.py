"""What is wrong with a tree of settings, in sentences: where, what, and what to do.

Turns the errors of pydantic into Problems. No sentence holds the value of a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from service._settings.tree import Where, keys_at, kinds_at, places_of
from service._settings.values import nearest
from service.errors import Problem
from service.redact import is_secret

_WANTED = {
    "int": ("a whole number", "Write it without quotes and without a fraction."),
    "float": ("a number", "Write it without quotes."),
    "finite": ("a finite number", "Write a number."),
    "bool": ("true or false", "Write true or false, without quotes."),
    "string": ("a text", "Put it in quotes if it is meant as a text."),
    "path": ("a path", "Put it in quotes if it is meant as a text."),
    "model": ("a section", "Put its settings below it, or leave it out."),
    "dict": ("a mapping of names", "Write name: value below it."),
    "tuple": ("a list", "Write [first, second]."),
}
_LATER = {
    "feature": (),
    "target": (),
}


@dataclass(frozen=True, slots=True)
class Found:
    """A problem whose place is still a path of keys."""

    where: Where
    msg: str
    hint: str


def located(
    found: Iterable[Found], lines: Mapping[Where, int], sources: Mapping[Where, str], name: str
) -> list[Problem]:
    """Give each problem its place: a line of the file, or the variable that said so."""
    problems = []
    for one in found:
        line, msg = None, one.msg
        below = [who for where, who in sources.items() if where[: len(one.where)] == one.where]
        for length in range(len(one.where), 0, -1):
            prefix = one.where[:length]
            if prefix in sources:
                msg = f"{msg} (from {sources[prefix]})"
                break
            if prefix in lines:
                line = lines[prefix]
                break
        else:
            msg = f"{msg} (from {below[0]})" if below and one.where else msg
        problems.append(Problem(".".join(one.where) or name, line, msg, one.hint))
    return problems


def explain(model: type[BaseModel], error: ErrorDetails) -> Found:
    """Turn one error of pydantic into a sentence and a remedy."""
    where = _where(error)
    kind = error["type"]
    context = error.get("ctx", {})
    if kind == "refused":
        return Found(where, context["msg"], context["hint"])
    if kind in _EXPLAINED:
        return Found(where, *_EXPLAINED[kind](model, where, error))
    if _is_field(where) and kind in {"dict_type", "model_attributes_type"}:
        types = " | ".join(_types(model, where))
        msg = f"must say its type, not {_shown(where, error['input'])}"
        return Found(where, msg, f"Write {where[-1]}: {{type: {types}}}.")
    wanted = _WANTED.get(kind.split("_")[0])
    if wanted is not None and isinstance(error["input"], str) and "kind" in keys_at(model, where):
        wanted = (wanted[0], f"Write {where[-1]}: {{kind: {error['input']}}}.")
    if wanted is not None:
        return Found(where, f"must be {wanted[0]}, not {_shown(where, error['input'])}", wanted[1])
    return Found(where, error["msg"], "Correct the value.")


def _where(error: ErrorDetails) -> Where:
    """Return the path of keys, without the tag that pydantic puts below a tagged field."""
    where = tuple(str(key) for key in error["loc"] if key != "[key]")  # of a name, not its value
    return (*where[:3], *where[4:]) if _is_field(where[:3]) else where


def _is_field(where: Where) -> bool:
    return len(where) == 3 and where[:2] in {("event", "features"), ("event", "targets")}


def _shown(where: Where, value: object) -> str:
    if any(is_secret(key) for key in where):
        return "what is there"
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list"
        case str() if len(value) > 60:
            return f"the text {value[:57]!r}..."
        case str():
            return f"the text {value!r}"
    return str(value)


def _missing(_: type[BaseModel], where: Where, __: ErrorDetails) -> tuple[str, str]:
    *section, key = where
    below = f" below {'.'.join(section)}" if section else ""
    return "is required", f"Add {key}:{below}."


def _unknown(model: type[BaseModel], where: Where, error: ErrorDetails) -> tuple[str, str]:
    *section, key = where
    # of a tagged field, the tag stands in the error's own path
    tag = error["loc"][3] if len(error["loc"]) > len(where) else None
    known = keys_at(model, tuple(section), tag)
    places = [] if section else places_of(model, key)
    if (meant := nearest(key, known)) is not None and not places:
        return "is not a known key", f"Did you mean {meant}?"
    if len(places) == 1:
        return "is not a known key here", f"Did you mean {places[0]}?"
    return "is not a known key", f"Known here: {', '.join(known)}."


def _no_type(model: type[BaseModel], where: Where, _: ErrorDetails) -> tuple[str, str]:
    return "has no type", f"Add type: {' | '.join(_types(model, where))}."


def _wrong_type(model: type[BaseModel], where: Where, error: ErrorDetails) -> tuple[str, str]:
    noun = where[1].removesuffix("s")
    return _no_such(f"{noun} type", str(error["ctx"]["tag"]), _types(model, where), _LATER[noun])


def _types(model: type[BaseModel], where: Where) -> list[str]:
    return [str(kind.model_fields["type"].default) for kind in kinds_at(model, where)]


def _wrong_word(_: type[BaseModel], where: Where, error: ErrorDetails) -> tuple[str, str]:
    words = [word.strip("'") for word in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    given = error["input"]
    meant = nearest(given, words) if isinstance(given, str) else None
    hint = f"Did you mean {meant}?" if meant else f"Use {' | '.join(words)}."
    return f"must be one of {', '.join(words)}, not {_shown(where, given)}", hint


def _no_such(noun: str, given: str, known: list[str], later: tuple[str, ...]) -> tuple[str, str]:
    if given in later:
        return f"the {noun} {given} is not in this release", f"Use {' | '.join(known)}."
    meant = nearest(given, known)
    hint = f"Did you mean {meant}?" if meant else f"Use {' | '.join(known)}."
    return f"there is no {noun} {given!r}; there are {', '.join(known)}", hint


def _bound(_: type[BaseModel], where: Where, error: ErrorDetails) -> tuple[str, str]:
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    ((bound, limit),) = error["ctx"].items()
    msg = f"must be {words[bound]} {limit}, is {_shown(where, error['input'])}"
    return msg, "Choose another value."


def _empty(_: type[BaseModel], where: Where, __: ErrorDetails) -> tuple[str, str]:
    return "is empty", f"Name at least one of the {where[-1]}."


_EXPLAINED: dict[str, Callable[[type[BaseModel], Where, ErrorDetails], tuple[str, str]]] = {
    "missing": _missing,
    "extra_forbidden": _unknown,
    "union_tag_not_found": _no_type,
    "union_tag_invalid": _wrong_type,
    "literal_error": _wrong_word,
    "greater_than": _bound,
    "greater_than_equal": _bound,
    "less_than": _bound,
    "less_than_equal": _bound,
    "too_short": _empty,
}
