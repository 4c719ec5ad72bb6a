"""Who of the experts works: what is left out level by level, and who sleeps until it is missed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.learn.learner import Learner
from service.model.experts import rota
from service.model.experts.rota import left_out_of
from service.model.experts.seam import Divided, Expert, Held
from service.model.kinds.mixture import Mixture
from service.weights.digest import digest
from tests.learn import cuts

NUMBERS = {
    "x": {"type": "number"},
    "z": {"type": "number"},
    "c": {"type": "category", "buckets": 64},
}
TARGETS = {
    "binary": {"type": "binary"},
    "multiclass": {"type": "multiclass", "classes": ["a", "b", "c"]},
    "number": {"type": "number"},
}


def learner(kind: str = "binary") -> Learner:
    """Return a learner of a mixture for one target."""
    event = {"id": "id", "features": NUMBERS, "targets": {"y": TARGETS[kind]}}
    return cuts.learner(cuts.recipe("mixture", event))


def teach(
    one: Learner, n: int, first: int = 0, size: int = 100, *, turned: bool = False
) -> list[float]:
    """Have it learn n events, so many in a cut; return their scores. turned: the world is another."""
    found: list[float] = []
    for at in range(first, first + n, size):
        last = min(at + size, first + n)
        records = [cuts.record(i, event(one, i, turned=turned)) for i in range(at, last)]
        found.extend(cuts.take(one, records).scores[:, 0].tolist())
    return found


def event(one: Learner, i: int, *, turned: bool) -> dict[str, object]:
    rng = np.random.default_rng(i)
    x, z = (float(v) for v in rng.normal(size=2))
    signal = (x - 0.5 * z + 0.3 * (i % 5)) * (-1.0 if turned else 1.0)
    match one.recipe.schema.targets[0].kind:
        case "binary":
            y: object = int(signal > 0.5)
        case "multiclass":
            y = "abc"[int(np.digitize(signal, [0.0, 1.0]))]
        case _:
            y = 7.0 + 3.0 * signal
    return {"id": i, "x": x, "z": z, "c": f"c{i % 5}", "y": y}


def kind_of(one: Learner) -> Mixture:
    assert isinstance(one.layout.kind, Mixture)
    return one.layout.kind


def asleep(one: Learner) -> set[str]:
    """Return the members that sleep."""
    standings = kind_of(one).standings(one.state.extras)["y"]
    return {each.member for each in standings if not each.awake}


def tensor(one: Learner, name: str) -> NDArray[Any]:
    """Return a tensor of the target's experts."""
    named = one.state.named()
    return named[next(each for each in named if f"experts/y/{name}" in each)]


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Everything happens within some hundred rows; every trial of fewer experts passes."""
    sizes = {
        "BLOCK": 16, "FIRST": 48, "TRIAL": 48, "LEAD": 16, "SLEEP": 160, "LONGEST": 640, "PAUSE": 24,
    }  # fmt: skip
    for name, value in sizes.items():
        monkeypatch.setattr(rota, name, value)
    monkeypatch.setattr(rota, "TOLERANCE", 1e3)
    monkeypatch.setattr(rota, "SHARE", 1e9)
    monkeypatch.setattr(rota, "JUMP", 1e9)
    return monkeypatch


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many rows each expert learned, how many it scored, and what it was told to leave out."""
    counts: Counter[str] = Counter()
    made = Mixture.__init__

    def spied(expert: Expert) -> None:
        learn, score = expert.learn, expert.score

        def count(rows):
            counts[f"{expert.name} learned"] += int((rows.weights > 0).sum())
            counts.update(f"{expert.name} without {work}" for work in rows.rest)

        def learned(held, rows, into):
            count(rows)
            learn(held, rows, into)

        def divided(held, rows, into):
            count(rows)
            return works(held, rows, into)

        def scored(held, rows, into):
            counts[f"{expert.name} scored"] += len(rows)
            score(held, rows, into)

        if isinstance(expert, Divided):
            works = expert.works
            expert.works = divided  # type: ignore[method-assign]
        else:
            expert.learn = learned  # type: ignore[method-assign]
        expert.score = scored  # type: ignore[method-assign]

    def init(self: Mixture, *given: object) -> None:
        made(self, *given)  # type: ignore[arg-type]
        for ensemble in self._ensembles:
            for expert in ensemble.experts:
                spied(expert)

    monkeypatch.setattr(Mixture, "__init__", init)
    return counts


def test_works_are_left_out_one_after_another_and_taken_up_again(called):
    """Replays, crosses, half the forests, the plain linear bank, half the memory, then most of the
    linear experts' rows; the counts say of how many events."""
    one = learner()
    told: list[tuple[int, ...]] = []
    for level in range(len(one.sheds) + 1):
        one.shed(level)
        called.clear()
        teach(one, 40, first=40 * level)
        told.append(tuple(called[name] for name in (
            "nets without replays", "cross learned", "forest without forest/own",
            "newton without newton/plain", "kernel without ring", "newton learned",
        )))  # fmt: skip
    one.shed(0)
    called.clear()
    teach(one, 40, first=1000)

    assert ("replays", "crosses", "windows", "plain", "ring", "solves") == one.sheds
    assert [
        (0, 40, 0, 0, 0, 40), (1, 40, 0, 0, 0, 40), (1, 0, 0, 0, 0, 40), (1, 0, 1, 0, 0, 40),
        (1, 0, 1, 1, 0, 40), (1, 0, 1, 1, 1, 40), (1, 0, 1, 1, 1, 10),
    ] == told  # fmt: skip
    assert (40, 0) == (called["cross learned"], called["nets without replays"])
    assert (240, 200, 160, 120, 80, 40) == kind_of(one).effort(one.state.extras).rows


@pytest.mark.parametrize("kind", ["binary", "number"])
def test_how_rows_are_cut_changes_no_bit_while_work_is_left_out(kind):
    found = []
    for size in (150, 37):
        one = learner(kind)
        teach(one, 150, size=size)
        one.shed(6)
        teach(one, 150, 150, size=size)
        one.shed(1)
        teach(one, 50, 300, size=size)
        found.append(digest(one.state.parts()))

    assert found[0] == found[1]


def test_what_is_served_leaves_out_the_same_as_what_is_learned(called):
    """An event is scored the same before it is learned, by the learner and by the API."""
    one = learner()
    teach(one, 120)
    one.shed(6)
    called.clear()
    records = [cuts.record(120, event(one, 120, turned=False))]
    before = one.score(one.decode(records).columns)[0, 0]
    scored = Counter(called)
    learned = cuts.take(one, records).scores[0, 0]

    assert learned == pytest.approx(before, rel=1e-5)
    assert (0, 1) == (scored["cross scored"], scored["forest scored"])


def test_half_of_the_memory_goes_on_where_it_was(monkeypatch):
    """Rows go to the half that is used, from when all of the ring is filled."""
    one = learner()
    teach(one, 2100, size=700)
    ring = tensor(one, "kernel/ring")
    held = ring.copy()
    one.shed(5)
    teach(one, 60, 2100)
    moved = np.flatnonzero((ring != held).any(axis=0))

    assert list(range(2100 % 1024, 2160 % 1024)) == moved.tolist()


@pytest.mark.parametrize("kind", TARGETS)
def test_sleep_and_waking_do_not_depend_on_how_rows_are_cut(hasty, kind):
    """Trials, sleepers and a waking in the middle of cuts of any size: the same bits."""
    found, slept = [], []
    for size in (600, 37):
        hasty.setattr(rota, "TOLERANCE", 1e3)
        one = learner(kind)
        teach(one, 400, size=min(size, 400))
        slept.append(asleep(one))
        hasty.setattr(rota, "TOLERANCE", -1e3)  # every probation passes
        teach(one, 240, 400, size=min(size, 240))
        slept.append(asleep(one))
        found.append(digest(one.state.parts()))

    assert found[0] == found[1]
    assert slept[:2] == slept[2:]
    assert slept[0] - slept[1]


def test_a_sleeper_is_neither_learned_nor_scored_and_predictions_go_on(hasty, called):
    one = learner()
    teach(one, 600)
    gone = asleep(one)
    tensor(one, "rota/due")[:] = 1 << 40  # no probation meanwhile
    tensor(one, "rota/trial")[:] = 0
    called.clear()
    scores = teach(one, 64, 600)
    one.score(one.decode([cuts.record(700, event(one, 700, turned=False))]).columns)

    assert {"cross/1", "kernel/0.6", "nets/a0.02", "forest/8192"} <= gone
    sleepers = ("cross", "kernel", "nets", "forest", "newton")
    assert [0] * 10 == [
        called[f"{name} {what}"] for name in sleepers for what in ("learned", "scored")
    ]
    assert (64, 1) == (called["prior learned"], called["prior scored"])
    assert np.isfinite(scores).all()


def test_nobody_sleeps_before_the_first_trial_and_one_that_fails_is_never_heard_of(hasty):
    """Whether there were trials or not, what is served is the same to the bit."""
    hasty.setattr(rota, "TOLERANCE", -1e3)
    tried = learner()
    with_trials = teach(tried, 400)
    hasty.setattr(rota, "FIRST", 1 << 40)
    never = learner()
    without = teach(never, 400)

    assert with_trials == without
    assert set() == asleep(tried) == asleep(never)


@pytest.mark.parametrize("limit", ["TOLERANCE", "SHARE"])
def test_where_every_trial_fails_nobody_sleeps_and_trials_are_ever_fewer(hasty, limit):
    hasty.setattr(rota, limit, -1e3)
    one, running = learner(), []
    for first in range(0, 1200, 16):
        teach(one, 16, first)
        running.append(bool(tensor(one, "rota/trial").any()))

    assert asleep(one) == set()
    assert sum(running[3:28]) > 8
    assert sum(running[-25:]) < 0.6 * sum(running[3:28])


def test_who_is_missed_stays_awake_and_who_is_not_sleeps(hasty):
    """The mixture without the nets, forests, memory, crosses and linear experts at once would do
    worse; without one or two of so many alike it does as well."""
    hasty.setattr(rota, "TOLERANCE", 0.02)
    for name, value in {"BLOCK": 64, "FIRST": 256, "TRIAL": 384, "LEAD": 128}.items():
        hasty.setattr(rota, name, value)
    one = learner()
    scores = np.array(teach(one, 4000, size=1000))
    y = np.array([event(one, i, turned=False)["y"] for i in range(4000)])
    right = ((scores > 0.5) == (y > 0.5))[2000:].mean()

    names = set(kind_of(one)._ensembles[0].members)
    assert asleep(one)
    assert asleep(one) < names - {"prior/4", "bayes/0.998"}
    assert right > 0.95


def test_everyone_is_woken_when_the_mixture_does_worse_all_at_once(hasty):
    one = learner()
    teach(one, 600)
    before = asleep(one)
    hasty.setattr(rota, "JUMP", 2.0)
    teach(one, 64, 600, turned=True)

    assert before
    assert set() == asleep(one)


def test_a_trial_ends_when_work_is_left_out(hasty):
    """The level decides alone then: who was on probation goes on sleeping."""
    one = learner()
    teach(one, 112)
    trial = tensor(one, "rota/trial")
    began = trial.any()
    one.shed(1)
    teach(one, 32, 112)

    assert began
    assert not trial.any()


def test_a_kind_of_one_expert_has_nothing_to_leave_out():
    alone = cuts.learner(cuts.recipe("bayes"))
    teach_some = cuts.take(alone, cuts.records(5))

    assert () == alone.sheds
    assert 5 == teach_some.counts["learned"]
    assert not [name for name in alone.state.named() if "/rota/" in name or "/trial/" in name]


def test_experts_have_nothing_more_to_leave_out_than_is_their_work():
    assert () == left_out_of({"bayes", "prior"})
    assert ("replays",) == left_out_of({"nets", "bayes"})
    assert rota.LEFT_OUT == left_out_of({"nets", "squares"})


def test_what_is_usual_follows_the_unit_of_a_number(hasty):
    """A loss in other units is no jump, and a trial is judged as it would have been."""
    one = learner("number")
    teach(one, 70)
    rota_of = kind_of(one)._ensembles[0].rota
    assert rota_of is not None
    held = Held({t.name: tensor(one, f"rota/{t.name}") for t in rota_of.tensors}, {})
    usual, figures = held.at["usual"].copy(), held.at["figures"].copy()
    rota_of.rescale(held, 2.0, 5.0)

    assert (usual > 0).all()
    assert [1.0, 2.0, 4.0] == (held.at["usual"] / usual).tolist()
    assert (figures * [1.0, 2.0, 4.0, 1.0, 2.0]).tolist() == held.at["figures"].tolist()
