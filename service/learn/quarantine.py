"""Records that kill the process: set aside by name, never decoded again.

A place is (topic, partition, offset). The places stand in the learner's standing and in the
journal, so a replay and a rebuild leave the same records alone. Such a record counts as one event.
"""

from __future__ import annotations

from collections.abc import Sequence

from service.events.decode import Decoded, Decoder, Fault
from service.learn.standing import Spot, Standing, spots
from service.stream.records import Record

KILLS = "kills_process"
"""The reason: of the journal entry, the outcome and the dead letter."""

_FAULT = Fault(0, None, KILLS, "the learner's process died of it again and again; set aside")


def ahead(standing: Standing) -> set[Spot]:
    """Return the places set aside that are still to come."""
    cursors = standing.cursors
    return {q for q in standing.quarantined if q[2] >= cursors.get((q[0], q[1]), 0)}


def decode(decoder: Decoder, records: Sequence[Record], standing: Standing) -> Decoded:
    """Decode records without touching the values of those set aside: each is a fault."""
    if not standing.quarantined or not (barred := ahead(standing)):
        return decoder.decode_records([record.value for record in records])
    at = [i for i, r in enumerate(records) if (r.topic, r.partition, r.offset) in barred]
    payloads = [record.value for record in records]
    for i in at:
        payloads[i] = None
    decoded = decoder.decode_records(payloads)
    if at:
        aside = set(at)
        decoded.tombstones = [i for i in decoded.tombstones if i not in aside]
        decoded.faults += [(i, 0, _FAULT) for i in at]
        decoded.faults.sort(key=lambda fault: fault[:2])
    return decoded


def outcome(entry: tuple[int, int, Fault]) -> tuple[str, str]:
    """Return what an event with this fault (record, row, why) counts as."""
    fault = entry[2]
    return ("quarantined" if fault.code == KILLS else "dead_lettered", fault.code)


def set_aside(standing: Standing, places: Sequence[Sequence[str | int]]) -> None:
    """Take up the places of a journal entry."""
    standing.quarantined = standing.quarantined | spots(places)  # copies share the old one


def forget(standing: Standing, topic: str) -> None:
    """A topic was made anew: its offsets name other records now."""
    standing.quarantined = {q for q in standing.quarantined if q[0] != topic}
