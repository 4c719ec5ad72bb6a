"""Errors, named by what the caller must do. Knows nothing else of the service.

HeadwaterError            the family; carries the exit code of the process that dies of it
├── BadSettings           fix the settings; starting again would fail the same way (exit 3)
├── DataLost              records are gone from the topic; an operator decides (exit 4)
├── Locked                another learner owns the state directory (exit 5)
├── Halted                the guard or a limit stopped learning; an operator decides (exit 6)
├── SnapshotInvalid       this snapshot cannot be trusted; try an older one (exit 7)
├── LayoutChanged         the state on disk does not fit the settings (exit 7)
├── JournalDamaged        the journal is damaged in the middle; restore it (exit 7)
├── Diverged              the replay gave other bits than the journal says (exit 8)
├── LearnerAway           nobody answers on the control socket; start the learner or wait
├── TopicMissing          the topic does not exist (yet); wait or create it
└── BrokerAway            Kafka does not answer; wait, then repeat the same call
"""

from __future__ import annotations

from dataclasses import dataclass


class HeadwaterError(Exception):
    """Something the service understands; `exit_code` is what a command ends with."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in the settings: where it stands, what it is, what to do."""

    path: str
    line: int | None
    msg: str
    hint: str


class BadSettings(HeadwaterError):
    """The settings cannot be used. Caller: show every problem, stop."""

    exit_code = 3

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(_sentence(p) for p in problems))


def _sentence(problem: Problem) -> str:
    where = f"{problem.path} (line {problem.line})" if problem.line else problem.path
    return f"{where}: {problem.msg}. {problem.hint}".rstrip()


class DataLost(HeadwaterError):
    """Records that should have been learned are gone. Caller: halt, say the range."""

    exit_code = 4


class Locked(HeadwaterError):
    """Another learner holds the state directory. Caller: stop."""

    exit_code = 5


class Halted(HeadwaterError):
    """Learning was stopped on purpose. Caller: answer commands, learn nothing."""

    exit_code = 6


class SnapshotInvalid(HeadwaterError):
    """A snapshot is damaged or incomplete. Caller: take the one before it."""

    exit_code = 7


class LayoutChanged(HeadwaterError):
    """The state on disk belongs to other fields or another model. Caller: show the difference."""

    exit_code = 7


class JournalDamaged(HeadwaterError):
    """Bytes in the middle of the journal are wrong. Caller: stop; never guess."""

    exit_code = 7


class Diverged(HeadwaterError):
    """A replayed entry gave other bits than were journaled. Caller: mint a new lineage."""

    exit_code = 8


class LearnerAway(HeadwaterError):
    """Nobody answers on the control socket. Caller: say so; nothing was changed."""


class TopicMissing(HeadwaterError):
    """The topic does not exist. Caller: wait for it, or create it."""


class BrokerAway(HeadwaterError):
    """Kafka does not answer. Caller: wait, then repeat the same call."""
