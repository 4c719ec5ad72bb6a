"""Settings of drift: what is watched, from when on it is an alarm, and what follows one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from service._settings.event import Section
from service._settings.values import refuse
from service.redact import HIDDEN

Reaction = Literal["log", "webhook", "raise_rates", "reset_head"]
Detector = Literal["adwin", "page_hinkley"]


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        refuse("must begin with https:// or http://, and name a host", "Write it in full.")
    return url


def _distinct(items: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


class RaiseRates(Section):
    """How far learning rates are raised after an alarm, and for how long."""

    factor: float = Field(
        5.0, gt=1, le=100, description="The learning rate is multiplied by so much."
    )
    rows: int = Field(
        2000,
        ge=1,
        le=100_000_000,
        description="Learned rows over which the factor falls back to 1, in rows.",
    )


class DriftSettings(Section):
    """What is done to see, and to answer, that the stream has changed."""

    losses: bool = Field(
        True, description="ADWIN and Page-Hinkley on the losses of events before they are learned."
    )
    inputs: bool = Field(
        True,
        description="Each field against a reference window, before labels come: share missing, "
        "share unseen, population stability index.",
    )
    react: Annotated[tuple[Reaction, ...], AfterValidator(_distinct)] = Field(
        ("log",),
        description="What follows an alarm, beside its metrics: log, webhook; and after one on "
        "losses raise_rates, reset_head.",
    )
    react_to: Annotated[tuple[Detector, ...], AfterValidator(_distinct)] = Field(
        ("adwin",),
        description="Whose alarms raise_rates and reset_head follow: adwin, page_hinkley.",
    )
    webhook: Annotated[str, AfterValidator(_checked)] | None = Field(
        None, description="Address that alarms are posted to as JSON; never shown whole."
    )
    raise_rates: RaiseRates = Field(
        default_factory=RaiseRates, description="What raise_rates does."
    )
    adwin_delta: float = Field(
        0.002, gt=0, lt=1, description="ADWIN: probability of an alarm by chance at each look."
    )
    page_hinkley_delta: float = Field(
        0.1,
        ge=0,
        le=10,
        description="Page-Hinkley: rise of the mean loss that is let pass, in deviations of the "
        "losses.",
    )
    page_hinkley_threshold: float = Field(
        100.0,
        gt=0,
        description="Page-Hinkley: height of the sum that is an alarm, in deviations of the losses.",
    )
    always_events: int = Field(
        1000,
        ge=100,
        le=1_000_000_000,
        description="The detector that always fires does so every so many losses, in events.",
    )
    reference_events: int = Field(
        2000,
        ge=400,
        le=100_000_000,
        description="Events that later ones are compared with: the first so many, in events.",
    )
    missing: float = Field(
        0.1, gt=0, le=1, description="Alarm where the share missing moved by more than this."
    )
    psi: float = Field(0.25, gt=0, description="Alarm above this population stability index.")
    unseen: float = Field(
        0.1,
        gt=0,
        le=1,
        description="Alarm where the share of unseen categories is so much above what it was at "
        "the end of the reference.",
    )

    @property
    def touches_weights(self) -> bool:
        """Whether an alarm may change weights or rates."""
        return self.losses and bool({"raise_rates", "reset_head"} & set(self.react))

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Show everything but the webhook's address, which may hold a secret."""
        for name, value in super().__repr_args__():
            yield name, HIDDEN if name == "webhook" and value is not None else value
