"""Settings from the environment and from the command line, laid over those of the file.

Knows how a name becomes a path of keys and a text becomes a value, by the types of the
settings model it is given; knows no single setting. A name that leads nowhere stays in the
tree, so that it is reported like an unknown key of the file.

HEADWATER_API__PORT            api.port
HEADWATER_KAFKA__TOPICS        kafka.topics, separated by commas
HEADWATER_KAFKA__CLIENT__A_B   the setting `a.b` of kafka.client
any of them with _FILE         the content of that file, without its last newline
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

from pydantic import BaseModel

from service import crash
from service._settings.file import scalar
from service._settings.tree import Where, kinds_at
from service.errors import Problem

PREFIX = "HEADWATER_"
FILE_NAME = "HEADWATER_CONFIG"
"""Not a setting: where the settings file is."""
TEST_PREFIX = "HEADWATER_TEST_"
"""Names of the test suite; the service does not read them."""

CRASH_POINT = "HEADWATER_CRASHPOINT"
CRASH_FILE = "HEADWATER_CRASHPOINT_FILE"
"""Not settings: where a test has the process killed (see service/crash.py)."""

_CRASH_HINT = "Unset it: only tests need it (docs/reliability.md)."
_NOT_SETTINGS = frozenset({FILE_NAME, CRASH_POINT, CRASH_FILE})
_CLIENT = ("kafka", "client")
_KUBERNETES = re.compile(
    r"\w+_SERVICE_(HOST|PORT\w*)=|\w+_PORT_\d+_\w+=|\w+_PORT=(tcp|udp|sctp)://"
)


@dataclass(slots=True)
class Overlay:
    """Values to lay over the file: what, and who said so."""

    values: dict[Where, object] = field(default_factory=dict)
    sources: dict[Where, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, where: Where, value: object, source: str) -> None:
        """Take one value. A second one for the same setting is a problem."""
        if where in self.values:
            both = f"is set by {self.sources[where]} and by {source}"
            self.problems.append(Problem(".".join(where), None, both, "Keep one of them."))
            return
        self.values[where] = value
        self.sources[where] = source

    def onto(self, tree: dict[str, object]) -> None:
        """Write the values into the tree; sections that are not there are made."""
        for where, value in self.values.items():
            section = tree
            for key in where[:-1]:
                inner = section.get(key)
                if not isinstance(inner, dict):
                    inner = section[key] = {}
                section = cast("dict[str, object]", inner)
            section[where[-1]] = value


def from_environment(
    model: type[BaseModel], environment: Mapping[str, str], tree: Mapping[str, object]
) -> Overlay:
    """Collect the settings that the environment holds. `tree`: the file's, for names of fields."""
    overlay = Overlay()
    try:
        crash_point(environment)
    except ValueError as error:
        overlay.problems.append(Problem(CRASH_POINT, None, str(error), _CRASH_HINT))
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX) or name in _NOT_SETTINGS:
            continue
        text = environment[name]
        if "__" not in name and _KUBERNETES.match(f"_{name}={text}"):
            overlay.problems.append(_from_kubernetes(name))
            continue
        path = name.removeprefix(PREFIX)
        if path.endswith("_FILE"):
            path = path.removesuffix("_FILE")
            try:
                text = _content(Path(text))
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                msg = f"the file {text} cannot be read: {reason}"
                overlay.problems.append(Problem(name, None, msg, "Check the path."))
                continue
        where = _where(path, tree)
        overlay.add(where, from_text(model, where, text), name)
    return overlay


def crash_point(environment: Mapping[str, str]) -> crash.Armed | None:
    """Return where a test has this process killed; ValueError where that is no point."""
    text, file = environment.get(CRASH_POINT), environment.get(CRASH_FILE)
    if text is not None and file is not None:
        raise ValueError(f"is set, and {CRASH_FILE} too; one process dies at one point")
    if text is not None:
        return crash.read(text)
    try:
        text = Path(file).read_text(encoding="utf-8") if file else ""
    except FileNotFoundError:
        return None  # nothing is armed now
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file {file} cannot be read: {error}") from None
    return replace(crash.read(text), once=Path(file)) if file and text.strip() else None


def from_overrides(model: type[BaseModel], overrides: Mapping[str, object]) -> Overlay:
    """Collect the settings that a command gives by dotted names; texts are read by type."""
    overlay = Overlay()
    for name, given in overrides.items():
        where = tuple(name.split("."))
        if where[:2] == _CLIENT and len(where) > 2:
            where = (*_CLIENT, ".".join(where[2:]))
        value = from_text(model, where, given) if isinstance(given, str) else given
        overlay.add(where, value, f"the option for {name}")
    return overlay


def from_text(model: type[BaseModel], where: Where, text: str) -> object:
    """Read a text as the type of the setting at `where`; `null` is none where that is legal.

    What leads to no setting stays a text.
    """
    if where[:2] == _CLIENT:
        return text
    kinds = set(kinds_at(model, where))
    if type(None) in kinds and text == "null":
        return None
    if tuple in kinds:
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1]  # as in the file
        return [part.strip() for part in text.split(",") if part.strip()]
    return scalar(text) if kinds & {int, float, bool} else text


def _where(path: str, tree: Mapping[str, object]) -> Where:
    """Turn API__PORT into (api, port), in the spelling of the file where the file has the key."""
    parts = path.split("__")
    if tuple(part.lower() for part in parts[:2]) == _CLIENT and len(parts) > 2:
        return (*_CLIENT, "__".join(parts[2:]).lower().replace("_", "."))
    where: list[str] = []
    section: object = tree
    for part in parts:
        keys = section if isinstance(section, Mapping) else {}
        spelled = {str(key).lower(): str(key) for key in keys}
        where.append(spelled.get(part.lower(), part.lower()))
        section = keys.get(where[-1])
    return tuple(where)


def _content(path: Path) -> str:
    return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")


def _from_kubernetes(name: str) -> Problem:
    return Problem(
        name,
        None,
        "is no setting; Kubernetes sets it for a Service of that name",
        "Set enableServiceLinks: false in the pod, or give the Service another name.",
    )
