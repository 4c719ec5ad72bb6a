"""What a check of `headwater doctor` found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. fail: the service cannot work so; warn: it can, until something happens."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str | None = None
    """What to do; None where all is well."""


def ok(name: str, detail: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", detail)


def warn(name: str, detail: str, fix: str) -> Finding:
    """It works, until something happens."""
    return Finding(name, "warn", detail, fix)


def fail(name: str, detail: str, fix: str) -> Finding:
    """It cannot work."""
    return Finding(name, "fail", detail, fix)


def size(nbytes: float) -> str:
    """Return bytes as people say them.

    >>> [size(n) for n in (512, 65_536, 3_000_000, 5 * 2**30)]
    ['512 B', '64 KiB', '2.86 MiB', '5 GiB']
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if nbytes < 1024 or unit == "GiB":
            return f"{nbytes:.3g} {unit}"
        nbytes /= 1024
    raise AssertionError("the last unit takes all")


def span(seconds: float) -> str:
    """Return a time as people say it.

    >>> [span(s) for s in (0.25, 59, 600, 7200, 604_800)]
    ['0.25 s', '59 s', '10 min', '2 h', '7 days']
    """
    for unit, length in (("days", 86_400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.3g} s"
