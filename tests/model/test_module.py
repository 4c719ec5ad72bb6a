"""A torch module of the user's own as a kind of model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from service.errors import BadSettings, LayoutChanged
from service.learn.changes import compare
from service.model.featurizer import Rows
from service.model.kinds import module_code, module_passes, module_warm, recipe_of
from service.model.kinds.module import Module
from service.model.kinds.module_batch import batch_of
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import ModuleCode, Recipe
from service.model.scorer import Scorer
from service.model.state import State
from service.settings import EventSettings, LearningSettings, ModelSettings, Settings
from tests.model import streams
from tests.modules.nets import Net

NET = "tests.modules.nets:Net"
N = 96
KERNELS = ("link_all", "judge", "slopes", "settle", "step_rows", "add_rows")


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Modules ask torch for one thread and determinism; other tests have it as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def recipe(
    learning: dict[str, Any] | None = None, event: dict[str, Any] | None = None, kind: str = NET,
    **arguments: Any,
) -> Recipe:  # fmt: skip
    """Return a recipe of a module, over the event of streams.py or another."""
    module_code.trust(kind)
    return Recipe(
        "test",
        EventSettings.model_validate(event or streams.EVENT),
        ModelSettings.model_validate({"kind": kind, "arguments": arguments}),
        LearningSettings.model_validate(learning or {}),
    )


def learned(of: Recipe, rows: Rows, cuts: int = 1) -> State:
    """Return a fresh state that learned the rows."""
    state = State.fresh(Layout(of))
    for part in np.array_split(np.arange(len(rows)), cuts):
        Model(state.layout).learn(state, rows.take(part), np.ones(len(part)))
    return state


ONE_TARGET: dict[str, Any] = {
    "features": streams.EVENT["features"], "targets": {"fraud": {"type": "binary"}},
}  # fmt: skip


@pytest.mark.parametrize("step_rows", [1, 8])
@pytest.mark.parametrize(
    ("learning", "make"),
    [
        ({"optimizer": "sgd", "learning_rate": 0.05}, lambda p: torch.optim.SGD(p, lr=0.05)),
        ({"optimizer": "adagrad", "learning_rate": 0.1}, lambda p: torch.optim.Adagrad(p, lr=0.1)),
    ],
    ids=["sgd", "adagrad"],
)
def test_learning_gives_the_weights_of_torch_s_own_loop(learning, make, step_rows):
    """The mean loss of each step, backward, step: written out with torch.optim."""
    of = recipe({**learning, "step_rows": step_rows, "cap": None}, ONE_TARGET)
    rows = streams.rows(recipe(), N)
    rows.y = np.nan_to_num(rows.y[:, :1])
    state = State.fresh(Layout(of))
    module = Net(*_told(of))
    module.load_state_dict(_weights(state))
    optimizer = make(module.parameters())

    found = Model(state.layout).learn(state, rows, np.ones(N))
    expected = []
    for first in range(0, N, step_rows):
        part = rows.take(np.arange(first, first + step_rows))
        logits = module(batch_of(of.schema, part))[:, 0]
        expected += torch.sigmoid(logits).tolist()
        optimizer.zero_grad()
        y = torch.from_numpy(part.y[:, 0]).float()
        nn.functional.binary_cross_entropy_with_logits(logits, y).backward()
        optimizer.step()

    np.testing.assert_allclose(found.scores[:, 0], expected, rtol=1e-4, atol=1e-5)
    for name, value in _weights(state).items():
        wanted = module.state_dict()[name]
        torch.testing.assert_close(value, wanted, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.parametrize("rule", streams.RULES, ids=lambda r: f"{r['optimizer']}{len(r)}")
def test_both_ways_through_the_seam_give_the_same_weights(rule):
    """learn, and gradient then apply with one row a step."""
    event = {
        **ONE_TARGET,
        "targets": {"b": {"type": "binary"}, "n": {"type": "number", "scale": "none"}},
    }
    of = recipe({**rule, "step_rows": 1}, event)
    rows = streams.rows(recipe(), 40)
    rows.y = np.column_stack((rows.y[:, :1], np.linspace(-1, 1, 40)))
    fused, stepped = State.fresh(Layout(of)), State.fresh(Layout(of))
    model = Model(fused.layout)

    model.learn(fused, rows, np.ones(40))
    for r in range(40):
        model.apply(stepped, model.gradient(stepped, rows.take(np.array([r])), np.ones(1)))

    for name, value in _weights(stepped).items():
        torch.testing.assert_close(value, _weights(fused)[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("poison", [np.inf, np.nan, 3e38])
def test_f35_a_row_that_is_not_finite_is_found_in_its_step(poison):
    """Its neighbours are learned as if it had not been there, in one step."""
    of = recipe({"step_rows": 64})
    good = streams.rows(of, 30)
    bad = good.take(np.arange(30))
    bad.x[11, 0] = poison
    others = np.delete(np.arange(30), 11)
    state, clean = State.fresh(Layout(of)), State.fresh(Layout(of))

    done = Model(state.layout).learn(state, bad, np.ones(30))
    Model(clean.layout).learn(clean, good.take(others), np.ones(29))

    assert [2 if r == 11 else 1 for r in range(30)] == done.applied.tolist()
    assert np.array_equal(clean.image, state.image)


def test_rows_whose_gradient_alone_is_not_finite_are_found_by_halving():
    """The root of nothing has a finite value and an infinite slope."""
    of = recipe({"step_rows": 32}, kind="tests.modules.nets:Root")
    rows = streams.rows(of, 32)
    rows.x[:, 2] = np.abs(rows.x[:, 2]) + 0.5
    rows.x[[5, 20, 21], 2] = 0.0
    state = State.fresh(Layout(of))

    done = Model(state.layout).learn(state, rows, np.ones(32))

    assert [5, 20, 21] == np.flatnonzero(done.applied == 2).tolist()
    assert np.isfinite(done.scores).all()
    assert state.is_finite()
    assert 1 == state.counts[-1]


def test_a_row_of_weight_zero_is_scored_and_changes_nothing():
    """Held-out rows leave no trace in the state."""
    of = recipe()
    state = State.fresh(Layout(of))
    before = state.image.copy()

    done = Model(state.layout).learn(state, streams.rows(of, 20), np.zeros(20))

    assert np.isfinite(done.scores).all()
    assert np.array_equal(before, state.image)


def test_the_same_cuts_give_the_same_bits_with_dropout():
    """Chance is a function of the seed and the steps taken; and a part of what is learned."""
    of = recipe({"step_rows": 16}, dropout=0.5)
    rows = streams.rows(of, N)

    one, other, plain = (
        learned(of, rows, 3),
        learned(of, rows, 3),
        learned(recipe({"step_rows": 16}), rows, 3),
    )

    assert np.array_equal(one.image, other.image)
    assert not np.array_equal(one.theta, plain.theta)


def test_chance_of_torch_goes_on_as_if_nothing_had_been_learned():
    """Whoever else draws from torch's generator is not disturbed."""
    of = recipe(dropout=0.5)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)

    first = torch.rand(1)
    learned(of, streams.rows(of, 32))

    assert torch.equal(expected, torch.cat([first, torch.rand(1)]))


def test_an_outlier_is_capped_as_everywhere():
    """A label a thousand times the usual moves the weights no more than the cap allows."""
    event = {
        "features": {"a": {"type": "number"}},
        "targets": {"y": {"type": "number", "scale": "none"}},
    }
    of = recipe({"optimizer": "sgd", "learning_rate": 0.01, "step_rows": 1}, event)
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    y[150] = 1e6
    x = np.column_stack((rng.normal(size=200), np.zeros(200))).astype(np.float32)
    rows = streams.plain(x, np.empty((200, 0), dtype=np.int64), y[:, None])

    state = State.fresh(Layout(of))
    done = Model(state.layout).learn(state, rows, np.ones(200))

    assert 3 == done.applied[150]
    assert np.abs(done.scores[151:]).max() < 10.0


@pytest.mark.parametrize("kind", [NET, "tests.modules.nets:Shifted"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_a_number_target_of_any_scale_is_learned(kind, scale):
    """Whether its last layer is known, so that a new frame takes it along, or not."""
    event = {"features": {"a": {"type": "number"}}, "targets": {"y": {"type": "number"}}}
    of = recipe({"step_rows": 4}, event, kind)
    a = np.random.default_rng(0).normal(size=1200)
    y = (3.0 + 2.0 * a) * scale
    rows = streams.plain(
        np.column_stack((a, np.zeros(1200))).astype(np.float32),
        np.empty((1200, 0), dtype=np.int64), y[:, None],
    )  # fmt: skip
    state = State.fresh(Layout(of))

    scores = Model(state.layout).learn(state, rows, np.ones(1200)).scores[:, 0]

    assert np.abs(scores - y)[-300:].mean() < 0.2 * np.std(y)


def test_a_new_frame_changes_no_prediction_where_the_last_layer_is_known():
    """PopArt: the weights of the output are rescaled with it."""
    event = {"features": {"a": {"type": "number"}}, "targets": {"y": {"type": "number"}}}
    of = recipe({"optimizer": "sgd", "learning_rate": 1e-12, "step_rows": 1}, event)
    x = np.zeros((64, 2), dtype=np.float32)
    rows = streams.plain(x, np.empty((64, 0), dtype=np.int64), np.linspace(0, 9, 64)[:, None])

    scores = Model(Layout(of)).learn(learned(of, rows.take(np.arange(2))), rows, np.ones(64)).scores

    assert np.ptp(scores) < 1e-3


def test_the_api_scores_on_memory_that_cannot_be_written():
    """The same predictions as the learner's, from bytes, and again when the image is another."""
    of = recipe()
    scorer = Scorer(of)
    columns = streams.columns(20)
    for seed in (0, 1):
        state = learned(of, streams.rows(of, N, seed))
        image = np.frombuffer(state.image.tobytes(), dtype=np.uint8)

        served = scorer.attach(image).score(columns)
        rows = scorer.featurizer.rows(columns, state.scales)
        np.testing.assert_allclose(served, Model(state.layout).score(state, rows), atol=1e-6)


def test_kept_buffers_are_part_of_the_state():
    """A table of constants goes into snapshots, by its name, and is read from there."""
    of = recipe(kind="tests.modules.nets:WithBuffers")
    state = State.fresh(Layout(of))
    parts = state.parts()["weights"]
    rows = streams.rows(of, 5)
    before = Model(state.layout).score(state, rows)
    parts["module/gain"] *= 2.0

    again, lost = State.of(Layout(of), state.parts())

    assert {"module/gain", "module/mask"} < parts.keys()
    assert [] == lost
    assert np.array_equal(again.image, state.image)
    assert not np.allclose(before, Model(again.layout).score(again, rows))


def test_every_byte_of_the_image_is_named_once():
    """No hole, no overlap that is not an alias."""
    layout = Layout(recipe({"optimizer": "adam"}))
    weights = sum(e.nbytes for e in layout.entries if e.name.startswith("module/"))

    assert 4 * sum(p.numel() for p in Net(*_told(layout.recipe)).parameters()) == weights


def test_code_is_loaded_only_where_the_settings_name_it():
    """A state that speaks of a class leads to no import."""
    of = Recipe(
        "test", EventSettings.model_validate(streams.EVENT),
        ModelSettings.model_validate({"kind": "antigravity:Net"}), LearningSettings(),
    )  # fmt: skip

    with pytest.raises(LayoutChanged, match="which the settings do not name"):
        Layout(Recipe.from_json(of.to_json()))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("no_such_package.nets:Net", "no_such_package"),
        ("tests.no_such_file:Net", "there is no module tests.no_such_file"),
        ("tests.modules.nets:Nut", "holds no class of that name: Nut"),
        ("tests.modules.nets:torch", "holds no class, but something else: torch"),
        ("tests.modules.bad:NoModule", "is no torch.nn.Module"),
        ("tests.modules.bad:WantsMore", "missing 1 required positional argument: 'size'"),
    ],
)
def test_a_class_that_cannot_be_made_is_refused(kind, says):
    """With what Python said of it."""
    with pytest.raises(BadSettings, match=says):
        Layout(recipe(kind=kind))


def test_changed_code_is_a_change_of_settings_as_long_as_its_weights_fit():
    """Another source: journaled. Other shapes: refused, with both of them."""
    one, other, smaller = recipe(), recipe(), recipe()
    shapes = {"module/out.weight": [5, 32]}
    one.module, other.module = ModuleCode("a" * 64, shapes), ModuleCode("b" * 64, shapes)
    smaller.module = ModuleCode("c" * 64, {"module/out.weight": [5, 16]})

    assert "same" == compare(one, Recipe.from_json(one.to_json()))
    assert "settings" == compare(one, other)
    with pytest.raises(
        LayoutChanged, match=r"out.weight has the shape \[5, 32\] in the state, \[5"
    ):
        compare(one, smaller)


def test_a_state_of_other_shapes_is_not_read_with_the_code_of_now():
    """The recipe says what the shapes were."""
    of = recipe_of(_settings(hidden=16))
    raw = of.to_json().replace(b'"hidden":16', b'"hidden":8')

    with pytest.raises(
        LayoutChanged, match=r"hidden.weight: the state has \[16, 6\], the module \[8"
    ):
        Layout(Recipe.from_json(raw))


def test_how_many_rows_a_step_has_travels_with_the_weights():
    """A replay knows it from the journal. It means nothing to models that learn row by row."""
    of = recipe({"step_rows": 7})

    assert 7 == Recipe.from_json(of.to_json()).learning.step_rows
    assert b"step_rows" not in streams.recipe().to_json()


def _settings(**arguments: Any) -> Settings:
    return Settings.model_validate({
        "name": "t", "kafka": {"topics": ["t"]},
        "event": {
            "features": {n: {"type": "number"} for n in "abc"}, "targets": {"y": {"type": "binary"}},
        },
        "model": {"kind": NET, "arguments": arguments},
    })  # fmt: skip


def _told(of: Recipe) -> tuple[Any, Any]:
    from service.model.kinds.module_batch import inputs_of, outputs_of

    return inputs_of(of.schema), outputs_of(of.schema)


def _weights(state: State) -> dict[str, torch.Tensor]:
    parts = state.parts()["weights"]
    return {
        n.removeprefix("module/"): t.clone() for n, t in parts.items() if n.startswith("module/")
    }


def test_all_that_is_compiled_is_compiled_before_it_is_needed():
    """Learning, scoring and the gradient need no other types than the warm-up had."""
    kernels = [getattr(module_passes, name) for name in KERNELS]
    module_warm.compile_all()
    known = [len(kernel.signatures) for kernel in kernels]

    of = recipe({"optimizer": "adagrad"}, dropout=0.1)
    state = learned(of, streams.rows(of, 40), 2)
    Model(state.layout).gradient(state, streams.rows(of, 3), np.ones(3))
    Scorer(of).attach(np.frombuffer(state.image.tobytes(), np.uint8)).score(streams.columns(3))

    assert known == [len(kernel.signatures) for kernel in kernels]


def test_the_api_follows_the_code_of_its_learner(tmp_path, monkeypatch):
    """A live file of newer code has it imported anew; of code that is not there, it says so."""
    file = tmp_path / "followed_net.py"
    file.write_text("class Net:\n    size = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    reference = "followed_net:Net"
    module_code.trust(reference)
    assert 1 == module_code.load(reference).size

    file.write_text("class Net:\n    size = 22\n")
    kept = module_code.load(reference).size
    followed = module_code.follow(reference, module_code.source_of(reference))

    assert (1, True, 22) == (kept, followed, module_code.load(reference).size)
    assert not module_code.follow(reference, "0" * 64)


def test_a_step_in_which_a_bag_is_empty_touches_no_row_of_it():
    """All events of a step may lack a list, a text or a map; with one event a step that is usual."""
    of = recipe({"step_rows": 1}, streams.WIDE)
    rows = streams.rows(of, 6)
    empty = Rows(
        rows.x, rows.ids, np.zeros_like(rows.spans), rows.entries[:0], rows.values[:0], rows.y
    )
    model, state = Model(Layout(of)), State.fresh(Layout(of))
    before = _weights(state)

    done = model.learn(state, empty, np.ones(6))

    assert [1] * 6 == done.applied.tolist()
    moved = {n for n, w in _weights(state).items() if not torch.equal(w, before[n])}
    assert "out.weight" in moved
    assert [] == [name for name in moved if name.startswith("bags.")]


@pytest.mark.parametrize("value", [666.0, 667.0])
def test_an_event_that_ends_forward_is_none_of_bad_settings(value):
    """Those would stop learner and API for good: it is a killer, to be found like any other."""
    of = recipe(kind="tests.modules.bad:Fickle")
    rows = streams.rows(of, 5)
    model, state = Model(Layout(of)), State.fresh(Layout(of))
    rows.x[3, 0] = value

    with pytest.raises(RuntimeError, match=r"BadSettings|SystemExit: 7"):
        model.learn(state, rows, np.ones(5))
    with pytest.raises(RuntimeError, match=r"BadSettings|SystemExit: 7"):
        model.score(state, rows)


def test_the_layer_of_two_outputs_is_not_taken_along_by_the_scale_of_one():
    """Each of them would change with the other's unit."""
    event = {
        "features": {"a": {"type": "number"}},
        "targets": {"fraud": {"type": "binary"}, "price": {"type": "number"}},
    }
    shared, apart = (
        Module(recipe(event=event, kind=kind))._heads.places[:, 0]
        for kind in ("tests.modules.bad:Shared", "tests.modules.bad:Good")
    )

    assert [-1, -1] == shared.tolist()
    assert -1 not in apart


def test_a_clipped_step_moves_the_weights_by_no_more_than_the_clip():
    """`clip` bounds the mean gradient of a step."""
    of = recipe({"optimizer": "sgd", "learning_rate": 1.0, "clip": 0.25, "step_rows": 5})
    rows = streams.rows(of, 5)
    state = State.fresh(Layout(of))
    before = state.theta.copy()

    done = Model(state.layout).learn(state, rows, np.full(5, 3.0))

    assert done.norms.max() <= 0.25 + 1e-6
    np.testing.assert_allclose(np.linalg.norm(state.theta - before), done.norms[0], rtol=1e-4)
