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

    @property
    def type(self) -> str:
        """Type of the target."""
        return str(self.settings["type"])

    def meant(self, text: str | None) -> str | None:
        """Return what the text of a label means: of a binary target, all that say yes are one."""
        if text is None or self.type != "binary":
            return text
        positive = self.settings["positive"]
        return str(text in positive if isinstance(positive, list) else text == positive)


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
    spelled = _spelled(column)
    if len(spelled) <= 2 and (found := _binary(column, spelled)) is not None:
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
    unknown = next((text for text in classes if text.strip().lower() in names.MISSING), None)
    if unknown is not None:
        why = (
            f"{why}; {shown(unknown)} is one of them: leave such cells empty to have no label there"
        )
    alike = next((several for several in spelled.values() if len(several) > 1), None)
    if alike is not None:
        why = f"{why}; {' and '.join(map(shown, alike))} are different ones"
    return TargetGuess(name, {"type": "multiclass", "classes": classes}, why)


def _spelled(column: Column) -> dict[str, list[str]]:
    """Return each label, however it is written, with its spellings: Yes, yes; 1, 1.0.

    Where all of them say yes or no they are two, whichever words say it.
    """
    found: dict[str, list[str]] = {}
    for text, _ in column.counts.most_common():
        found.setdefault(_folded(text), []).append(text)
    if len(found) > 2 and found.keys() <= names.PLAIN_YES | names.NO:
        words = {word: "yes" if word in names.PLAIN_YES else "no" for word in found}
        merged: dict[str, list[str]] = {}
        for word, texts in found.items():
            merged.setdefault(words[word], []).extend(texts)
        return merged
    return found


def _folded(text: str) -> str:
    try:
        return f"{values.number(text):.17g}"
    except values.BadValue:
        return text.strip().lower()


def _positive_of(column: Column, spelled: dict[str, list[str]]) -> tuple[str, str]:
    """Return the label that means yes, and why: the affirmative word, else the rarer label."""
    count = {word: sum(column.counts[text] for text in spelled[word]) for word in spelled}
    words = sorted(spelled, key=lambda word: (count[word], spelled[word][0]))
    for word, other in zip(words, reversed(words), strict=True):
        if word in names.YES and (not column.numbers or other in names.NO):
            says = "say" if len(spelled[word]) > 1 else "says"
            return word, f"{_listed(spelled[word])} {says} yes"
    named = [word for word in words if word not in names.NO]
    hinted = set(parts_of(column.name))
    for word in named:
        if set(parts_of(spelled[word][0])) & hinted:
            return word, f"{_listed(spelled[word])} is what the target is named after"
    if len(named) == 1 and len(words) > 1:
        other = next(word for word in words if word != named[0])
        return named[0], f"every label but {_listed(spelled[other])}"
    return words[0], f"{_listed(spelled[words[0]])} is the rarer label"


def _binary(column: Column, spelled: dict[str, list[str]]) -> TargetGuess | None:
    settled = spelled.keys() & (names.YES | names.NO)
    if len(spelled) < 2 and not settled:
        if column.numbers:
            return None
        [texts] = spelled.values()
        why = f"{_listed(texts)} is the only label of the sample"
        return _yes_or_no(column, texts, why)
    if column.numbers and spelled.keys() - settled and not _two_numbered(column):
        return None  # two measures, not yes and no
    if len(spelled) == 1:
        return _one_sided(column)
    word, why = _positive_of(column, spelled)
    found = sum(column.counts[text] for text in spelled[word])
    why = f"{why}: {found:,} of {len(column.present):,} labels{_unlabelled(column)}"
    texts = spelled[word]
    if not column.numbers and max(map(len, spelled.values())) > 1:
        texts = _in_every_case(texts)  # one that is not listed would mean no, without a word
        why = f"{why}; they come in several spellings, and each that means yes is listed"
    return _yes_or_no(column, texts, why)


def _yes_or_no(column: Column, texts: list[str], why: str) -> TargetGuess:
    positive: object = texts[0] if len(texts) == 1 else sorted(texts)
    return TargetGuess(column.name, {"type": "binary", "positive": positive}, why)


def _in_every_case(texts: list[str]) -> list[str]:
    words = {text.strip().lower() for text in texts}
    cases = {case for word in words for case in (word, word.upper(), word.capitalize())}
    return sorted(cases.union(texts))


def _listed(texts: list[str]) -> str:
    return ", ".join(map(shown, texts))


def _two_numbered(column: Column) -> bool:
    """Two whole numbers over many rows are two classes."""
    return column.whole and len(column.present) >= _ENOUGH


def _one_sided(column: Column) -> TargetGuess:
    """Only yes or only no was seen: the other word of the pair is known."""
    labels = [text for text, _ in column.counts.most_common()]
    pairs = {"0": "1", "0.0": "1.0", "-1": "1", "-1.0": "1.0", "false": "true", "no": "yes"}
    pairs |= {"n": "y", "f": "t", "off": "on", "negative": "positive", "neg": "pos"}
    positives = []
    for label in labels:
        yes = pairs.get(label.strip().lower(), label)
        if label.strip().lower() in pairs and label.strip()[0].isupper():
            yes = yes.upper() if label.isupper() else yes.capitalize()
        positives.append(yes)
    texts = positives if len(positives) == 1 else _in_every_case(positives)
    why = f"every label of the sample is {_listed(labels)}; read more with --limit"
    return _yes_or_no(column, texts, why)


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
