"""What may stand behind the question mark. Knows no route."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from itertools import islice

from service.serve.problems import Refused

MOST_SHOWN = 40
_MOST_NAMES = 64
"""Names of one query that are looked at."""
_WORDS = {"true": True, "1": True, "false": False, "0": False}


def flag(given: Sequence[str], name: str) -> bool:
    """Read ?name=true; false where it is not given. Refused where it is neither true nor false."""
    if not given:
        return False
    words = {_WORDS.get(text.lower()) for text in given}
    if len(words) == 1 and (value := words.pop()) is not None:
        return value
    raise _refused(name, given[-1], f"write ?{name}=true or ?{name}=false, once")


def word(given: Sequence[str], name: str, known: Sequence[str]) -> str:
    """Read ?name=one of `known`, the first where it is not given. Refused where it is another."""
    words = set(given)
    if len(words) == 1 and given[0] in known:
        return given[0]
    if not words:
        return known[0]
    choice = " or ".join(f"?{name}={one}" for one in known)
    raise _refused(name, given[-1], f"write {choice}, once")


def share(given: Sequence[str], name: str) -> float | None:
    """Read ?name=0.9; None where it is not given. Refused where it is not between 0 and 1."""
    if not given:
        return None
    found = _number(given[0]) if len(given) == 1 else math.nan
    if 0.0 < found < 1.0:
        return found
    raise _refused(name, given[-1], f"write ?{name}=0.9 or another number between 0 and 1, once")


def _number(text: str) -> float:
    try:
        return float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        return math.nan


def misspelt(given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse a name that is nearly one of `known`; others are a proxy's own, and ignored."""
    longest = 2 * max(map(len, known))  # to look closely costs more than to pass by
    for name in islice((name for name in given if len(name) <= longest), _MOST_NAMES):
        close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
        if close and name not in known:
            detail = f"?{name[:MOST_SHOWN]} is not known here; did you mean ?{close[0]}?"
            raise Refused("BAD_REQUEST", detail)


def _refused(name: str, given: str, what: str) -> Refused:
    shown = given if len(given) <= MOST_SHOWN else given[: MOST_SHOWN - 3] + "..."
    return Refused("BAD_REQUEST", f"?{name}={shown}: {what}")
