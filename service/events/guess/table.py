"""From the rows of a sample to what the settings could say: features, id, time, target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from service.errors import HeadwaterError
from service.events import values
from service.events.guess import leaks, nested
from service.events.guess.column import Column, parts_of
from service.events.guess.kinds import Guess, named
from service.events.guess.moments import other_spelling
from service.events.guess.names import UNIQUE
from service.events.guess.target import TargetGuess, guess_target

_ENOUGH = 20
_ORDERED = 0.95
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Named:
    """A field with one role, and why."""

    column: Column
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """What a sample was taken for. features: in the order of the file, those left out too."""

    rows: int
    features: list[Guess]
    target: TargetGuess
    id: Named | None
    time: Named | None
    time_format: str = "iso"
    unnamed: int = 0
    """Columns whose name cannot stand in settings."""


def names_of(rows: Sequence[dict[str, object]]) -> list[str]:
    """Return the names of the columns, in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def guess_table(rows: Sequence[dict[str, object]], target: str) -> Table:
    """Guess everything. `target` is one of the columns.

    Raises HeadwaterError where the target can be learned as nothing, or nothing is beside it.
    """
    names = names_of(rows)
    column_of = {name: Column(name, (name,), [row.get(name) for row in rows]) for name in names}
    wanted = column_of[target]
    answer = guess_target(wanted)
    usable = [name for name in names if name != target and _can_stand(name)]
    taken = {target, *names}
    guesses: list[Guess] = []
    for name in usable:
        for each in nested.guess(column_of[name]):
            guesses.append(_with_free_name(each, taken))
    guesses = [_named_by_texts(each, guesses) for each in guesses]
    guesses = [_without_answer(each, wanted, answer, len(guesses)) for each in guesses]
    if not guesses:
        raise HeadwaterError(
            f"there is no column beside {target!r} to learn from: others are not there, or "
            "empty. Take a file with more columns, or more rows with --limit"
        )
    time = _event_time(guesses)
    return Table(
        rows=len(rows),
        features=_at_least_one(guesses),
        target=answer,
        id=_event_id(guesses),
        time=None if time is None else Named(time.column, _why_time(time)),
        time_format=str(time.settings["format"]) if time else "iso",
        unnamed=len(names) - len(usable) - 1,
    )


def _can_stand(name: str) -> bool:
    return 0 < len(name) <= _LONGEST_NAME and not any("\ud800" <= c <= "\udfff" for c in name)


def _with_free_name(guess: Guess, taken: set[str]) -> Guess:
    """A field from inside an object gets a name that no other field has."""
    column = guess.column
    if len(column.path) == 1:
        return guess
    name, n = column.name, 1
    while name in taken:
        n += 1
        name = f"{column.name}_{n}"
    taken.add(name)
    return replace(guess, column=replace(column, name=name))


def _named_by_texts(guess: Guess, others: Sequence[Guess]) -> Guess:
    """Whole numbers each of which goes with one text are names: the item of a title."""
    column = guess.column
    is_code = (
        guess.type == "number"
        and not guess.left_out
        and column.whole
        and column.distinct >= 10
        and column.repeats >= 2
    )
    if not is_code:
        return guess
    for other in others:
        told = other.column
        if other.type not in {"text", "category"} or told is column or not told.scalar:
            continue
        if 2 * told.distinct >= column.distinct and not told.numbers and _decides(column, told):
            return named(
                column, f"whole numbers, each with one {told.name}: {column.distinct:,} names"
            )
    return guess


def _decides(column: Column, other: Column) -> bool:
    beside: dict[str, str] = {}
    return all(
        beside.setdefault(text, told) == told
        for text, told in zip(column.texts, other.texts, strict=True)
        if text is not None and told is not None
    )


def _without_answer(guess: Guess, target: Column, answer: TargetGuess, columns: int) -> Guess:
    """Leave a column out that is the answer in disguise."""
    column = guess.column
    if guess.left_out or not column.scalar:
        return guess
    why = leaks.tells(column, [answer.meant(text) for text in target.texts], columns)
    if why is None and answer.type == "number":
        labels = [None if value is None else values.number(value) for value in target.values]
        why = leaks.follows(column, labels)
    return guess if why is None else replace(guess, left_out=True, reason=why)


def _event_time(guesses: Sequence[Guess]) -> Guess | None:
    """The finest time whose rows are in order."""
    found = [
        each
        for each in guesses
        if each.moment is not None
        and len(each.column.path) == 1
        and each.column.distinct > 1
        and each.moment.ordered >= _ORDERED
    ]
    return max(found, key=lambda each: each.column.distinct, default=None)


def _why_time(time: Guess) -> str:
    assert time.moment is not None
    order = "in order" if time.moment.ordered == 1 else f"{time.moment.ordered:.0%} in order"
    return f"{time.reason}; the rows are {order}"


def _event_id(guesses: Sequence[Guess]) -> Named | None:
    """A column that tells every row from every other, and is named so or holds no numbers."""
    for guess in guesses:
        column = guess.column
        if not guess.left_out or len(column.path) > 1 or not column.scalar or column.missing:
            continue
        if column.distinct < column.rows or column.rows < _ENOUGH:
            continue
        words = [word for word in parts_of(column.name) if not word.isdigit()]
        measured = column.numbers or column.amount is not None or guess.moment is not None
        if (words and words[-1] in UNIQUE) or not (measured or other_spelling(column)):
            return Named(column, "another value in every row of the sample")
    return None


def _at_least_one(guesses: list[Guess]) -> list[Guess]:
    """Where everything is left out, put one column back: settings need a field to learn from."""
    if any(not each.left_out for each in guesses):
        return guesses
    scalars = [each for each in guesses if each.column.scalar]
    if not scalars:
        raise HeadwaterError(
            "no column can be learned from: all hold objects or lists in shapes that no type takes"
        )
    back = max(scalars, key=lambda each: min(each.column.repeats, each.column.distinct))
    reason = f"{back.reason}; kept all the same, for nothing else is left"
    return [replace(e, left_out=False, reason=reason) if e is back else e for e in guesses]
