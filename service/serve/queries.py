"""What may stand behind the question mark. Knows no route."""

from __future__ import annotations

from collections.abc import Sequence

from service.serve.problems import Refused

_WORDS = {"true": True, "1": True, "false": False, "0": False}


def flag(given: Sequence[str], name: str) -> bool:
    """Read ?name=true; false where it is not given. Refused where it is neither true nor false."""
    if not given:
        return False
    words = {_WORDS.get(text.lower()) for text in given}
    if len(words) == 1 and (value := words.pop()) is not None:
        return value
    shown = given[-1] if len(given[-1]) <= 40 else given[-1][:37] + "..."
    raise Refused("BAD_REQUEST", f"?{name}={shown}: write ?{name}=true or ?{name}=false, once")
