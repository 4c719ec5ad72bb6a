"""Before going live after three deaths on one range: which of its events kills the learner?

Looked for in a process of its own (probe.py). Found: journaled as `quarantine`, and never touched
again, by no replay either. Not found, because nothing dies there: the range is tried again, and
after six deaths in a row learning halts and names it; `headwater resume` begins a new count.
"""

from __future__ import annotations

import structlog

from service.errors import BrokerAway, DataLost, TopicMissing
from service.learn import quarantine
from service.learn.herald import Beat
from service.learn.learner import Learner
from service.learn.opening import Store
from service.learn.restore import Journaling
from service.learn.sources import Sources, Stopped
from service.learn.suspect import DEATHS_TO_EXAMINE, DEATHS_TO_HALT, Suspect
from service.learn.trials import Told
from service.stream.broker import Broker
from service.stream.records import Offsets, Record, named

_log = structlog.get_logger(__name__)


def examine(learner: Learner, store: Store, sources: Sources, broker: Broker, beat: Beat) -> None:
    """Set aside what kills, or halt; whatever is decided is journaled. Raises Stopped."""
    suspects, standing = store.suspects, learner.standing
    suspects.drop_passed(standing.cursors)
    worst = suspects.live(DEATHS_TO_EXAMINE)
    if not worst or standing.paused or standing.halted is not None:
        return
    if hopeless := suspects.live(DEATHS_TO_HALT):
        _halt(learner, store, hopeless)
        return
    beat("restoring", "reading again what was in hand when the learner died", None)
    records = _records(learner, sources, broker, worst)
    unread = Told(0, unclear="its records cannot be read")
    told = store.prober.find(learner, records) if records else unread
    if store.prober.should_stop():
        raise Stopped
    if not told.guilty:
        why = told.unclear or "in a trial all of it got through"
        _log.warning("no_event_found_that_kills", ranges=named(map(str, worst)), why=why)
        return
    guilty = [records[at] for at in told.guilty]
    places = [(r.topic, r.partition, r.offset) for r in guilty]
    quarantine.set_aside(standing, places)
    Journaling(store.journal).append(
        learner, "quarantine", places=places, reason=quarantine.KILLS, how=[*told.guilty.values()]
    )
    store.journal.sync()
    suspects.forget(worst)
    for record, how in zip(guilty, told.guilty.values(), strict=True):
        _log.error("event_quarantined", reason=quarantine.KILLS, how=how, topic=record.topic,
                   partition=record.partition, offset=record.offset)  # fmt: skip


def _halt(learner: Learner, store: Store, hopeless: list[Suspect]) -> None:
    most = max(suspect.deaths for suspect in hopeless)
    held = Suspect("live", [place for suspect in hopeless for place in suspect.places], most)
    reason = (
        f"the learner died {most} times with the same records in hand, and no event of them kills "
        f"in a trial: {held}. Look for what killed it (memory, the "
        "machine's log), then say resume; or skip these records"
    )
    learner.standing.halted = reason
    Journaling(store.journal).append(learner, "halt", reason=reason)
    store.journal.sync()
    store.suspects.forget(hopeless)
    _log.error("halted", reason=reason)


def _records(
    learner: Learner, sources: Sources, broker: Broker, worst: list[Suspect]
) -> list[Record]:
    """Return what comes after the cursors up to the ends of these ranges, as far as it exists."""
    cursors, ends = learner.standing.cursors, _ends(worst)
    try:
        for place in list(ends):
            ends[place] = min(ends[place], broker.watermarks(place)[1])
        ends = {place: end for place, end in ends.items() if end > cursors.get(place, end)}
        reader = sources.ranges(learner)
    except (BrokerAway, TopicMissing) as error:
        _log.warning("suspect_not_read", why=str(error))
        return []
    try:
        return reader.read_range(ends)
    except DataLost as error:
        _log.warning("suspect_not_read", why=str(error))
        return []
    finally:
        reader.close()


def _ends(worst: list[Suspect]) -> Offsets:
    ends: Offsets = {}
    for suspect in worst:
        for topic, partition, _, end in suspect.places:
            ends[topic, partition] = max(end, ends.get((topic, partition), 0))
    return ends
