"""What type of target a column is: binary with its positive label, multiclass, or a number."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import HeadwaterError
from service.events import values
from service.events.guess import names
from service.events.guess.column import Column, parts_of
from service.events.guess.kinds import shown

_ENOUGH = 20
_MOST_CLASSES = 256
_MOST_NUMBERED = 10


@dataclass(frozen=True, slots=True)
class TargetGuess:
    """What a target is taken for."""

    name: str
    settings: dict[str, object]
    reason: str
    share: float | None = None
    """binary: of the labels that mean yes."""

    @property
    def type(self) -> str:
        """Type of the target."""
        return str(self.settings["type"])


def guess_target(column: Column) -> TargetGuess:
    """Guess what the target is; HeadwaterError where no kind of target could hold it."""
    name = column.name
    if not column.present:
        raise HeadwaterError(
            f"no row of the sample has a value in {name!r}: there is nothing to learn. Read more "
            "rows with --limit, or name another column with --target"
        )
    if not column.scalar:
        raise HeadwaterError(
            f"{name!r} holds lists or objects; a target is a text, a number or a boolean. Name "
            "another column with --target"
        )
    if column.distinct <= 2 and (found := _binary(column)) is not None:
        return found
    if column.numbers and not _numbered_classes(column):
        low, high = min(column.numbers), max(column.numbers)
        why = f"numbers from {low:g} to {high:g}" + _unlabelled(column)
        return TargetGuess(name, {"type": "number"}, why)
    if column.distinct > _MOST_CLASSES:
        odd = ", ".join(shown(text) for text, _ in column.not_numbers.most_common(2))
        raise HeadwaterError(
            f"{name!r} has {column.distinct:,} different texts ({odd}, ...): too many to be classes, "
            "and no numbers. Name another column with --target, or clean its numbers"
        )
    classes = sorted(column.counts, key=_numeric_first)
    why = f"{len(classes)} classes; a label that is not listed is a bad event" + _unlabelled(column)
    return TargetGuess(name, {"type": "multiclass", "classes": classes}, why)


def positive_of(column: Column) -> tuple[str, str]:
    """Return the label that means yes, and why: the affirmative word, else the rarer label."""
    labels = sorted(column.counts, key=lambda text: (column.counts[text], text))
    for label, other in zip(labels, reversed(labels), strict=True):
        if label.lower() in names.YES and (not column.numbers or other.lower() in names.NO):
            return label, f"{shown(label)} says yes"
    named = [label for label in labels if label.lower() not in names.NO]
    hinted = set(parts_of(column.name))
    for label in named:
        if set(parts_of(label)) & hinted:
            return label, f"{shown(label)} is what the target is named after"
    if len(named) == 1 and len(labels) > 1:
        return named[0], f"every label but {shown(next(t for t in labels if t != named[0]))}"
    return labels[0], f"{shown(labels[0])} is the rarer label"


def _binary(column: Column) -> TargetGuess | None:
    texts = {text.lower() for text in column.counts}
    settled = texts & (names.YES | names.NO)
    if len(texts) < 2 and not settled:
        if column.numbers:
            return None
        label = next(iter(column.counts))
        why = f"{shown(label)} is the only label of the sample"
        return TargetGuess(column.name, {"type": "binary", "positive": label}, why)
    if column.numbers and texts - settled and not _two_numbered(column):
        return None  # two measures, not yes and no
    if len(texts) == 1:
        return _one_sided(column)
    label, why = positive_of(column)
    share = column.counts[label] / len(column.present)
    why = f"{why}: {column.counts[label]:,} of {len(column.present):,} labels{_unlabelled(column)}"
    return TargetGuess(column.name, {"type": "binary", "positive": label}, why, share)


def _two_numbered(column: Column) -> bool:
    """Two whole numbers over many rows are two classes."""
    return column.whole and len(column.present) >= _ENOUGH


def _one_sided(column: Column) -> TargetGuess:
    """Only yes or only no was seen: the other word of the pair is known."""
    label = next(iter(column.counts))
    pairs = {"0": "1", "0.0": "1.0", "-1": "1", "-1.0": "1.0", "false": "true", "no": "yes"}
    pairs |= {"n": "y", "f": "t", "off": "on", "negative": "positive", "neg": "pos"}
    yes = pairs.get(label.lower(), label)
    if label.lower() in pairs and label[0].isupper():
        yes = yes.upper() if label.isupper() else yes.capitalize()
    why = f"every label of the sample is {shown(label)}; read more with --limit"
    return TargetGuess(column.name, {"type": "binary", "positive": yes}, why, float(yes == label))


def _numbered_classes(column: Column) -> bool:
    """Whole numbers from 0 or 1 on without a gap, in a column that is named class or label."""
    if not column.whole or not column.named(names.CLASSES):
        return False
    found = sorted({int(number) for number in column.numbers})
    return (
        3 <= len(found) <= _MOST_NUMBERED
        and found[0] in {0, 1}
        and found == list(range(found[0], found[-1] + 1))
        and column.distinct == len(found)
    )


def _numeric_first(text: str) -> tuple[bool, float, str]:
    try:
        return False, values.number(text), text
    except values.BadValue:
        return True, 0.0, text


def _unlabelled(column: Column) -> str:
    return f", missing in {column.missing:,} of {column.rows:,} rows" if column.missing else ""
