"""What each strategy is for: it wins by a margin on a stream that needs it, over plain learning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from service.events.decode import Columns
from service.model.featurizer import Featurizer, Rows
from service.model.layout import Layout
from service.model.learning import Model
from service.model.recipe import Recipe
from service.model.state import State
from service.model.strategies.lesson import Lesson
from service.settings import EventSettings, LearningSettings, ModelSettings

PLAIN: dict[str, Any] = {}
BINARY: dict[str, Any] = {"type": "binary"}
SGD = {"optimizer": "sgd", "learning_rate": 0.05, "cap": None}


class Taught:
    """A state and what teaches it; `learning` may change on the way, as at a restart."""

    def __init__(
        self, width: int, kind: str = "linear", target: dict[str, Any] | None = None,
        **learning: Any,
    ) -> None:  # fmt: skip
        self._width, self._kind = width, kind
        self._target = target or {"type": "binary"}
        self._begin(learning)
        self.state = State.fresh(self.layout)

    def _begin(self, learning: dict[str, Any]) -> None:
        features = {f"x{j:02}": {"type": "number", "scale": "none"} for j in range(self._width)}
        event = {"features": features, "targets": {"y": self._target}}
        of = Recipe(
            "test",
            EventSettings.model_validate(event),
            ModelSettings.model_validate({"kind": self._kind, "hidden": 32}),
            LearningSettings.model_validate({**SGD, **learning}),
        )
        self.layout = Layout(of)
        self._featurizer = Featurizer(of.schema)
        self._model = Model(self.layout)
        self._lesson = Lesson(self.layout, self._featurizer, self._model)

    def restart(self, **learning: Any) -> None:
        """Go on under other settings."""
        self._begin(learning)
        self.state, _ = State.of(self.layout, self.state.parts())

    def learn(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Learn rows; return the scores [N, O] from before."""
        every = np.ones(len(x), dtype=np.bool_)
        return self._lesson.learn(self.state, _columns(x, y), every).scores

    def score(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return scores [N, O]."""
        return self._model.score(self.state, self.rows(x, np.zeros(len(x))))

    def rows(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> Rows:
        """Return inputs and labels as a model reads them."""
        return self._featurizer.rows(_columns(x, y), self.state.scales)

    def loss(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        """Return the mean log loss."""
        return log_loss(self.score(x), y)


def _columns(x: NDArray[np.float64], y: NDArray[np.float64]) -> Columns:
    blank = np.zeros(len(x), dtype=np.int64)
    codes = np.empty((len(x), 0), dtype=np.uint64)
    return Columns(x, codes, (), y[:, None], blank, blank.astype(np.uint64))


def log_loss(scores: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the mean log loss of scores [N, 1] or [N, K]."""
    given = y.astype(np.int64)
    if scores.shape[1] == 1:
        right = np.where(given == 1, scores[:, 0], 1.0 - scores[:, 0])
    else:
        right = scores[np.arange(len(given)), given]
    return float(-np.log(np.clip(right, 1e-15, 1.0)).mean())


def labels(z: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return labels drawn with the probability sigmoid(z)."""
    return (rng.random(len(z)) < 1.0 / (1.0 + np.exp(-z))).astype(np.float64)


def two_tasks(n: int = 3000) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return an old task, a new one, and fresh rows of both. The new one could be learned by
    inputs 4 to 7 alone, but it also pulls inputs 0 to 3, which the old one needs, the wrong way."""
    rng = np.random.default_rng(7)
    found = []
    for old in (True, False, True, False):
        x = rng.normal(size=(n, 8))
        x[:, 4:] *= 0.0 if old else 1.0
        y = labels(3.0 * x[:, 0] - 3.0 * x[:, 1], rng)
        if not old:
            y = labels(4.0 * x[:, 4] - 4.0 * x[:, 5], rng)
            x[:, 0] = 0.5 * x[:, 0] - 0.7 * (2 * y - 1)
        found.append((x, y))
    return found


def after_both(**learning: Any) -> tuple[float, float]:
    """Return the loss on the old and on the new task, after learning one and then the other."""
    old, new, old_again, new_again = two_tasks()
    one = Taught(8, **learning)
    one.learn(*old)
    one.learn(*new)
    return one.loss(*old_again), one.loss(*new_again)


def test_ewc_keeps_what_an_old_task_needs_while_a_new_one_is_learned():
    """The old task's loss stays far lower, the new one is still learned."""
    plain, held = after_both(), after_both(ewc={"strength": 10.0, "decay": 0.9995, "every": 500})
    assert held[0] < 0.4 * plain[0]
    assert held[1] < 0.5


@pytest.mark.parametrize("kind", ["reservoir", "balanced", "recent"])
def test_replay_keeps_an_old_task_while_a_new_one_is_learned(kind):
    """One old event for each new one."""
    plain = after_both()
    again = after_both(replay={"memory": 2000, "kind": kind})
    assert again[0] < (0.75 if kind != "recent" else 0.95) * plain[0]
    assert again[1] < 0.5


def test_a_step_that_contradicts_the_memory_is_bent():
    """A-GEM: the old task's loss stays lower, and conflicts are counted."""
    plain, bent = after_both(), after_both(agem={"memory": 2000, "rows": 64})
    assert bent[0] < 0.75 * plain[0]
    assert bent[1] < 0.6


def test_balanced_replay_remembers_classes_that_come_one_after_the_other():
    """Four classes in blocks: afterwards all of them are known, not just the last."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(4, 6)) * 2.0
    y = np.repeat(np.arange(4), 600).astype(np.float64)
    x = centres[y.astype(int)] + rng.normal(size=(len(y), 6))
    fresh = rng.integers(0, 4, 1000)
    seen = centres[fresh] + rng.normal(size=(1000, 6))
    target = {"type": "multiclass", "classes": ["a", "b", "c", "d"]}
    losses = []
    for learning in (PLAIN, {"replay": {"memory": 200, "kind": "balanced"}}):
        one = Taught(6, target=target, **learning)
        one.learn(x, y)
        losses.append(one.loss(seen, fresh.astype(np.float64)))
    assert losses[1] < 0.5 * losses[0]


def test_a_pull_to_zero_helps_where_most_inputs_are_noise():
    """Sixty inputs, two that matter, a rate that does not fall."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8000, 60))
    y = labels(1.5 * x[:, 0] - x[:, 1], rng)
    losses = {}
    for name in ("plain", "l2", "l2_init"):
        one = Taught(60, learning_rate=0.1, **(PLAIN if name == "plain" else {name: 0.1}))
        losses[name] = log_loss(one.learn(x, y)[2000:], y[2000:])
    assert losses["l2"] < 0.85 * losses["plain"]
    assert losses["l2_init"] == pytest.approx(losses["l2"], rel=1e-6)  # a linear one starts at zero


def test_a_pull_to_first_weights_keeps_a_network_able_to_learn():
    """Thirty tasks with new random labels each: the last ones are learned better."""
    losses = []
    for learning in (PLAIN, {"l2_init": 0.01}):
        rng = np.random.default_rng(5)
        one = Taught(10, "mlp", optimizer="adam", learning_rate=0.03, **learning)
        x, late = rng.normal(size=(64, 10)), []
        for task in range(30):
            y = rng.integers(0, 2, 64).astype(np.float64)
            scores = [one.learn(x, y) for _ in range(6)]
            if task >= 20:
                late.append(log_loss(scores[-1], y))
        losses.append(float(np.mean(late)))
    assert losses[1] < 0.7 * losses[0]


def test_lookahead_takes_back_what_single_events_pull_to_and_fro():
    """At a rate that is far too high for labels that are noisy, the loss is clearly lower."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(4000, 12))
    y = labels(x[:, 0] - x[:, 1], rng)
    found = []
    for learning in (PLAIN, {"lookahead": {"share": 0.2}, "step_rows": 16}):
        one = Taught(12, learning_rate=0.5, **learning)
        scores = one.learn(x, y)
        found.append(log_loss(scores[1000:], y[1000:]))
    assert found[1] < 0.85 * found[0]


def test_the_average_is_steadier_than_weights_that_move_at_a_high_rate():
    """The loss before learning is lower."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(8000, 20))
    y = labels(x[:, 0] - x[:, 1], rng)
    losses = []
    for learning in (PLAIN, {"average": {"decay": 0.005}}):
        one = Taught(20, learning_rate=0.2, **learning)
        losses.append(log_loss(one.learn(x, y)[2000:], y[2000:]))
    assert losses[1] < 0.8 * losses[0]


def test_frozen_weights_outlive_a_stream_of_wrong_labels():
    """What was learned is frozen at a restart; only the bias moves on."""
    rng = np.random.default_rng(4)
    x = rng.normal(size=(4000, 4))
    y = labels(3.0 * x[:, 0], rng)
    losses = []
    for learning in (PLAIN, {"freeze": ["head/y/number/*"]}):
        one = Taught(4)
        one.learn(x[:2000], y[:2000])
        one.restart(**learning)
        one.learn(x[2000:3000], 1.0 - y[2000:3000])
        losses.append(one.loss(x[3000:], y[3000:]))
    assert losses[1] < 0.4 * losses[0]


@pytest.mark.parametrize("how", [{"class_weights": {"1": 20}}, {"balance": True}])
def test_a_rare_class_that_counts_more_is_found_more_often(how):
    """One in fifty: more of them get a probability above one half."""
    rng = np.random.default_rng(6)
    y = (rng.random(12_000) < 0.02).astype(np.float64)
    x = rng.normal(size=(12_000, 3)) + 1.5 * y[:, None]
    found = []
    for target in (BINARY, {"type": "binary", **how}):
        one = Taught(3, target=target)
        one.learn(x[:8000], y[:8000])
        said = one.score(x[8000:])[:, 0] > 0.5
        true = y[8000:] == 1.0
        found.append((said[true].mean() + (~said[~true]).mean()) / 2.0)
    assert found[1] > found[0] + 0.1


@pytest.mark.parametrize("rate", [0.05, 5.0, 50.0])
@pytest.mark.parametrize("kind", ["binary", "number"])
@pytest.mark.parametrize("model", ["linear", "fm"])
def test_safe_steps_never_overshoot(model, kind, rate):
    """At any rate each step moves the prediction towards the label and never past it."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(400, 5)) * 3.0
    y = (x[:, 0] > 0).astype(np.float64) if kind == "binary" else x[:, 0] - 2.0 * x[:, 1]
    one = Taught(5, model, target={"type": kind}, learning_rate=rate, safe_steps=True)
    for at in range(400):
        row, label = x[at : at + 1], y[at : at + 1]
        before = one.learn(row, label)[0, 0]
        after = one.score(row)[0, 0]
        slack = 1e-4 * (1.0 + abs(label[0]))
        assert min(before, label[0]) - slack <= after <= max(before, label[0]) + slack


@pytest.mark.parametrize("model", ["linear", "fm", "mlp"])
def test_safe_steps_learn_at_a_rate_at_which_plain_ones_are_lost(model):
    """Number target, a rate a hundred times too high."""
    rng = np.random.default_rng(9)
    x = rng.normal(size=(3000, 5))
    y = x[:, 0] - 2.0 * x[:, 1] + 0.1 * rng.normal(size=3000)
    errors = []
    for safe in (False, True):
        one = Taught(5, model, target={"type": "number"}, learning_rate=1.0, safe_steps=safe)
        errors.append(float(np.mean(np.abs(one.learn(x, y)[1500:, 0] - y[1500:]))))
    assert errors[1] < 0.5
    assert not errors[0] < 100.0
