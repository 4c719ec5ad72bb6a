"""Records that are gone: what that means for the cursors, and how it is said to people.

A loss is skipped so that nothing is learned twice and no partition is left behind: a topic made
anew is read from its beginning, in all its partitions; a log that was cut off at its end is read
on from where it ends now.
"""

from __future__ import annotations

from typing import Protocol

import structlog

from service import crash
from service.errors import BrokerAway, TopicMissing
from service.learn import quarantine
from service.learn.standing import Standing
from service.metrics import Metrics
from service.stream.broker import Broker
from service.stream.records import TP, DataLoss, Epochs, Offsets

_log = structlog.get_logger(__name__)


class Note(Protocol):
    """Journals an entry; it takes the next version."""

    def __call__(self, kind: str, **rest: object) -> None: ...


class Losses:
    """Decides nothing: halts or skips as it is told, and counts."""

    def __init__(self, broker: Broker, metrics: Metrics) -> None:
        self._broker = broker
        self._lost = metrics.counter("headwater_data_loss_total")
        self._skipped = metrics.counter("headwater_skipped_offsets_total")

    def halt(self, loss: DataLoss, standing: Standing) -> str:
        """Return why nothing may be learned any more."""
        why = said(loss, standing.cursors.get((loss.topic, loss.partition), loss.wanted))
        _log.error("data_loss", detail=why)
        self._lost.inc(1.0, loss.reason)
        return why

    def skip(self, loss: DataLoss, standing: Standing, note: Note) -> None:
        """Move the cursors past what is gone, journaled. Where Kafka does not say what there is
        now, nothing is done: whoever reads next meets the same loss again."""
        place = (loss.topic, loss.partition)
        wanted = standing.cursors.get(place, loss.wanted)
        _log.error("data_loss", detail=said(loss, wanted))
        if loss.reason == "topic_missing":
            return
        try:
            now = self._broker.topic_id(loss.topic)
        except (BrokerAway, TopicMissing) as error:
            _log.warning("waiting", why=str(error))
            return
        known = standing.topic_ids.get(loss.topic)
        if loss.reason == "recreated" or (known is not None is not now and known != now):
            self._begin_anew(loss.topic, now, standing, note)
            return
        to = loss.available_high if loss.reason == "truncated" else loss.available_low
        standing.cursors[place] = to
        standing.epochs.pop(place, None)
        crash.point("skip_before_journal")
        note(
            "skip",
            topic=loss.topic,
            partition=loss.partition,
            start=wanted,
            to=to,
            reason=loss.reason,
            topic_ids={},
        )
        crash.point("skip_journaled")
        self._lost.inc(1.0, loss.reason)
        self._skipped.inc(float(max(to - wanted, 0)), loss.reason)

    def to_the_end(self, offsets: Offsets) -> Offsets:
        """Return where each partition ends now, if that is further. Raises BrokerAway."""
        ends = {place: self._broker.watermarks(place)[1] for place in offsets}
        return {place: max(ends[place], offset) for place, offset in offsets.items()}

    def rolled_past(self, offsets: int) -> None:
        """Count offsets that a rollback passed over and that were never read."""
        self._skipped.inc(float(offsets), "rollback")

    def _begin_anew(self, topic: str, identity: str | None, standing: Standing, note: Note) -> None:
        """Read a topic from its beginning. The new identity is in the last entry only, so that
        a crash in between finds the old one and does it all again."""
        places = sorted(place for place in standing.cursors if place[0] == topic)
        quarantine.forget(standing, topic)
        for place in places:
            wanted, standing.cursors[place] = standing.cursors[place], 0
            standing.epochs.pop(place, None)
            ids = {topic: identity} if place == places[-1] else {}
            standing.topic_ids.update(ids)
            note(
                "skip",
                topic=topic,
                partition=place[1],
                start=wanted,
                to=0,
                reason="recreated",
                topic_ids=ids,
            )
        self._lost.inc(1.0, "recreated")


def said(loss: DataLoss, wanted: int) -> str:
    """Return the sentence for a data loss: what is gone, and where."""
    where = f"{loss.topic}, partition {loss.partition}"
    match loss.reason:
        case "recreated":
            return f"{where}: the topic was made anew; offset {wanted} was of the one before"
        case "topic_missing":
            return f"{where}: the topic is gone, with everything from offset {wanted} on"
        case "truncated":
            cut = f"the log was cut off at {loss.available_high}, before offset {wanted}"
            return f"{where}: {cut}, which comes next; what followed there is gone or another"
        case _:
            gone = f"offsets {wanted} to {loss.available_low - 1} are gone from the topic"
            return f"{where}: {gone} and were not learned"


def rewritten(place: TP, end: int) -> str:
    """Return the sentence for a journaled range that holds other records now."""
    cut = f"{place[0]}, partition {place[1]}: the log was cut off before offset {end}"
    return f"{cut}, and others were written there; those that were learned are gone"


def new_epochs(standing: Standing, epochs: Epochs) -> Epochs:
    """Take over the leader epochs of a cut; return those that are not what they were."""
    changed = {tp: epoch for tp, epoch in epochs.items() if standing.epochs.get(tp) != epoch}
    standing.epochs.update(changed)
    return changed
