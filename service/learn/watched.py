"""A replay that is watched: what it has in hand is known, and what kills it is not tried for ever.

The events of a journaled range are history and cannot be set aside. After three deaths in a row
the range is tried in a process of its own first; one that dies there too, or that killed six times,
stops the replay like records that are gone: it halts, or with `on_data_loss: skip` what came after
is given up.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from service.errors import DataLost
from service.learn.learner import Learner
from service.learn.probe import Prober
from service.learn.reach import Progress, RangeReader, Redone
from service.learn.suspect import DEATHS_TO_HALT, LEARNING, Suspect, Suspects, between
from service.stream.records import Epochs, Offsets, Record

_log = structlog.get_logger(__name__)


class Watched:
    """Gives a replay its readers, and is told how far it is."""

    def __init__(
        self,
        ranges: Callable[[Learner], RangeReader],
        progress: Progress,
        suspects: Suspects,
        prober: Prober,
    ) -> None:
        self._ranges = ranges
        self._progress = progress
        self._suspects = suspects
        self._prober = prober
        self._learner: Learner | None = None

    def open_reader(self, learner: Learner) -> RangeReader:
        """Return what reads ranges from where the learner stands."""
        self._learner = learner
        return _Reader(self, self._ranges(learner), dict(learner.standing.cursors))

    def progress(self, done: Redone, learner: Learner) -> None:
        """An entry was redone."""
        self._suspects.in_hand.release(LEARNING)
        self._learner = learner
        self._progress(done, learner)

    def take_in_hand(self, cursors: Offsets, next_offsets: Offsets, records: list[Record]) -> None:
        """These records are redone next. Raises DataLost where they kill."""
        places = between(cursors, next_offsets)
        if (suspect := self._suspects.in_replay(places)) is not None:
            self._judge(suspect, records)
        self._suspects.in_hand.hold(LEARNING, "replay", places)

    def _judge(self, suspect: Suspect, records: list[Record]) -> None:
        assert self._learner is not None, "a reader was opened for it"
        how = ""
        if suspect.deaths < DEATHS_TO_HALT:
            told = self._prober.find(self._learner, records)
            if not told.guilty:
                why = told.unclear or "in a trial all of it got through"
                _log.warning("no_event_found_that_kills", ranges=[str(suspect)], why=why)
                return
            how = f", and does in a trial ({', '.join(sorted(set(told.guilty.values())))})"
        version = self._learner.standing.version
        raise DataLost(
            f"{suspect}: learning this again, after version {version}, killed the learner "
            f"{suspect.deaths} times{how}. Start the release that learned it, or give it more "
            f"memory, and remove {self._suspects.path} to have it tried again; or set "
            f"kafka.on_data_loss: skip to go on from version {version} in a new lineage"
        )


class _Reader:
    """Reads the records of a cut, and says what they are to whoever watches."""

    def __init__(self, watched: Watched, reader: RangeReader, cursors: Offsets) -> None:
        self._watched = watched
        self._reader = reader
        self._cursors = cursors

    def read_range(self, next_offsets: Offsets) -> list[Record]:
        """Return the records of one cut. Raises DataLost where they kill."""
        records = self._reader.read_range(next_offsets)
        self._watched.take_in_hand(self._cursors, next_offsets, records)
        self._cursors.update(next_offsets)
        return records

    def expect(self, epochs: Epochs) -> None:
        """Say under which leader epochs the next cut was read, where they had changed."""
        self._reader.expect(epochs)

    def close(self) -> None:
        """Let go of the broker."""
        self._reader.close()
