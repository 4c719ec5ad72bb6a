"""`${NAME}` in a settings file: nobody fills it in, so it must not be taken for a value.

Templates are common in files of other tools. Here the environment speaks by the names of the
settings; a placeholder that came through as it stands would be tried as a host or a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from service._settings.problems import Found
from service._settings.tree import Where
from service.redact import is_secret

_PLACEHOLDER = re.compile(r"\$\{[A-Za-z_]\w*(?::?[-?+=][^}]*)?\}|\$\([A-Za-z_]\w*\)|\{\{[^{}]*\}\}")

_BARE = re.compile(r"\$(\{\w+\}|\(\w+\))")
"""Holds nothing but a name."""


def broken(tree: dict[str, object]) -> Iterator[Found]:
    """Tell which settings hold a placeholder. Names of fields and labels of events may hold any
    text, and are left alone. A password may have such signs within, and is not shown: it is
    told only where it begins with one."""
    for where, text in _texts(tree, ()):
        if where[0] == "event":
            continue
        secret = any(map(is_secret, where))
        if found := _PLACEHOLDER.match(text) if secret else _PLACEHOLDER.search(text):
            told = "a placeholder" if secret and not _BARE.fullmatch(text) else found[0]
            yield Found(where, f"holds {told}, which nothing fills in", _remedy(where))


def _remedy(where: Where) -> str:
    parts = [*where]
    if where[:2] == ("kafka", "client"):
        parts = ["kafka", "client", "_".join(where[2:]).replace(".", "_")]
    elif parts[-1].isdigit():
        parts.pop()
    name = "HEADWATER_" + "__".join(parts).upper()
    return f"Leave it out and set {name} (or {name}_FILE, which names a file) in the environment."


def _texts(value: object, where: Where) -> Iterator[tuple[Where, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts(inner, (*where, str(key)))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _texts(inner, (*where, str(at)))
