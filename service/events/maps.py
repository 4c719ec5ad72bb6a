"""From an object of open names to the entries of a bag. Knows no settings.

A number becomes two entries: one with its value, scaled by what is usual for its name, and one
that says that the name is there. A text or boolean becomes one entry, a list one for each value
in it. An object inside counts by its own fields: `device.os`.
"""

from __future__ import annotations

from service.events import values
from service.events.columns import Entry
from service.events.hashing import TextHasher

_REMEMBERED = 100_000


class MapHasher:
    """Objects of one field -> entries."""

    def __init__(self, field: str, seed: int) -> None:
        self._hasher = TextHasher(field, seed)
        self._numbers: dict[str, tuple[int, int, int]] = {}
        """By name: code of its value, of its presence, hash for its scale. Recent names only."""

    def entries(self, value: object) -> list[Entry]:
        """Return the entries of one object; None has none. Raises BadValue, naming what is wrong."""
        if value is None:
            return []
        if not isinstance(value, dict):
            raise values.BadValue("wrong_type", f"expected an object, got {values.show(value)}")
        found: list[Entry] = []
        waiting: list[tuple[str, object]] = [("", value)]
        taken = 0
        while waiting:
            name, one = waiting.pop()
            taken += len(one) if isinstance(one, (dict, list)) else 0
            if taken > values.MOST_NAMES:
                msg = f"more than {values.MOST_NAMES} names and listed values in one event"
                raise values.BadValue("out_of_range", msg)
            if isinstance(one, dict):
                above = f"{name}." if one is not value else ""
                waiting += [(above + key, inner) for key, inner in one.items()]
                continue
            try:
                found += self._entries(name, one)
            except values.BadValue as error:
                raise values.BadValue(error.code, f"{values.show(name)}: {error}") from None
        return found

    def _entries(self, name: str, value: object) -> list[Entry]:
        if value is None:
            return []
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            code, presence, scale = self._numbers.get(name) or self._number(name)
            return [(code, values.number(value), scale), (presence, 1.0, 0)]
        if isinstance(value, list):
            texts = [text for text in map(values.text, value) if text is not None]
        else:
            texts = [text for text in [values.text(value)] if text is not None]
        return [(self._hasher(f"={len(name)}:{name}{text}"), 1.0, 0) for text in texts]

    def _number(self, name: str) -> tuple[int, int, int]:
        if len(self._numbers) >= _REMEMBERED:
            self._numbers.clear()
        found = (self._hasher(f"#{name}"), self._hasher(f"?{name}"), self._hasher(f"@{name}"))
        self._numbers[name] = found
        return found
