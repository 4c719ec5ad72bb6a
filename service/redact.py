"""Secrets, known by their names. Knows nothing else of the service.

A value whose name holds one of the words below is shown as `***`: in `config show`, in logs,
in reprs and in errors. Names are compared without regard to case.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_SECRET = re.compile(
    r"webhook|password|passwd|passphrase|secret|token|credential|authorization"
    r"|(^|[._-])(api)?key($|[._-])|sasl[._]jaas|sasl[._]oauthbearer[._]config",
    re.IGNORECASE,
)


def is_secret(name: str) -> bool:
    """Say whether a value of this name must not be shown."""
    return _SECRET.search(name) is not None


def redacted(tree: object) -> object:
    """Return a copy of mappings and lists in which no secret is left.

    A name hides texts and numbers below it, not mappings: a field called `token` may be
    described, its `type` is no secret.
    """
    if isinstance(tree, dict):
        return {name: _shown(str(name), value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [redacted(item) for item in tree]
    if isinstance(tree, tuple):
        return tuple(redacted(item) for item in tree)
    return tree


def _shown(name: str, value: object) -> object:
    if isinstance(value, dict):
        return redacted(value)
    if value is None or isinstance(value, bool) or not is_secret(name):
        return redacted(value)
    return HIDDEN
