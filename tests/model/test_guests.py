"""A module of the user's own as one more expert of a mixture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.errors import LayoutChanged
from service.learn import changes, history
from service.learn.crew import working
from service.learn.leaderboard import leaderboard
from service.learn.learner import Learner
from service.model.kinds import module_code
from service.model.kinds.guest import PATIENCE
from service.model.kinds.guest_code import code_of
from service.model.layout import Layout
from service.model.recipe import ModuleCode, Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.settings import LearningSettings, ModelSettings
from tests.contract.kinds import FEATURES, NET, TARGETS, events, learner, recipe, teach
from tests.learn import cuts

SMALL = {"size": 2, "hidden": 6, "dropout": 0.2}
POISONED, HUGE = "tests.modules.poisoned:Poisoned", "tests.modules.poisoned:Huge"
COUNTING = "tests.modules.poisoned:Counting"
EVENT = {
    "features": {name: FEATURES[name] for name in ("amount", "new", "shop")},
    "targets": TARGETS,
}
BUILT_IN = ["prior", "newton", "squares"]


def mixture(*more: Any, event: dict[str, Any] | None = None, **learning: Any) -> Recipe:
    """Return the recipe of a mixture of some experts and these."""
    for reference in (NET, POISONED, HUGE, COUNTING):
        module_code.trust(reference)
    model = {"kind": "mixture", "experts": [*BUILT_IN, *more]}
    return recipe("mixture", event or EVENT, model=model, **learning)


def net(**said: Any) -> dict[str, Any]:
    return {"kind": NET, "arguments": SMALL, **said}


def poisoned(how: str, **said: Any) -> dict[str, Any]:
    return {"kind": POISONED, "arguments": {"how": how, **said}}


def named(one: Learner, begin: str) -> dict[str, bytes]:
    """Return the bytes of tensors whose name begins so."""
    return {n: a.tobytes() for n, a in one.state.named().items() if n.startswith(begin)}


def of_built_in(one: Learner) -> dict[str, bytes]:
    """Return the bytes of all that built-in experts remember."""
    mine = tuple(f"/{name}/" for name in (*BUILT_IN, "labels", "inputs"))
    return {n: raw for n, raw in named(one, "experts/").items() if any(m in n for m in mine)}


def standing(one: Learner, name: str, target: str = "fraud") -> Any:
    found = one.layout.kind.standings(one.state.extras)[target]
    return next(member for member in found if member.member == name)


@pytest.mark.parametrize(
    "target", [{}, {"class_weights": {"0": 1.0, "1": 3.0}}], ids=["plain", "weighted"]
)
def test_it_learns_what_it_would_alone(target):
    """To the bit, with settings of its own; and what the mixture hears of an event is what it says
    before it learns it."""
    event = {**EVENT, "targets": {**TARGETS, "fraud": {**TARGETS["fraud"], **target}}}
    steps: dict[str, Any] = {"optimizer": "adam", "learning_rate": 0.02}
    one = learner(mixture(net(**steps, step_rows=5), event=event))
    alone = learner(recipe("module", event, step_rows=5, **steps, model={"arguments": SMALL}))
    teach(one, 90, size=40)
    said = np.concatenate([step.scores for step in teach(alone, 90, size=40)])
    mine = named(one, "modules/Net/module/")
    came = np.array([e["fraud"] for e in events(90)])
    p = np.where(came == 1, said[:, 0], 1.0 - said[:, 0])

    assert [*named(alone, "module/").values()] == [*mine.values()]
    assert -np.log(p).mean() == pytest.approx(standing(one, "Net").loss, rel=1e-4)


def test_other_experts_learn_as_if_it_were_not_there():
    one, without = learner(mixture(net())), learner(mixture())
    for each in (one, without):
        teach(each, 60)

    assert of_built_in(one) == of_built_in(without)


def test_a_mixture_may_be_modules_only_and_two_of_a_class_have_names_of_their_own():
    of = recipe("mixture", EVENT, model={"kind": "mixture", "experts": [
        net(), net(learning_rate=0.5), net(name="slow", learning_rate=0.001)]})  # fmt: skip
    one = learner(of)
    teach(one, 60)
    told = [m["expert"] for m in leaderboard(one) if m["target"] == "price"]

    assert {"Net", "Net-2", "slow"} == set(told)
    assert named(one, "modules/Net/module") != named(one, "modules/slow/module")


@pytest.mark.parametrize(
    "how", ["raises", "exits", "exits backward", "says nothing", "wrong shape", "nan"]
)
def test_events_that_it_fails_on_are_learned_by_the_others(how):
    """Nothing is quarantined; the failures are counted; the rest of a step is learned; and all of it
    again to the bit."""
    one, again, without = (
        learner(mixture(*more)) for more in ([poisoned(how)], [poisoned(how)], [])
    )
    steps, *_ = (teach(each, 120, size=50) for each in (one, again, without))
    told = standing(one, "Poisoned")
    amounts = [e["amount"] for e in events(120)]

    assert sum(step.counts["learned"] for step in steps) == 120
    assert np.array_equal(one.state.image, again.state.image)
    assert of_built_in(one) == of_built_in(without)
    assert 0 < told.failures < 0.5 * sum(a > 0 for a in amounts) + 10
    assert not told.resting
    assert told.loss < 1.0
    assert (told.error is None) == (how == "nan")


@pytest.mark.parametrize("how", ["raises", "nan"])
def test_events_that_it_fails_on_are_predicted(how):
    """In the API, on memory that cannot be written; others beside them as ever."""
    of = mixture(poisoned(how, beyond=5.0))
    one = learner(of)
    teach(one, 60)
    given = [
        {**event, "amount": amount}
        for event, amount in zip(events(4), (0, 1e3, 1, -1), strict=True)
    ]
    attached = Scorer(of).attach(np.frombuffer(one.state.image.tobytes(), dtype=np.uint8))
    together = attached.score(one.decoder.features(given)[0])
    alone = attached.score(one.decoder.features(given[:1])[0])

    assert np.isfinite(together).all()
    np.testing.assert_allclose(together[0], alone[0], rtol=1e-4)


def test_a_buffer_is_not_written_where_others_only_read():
    """It would end the process of the API, whose memory cannot be written."""
    of = mixture(COUNTING)
    one = learner(of)
    teach(one, 30)
    image = np.frombuffer(one.state.image.tobytes(), dtype=np.uint8)
    before = image.copy()
    attached = Scorer(of).attach(image)
    attached.score(one.decoder.features([{"amount": 1e9}, {"amount": 1.0}])[0])

    assert np.array_equal(before, image)


def test_one_that_always_fails_rests():
    """It is asked again after a rest, from its first weights."""
    one = learner(mixture(poisoned("nan", beyond=-1e9)))
    first = named(one, "modules/Poisoned/module/")
    teach(one, PATIENCE - 56, size=100)
    before = standing(one, "Poisoned")
    teach(one, 56 + 8, PATIENCE - 56)
    resting = standing(one, "Poisoned")
    teach(one, 2 * PATIENCE + 32, PATIENCE + 8, size=100)
    after = standing(one, "Poisoned")

    assert (PATIENCE - 56, False) == (before.failures, before.resting)
    assert (True, True) == (resting.failures >= PATIENCE, resting.resting)
    assert (True, False) == (after.failures > resting.failures, after.resting)
    assert first == named(one, "modules/Poisoned/module/")
    assert named(one, "experts/fraud/newton") == named(without_guests(one), "experts/fraud/newton")


def test_a_run_of_events_that_it_cannot_take_costs_it_nothing():
    """It fails on those alone: it rests, and goes on where it was."""
    plain = {**EVENT["features"], "amount": {"type": "number", "scale": "none"}}
    one = learner(mixture(poisoned("raises", beyond=50.0), event={**EVENT, "features": plain}))
    teach(one, 100)
    learned = named(one, "modules/Poisoned/module/")
    bad = [{**e, "amount": 100.0} for e in events(PATIENCE, 100)]
    cuts.take(one, [cuts.record(100 + i, event) for i, event in enumerate(bad)])
    resting = standing(one, "Poisoned")
    teach(one, 2 * PATIENCE, 100 + PATIENCE)
    kept = named(one, "modules/Poisoned/module/")
    teach(one, 64, 100 + 3 * PATIENCE)

    assert resting.resting
    assert learned == kept
    assert learned != named(one, "modules/Poisoned/module/")


def without_guests(one: Learner) -> Learner:
    """Return one that learned the same records in a mixture without modules."""
    other = learner(mixture())
    teach(other, one.events_learned)
    return other


def test_weights_that_are_not_finite_any_more_begin_anew():
    """So that the version can be served."""
    one = learner(mixture(net()))
    teach(one, 30)
    name = next(iter(named(one, "modules/Net/module/out.bias")))
    one.state.named()[name][...] = np.inf
    one.state.touch_all()
    one.state.touched[:] = 1
    teach(one, 30, 30)

    assert one.is_fit()
    assert np.isfinite(one.state.named()[name]).all()


def test_what_it_says_of_a_number_cannot_carry_the_mixture_away():
    """It goes beyond the labels so far by no more than those are apart."""
    one = learner(mixture({"kind": HUGE, "arguments": SMALL}))
    scores = np.concatenate([step.scores for step in teach(one, 120, size=40)])
    labels = np.array([e["price"] for e in events(120)])
    spread = labels.max() - labels.min()

    assert (np.abs(scores[40:, -1] - labels.mean()) < 2.0 * spread).all()


def with_codes(of: Recipe) -> Recipe:
    """Return the recipe as settings make it."""
    of.modules = {name: code_of(of.of_module(name), "0" * 64) for name in of.model.modules}
    return of


def test_a_field_that_is_added_has_it_begin_anew_and_nobody_else():
    """Its weights have another shape then; an expert that is added begins, one that goes is gone."""
    one = learner(with_codes(mixture(net())))
    teach(one, 60)
    wider = {**EVENT, "features": {**EVENT["features"], "rank": FEATURES["rank"]}}
    of = with_codes(mixture(net(), net(name="other"), event=wider))
    grown = history.rebuilt(one.copy(), of)
    notes = [*changes.modules_changed(one.recipe, of)]
    fresh = named(learner(of), "modules/Net/module/")

    assert "layout" == changes.compare(one.recipe, of)
    assert ["the expert Net begins anew: its weights have other shapes now"] == notes
    assert fresh == named(grown, "modules/Net/module/")
    assert 60 == standing(grown, "newton/plain/0.998").rows
    assert 0 == standing(grown, "Net").rows
    teach(grown, 30, 60)
    assert 30 == standing(grown, "other").rows


def test_it_can_be_taken_out_without_its_code(monkeypatch):
    """A state speaks of a class that the settings name no more: it is laid out, and let go; it is not
    served."""
    one, without = learner(with_codes(mixture(poisoned("nan", beyond=9.0)))), mixture()
    teach(one, 60)
    of = Recipe.from_json(one.recipe.to_json())
    monkeypatch.setattr(module_code, "_trusted", {NET})
    state, lost = State.of(Layout(of), one.state.parts())
    left = history.rebuilt(Learner(of, state, one.standing), without)
    with pytest.raises(LayoutChanged, match="which the settings do not name"):
        Scorer(of)

    assert [] == lost
    assert of_built_in(one) == of_built_in(left)
    assert ["the expert Poisoned is gone, and what it learned"] == [
        *changes.modules_changed(of, mixture())
    ]


def test_events_are_learned_again_by_the_others_where_its_code_is_gone(monkeypatch):
    """After a crash, from the last snapshot on: by the settings of then, which still name it."""
    one = learner(with_codes(mixture(net())))
    of = Recipe.from_json(one.recipe.to_json())
    monkeypatch.setattr(module_code, "_trusted", set())
    state, _ = State.of(Layout(of), one.state.parts())
    again = Learner(of, state, one.standing)
    steps = teach(again, PATIENCE + 64, size=100)

    assert sum(step.counts["learned"] for step in steps) == PATIENCE + 64
    assert 0 == standing(again, "Net").failures


def test_threads_change_no_bit():
    one, other = learner(mixture(net())), learner(mixture(net()))
    teach(one, 60)
    with working(3):
        teach(other, 60)

    assert np.array_equal(one.state.image, other.state.image)


def test_a_recipe_says_what_it_is_made_of():
    """So that a replay has the same; steps that an entry does not speak of are those of `learning`."""
    of = with_codes(mixture(net(learning_rate=0.5), step_rows=16))
    again = Recipe.from_json(of.to_json())
    alone = again.of_module("Net")

    assert of == again
    assert of != with_codes(mixture(net(learning_rate=0.5), step_rows=17))
    assert of != with_codes(mixture(net(learning_rate=0.6), step_rows=16))
    assert isinstance(again.modules["Net"], ModuleCode)
    assert (16, 0.5, "adagrad") == (
        alone.learning.step_rows,
        alone.learning.learning_rate,
        alone.optimizer,
    )
    assert isinstance(alone.learning, LearningSettings)
    assert isinstance(alone.model, ModelSettings)


def test_an_expert_that_was_not_asked_yet_is_not_the_best():
    """It has no figures, and stands below those that have; the others by what they are asked for."""
    one = learner(mixture(net()))
    nothing = leaderboard(one)
    teach(one, 60)
    told = leaderboard(history.rebuilt(one.copy(), mixture(net(), net(name="other"))))
    prices = [m["metrics"]["mae"] for m in told if m["target"] == "price"]

    assert {None} == {
        value for m in nothing for key in ("metrics", "fading") for value in m[key].values()
    }
    assert ["other"] * 3 == [m["expert"] for m in told if None in m["metrics"].values()]
    assert sorted(prices[:-1]) == prices[:-1]
    assert prices[-1] is None
