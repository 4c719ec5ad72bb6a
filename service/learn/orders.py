"""The operator's commands: pause, resume, snapshot, freeze, unfreeze, rollback, promote. Done between two cuts.

Each is refused with the reason, or journaled and done before its answer goes out. Called from the
loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from service.errors import BrokerAway, DataLost, SnapshotInvalid, TopicMissing
from service.learn import rivals
from service.learn.acts import Acts
from service.learn.commands import Later, Refused, Reply
from service.learn.learner import Learner
from service.learn.reach import Redone
from service.learn.saving import Saved
from service.learn.sources import Stopped
from service.learn.standing import OPERATOR
from service.learn.tools import Tools
from service.learn.turns import SKIPPED, Skip, skip_all


class Orders:
    """Carries out what comes in by the side door."""

    def __init__(self, acts: Acts, tools: Tools) -> None:
        self._acts = acts
        self._t = tools
        self._known: dict[str, Callable[[dict[str, Any]], Reply | Later]] = {
            "pause": self._pause,
            "resume": self._resume,
            "snapshot": self._snapshot,
            "freeze": self._freeze,
            "unfreeze": self._unfreeze,
            "rollback": self._roll_back,
            "promote": self._promote,
        }

    def obey(self, request: dict[str, Any]) -> Reply | Later:
        """Do one command; Refused says why not. What has to go to disk is answered later."""
        command = request["command"]
        if command not in self._known:
            raise Refused(f"there is no command {command!r}; {', '.join(self._known)}, status")
        with self._t.publisher.meanwhile:
            return self._known[command](request)

    def _pause(self, request: dict[str, Any]) -> Reply:
        if not self._acts.learner.standing.paused:
            self._acts.learner.standing.paused = True
            self._acts.note("pause", by=_by(request))
            self._acts.stop_reading()
        return self._acts.status_now()

    def _resume(self, request: dict[str, Any]) -> Reply:
        if self._acts.loss is not None:
            raise Refused(
                f"{self._acts.why_halted}. Restore the records, or set kafka.on_data_loss: skip, "
                "and start again"
            )
        if self._acts.course.served is None:
            raise Refused(f"{self._acts.why_halted}; unfreeze or roll back first")
        if not self._acts.may_learn:
            self._acts.resume(_by(request))
        return self._acts.status_now()

    def _snapshot(self, _: dict[str, Any]) -> Later:
        done: list[Saved] = []

        def ready() -> Reply | None:
            if not done:
                return None
            [saved] = done
            if saved.manifest is None:
                raise Refused(f"the snapshot failed: {saved.error}")
            id, nbytes = saved.manifest.id, saved.manifest.nbytes
            return {"id": id, "version": saved.version, "bytes": nbytes}

        def stopping() -> Reply:
            raise Refused("snapshot: the learner is stopping, and takes a last one")

        self._t.keeper.ask(done.append)
        return Later(ready, stopping)

    def _turned(self, **rest: object) -> Later:
        """Answer a turn when it is on disk; it is journaled and served already. The answer is what
        stood right after the turn, whatever was learned since, but for the snapshot."""
        acts = self._acts
        turned = acts.status_now() | rest

        def reply() -> Reply:
            return turned | {"snapshot": acts.status()["snapshot"]}

        return Later(lambda: None if acts.course.is_saving else reply(), reply)

    def _freeze(self, request: dict[str, Any]) -> Later:
        course = self._acts.course
        if course.why_frozen is not None:
            raise Refused(f"{course.why_frozen}; unfreeze first")
        course.freeze(None, OPERATOR, f"ordered by {_by(request)}")
        self._acts.serve_turn()
        return self._turned()

    def _unfreeze(self, request: dict[str, Any]) -> Later:
        course = self._acts.course
        if course.why_frozen is None:
            raise Refused("nothing is frozen")
        course.unfreeze(OPERATOR, f"ordered by {_by(request)}")
        self._acts.begin_anew()
        self._acts.serve_turn()
        return self._turned()

    def _roll_back(self, request: dict[str, Any]) -> Later:
        with self._acts.course.holding():
            to = self._at(request.get("to"), "to")
            skip = self._skip(to, request.get("skip_to"))
            unread = self._unread(skip)
            self._acts.stop_reading()
            self._acts.course.roll_back(to, skip, OPERATOR, f"ordered by {_by(request)}")
        self._t.losses.rolled_past(unread)
        self._acts.begin_anew()
        self._acts.serve_turn()
        skipped = 0 if skip is None else skip.counts.get("/".join(SKIPPED), 0)
        return self._turned(rolled_back_to=request["to"], skipped=skipped, skipped_offsets=unread)

    def _promote(self, request: dict[str, Any]) -> Reply:
        learner, course, name = self._acts.learner, self._acts.course, request.get("name")
        if course.why_frozen is not None:
            raise Refused(f"{course.why_frozen}; unfreeze first")
        if (why := rivals.why_not(learner.state, name)) is not None:
            raise Refused(why)
        name = str(name)
        learner.state.rivals.get(name, learner.state).touch_all()  # all of it is looked at
        if (broken := learner.unfit(name)) is not None:
            raise Refused(f"{name} cannot answer: its {broken} are not finite")
        was = learner.state.serves
        course.promote(name, OPERATOR, f"ordered by {_by(request)}")
        self._acts.serve_turn(save=False)
        self._t.telemetry.see_challengers(learner)
        return self._acts.status_now() | {"promoted": name, "was": was}

    def _unread(self, skip: Skip | None) -> int:
        """Return how many offsets are passed over that were not read: no event is known there."""
        read = self._acts.learner.standing.cursors
        ends = {} if skip is None else skip.next
        return sum(max(0, end - read.get(place, 0)) for place, end in ends.items())

    def _skip(self, to: Learner, skip_to: object) -> Skip | None:
        """Return what a rollback to `to` leaves out; Refused when that makes no sense."""
        if skip_to is None:
            return None
        if skip_to in {"now", "latest"}:
            skip = skip_all(self._acts.learner, to)
            if skip_to == "latest":
                skip.next = self._t.losses.to_the_end(skip.next)
            return skip
        upto = self._at(skip_to, "skip_to")
        ours, theirs = upto.standing.cursors, to.standing.cursors
        if any(ours.get(place, 0) < offset for place, offset in theirs.items()):
            raise Refused(f"skip_to: version {skip_to} lies before version {to.standing.version}")
        return skip_all(upto, to)

    def _at(self, version: object, what: str) -> Learner:
        """Make the version again that a command names; the loop says meanwhile that it does so."""
        if not isinstance(version, int) or isinstance(version, bool):
            raise Refused(f"{what}: {version!r} is not the number of a version")

        def beat(done: Redone, learner: Learner) -> None:
            if self._t.publisher.beat_is_due:
                why = f"at version {learner.standing.version}, on the way to {version}"
                self._t.publisher.beat(
                    self._acts.journaled.version, "replaying", why, None, round(done.share, 4)
                )

        why = f"making version {version} again"
        self._t.publisher.beat(self._acts.journaled.version, "replaying", why, None)
        try:
            return self._t.reach(version, beat)
        except (SnapshotInvalid, DataLost) as error:
            raise Refused(f"{what}: {error}") from None
        except Stopped:
            raise Refused(f"{what}: the learner is stopping") from None
        except (BrokerAway, TopicMissing) as away:
            changed = f"{what}: version {version} was not made again, and nothing was changed"
            raise BrokerAway(f"{changed}: {away}") from None


def _by(request: dict[str, Any]) -> str:
    return str(request.get("by", OPERATOR))
