"""Settings of the guard: what happens when learning goes wrong although every event looks right."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service._settings.event import Section

Watching = Literal["off", "observe", "act"]


class GuardSettings(Section):
    """What is done when learning goes wrong although every event looks right.

    observe: say so (metric, log). act: freeze what is served, let a shadow go on learning, and
    adopt it or roll back when fresh events have shown which is better.
    """

    loss: Watching = Field(
        "observe", description="Watch on the loss of events before they are learned."
    )
    canary: Watching = Field(
        "observe",
        description="Watch on the loss over recent events that are kept aside, before a version "
        "goes live.",
    )
    block_events: int = Field(
        100, ge=10, le=100_000, description="Events whose mean loss is one observation, in events."
    )
    window_events: int = Field(
        500,
        ge=50,
        le=1_000_000,
        description="Events on which two versions are compared, in events.",
    )
    adopt_windows: int = Field(
        5, ge=1, description="Windows in a row in which the shadow is no worse, to adopt it."
    )
    adopt_seconds: float = Field(
        45.0,
        ge=0,
        description="Shortest time before a shadow is adopted, in seconds. A fault that lasts longer is taken for a change "
        "of the world.",
    )
    rollback_windows: int = Field(
        2, ge=1, description="Windows in a row in which the shadow is clearly worse, to roll back."
    )
    undecided_windows: int = Field(
        200,
        ge=1,
        description="Windows after `adopt_seconds` in which a shadow may win; then it is rolled back.",
    )
    most_rollbacks: int = Field(
        3, ge=0, description="Rollbacks within `within_events`; one more halts learning."
    )
    within_events: int = Field(
        1_000_000, ge=1, description="Events over which rollbacks are counted, in events."
    )
