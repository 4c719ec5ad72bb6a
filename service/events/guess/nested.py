"""Columns that hold lists and objects: vectors, lists of names, maps, and fields inside objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from service.events import values
from service.events.guess.column import Column
from service.events.guess.kinds import Guess, guess_scalar, left_out, taken_as

_MOST_KEYS = 24
_COMMON = 0.2
"""Share of objects that hold a key, in the mean, where the keys are fields and no open set."""
_DEEPEST = 4
_WIDEST = 4096


def guess(column: Column) -> Iterator[Guess]:
    """Guess what a column is; an object with a fixed set of keys becomes a field for each."""
    kinds = {_shape(value) for value in column.present}
    if kinds <= {"scalar"}:
        yield guess_scalar(column)
    elif kinds == {"list"}:
        yield _list(column)
    elif kinds == {"object"}:
        yield from _object(column)
    else:
        mixed = " and ".join(sorted(kinds))
        yield left_out(column, "category", f"holds {mixed} values, which no type takes together")


def _shape(value: object) -> str:
    if isinstance(value, dict):
        return "object"
    return "list" if isinstance(value, list) else "scalar"


def _list(column: Column) -> Guess:
    lists = [value for value in column.present if isinstance(value, list)]
    sizes = {len(value) for value in lists}
    items = [item for value in lists for item in value]
    if all(_is_number(item) for item in items) and len(sizes) == 1 and 2 <= max(sizes) <= _WIDEST:
        size = max(sizes)
        return taken_as(column, "vector", f"lists of {size} numbers", size=size)
    if items and all(isinstance(item, str) for item in items):
        names = len(set(items))
        return taken_as(column, "categories", f"lists of names, {names:,} in all")
    if items and all(isinstance(i, int) and not isinstance(i, bool) for i in items):
        return taken_as(
            column, "categories", "lists of whole numbers of any length, taken as names"
        )
    return left_out(
        column, "categories", "lists that are neither of names nor equally many numbers"
    )


def _object(column: Column) -> Iterator[Guess]:
    objects = [value for value in column.present if isinstance(value, dict)]
    keys = Counter(key for value in objects for key in value)
    if not keys:
        yield left_out(column, "map", "objects that are empty in every row of the sample")
        return
    share = sum(keys.values()) / (len(keys) * len(objects))
    fixed = len(keys) <= _MOST_KEYS and share >= _COMMON and len(column.path) < _DEEPEST
    if fixed and all(keys):
        for key in keys:
            held = [value.get(key) if isinstance(value, dict) else None for value in column.values]
            yield from guess(Column(f"{column.name}_{key}", (*column.path, key), held))
    elif _flat(objects):
        yield taken_as(column, "map", f"objects with an open set of names, {len(keys):,} so far")
    else:
        yield left_out(column, "map", f"objects with {len(keys):,} names that hold objects again")


def _flat(objects: Sequence[dict[str, object]]) -> bool:
    """Values are what a map takes: numbers, texts, booleans, lists of texts."""
    return all(
        value is None
        or _is_number(value)
        or isinstance(value, (str, bool))
        or (isinstance(value, list) and all(isinstance(item, str) for item in value))
        for each in objects
        for value in each.values()
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        values.number(value)
    except values.BadValue:
        return False
    return True
