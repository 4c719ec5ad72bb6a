"""Challengers: other models on the same stream, each in a state of its own inside the one image."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from service.errors import LayoutChanged
from service.learn import history, rivals
from service.learn.commands import Refused
from service.learn.crew import working
from service.learn.learner import Learner
from service.metrics import merge
from service.model.kinds import module_code
from service.model.layout import Layout
from service.model.recipe import ModuleCode, Recipe
from service.model.scorer import Scorer
from service.model.state import Parts
from service.settings import MAIN, PromoteSettings
from service.stream.records import Record
from service.weights.digest import digest
from tests.learn.cuts import learner, recipe, record, records, take
from tests.learn.desk import Desk

NUMBERS = {
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}},
    "targets": {"y": {"type": "number"}},
}


def beside(promote: dict | None = None, event: dict | None = None, **kinds: str) -> Recipe:
    """Return a linear recipe with challengers, by name and kind."""
    base = recipe("linear", event, learning_rate=0.1)
    others = {name: recipe(kind, event, learning_rate=0.02) for name, kind in kinds.items()}
    return base.beside(
        {name: base.challenger(one.model, one.learning) for name, one in others.items()},
        None if promote is None else PromoteSettings.model_validate(promote),
    )


def of(parts: Parts, name: str) -> Parts:
    """Return a challenger's own tensors, named as those of a model alone."""
    start = f"challenger/{name}/"
    return {
        part: {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        for part, tensors in parts.items()
    }


def bits(tensors: dict) -> dict[str, bytes]:
    """Return what is comparable; drift is watched by the main model alone."""
    return {n: t.numpy().tobytes() for n, t in tensors.items() if not n.startswith("drift/")}


def answers(desk: Desk) -> list[float]:
    """Return what an API process would answer from the live file."""
    scorer = Scorer(desk.recipe)
    columns, _ = scorer.decoder.features([{"x": 0.5, "c": "c1"}, {"x": -1.0}])
    return scorer.attach(np.frombuffer(desk.live_image(), np.uint8)).score(columns)[:, 0].tolist()


def answers_of(desk: Desk, name: str) -> list[float]:
    """Return the same of one model, whoever answers."""
    scorer, image = Scorer(desk.recipe), desk.learner.state.image
    columns, _ = scorer.decoder.features([{"x": 0.5, "c": "c1"}, {"x": -1.0}])
    if name != MAIN:
        scorer, image = scorer.rivals[name], desk.learner.layout.rivals[name].part(image)
    return scorer.attach(image).score_alone(columns)[:, 0].tolist()


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path, beside(deep="mlp", other="fm"))
    yield made
    made.close()


@pytest.mark.parametrize("event", [None, NUMBERS])
def test_each_model_learns_bit_for_bit_as_if_it_were_alone(event):
    """Weights, optimizer, scores: the main one's and a challenger's."""
    together = learner(beside(event=event, deep="mlp"))
    alone = learner(recipe("linear", event, learning_rate=0.1))
    deep = learner(recipe("mlp", event, learning_rate=0.02))
    for first in (0, 150):
        cut = records(150, first)
        for one in (together, alone, deep):
            take(one, cut)
    parts = together.state.parts()

    for part in ("weights", "optimizer", "metrics"):
        assert bits(alone.state.parts()[part]).items() <= bits(parts[part]).items()
        assert bits(deep.state.parts()[part]) == bits(of(parts, "deep")[part])
    assert {MAIN: 300, "deep": 300} == {
        name: one["targets"]["y"]["scored"] for name, one in together.challengers().items()
    }


def test_a_recipe_without_challengers_is_what_it_was_before_there_were_any():
    """Its canonical form names none, and so do its tensors; with challengers it comes back whole."""
    plain, many = recipe(), beside({"rows": 500}, deep="mlp")
    assert b"challengers" not in plain.to_json()
    assert not [n for part in learner(plain).state.parts().values() for n in part if "rivals" in n]
    assert many == Recipe.from_json(many.to_json())
    assert many.promote is not None
    assert ("mlp", 500) == (many.challengers["deep"].kind, many.promote.rows)


def test_promoted_it_answers_and_still_does_after_a_restart(desk):
    """The journal says who asked for what; the former one goes on learning."""
    desk.learn(records(100))
    main, deep = answers_of(desk, MAIN), answers_of(desk, "deep")
    assert main == answers(desk) != deep

    reply = desk.order("promote", name="deep")
    assert ("deep", MAIN, 2) == (reply["promoted"], reply["was"], reply["published_version"])
    assert (deep, "deep") == (answers(desk), desk.live_meta()["answered_by"])
    [entry] = [e for e in desk.entries() if e["kind"] == "promote"]
    assert ("deep", MAIN, "operator", 2) == tuple(
        entry[k] for k in ("name", "from", "by", "version")
    )
    assert {MAIN: False, "deep": True, "other": False} == {
        name: one["serves"] for name, one in reply["challengers"].items()
    }

    desk.learn(records(50, 100))
    was, version = digest(desk.learner.state.parts()), desk.learner.standing.version
    again = desk.restart()
    assert (was, "deep") == (digest(again.learner.state.parts()), again.learner.state.serves)
    assert version == again.learner.standing.version
    assert 150 == again.learner.challengers()[MAIN]["events_learned"]
    made = again._reach(version, lambda *_: None)
    assert was == digest(made.state.parts())
    again.order("promote", name=MAIN)
    assert answers_of(again, MAIN) == answers(again)
    again.close()


def test_what_is_scored_as_live_is_what_was_answered(desk):
    """Before the change the main model's scores, after it the challenger's."""
    desk.learn(records(100))
    desk.order("promote", name="deep")
    desk.learn(records(200, 100))
    report = desk.learner.challengers()
    live = desk.learner.report()["y"]

    losses = {name: one["targets"]["y"]["metrics"]["log_loss"] for name, one in report.items()}
    assert 300 == live["scored"]
    assert losses[MAIN] != live["metrics"]["log_loss"] != losses["deep"]
    assert min(losses.values()) < live["metrics"]["log_loss"] < max(losses.values())


def test_a_rollback_across_a_promotion_has_the_former_model_answer(desk):
    desk.learn(records(60))
    desk.order("promote", name="other")
    desk.learn(records(60, 60))
    assert "other" == desk.live_meta()["answered_by"]
    desk.order("rollback", to=1)
    assert (MAIN, MAIN) == (desk.learner.state.serves, desk.live_meta()["answered_by"])
    assert answers_of(desk, MAIN) == answers(desk)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x", 'no challenger is called "x"; there are: main, deep, other'),
        (None, "no challenger is called"),
        (MAIN, "main answers already"),
    ],
)
def test_what_cannot_be_promoted_is_refused_with_what_is_possible(name, why, desk):
    desk.learn(records(20))
    with pytest.raises(Refused, match=why):
        desk.order("promote", name=name)
    assert ["genesis"] == desk.kinds()


def test_nothing_is_promoted_while_a_version_is_frozen_or_where_there_is_one_model(desk, tmp_path):
    desk.learn(records(20))
    desk.order("freeze")
    with pytest.raises(Refused, match="unfreeze first"):
        desk.order("promote", name="deep")
    single = Desk(tmp_path / "single", recipe())
    with pytest.raises(Refused, match="there are no challengers"):
        single.order("promote", name="deep")
    single.close()


def test_a_challenger_whose_weights_are_not_finite_cannot_answer(desk):
    desk.learn(records(20))
    desk.learner.state.rivals["deep"].theta[:] = np.inf
    with pytest.raises(Refused, match="deep cannot answer: its weights are not finite"):
        desk.order("promote", name="deep")


def restarted(desk: Desk, under: Recipe) -> Desk:
    """Return a process on the same state under other settings."""
    desk.close()
    return Desk(desk.folder, under, desk.topic)


def test_a_challenger_that_is_added_begins_and_one_that_is_gone_is_dropped(desk):
    """Journaled as a layout; what stays keeps every bit."""
    desk.learn(records(100))
    before = desk.learner.state.parts()
    changed = restarted(desk, beside(deep="mlp", third="linear"))
    parts = changed.learner.state.parts()
    fresh = learner(beside(third="linear")).state.parts()

    assert ["genesis", "layout"] == changed.kinds()
    assert bits(of(before, "deep")["weights"]) == bits(of(parts, "deep")["weights"])
    assert bits(of(fresh, "third")["weights"]) == bits(of(parts, "third")["weights"])
    assert {} == of(parts, "other")["weights"]
    changed.learn(records(50, 100))
    assert {MAIN: 150, "deep": 150, "third": 50} == {
        name: one["events_learned"] for name, one in changed.learner.challengers().items()
    }
    again = changed.restart()
    assert digest(changed.learner.state.parts()) == digest(again.learner.state.parts())
    again.close()


def test_a_new_field_reaches_every_model(desk):
    event = {
        "id": "id",
        "features": {
            "x": {"type": "number"}, "c": {"type": "category", "buckets": 64},
            "new": {"type": "number"},
        },
        "targets": {"y": {"type": "binary"}},
    }  # fmt: skip
    desk.learn(records(100))
    old = desk.learner.state.rivals["deep"].named()
    changed = restarted(desk, beside(event=event, deep="mlp", other="fm"))
    own = changed.learner.state.rivals["deep"].named()
    assert np.array_equal(old["head/y/weight"], own["head/y/weight"])
    changed.learn(records(50, 100))
    assert 150 == changed.learner.challengers()["deep"]["events_learned"]
    changed.close()


def test_the_model_that_answers_cannot_be_taken_out_of_the_settings(desk):
    """Nor be given another name, nor may history go back to where it answered."""
    desk.learn(records(50))
    desk.order("promote", name="deep")
    desk.learn(records(50, 50))
    for without in (
        beside(other="fm"),
        beside(other="fm", renamed="mlp"),
        recipe(learning_rate=0.1),
    ):
        desk.close()
        with pytest.raises(
            LayoutChanged, match=r"challengers.deep is gone .* `headwater promote main`"
        ):
            Desk(desk.folder, without, desk.topic)
    back = Desk(desk.folder, desk.recipe, desk.topic)
    back.order("promote", name=MAIN)
    shorter = restarted(back, beside(other="fm"))
    with pytest.raises(Refused, match=r"challengers\.deep is gone"):
        shorter.order("rollback", to=3)
    shorter.close()


def test_a_challenger_of_another_kind_needs_another_name(desk):
    desk.learn(records(20))
    desk.close()
    with pytest.raises(
        LayoutChanged, match=r"challengers\.deep: model\.kind: the state is of a mlp"
    ):
        Desk(desk.folder, beside(deep="linear", other="fm"), desk.topic)


class Trouble(rivals.Pupil):
    """Learns, and then fails as it is told to."""

    def __init__(self, layout: Layout, how: str) -> None:
        super().__init__(layout)
        self.how = how

    def learn(self, state, columns, learn):
        learned = super().learn(state, columns, learn)
        if self.how == "raised":
            raise RuntimeError("no idea")
        state.theta[0] = np.nan
        state.touched[0] = 1
        return learned


@pytest.mark.parametrize("how", ["raised", "not_finite"])
def test_a_challenger_that_fails_harms_nobody_and_begins_again(how, tmp_path):
    """It answered: the main model answers from that very version on. It sits out, and is counted; what
    was raised is journaled, and a replay takes it from there."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    calm = learner(recipe("linear", learning_rate=0.1))
    desk.learn(records(50))
    desk.order("promote", name="deep")
    pupils = desk.learner._rivals.pupils
    good = pupils["deep"]
    pupils["deep"] = Trouble(desk.learner.layout.rivals["deep"].layout, how)
    desk.learn(records(50, 50))
    pupils["deep"] = good

    report = desk.learner.challengers()["deep"]
    assert (1, 1000, 0) == (report["failures"][how], report["rests"], report["events_learned"])
    assert (MAIN, MAIN) == (desk.learner.state.serves, desk.live_meta()["answered_by"])
    assert {"deep": how} == desk.entries()[-1]["challengers"]
    with pytest.raises(Refused, match="deep failed and sits out; it begins again in 1000 events"):
        desk.order("promote", name="deep")
    fresh = learner(beside(deep="mlp")).state.rivals["deep"]
    assert fresh.image.tobytes() == desk.learner.state.rivals["deep"].image.tobytes()
    for first in range(100, 1200, 50):
        desk.learn(records(50, first))
    assert 100 == desk.learner.challengers()["deep"]["events_learned"]
    for first in range(0, 1200, 50):
        take(calm, records(50, first))
    theirs = calm.state.parts()["weights"]
    assert bits(theirs).items() <= bits(desk.learner.state.parts()["weights"]).items()
    if how == "raised":
        made = desk._reach(desk.learner.standing.version, lambda *_: None)
        assert digest(desk.learner.state.parts()) == digest(made.state.parts())
    desk.close()


def test_a_replay_that_finds_other_failures_than_were_journaled_has_diverged():
    told = learner(beside(deep="mlp"))
    take(told, records(30))
    version = told.standing.version
    cut = records(30, 30)
    step = take(told.copy(), cut)
    entry = step.entry(adapts=False) | {
        "next": {"t": {"0": 60}}, "challengers": {"deep": "not_finite"},
    }  # fmt: skip
    replayed = history.Replayed()
    history.redo(told, entry, lambda _: cut, replayed)
    assert (version + 1, True) == (replayed.diverged_at, "challengers" in (replayed.reason or ""))


def test_a_module_that_raises_is_set_back_and_the_main_model_learns_on():
    """Its code is the user's, and cannot bear 666."""
    event = {
        "features": {"x": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "binary"}},
    }
    kind = "tests.modules.bad:Fickle"
    module_code.trust(kind)
    base = recipe("linear", event)
    own = recipe(kind, event)
    code = ModuleCode(module_code.source_of(kind), {})
    of = learner(base.beside({"own": base.challenger(own.model, own.learning, code)}))
    steps = [
        take(of, [record(at, {"x": x, "y": 1})]) for at, x in enumerate((1.0, 666.0, 2.0, 3.0))
    ]
    assert [{}, {"own": "raised"}, {}, {}] == [step.failed for step in steps]
    assert [{"learned": 1}] * 4 == [step.counts for step in steps]
    assert (0, 998) == tuple(of.challengers()["own"][k] for k in ("events_learned", "rests"))


def test_who_was_promoted_still_answers_where_the_records_since_are_gone(tmp_path):
    """What was learned since is given up, what was ordered is not; and the journal says so."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(30))
    desk.order("promote", name="deep")
    desk.learn(records(30, 30))
    for entry in desk.snapshots.list():
        if entry.manifest is not None and entry.manifest.version > 0:
            shutil.rmtree(desk.folder / "snapshots" / entry.id)
    desk.topic.clear()
    desk.close()
    lost = Desk(desk.folder, desk.recipe, desk.topic, skip_lost=True)
    now = digest(lost.learner.state.parts())
    assert ("deep", 0) == (lost.learner.state.serves, lost.learner.events_learned)
    lost.close()
    again = Desk(desk.folder, desk.recipe, desk.topic, skip_lost=True)
    assert ("deep", now) == (again.learner.state.serves, digest(again.learner.state.parts()))
    again.close()


def test_where_the_model_that_answers_gives_no_finite_scores_the_main_one_takes_over(desk):
    """What was found before a version is published; the journal says that the guard did it."""
    desk.learn(records(20))
    desk.order("promote", name="deep")
    deep = desk.learner.state.rivals["deep"]
    deep.theta[:] = np.nan
    deep.touch_all()
    desk.acts.note("resume", by="test")
    desk.acts.tick()
    desk.acts.tick()
    last = [e for e in desk.entries() if e["kind"] == "promote"][-1]
    assert (MAIN, "guard") == (last["name"], last["by"])
    assert (MAIN, MAIN) == (desk.learner.state.serves, desk.live_meta()["answered_by"])
    assert [("guard", "promote")] == [one for one in desk.told if one[0] == "guard"]
    desk.learn(records(20, 20))
    assert 1 == desk.learner.challengers()["deep"]["failures"]["not_finite"]


def test_each_rest_is_twice_as_long_as_the_one_before():
    of = learner(beside(deep="mlp"))
    rests = []
    for _ in range(9):
        rivals._set_back(of.state, "deep", "raised")
        rests.append(of.challengers()["deep"]["rests"])
    assert [1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 64_000, 64_000] == rests


def stream(n: int, first: int = 0) -> list:
    """Return events in which what matters is a product: nothing that a linear model can see."""
    rng = np.random.default_rng(first)
    found = []
    for i in range(n):
        x, c = float(rng.normal()), int(rng.integers(2))
        event = {"x": x, "c": f"c{c}", "y": int((x > 0) == (c == 0))}
        found.append(Record("t", 0, first + i, first + i, None, json.dumps(event).encode(), None))
    return found


RULE = {"rows": 100, "windows": 3, "margin": 0.02, "rest": 400}


def test_the_rule_promotes_who_is_clearly_better_and_journals_it(tmp_path):
    """Nobody orders it; a replay follows the journal and comes to the same bits."""
    desk = Desk(tmp_path, beside(RULE, deep="mlp", same="linear"))
    for first in range(0, 2000, 50):
        desk.learn(stream(50, first))
    promoted = [e for e in desk.entries() if e["kind"] == "promote"]
    assert [("deep", MAIN, "rule")] == [(e["name"], e["from"], e["by"]) for e in promoted]
    assert "log_loss on y was" in promoted[0]["reason"]
    assert [("rule", "promote")] == desk.told
    assert "deep" == desk.live_meta()["answered_by"]
    made = desk._reach(desk.learner.standing.version, lambda *_: None)
    assert digest(desk.learner.state.parts()) == digest(made.state.parts())
    again = desk.restart()
    assert digest(again.learner.state.parts()) == digest(made.state.parts())
    again.close()


def test_the_rule_leaves_alone_what_somebody_ordered_until_its_rest_is_over(tmp_path):
    """It could promote again after three windows; it waits for 400 events."""
    desk = Desk(tmp_path, beside(RULE, deep="mlp"))
    for first in range(0, 1500, 50):
        desk.learn(stream(50, first))
    assert "deep" == desk.learner.state.serves
    desk.order("promote", name=MAIN)
    by = {}
    for first in range(1500, 2100, 50):
        desk.learn(stream(50, first))
        by[first + 50] = desk.learner.state.serves
    assert {MAIN} == {who for at, who in by.items() if at < 1900}
    assert "deep" == by[1900]
    desk.close()


def test_without_a_rule_nobody_is_promoted(tmp_path):
    desk = Desk(tmp_path, beside(deep="mlp"))
    for first in range(0, 600, 50):
        desk.learn(stream(50, first))
    assert (["genesis"], MAIN) == (desk.kinds(), desk.learner.state.serves)
    desk.close()


def test_metrics_tell_of_every_model(desk, tmp_path):
    desk.learn(records(50))
    desk.order("promote", name="deep")
    desk.acts._t.telemetry.fill(desk.learner, None)
    shown = merge(desk.metrics, tmp_path / "nowhere").decode()
    figure = desk.learner.challengers()["other"]["targets"]["y"]["fading"]["log_loss"]

    lines = dict(line.rsplit(" ", 1) for line in shown.splitlines() if line.startswith("headwater"))
    labels = 'metric="log_loss",model="other",process="learner",target="y",window="fading"'
    assert figure == float(lines[f"headwater_score{{{labels}}}"])
    assert {"0", "1"} == {
        lines[f'headwater_answering{{model="{name}",process="learner"}}'].removesuffix(".0")
        for name in (MAIN, "deep", "other")
    }
    assert 1.0 == float(lines['headwater_promotions_total{by="operator",process="learner"}'])
    learned = 'headwater_challenger_events_learned{challenger="deep",process="learner"}'
    assert 50.0 == float(lines[learned])


def test_a_copy_goes_its_own_way():
    """Challengers too: the guard keeps copies."""
    of: Learner = learner(beside(deep="mlp"))
    take(of, records(30))
    kept = of.copy()
    before = digest(kept.state.parts())
    take(of, records(30, 30))
    rivals.change(of.state, "deep")
    assert (before, MAIN) == (digest(kept.state.parts()), kept.state.serves)
    assert before != digest(of.state.parts())


def test_side_by_side_or_one_after_another_gives_the_same_bits():
    """Two models of one kind share an operator, and nothing else."""
    under = beside(one="linear", two="linear", three="mlp")
    in_turn, at_once = learner(under), learner(under)
    for first in (0, 200):
        take(in_turn, records(200, first))
    with working(4):
        for first in (0, 200):
            take(at_once, records(200, first))
    assert digest(in_turn.state.parts()) == digest(at_once.state.parts())
