"""The newest events of a topic, as `headwater doctor` finds them: can they be learned from, have they
labels, and is their time what the settings take it for."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from service.cli.doctor_finding import Finding, fail, ok, span, warn
from service.events.decode import Decoded, Decoder
from service.events.schema import Schema
from service.settings import EventTime, Settings
from service.stream.records import Record

LONG_AGO_MS = 315_532_800_000
"""1980: a time before it is most likely one in another unit."""
_AHEAD_S = 60.0


def findings(topic: str, sample: list[Record], settings: Settings) -> Iterator[Finding]:
    """Do the newest records fit the settings?"""
    name = f"events {topic}"
    if not sample:
        yield ok(name, "no record to look at yet")
        return
    decoder = Decoder(Schema(settings.event), 0)
    decoded = decoder.decode_records([record.value for record in sample])
    faults = Counter(_said(fault.field, fault.msg) for _, _, fault in decoded.faults)
    good = len(decoded.row)
    seen = f"{good:,} of the newest {good + len(decoded.faults):,} events can be used"
    if faults:
        most, times = faults.most_common(1)[0]
        fix = "Mend event.features and event.targets, or whoever publishes; each bad event becomes "
        fix += "a dead letter."
        yield (warn if good else fail)(name, f"{seen}; {times} times: {most}", fix)
    else:
        yield ok(name, seen)
    if good:
        yield from _labels(topic, decoded, settings)
        if settings.event.time is not None:
            yield from _times(topic, decoded, settings.event.time)
    newest_ms = max(record.timestamp_ms for record in sample)
    ahead_s = newest_ms / 1000 - time.time_ns() / 1e9
    if ahead_s > _AHEAD_S:
        what = f"the newest record is of {span(ahead_s)} from now"
        yield warn(f"clock {topic}", what, "Compare this machine's clock with the producers'.")


def _labels(topic: str, decoded: Decoded, settings: Settings) -> Iterator[Finding]:
    """An event without any label is good for nothing but to be counted."""
    missing = np.isnan(decoded.columns.targets)
    targets, n = ", ".join(settings.event.targets), len(missing)
    bare = int(missing.all(axis=1).sum())
    if bare == n:
        fix = "Mend the name in event.targets: nothing is learned from an event without a label."
        yield fail(f"labels {topic}", f"none of {n:,} events has a label in {targets}", fix)
    elif bare:
        fix = "Such events are counted as filtered and not learned from."
        yield warn(f"labels {topic}", f"{bare:,} of {n:,} events have no label in {targets}", fix)


def _times(topic: str, decoded: Decoded, spec: EventTime) -> Iterator[Finding]:
    newest_ms = int(decoded.columns.times_ms.max())
    if (what := odd_time(newest_ms, spec)) is not None:
        fix = "Mend event.time.format: s for seconds, ms for milliseconds. Order and age of events "
        fix += "come from it, and `publish` gives it to Kafka, whose retention goes by it."
        yield warn(f"times {topic}", f"the newest event is {what}", fix)


def odd_time(moment_ms: int, spec: EventTime) -> str | None:
    """Return what to say of a time that is hardly meant; None where there is nothing to say."""
    if not 0 <= moment_ms < LONG_AGO_MS:
        return None
    day = datetime.fromtimestamp(moment_ms / 1000, UTC).date()
    return f"of {day}, as {spec.field} is read ({spec.format}): is it in another unit?"


def _said(field: str | None, msg: str) -> str:
    return msg if field is None else f"{field}: {msg}"
