"""Where fields lie in an event: keys from the outside in. Knows no meaning of a field.

An event is read into a struct with one attribute for each field of a level and one for each level
below, typed as far as that makes reading quick; so a batch of events becomes columns at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

Path = tuple[str, ...]
Object = dict[str, object]
Note = Callable[[Path, object], None]
"""Told of a value that stands where an object was wanted."""


class Level:
    """One level of an event: fields that lie here, and levels below.

    types: what msgspec shall read, by the path of each field from here on. A place may be a field
    and have fields below it; then only `read_object` can read the event, and `plain` is false.
    """

    def __init__(self, types: Mapping[Path, Any], above: Path = ()) -> None:
        self._above = above
        here = {path[0]: kind for path, kind in types.items() if len(path) == 1}
        self._keys = sorted(here)
        below: dict[str, dict[Path, Any]] = {}
        for path, kind in types.items():
            if len(path) > 1:
                below.setdefault(path[0], {})[path[1:]] = kind
        self._below = {key: Level(inner, (*above, key)) for key, inner in sorted(below.items())}
        keys = [*self._keys, *self._below]
        self.plain: bool = (
            len(set(keys)) == len(keys)
            and all(map(_is_plain, keys))
            and all(level.plain for level in self._below.values())
        )
        """The typed, quick way is open: msgspec takes no names that JSON must escape."""
        kinds = [*map(here.get, self._keys), *(lv.struct | None for lv in self._below.values())]
        self.struct: Any = msgspec.defstruct(
            "Event",
            [(f"f{i}", kind, None) for i, kind in enumerate(kinds)],
            rename={f"f{i}": key for i, key in enumerate(keys)} if self.plain else None,
            gc=False,
        )
        self.blank = self.struct()
        getter = operator.attrgetter(*(f"f{i}" for i in range(len(keys))))
        self._values: Callable[[Any], Sequence[Any]] = (
            getter if len(keys) > 1 else lambda event: (getter(event),)
        )

    def read_object(self, given: Mapping[str, object], note: Note) -> Any:
        """Return the struct of an object; what cannot be reached counts as missing, and is noted."""
        found = [given.get(key) for key in self._keys]
        for key, level in self._below.items():
            below = given.get(key)
            if isinstance(below, dict):
                found.append(level.read_object(below, note))
            else:
                if below is not None:
                    note((*self._above, key), below)
                found.append(None)
        return self.struct(*found)

    def columns(self, events: Sequence[Any]) -> dict[Path, Sequence[Any]]:
        """Return the raw values of N events by the path of each field."""
        rows = list(map(self._values, events))
        names = [*self._keys, *self._below]
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        found: dict[Path, Sequence[Any]] = {
            (*self._above, key): column
            for key, column in zip(self._keys, columns, strict=False)  # levels come after
        }
        for level, column in zip(self._below.values(), columns[len(self._keys) :], strict=True):
            found |= level.columns([level.blank if one is None else one for one in column])
        return found


def at(given: object, path: Path) -> object:
    """Return what lies at a path; None where the way does not go so far."""
    for key in path:
        if not isinstance(given, dict):
            return None
        given = given.get(key)
    return given


def shown(path: Path) -> str:
    """Return a path as settings spell it."""
    return ".".join(path)


def _is_plain(name: str) -> bool:
    return msgspec.json.encode(name) == f'"{name}"'.encode()
