"""Crash points in a process that the command line starts: arming, and saying so loudly."""

from __future__ import annotations


def arm() -> None:
    """Have this process die where the environment says, and say that it will."""
    from service import crash, settings

    armed = settings.crash_point()
    crash.arm(armed)
    if armed is not None:
        _warn(armed.name, armed.nth)


def warn() -> None:
    """Say that processes started from here will die at a point; this one will not."""
    from service import settings

    armed = settings.crash_point()
    if armed is not None:
        _warn(armed.name, armed.nth)


def _warn(point: str, nth: int) -> None:
    from service.logs import logger

    logger(__name__).warning("crash_point_armed", point=point, nth=nth)
