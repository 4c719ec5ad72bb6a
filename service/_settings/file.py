"""From a YAML file to a tree of plain values, and the line of every key. Knows no setting.

YAML 1.2, core schema: `NO` and `on` are texts, `1e-3` is a number, `1_000` is a text. Only
mappings with text keys, lists and scalars come out of it: no tag constructs anything, no key
stands twice. Whatever is wrong with the file raises BadSettings, all of it at once where the
file can be read to its end.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from service._settings.tree import Where
from service.errors import BadSettings, Problem

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((s + w for s in ("", "+") for w in (".inf", ".Inf", ".INF")), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 400


@dataclass(frozen=True, slots=True)
class Document:
    """What a settings file says, and on which line it says it."""

    tree: dict[str, object]
    lines: dict[Where, int]


def scalar(text: str) -> object:
    """Return what an unquoted scalar means in the core schema of YAML 1.2.

    >>> [scalar(text) for text in ("1e-3", "NO", "0o17", "~", "True")]
    [0.001, 'NO', 15, None, True]
    """
    if text in _WORDS:
        return _WORDS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text[2:], 16)
    return text


def read(path: Path) -> Document:
    """Read a settings file. Raises BadSettings with every problem that was found."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"is not UTF-8 (byte {error.start})") from None
    except FileNotFoundError:
        raise _unreadable(path, "does not exist", "Check the path, or make the file.") from None
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror}") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Document:
    """Parse the text of a settings file; `name` stands for it in problems."""
    builder = _Builder(name)
    try:
        tree = builder.document(YAML(typ="safe", pure=True).parse(text))
    except MarkedYAMLError as error:
        # never str(error): it quotes the line, and the line may hold a secret
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else None
        problem = Problem(name, line, f"is not YAML: {error.problem}", _remedy(str(error.problem)))
        raise BadSettings([*builder.problems, problem]) from None
    except (YAMLError, RecursionError) as error:
        raise _unreadable(Path(name), f"is not YAML ({type(error).__name__})") from None
    if builder.problems:
        raise BadSettings(builder.problems)
    return Document(tree, builder.lines)


def _remedy(said: str) -> str:
    if "\\t" in said:
        return "YAML is indented with spaces: replace the tabs."
    if "mapping values are not allowed" in said:
        return (
            "Mend this line or the one before: `key: value` on a line of its own, a text that "
            "holds a colon in quotes."
        )
    return "Mend this line or one before it: is a quote, a bracket or a brace left open there?"


def _unreadable(path: Path, msg: str, hint: str = "Check the file.") -> BadSettings:
    return BadSettings([Problem(str(path), None, msg, hint)])


@dataclass(slots=True)
class _Builder:
    """Builds the tree from the events of the parser, and collects what is wrong."""

    name: str
    lines: dict[Where, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    anchors: dict[str, object] = field(default_factory=dict)

    def document(self, events: Iterator[Event]) -> dict[str, object]:
        tree: object = None
        documents = 0
        for event in events:
            if not isinstance(event, DocumentStartEvent):
                continue
            documents += 1
            first = next(events)
            value = self._value(first, events, ())
            if documents == 1:
                tree = value
            else:
                self._refuse((), first, "starts a second document", "Keep one document a file.")
        if tree is None:
            return {}
        if not isinstance(tree, dict):
            self.problems.append(
                Problem(self.name, 1, "holds no mapping", "Start with `name: my-model`.")
            )
            return {}
        return tree

    def _value(self, event: Event, events: Iterator[Event], where: Where) -> object:
        if isinstance(event, AliasEvent):
            if event.anchor not in self.anchors:
                self._refuse(where, event, f"*{event.anchor} names no anchor", "Define it above.")
            return self.anchors.get(event.anchor)
        value: object = None
        if isinstance(event, MappingStartEvent):
            self._check_tag(event, where)
            value = self._mapping(events, where)
        elif isinstance(event, SequenceStartEvent):
            self._check_tag(event, where)
            value = self._sequence(events, where)
        elif isinstance(event, ScalarEvent):
            self._check_tag(event, where)
            text = self._text(event, where)
            value = scalar(text) if event.implicit[0] else text
        if isinstance(event, NodeEvent) and event.anchor is not None:
            self.anchors[event.anchor] = value
        return value

    def _mapping(self, events: Iterator[Event], where: Where) -> dict[str, object]:
        tree: dict[str, object] = {}
        for event in events:
            if isinstance(event, MappingEndEvent):
                break
            key = self._key(event, events, where)
            inner = (*where, key)
            again = key in tree
            if again:
                first = self.lines[inner]
                self._refuse(inner, event, f"stands twice (also on line {first})", "Keep one.")
            else:
                self.lines[inner] = event.start_mark.line + 1
            value = self._value(next(events), events, inner)
            if not again:
                tree[key] = value
        return tree

    def _key(self, event: Event, events: Iterator[Event], where: Where) -> str:
        if isinstance(event, ScalarEvent):
            self._check_tag(event, where)
            return self._text(event, where)
        self._refuse(where, event, "has a key that is no text", "Write key: value.")
        self._value(event, events, where)
        return f"key on line {event.start_mark.line + 1}"

    def _sequence(self, events: Iterator[Event], where: Where) -> list[object]:
        items: list[object] = []
        for event in events:
            if isinstance(event, SequenceEndEvent):
                break
            inner = (*where, str(len(items)))
            self.lines[inner] = event.start_mark.line + 1
            items.append(self._value(event, events, inner))
        return items

    def _text(self, event: ScalarEvent, where: Where) -> str:
        """Return the text of a scalar; as JSON does, two \\u escapes may make one character."""
        text = str(event.value)
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self._refuse(where, event, "holds half a character", "Write it unescaped.")
            return ""

    def _check_tag(self, event: CollectionStartEvent | ScalarEvent, where: Where) -> None:
        if event.tag not in {None, "!", "tag:yaml.org,2002:str"}:
            self._refuse(where, event, f"has the tag {event.tag}", "Leave tags out.")

    def _refuse(self, where: Where, event: Event, msg: str, hint: str) -> None:
        path = ".".join(where) or self.name
        self.problems.append(Problem(path, event.start_mark.line + 1, msg, hint))
