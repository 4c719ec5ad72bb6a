"""One column of a sample, and the plain facts about it. Guesses nothing."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from service.events import values

_WHOLE = re.compile(r"[+-]?[0-9]{1,19}(\.0+)?")
_PADDED = re.compile(r"0[0-9]+")
_DURATION = re.compile(
    r"[+-]?([0-9]+ days?,? ?)?[0-9]+(:[0-9]{2}){1,2}([.,][0-9]+)?"
    r"|[+-]?P([0-9.,]+[YMWD])*(T([0-9.,]+[HMS])+)?|[+-]?[0-9]+ days?"
)
_WITH_UNIT = re.compile(r"[+-]?[0-9][0-9.,]*\s?([^\W\d_]{1,6}|[%°]C?)")
_DOTTED = re.compile(r"[0-9]+(\.[0-9]+){2,}")
"""As addresses and releases are; 1.234.567 is a number all the same."""
_THOUSANDS = re.compile(r"[0-9]{1,3}(\.[0-9]{3})+")
_MOST_UNITS = 8


@dataclass(frozen=True)
class Column:
    """Values of one field, one for each row of the sample in its order; None is missing.

    path: keys from the outside in; a column of a table has one.
    """

    name: str
    path: tuple[str, ...]
    values: Sequence[object]

    @cached_property
    def present(self) -> list[object]:
        """What is there."""
        return [value for value in self.values if value is not None]

    @property
    def rows(self) -> int:
        """Rows of the sample, those where it is missing too."""
        return len(self.values)

    @property
    def missing(self) -> int:
        """Rows where it is missing."""
        return self.rows - len(self.present)

    @cached_property
    def scalar(self) -> bool:
        """Every value is a text, a number or a boolean."""
        return all(isinstance(value, (str, int, float)) for value in self.present)

    @cached_property
    def texts(self) -> list[str | None]:
        """Values as categories compare them, None where missing. Only of a scalar column."""
        return [values.text(value) for value in self.values]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each text stands there."""
        return Counter(text for text in self.texts if text is not None)

    @property
    def distinct(self) -> int:
        """How many different texts there are."""
        return len(self.counts)

    @property
    def repeats(self) -> float:
        """How often one text stands there, in the mean."""
        return len(self.present) / max(1, self.distinct)

    @cached_property
    def not_numbers(self) -> Counter[str]:
        """Values that cannot be read as numbers."""
        found: Counter[str] = Counter()
        for value in self.present:
            try:
                values.number(value)
            except values.BadValue:
                found[str(value)] += 1
        return found

    @cached_property
    def numbers(self) -> list[float]:
        """The values as numbers, in their order; empty where one of them is none."""
        if self.not_numbers:
            return []
        return [values.number(value) for value in self.present]

    @cached_property
    def whole(self) -> bool:
        """Every value is a whole number."""
        return (
            bool(self.numbers)
            and all(
                not isinstance(value, str) or _WHOLE.fullmatch(value.strip())
                for value in self.present
            )
            and all(number.is_integer() for number in self.numbers)
        )

    @cached_property
    def padded(self) -> str | None:
        """A code with a zero before its digits, as 02134, where there is one."""
        padded = (t for t in self.counts if _PADDED.fullmatch(t))
        return next(padded, None)

    @cached_property
    def rises(self) -> bool:
        """The numbers never fall, from the first row to the last, and are more than two."""
        found = self.numbers
        return len(set(found)) > 2 and all(a <= b for a, b in pairwise(found))

    @cached_property
    def amount(self) -> str | None:
        """An example, where every text is a duration, or a number with a sign, comma or unit."""
        texts = list(self.counts)
        units = set()
        for text in texts:
            bare = text.strip()
            if _DURATION.fullmatch(bare) or _is_money(bare):
                continue
            if (found := _WITH_UNIT.fullmatch(bare)) is None:
                return None
            units.add(found[1].lower())
        return texts[0] if texts and len(units) <= _MOST_UNITS and self.not_numbers else None

    @cached_property
    def words(self) -> float:
        """Words of a value, in the mean."""
        texts = [text for text in self.texts if text is not None]
        return sum(len(text.split()) for text in texts) / max(1, len(texts))

    def named(self, words: frozenset[str]) -> bool:
        """One of these words is part of the name: customer_id holds id."""
        return bool(words.intersection(parts_of(self.name)))


def _is_money(text: str) -> bool:
    """A number but for signs, commas and currencies."""
    if _DOTTED.fullmatch(text) and not _THOUSANDS.fullmatch(text):
        return False
    rest = "".join(c for c in text if not c.isdigit()).strip()
    return len(rest) <= min(6, len(text) - 1) and any(c in ".,$€£¥%" for c in rest)


def parts_of(name: str) -> list[str]:
    """Return the words of a name, in small letters.

    >>> parts_of("TX_DATETIME"), parts_of("instanceId"), parts_of("zip code2")
    (['tx', 'datetime'], ['instance', 'id'], ['zip', 'code', '2'])
    """
    spaced = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    return [part.lower() for part in re.findall(r"[^\W\d_]+|[0-9]+", spaced)]
