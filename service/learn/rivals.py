"""Challengers: other models that learn the same events beside the main one, each in a state of its
own, as if it were alone. Which model answers is in the state, and so is all that decides it.

A challenger that raises, or whose weights are not finite any more, never stops or changes the main
model: it forgets everything, sits out some thousand events (longer each time), and begins again. If
it was the one that answers, the main one answers from that very version on. Pure: what was raised
is journaled with the cut, and a replay takes it from there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec
import numpy as np
import structlog
from numpy.typing import NDArray

from service.events.columns import Columns
from service.learn.duel import Rule
from service.learn.marks import mark
from service.model import ops, prequential, rivals
from service.model.experts import together
from service.model.experts.together import Work
from service.model.featurizer import Featurizer
from service.model.kinds.compiled import Compiled
from service.model.kinds.seam import Learned
from service.model.layout import Layout
from service.model.learning import Model
from service.model.names import escape
from service.model.prequential import OUTCOMES
from service.model.state import State
from service.model.strategies.lesson import Lesson
from service.settings import MAIN

_log = structlog.get_logger(__name__)
_LEARNED, _BROKEN = (
    OUTCOMES.index(one) for one in (("learned", ""), ("quarantined", "not_finite"))
)
_REST = 1000
"""Events that a challenger sits out after it failed for the first time; twice as many each time."""
_MOST_DOUBLED = 6
_FEW = 32
"""Events of which no more than one model learns at a time: to ask another thread takes as long."""


class Lessons(msgspec.Struct):
    """What one cut did: the scores [N, O] of each challenger that took part, those that failed and
    why, the sum of their losses."""

    scores: dict[str, NDArray[np.float64]]
    broken: dict[str, NDArray[np.bool_]]
    """Events that a challenger could not learn: nothing was finite. [N] for each that took part."""
    failed: dict[str, str]
    loss: float = 0.0


class Pupil:
    """One challenger: what moves its state. Holds none."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._featurizer = Featurizer(layout.schema)
        self._model = Model(layout)
        self._lesson = Lesson(layout, self._featurizer, self._model)

    def learn(self, state: State, columns: Columns, learn: NDArray[np.bool_]) -> Learned:
        """Score every event, and learn those where `learn` [N] is set."""
        return self._lesson.learn(state, columns, learn)

    def score(self, state: State, columns: Columns) -> NDArray[np.float64]:
        """Return the scores [N, O], NaN where it raises; changes nothing."""
        try:
            return self._model.score(state, self._featurizer.rows(columns, state.scales))
        except Exception as error:  # noqa: BLE001 - a user's forward may raise anything
            _log.error("challenger_raised", error=repr(error), note="it cannot answer")
            return np.full((len(columns), self._layout.schema.outputs), np.nan)

    def shed(self, state: State, level: int) -> None:
        """Leave out as many works as the main model does; where there are none nothing happens."""
        self._layout.kind.shed(state.extras, level)


class Rivals:
    """The challengers of one layout. Holds no state."""

    def __init__(self, layout: Layout, blank: Columns) -> None:
        """blank: an event without fields."""
        self._layout = layout
        self._blank = blank
        self.pupils = {name: Pupil(rival.layout) for name, rival in layout.rivals.items()}
        recipes = {MAIN: layout.recipe, **layout.recipe.challengers}
        self._plain = {
            name: not (one.model.is_mixture or one.model.is_module) for name, one in recipes.items()
        }
        for one in (layout, *(rival.layout for rival in layout.rivals.values())):
            if layout.rivals and isinstance(one.kind, Compiled):
                ops.prepare(one.kind.name, one.kind.passes)
        promote = layout.recipe.promote
        self._rule = None if promote is None else Rule(promote, layout.schema.targets)

    def learn(
        self,
        state: State,
        columns: Columns,
        learn: NDArray[np.bool_],
        gave_up: dict[str, str],
        main: Work,
    ) -> Lessons:
        """Have the main model do its part, and each challenger score N events, and learn those where
        `learn` [N] is set. gave_up: those that raised when this cut was learned for the first time.

        What takes one thread goes side by side; mixtures have threads of their own, and modules are
        not told of any.
        """
        taught: dict[str, Learned | None] = {}
        level = self._layout.kind.effort(
            state.extras
        ).level  # else they would not be compared alike
        for name, pupil in self.pupils.items():
            pupil.shed(state.rivals[name], level)

        def teach(name: str) -> None:
            taught[name] = _try(name, self.pupils[name], state.rivals[name], columns, learn)

        works: dict[str, Work] = {MAIN: main}
        for name in self.pupils:
            if not _rest(state, name)[rivals.LEFT] and gave_up.get(name) != "raised":
                works[name] = partial(teach, name)
        way = together.do if len(columns) >= _FEW else together.in_turn
        way([work for name, work in works.items() if self._plain[name]])
        together.in_turn([work for name, work in works.items() if not self._plain[name]])
        return self._results(state, learn, taught, gave_up)

    def _results(
        self,
        state: State,
        learn: NDArray[np.bool_],
        taught: dict[str, Learned | None],
        gave_up: dict[str, str],
    ) -> Lessons:
        """Count what each challenger did, and set back who failed."""
        done = Lessons({}, {}, {})
        for name in self.pupils:
            own, rest = state.rivals[name], _rest(state, name)
            if name not in taught and gave_up.get(name) != "raised":
                rest[rivals.LEFT] = max(rest[rivals.LEFT] - int(learn.sum()), 0)
                continue
            learned = taught.get(name)
            if learned is not None and self._is_fit(name, own, learned, learn):
                done.scores[name] = learned.scores
                done.broken[name] = learned.applied == 2
                done.loss += _count(own, learned, learn)
            else:
                done.failed[name] = "raised" if learned is None else "not_finite"
                _set_back(state, name, done.failed[name])
        return done

    def _is_fit(self, name: str, own: State, learned: Learned, learn: NDArray[np.bool_]) -> bool:
        """Whether its weights are finite after a cut. Where it could learn no event of it, nothing
        moved, and whether that was the events' fault is asked of one without fields."""
        if not own.is_finite():
            return False
        if not learn.any() or not (learned.applied[learn] == 2).all():
            return True
        return bool(np.isfinite(self.pupils[name].score(own, self._blank)).all())

    def mark(
        self,
        state: State,
        lessons: Lessons,
        scores: NDArray[np.float64],
        labels: NDArray[np.float64],
        held: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Count the scores of all models; return those of the one that answered. scores [N, O]: the
        main model's."""
        all_scores = {MAIN: scores, **lessons.scores}
        for name, given in lessons.scores.items():
            own = np.where(lessons.broken[name][:, None], np.nan, labels)
            mark(state.rivals[name], given, own, held)
        for t, target in enumerate(self._layout.schema.targets):
            vector = _view(state, rivals.SCORES + escape(target.name))
            block = scores[:, target.start : target.start + target.outputs]
            prequential.update(target, vector, block, np.ascontiguousarray(labels[:, t]))
        answered = all_scores.get(state.serves, scores)
        _course(state)[0] += int((~np.isnan(labels)).any(axis=1).sum())
        if self._rule is not None:
            lost = self._rule.losses(answered, labels)
            told = np.isfinite(lost)  # without a score nobody can be better than it
            for name, duel in _duels(state).items():
                if name == state.serves or name not in all_scores:
                    duel[:] = 0.0
                    continue
                own = self._rule.losses(all_scores[name], labels)
                self._rule.take(duel, lost[told], own[told])
        return answered

    def due(self, state: State) -> tuple[str, str] | None:
        """Return which model is to answer from now on by the rule, and why."""
        if self._rule is None:
            return None
        duels, (since, changes) = _duels(state), _course(state).tolist()
        name = self._rule.due(duels, since, changes)
        return None if name is None else (name, self._rule.said(duels[name]))


def _try(
    name: str, pupil: Pupil, own: State, columns: Columns, learn: NDArray[np.bool_]
) -> Learned | None:
    """Return what it did, None where it raised."""
    try:
        return pupil.learn(own, columns, learn)
    except Exception as error:  # noqa: BLE001 - a user's forward may raise anything
        _log.error("challenger_raised", challenger=name, error=repr(error))
        return None


def _count(own: State, learned: Learned, learn: NDArray[np.bool_]) -> float:
    """Count what it learned; return the sum of its losses."""
    broken = learned.applied == 2
    own.outcomes[_LEARNED] += int(learn.sum() - broken.sum())
    own.outcomes[_BROKEN] += int(broken.sum())
    losses = learned.losses[learn & ~broken]
    return float(losses[np.isfinite(losses)].sum())


def _set_back(state: State, name: str, why: str) -> None:
    """Have it begin again after a rest; it answers no more."""
    state.rivals[name].begin_again()
    rest = _rest(state, name)
    times = int(rest[: rivals.LEFT].sum())
    rest[rivals.FAILURES[why]] += 1
    rest[rivals.LEFT] = _REST << min(times, _MOST_DOUBLED)
    if state.serves == name:
        change(state, MAIN)


def change(state: State, name: str) -> None:
    """Have another model answer; the rule begins anew."""
    state.serve(name)
    state.rivals.get(name, state).touch_all()  # all of it is looked at before it answers
    begin_rule_anew(state)
    course = _course(state)
    course[0] = 0
    course[1] += 1


def begin_rule_anew(state: State) -> None:
    """Forget which windows were won: by another rule they may not have been."""
    for duel in _duels(state).values():
        duel[:] = 0.0


def why_not(state: State, name: object) -> str | None:
    """Return why a model of this name cannot answer from now on; None where it can."""
    if not state.rivals:
        return "there are no challengers: name other models in the settings, under challengers"
    names = known(state)
    if name not in names:
        return f'no challenger is called "{name}"; there are: {", ".join(names)}'
    if name == state.serves:
        return f"{name} answers already"
    left = 0 if name == MAIN else int(_rest(state, str(name))[rivals.LEFT])
    if left:
        return f"{name} failed and sits out; it begins again in {left} events"
    return None


def pairs(old: State, new: State) -> list[tuple[State, State]]:
    """Return the states of each model that is in both, the main one first."""
    both = old.rivals.keys() & new.rivals.keys()
    return [(old, new), *((old.rivals[name], new.rivals[name]) for name in sorted(both))]


def known(state: State) -> list[str]:
    """Return the names of all models, the main one first."""
    return [MAIN, *state.rivals]


def _rest(state: State, name: str) -> NDArray[Any]:
    return _view(state, rivals.REST + name)


def _course(state: State) -> NDArray[Any]:
    return _view(state, rivals.COURSE)


def _duels(state: State) -> dict[str, NDArray[Any]]:
    return {name: _view(state, rivals.DUEL + name) for name in known(state)}


def _view(state: State, name: str) -> NDArray[Any]:
    return state.tensor("metrics", name)
