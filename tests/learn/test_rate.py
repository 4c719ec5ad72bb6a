"""A learning rate that moves by itself."""

from __future__ import annotations

import json
import math
from functools import cache, partial

import numpy as np
import pytest

from service import settings
from service.errors import BadSettings
from service.learn import history
from service.learn.history import Replayed
from service.learn.learner import Learner
from service.learn.standing import nested, standing_of
from service.model.kinds import module_code
from service.model.scorer import Scorer
from service.model.state import State
from tests.learn.cuts import learner, recipe, record, records, take

EVENT = {
    "id": "id",
    "features": {f"x{j}": {"type": "number"} for j in range(8)},
    "targets": {"y": {"type": "binary"}},
}
N = 24_000
BEST = 0.03
"""The best of .003, .01, .03, .1, .3 on `stream`."""
NET = "tests.modules.nets:Net"
HYPER = {"by": "hypergradient"}
HELD = {"by": "held_out"}


@cache
def stream() -> list:
    """A logistic model that becomes another one half way."""
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(2, 8))
    rows = []
    for i in range(N):
        x = rng.normal(size=8)
        p = 1 / (1 + math.exp(-weights[2 * i // N] @ x))
        event = {f"x{j}": float(x[j]) for j in range(8)}
        rows.append(record(i, {"id": i, **event, "y": int(rng.random() < p)}))
    return rows


def learned(rows: int = N, cut: int = 4000, first: Learner | None = None, **learning) -> Learner:
    """A learner that took the stream."""
    kind = learning.pop("kind", "linear")
    of = first or learner(recipe(kind, EVENT, optimizer="sgd", **learning))
    for start in range(0, rows, cut):
        take(of, stream()[start : min(start + cut, rows)])
    return of


def _same(cut, _):
    return cut


def loss(of: Learner, figures: str = "metrics") -> float:
    """Its log loss."""
    return of.report()["y"][figures]["log_loss"]


@pytest.mark.parametrize("times", [1 / 30, 30])
def test_by_hypergradient_a_wrong_rate_becomes_as_good_as_the_best_fixed_one(times):
    """Thirty times too small or too large costs less than a tenth of the loss, where left alone it
    costs far more."""
    best = loss(learned(learning_rate=BEST))
    wrong = BEST * times

    assert loss(learned(learning_rate=wrong)) > 1.15 * best
    assert loss(learned(learning_rate=wrong, adapt=HYPER)) < 1.1 * best


@pytest.mark.parametrize("times", [1 / 30, 30])
def test_by_held_out_events_a_wrong_rate_comes_within_a_tenth_of_the_best_fixed_one(times):
    """Over the whole stream, a fifth of which it never learns."""
    best = loss(learned(learning_rate=BEST, holdout=0.2))
    wrong = BEST * times

    assert loss(learned(learning_rate=wrong, holdout=0.2)) > 1.15 * best
    adapted = learned(learning_rate=wrong, holdout=0.2, adapt=HELD)
    assert loss(adapted) < 1.1 * best


def test_held_out_events_of_several_targets_are_compared_whatever_their_units():
    """Seconds or milliseconds, beside a probability: the rate is the same. A target that is no
    number has no unit, and counts as before."""
    event = EVENT | {"targets": {"y": {"type": "binary"}, "v": {"type": "number"}}}

    def rate(unit: float) -> float | None:
        of = learner(recipe("linear", event, holdout=0.2, adapt=HELD | {"every": 20}))
        rng = np.random.default_rng(1)
        rows = []
        for i in range(600):
            x = rng.normal(size=8)
            told = {"y": int(x[0] > 0), "v": unit * float(10 + 3 * x[1] + rng.normal())}
            rows.append(record(i, {"id": i, **{f"x{j}": float(x[j]) for j in range(8)}, **told}))
        take(of, rows)
        return of.rate

    seconds, milliseconds = rate(1.0), rate(1000.0)
    assert seconds != 0.05
    assert seconds == pytest.approx(milliseconds, rel=1e-3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("adapt", [HYPER, HELD], ids=lambda a: a["by"])
def test_how_rows_are_cut_changes_no_bit_of_it(kind, adapt):
    """Steps go over the borders of cuts."""
    settings = {"kind": kind, "holdout": 0.2, "adapt": adapt | {"every": 13}}
    whole, pieces = (learned(1400, cut, **settings) for cut in (1400, 23))

    assert whole.rate != 0.05
    assert np.array_equal(whole.state.image, pieces.state.image)


@pytest.mark.parametrize(("kind", "target"), [("linear", "number"), ("svm", "binary")])
def test_frames_that_move_within_a_step_change_no_bit_of_it_either(kind, target):
    """What weights would be is scored in the frames of the step that they are of."""
    event = EVENT | {"targets": {"y": {"type": target}}}
    of = recipe(kind, event, holdout=0.2, adapt=HELD | {"every": 13})
    whole, pieces = learner(of), learner(of)
    given = stream()[:300]
    take(whole, given)
    for r in given:
        take(pieces, [r])

    assert np.array_equal(whole.state.image, pieces.state.image)


@pytest.mark.parametrize("adapt", [HYPER, HELD], ids=lambda a: a["by"])
def test_a_learner_resumed_from_its_parts_goes_on_with_its_rate(adapt):
    """What the rate moves by lies in the state."""
    straight, first = (learned(1000, 500, holdout=0.2, adapt=adapt) for _ in range(2))
    state, lost = State.of(first.layout, first.state.parts())
    second = Learner(first.recipe, state, standing_of(first.meta()))
    for of in (straight, second):
        take(of, stream()[1000:1700])

    assert [] == lost
    assert np.array_equal(straight.state.image, second.state.image)


@pytest.mark.parametrize("kind", ["linear", "mlp", "fm", NET])
def test_a_target_in_another_unit_is_no_step(kind):
    """Weights that are brought to a new frame were not moved by the events: where each step goes on
    in the direction of the one before, the rate never falls. Of a user's module it is not known which
    weights were brought along: it stands still."""
    module_code.trust(NET)
    event = {
        "features": {"x": {"type": "number", "scale": "none"}},
        "targets": {"y": {"type": "number", "scale": "auto"}},
    }
    adapt = {"by": "hypergradient", "every": 8, "lowest": 1e-6, "highest": 1.0}
    of = learner(recipe(kind, event, optimizer="sgd", learning_rate=1e-4, adapt=adapt))
    rng, moved, frame, renewed, rate = np.random.default_rng(3), [], None, False, 0.0
    for first in range(0, 640, 8):
        x = rng.normal(size=8)
        level = 3.0 if first < 40 else 150.0
        take(
            of, [record(first + i, {"x": float(v), "y": level * float(v)}) for i, v in enumerate(x)]
        )
        before, rate = rate, float(of.state.extras["rate"][0])
        now = of.state.frames[0, 3:].copy()
        again = frame is not None and not np.array_equal(now, frame)
        if first >= 32 and (again or renewed):
            moved.append(math.log(rate / before))
        frame, renewed = now, again

    assert len(moved) >= 8
    if kind == NET:
        assert {0.0} == set(moved)
    else:
        assert min(moved) > 0.02


def test_the_rate_stays_within_its_bounds():
    """However far it is pulled."""
    for start, end in ((0.005, 0.006), (1.0, 0.9)):
        low, high = min(start, end), max(start, end)
        adapt = HYPER | {"lowest": low, "highest": high, "pace": 1.0}
        rates = []
        of = learner(recipe("linear", EVENT, optimizer="sgd", learning_rate=start, adapt=adapt))
        for at in range(0, 4000, 200):
            rates.append(take(of, stream()[at : at + 200]).rate)
        assert low <= min(rates) <= max(rates) <= high
        assert end in rates


def test_a_replay_gives_the_same_rates_and_says_where_it_does_not():
    """Each cut's entry holds the rate after it."""
    of = recipe("linear", EVENT, optimizer="sgd", adapt=HYPER)
    entries, done = [], learner(of)
    for at in range(0, 1200, 400):
        step = take(done, stream()[at : at + 400])
        entries.append(
            {"version": step.version, "kind": "cut", "next": nested({("t", 0): at + 400}),
             "records": 400, "keys": step.keys, "loss": step.loss, "rate": step.rate}
        )  # fmt: skip
    again, replayed = learner(of), Replayed()
    for entry in entries:
        end = entry["next"]["t"]["0"]
        cut = stream()[end - 400 : end]
        again = history.redo(again, entry, partial(_same, cut), replayed)

    assert 3 == len({entry["rate"] for entry in entries})
    assert replayed.diverged_at is None
    assert np.array_equal(done.state.image, again.state.image)
    other = learner(of)
    history.redo(other, entries[0] | {"rate": 0.5}, lambda _: stream()[:400], replayed)
    assert "the rate is" in str(replayed.reason)
    assert "0.5 was journaled" in str(replayed.reason)


def test_a_rate_that_is_set_anew_begins_there():
    """And whoever adds adapt to a state has a rate that begins at the setting."""
    plain = learned(400, learning_rate=0.01)
    adapted = history.rebuilt(
        plain, recipe("linear", EVENT, optimizer="sgd", learning_rate=0.01, adapt=HYPER)
    )
    take(adapted, stream()[400:431])
    assert 0.01 == adapted.rate
    take(adapted, stream()[431:2000])
    assert 0.01 != adapted.rate
    moved = history.rebuilt(
        adapted, recipe("linear", EVENT, optimizer="sgd", learning_rate=0.2, adapt=HYPER)
    )
    take(moved, stream()[2000:2001])
    assert 0.2 == moved.rate


def test_the_api_sees_the_rate():
    """From the live image, with and without adapt."""
    for of in (learned(700, adapt=HYPER), learned(700)):
        assert of.rate == Scorer(of.recipe).attach(of.state.image).learning_rate()
        assert json.loads(json.dumps(of.meta()))["learning_rate"] == of.rate


def test_events_that_cannot_be_learned_move_no_rate():
    """Without a label, and with one that is broken."""
    of = learner(recipe(adapt=HYPER | {"every": 1}))
    take(of, records(50))
    before = of.rate
    take(of, [record(50 + i, {"id": 50 + i, "x": 1.0}) for i in range(20)])
    take(of, [record(70 + i, b"no json") for i in range(20)])

    assert before == of.rate != 0.05


def test_a_rate_without_a_named_bound_rises_to_thirty_times_its_beginning():
    """Steps that always go on the same way: the same event again and again."""
    of = learner(recipe(adapt=HYPER | {"every": 1, "pace": 1.0}, learning_rate=1e-4))
    take(of, [record(i, {"id": i, "x": 1.0, "y": 1}) for i in range(200)])

    assert 3e-3 == pytest.approx(of.rate)


@pytest.mark.parametrize(
    ("learning", "said"),
    [
        ({"adapt": {"by": "held_out"}}, "none are"),
        ({"adapt": HYPER | {"highest": 0.01}}, "not between lowest and highest"),
        ({"adapt": HYPER | {"highest": 10}, "learning_rate": 50}, "not between lowest and highest"),
        ({"adapt": HYPER, "learning_rate": 1e-6}, "not between lowest and highest"),
        ({"adapt": {"by": "magic"}}, "hypergradient"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_settings_that_cannot_work_are_refused(learning, said, tmp_path):
    """With what to do."""
    path = tmp_path / "headwater.yaml"
    tree = {"name": "t", "kafka": {"topics": ["t"]}, "event": EVENT, "learning": learning}
    path.write_text(json.dumps(tree))

    with pytest.raises(BadSettings, match=said):
        settings.load(path, environment={})
