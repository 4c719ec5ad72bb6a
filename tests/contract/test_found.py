"""What the contract checks found, each on its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from service import settings
from service.errors import BadSettings, LayoutChanged
from service.events.columns import Columns, bags_of
from service.learn import changes, history
from service.learn.drift import reset
from service.learn.learner import Learner
from service.learn.telemetry import Telemetry
from service.metrics import Metrics, merge
from service.model.layout import Layout
from service.model.state import State
from service.model.strategies.memory import MOST_ENTRIES
from service.weights.snapshots import Keep, Snapshots
from tests.contract.kinds import event_of, events, learner, one_record, recipe, taught, teach
from tests.learn import cuts

REPLAY = {"replay": {"memory": 16}}


def covariance(one: Learner) -> np.ndarray:
    """Return the matrix of rls."""
    name = next(n for n in one.state.extras if n.startswith("covariance/"))
    return one.state.extras[name]


def said(one: Learner, folder: Path) -> str:
    """Return its metrics as they are scraped."""
    metrics = Metrics("learner")
    Telemetry(metrics).fill(one, None)
    text = merge(metrics, folder).decode()
    for label, left in (
        ('{process="learner"}', ""),
        (',process="learner"', ""),
        ('process="learner",', ""),
    ):
        text = text.replace(label, left)
    return text


@pytest.mark.parametrize(
    ("features", "learning"),
    [
        ({"score": {"type": "number"}}, {}),
        ({"sort": {"type": "category", "buckets": 8}}, {}),
        ({"amount": None}, {}),
        ({}, {"replay": {"memory": 32}}),
        ({}, {"replay": {"memory": 16, "kind": "recent"}}),
    ],
    ids=["a number more", "a category more", "a number less", "more room", "another way"],
)
def test_a_memory_of_other_fields_or_another_size_begins_empty(features, learning):
    """It would otherwise hold blank events, or take one field for another."""
    one = taught(recipe("linear", **REPLAY))
    memory = one.layout.plan.memory
    assert memory is not None
    assert 16 == memory.held(one.state)

    other = history.rebuilt(
        one, recipe("linear", event_of("linear", **features), **REPLAY | learning)
    )
    begun = other.layout.plan.memory
    assert begun is not None
    assert 0 == begun.held(other.state)
    again = history.rebuilt(one, recipe("linear", learning_rate=0.01, **REPLAY))
    kept = again.layout.plan.memory
    assert kept is not None
    assert 16 == kept.held(again.state)


def test_a_memory_keeps_the_largest_entries_of_an_event_that_has_many():
    """As many as there is room for, in their order; the next event in the same place is whole."""
    event = {"features": {"words": {"type": "text", "buckets": 64}}, "targets": {"y": {"type": "binary"}}}  # fmt: skip
    one = learner(recipe("linear", event, replay={"memory": 1, "kind": "recent"}))
    memory = one.layout.plan.memory
    assert memory is not None
    rng = np.random.default_rng(0)
    for n in (MOST_ENTRIES + 36, 3):
        values = rng.permutation(np.arange(1.0, n + 1))
        bag = bags_of([[(100 + at, float(value), 0) for at, value in enumerate(values)]])
        blank = np.zeros(1, dtype=np.int64)
        numbers = np.zeros((1, one.recipe.schema.values))
        codes = np.empty((1, 0), dtype=np.uint64)
        given = Columns(numbers, codes, (bag,), np.ones((1, 1)), blank, blank.astype(np.uint64))
        memory.keep(one.state, given)
        drawn = memory.draw(one.state, 1).bags[0]
        kept = np.flatnonzero(values > n - MOST_ENTRIES)
        assert (100 + kept).tolist() == drawn.codes.tolist()
        assert values[kept].tolist() == drawn.values.tolist()


def test_what_strategies_do_is_told_as_metrics(tmp_path):
    """Which are on, what memories hold, how many events came again, how many blocks contradicted."""
    one = taught(recipe("linear", l2=0.1, agem={"memory": 10, "rows": 4}, **REPLAY))
    text = said(one, tmp_path)

    for name in ("agem", "l2", "replay"):
        assert f'headwater_strategy{{name="{name}"}} 1' in text
    assert 'headwater_memory_events{memory="replay"} 16' in text
    assert 'headwater_memory_events{memory="agem"} 10' in text
    assert "headwater_replayed_events_total 56" in text
    assert "headwater_agem_blocks_total 7" in text
    blocks, conflicts = one.state.extras["agem/figures"].tolist()
    assert f"headwater_agem_conflicts_total {conflicts}" in text
    assert f"headwater_gradient_conflict_ratio {conflicts / blocks}"[:40] in text


@pytest.mark.parametrize("kind", ["linear", "rls"])
def test_a_target_by_the_name_of_a_tensor_is_reset_alone(kind):
    """What a memory or a matrix holds belongs to the target only if it says so."""
    event = event_of("rls")
    event["targets"] = {"numbers": {"type": "number"}, "price": {"type": "number"}}
    one = learner(recipe(kind, event, **REPLAY))
    given = [{**e, "numbers": e["price"]} for e in events(40)]
    cuts.take(one, [one_record(at, e) for at, e in enumerate(given)])
    before = {name: array.copy() for name, array in one.state.extras.items()}
    reset.head(one.state, one.recipe.schema.targets[0])
    moved = {n for n, array in one.state.extras.items() if not np.array_equal(before[n], array)}

    assert {n.rsplit("/", 1)[0] for n in moved} == (
        {"covariance/numbers"} if kind == "rls" else set()
    )


def test_rls_keeps_what_it_knows_of_inputs_that_stay():
    """With a number more: the matrix of the others is as it was, the new one is as at the start."""
    one = taught(recipe("rls"))
    event = event_of("rls", zz={"type": "number"})
    grown = history.rebuilt(one, recipe("rls", event, model={"width": 34}))
    before, after = covariance(one), covariance(grown)
    dense = 1 + one.recipe.schema.inputs
    new = 1 + next(d.start for d in grown.recipe.schema.dense if d.name == "zz")
    place = np.delete(np.arange(34), [new, new + 1])

    assert dense < len(before) == 32
    assert np.array_equal(before, after[np.ix_(place, place)])
    assert np.array_equal(np.eye(34)[[new, new + 1]], after[[new, new + 1]])


def test_rls_refuses_another_width_under_names_and_says_which_it_takes():
    """A number more pushes the hashed inputs: 32 is too few, 34 is right."""
    one, event = recipe("rls"), event_of("rls", zz={"type": "number"})

    with pytest.raises(LayoutChanged, match=r"model\.width.*set it to 34"):
        changes.compare(one, recipe("rls", event))
    assert "layout" == changes.compare(one, recipe("rls", event, model={"width": 34}))


def test_a_matrix_that_rounding_made_useless_starts_anew_and_is_counted(tmp_path):
    """It learns on."""
    one = taught(recipe("rls"))
    assert "headwater_covariance_restarts_total 0" in said(one, tmp_path)
    covariance(one)[:] = -np.eye(len(covariance(one)))
    teach(one, 20, 60)

    assert "headwater_covariance_restarts_total 1" in said(one, tmp_path)
    assert one.state.is_finite()
    assert np.linalg.eigvalsh(covariance(one)).min() > 0.0


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ({"event": event_of("rls") | {"targets": {"price": {"type": "number", "weight": 2}}}}, "weight"),
        ({"drift": {"react": ["raise_rates"]}}, "raise_rates"),
    ],
    ids=["weight", "raise_rates"],
)  # fmt: skip
def test_settings_that_mean_nothing_to_rls_are_refused(section, told, tmp_path):
    """Not ignored."""
    path = tmp_path / "headwater.yaml"
    tree = {
        "name": "t",
        "kafka": {"topics": ["t"]},
        "event": event_of("rls"),
        "model": {"kind": "rls"},
    }
    path.write_text(json.dumps(tree | section))

    with pytest.raises(BadSettings, match=f"{told}.*has no effect"):
        settings.load(path, environment={})


def test_strategies_reach_into_a_module():
    """Frozen weights keep every bit; a pull to zero makes weights shorter; what mattered moves less."""
    plain, frozen, shorter = (
        learner(recipe("module", optimizer="sgd", **way))
        for way in ({}, {"freeze": ["module/hidden.*"]}, {"l2": 5.0})
    )
    start = {n: t.clone() for n, t in plain.state.parts()["weights"].items()}
    for one in (plain, frozen, shorter):
        teach(one, 40)
    weight, free = "module/hidden.weight", "module/out.weight"
    now = {name: one.state.parts()["weights"] for name, one in
           (("plain", plain), ("frozen", frozen), ("shorter", shorter))}  # fmt: skip

    assert bool((now["frozen"][weight] == start[weight]).all())
    assert not bool((now["frozen"][free] == start[free]).all())
    assert not bool((now["plain"][weight] == start[weight]).all())
    assert float(now["shorter"][weight].norm()) < 0.5 * float(now["plain"][weight].norm())

    held = learner(
        recipe("module", optimizer="sgd", ewc={"strength": 1e3, "decay": 0.9, "every": 100_000})
    )
    teach(held, 40)
    now["held"] = held.state.parts()["weights"]
    moved = {name: float((now[name][weight] - start[weight]).norm()) for name in ("plain", "held")}
    assert moved["held"] < 0.8 * moved["plain"]


def test_a_trunk_that_rests_leaves_nothing_of_one_row_in_the_clip_of_the_next():
    """The slopes of embeddings of bags are those of the row before, which may be of another cut."""
    of = recipe("mlp", trunk_every=2, clip=0.1)
    images = []
    for size in (1000, 7, 1):
        one = learner(of)
        teach(one, 50, size=size)
        images.append(one.state.image)

    assert all(np.array_equal(images[0], image) for image in images[1:])


@pytest.mark.parametrize(
    "way", [REPLAY, {"agem": {"memory": 16, "rows": 4}}], ids=["replay", "agem"]
)
def test_a_memory_of_events_that_lack_a_number_or_a_label_goes_into_a_snapshot(way, tmp_path):
    """What is missing is no number, and yet nothing that is broken; it comes out again as missing."""
    one = learner(recipe("linear", **way))
    lacking = [{k: v for k, v in e.items() if k not in {"amount", "price"}} for e in events(20)]
    cuts.take(one, [one_record(i, event) for i, event in enumerate(lacking)])
    kept = Snapshots(tmp_path, Keep(2, 0, 0))

    parts, _ = kept.load(kept.write(one.state.parts(), one.meta()).id)
    state, lost = State.of(Layout(one.recipe), parts)
    memory = state.layout.plan.memory or state.layout.plan.judges
    assert memory is not None
    drawn = memory.draw(state, 4)

    assert [] == lost
    assert np.isnan(drawn.numbers[:, 0]).all()
    assert np.isnan(drawn.targets[:, 2]).all()
