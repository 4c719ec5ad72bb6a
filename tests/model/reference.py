"""The models again in plain torch with autograd, one row at a time: slow, and easy to believe.

Everything is float64. Table rows are lazy, as the service promises: their optimizer state moves
when the row is touched. Frames of number targets are renewed by the same published rule (PopArt),
written here a second time.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from service.events.schema import Target
from service.model.featurizer import Rows
from service.model.kinds.seam import escape
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State

Weights = dict[str, Tensor]


class Reference:
    """One learner: named weights, optimizer state and frames, all float64."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        parts = State.fresh(Layout(recipe)).parts()
        names = list(Layout(recipe).parameters)
        self.weights: Weights = {n: parts["weights"][n].double().clone() for n in names}
        self.slots: list[Weights] = [
            {n: torch.zeros_like(w) for n, w in self.weights.items()} for _ in range(2)
        ]
        self.counts: dict[str, int] = {t.name: 0 for t in recipe.schema.targets} | {"": 0}
        self.frames = {
            t.name: [0.0, 0.0, 0.0, 0.0, 0.0 if t.scaled else 1.0] for t in recipe.schema.targets
        }

    def outputs(self, weights: Weights, x: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """Return the outputs of each target for one row."""
        schema = self.recipe.schema
        hidden = None
        if self.recipe.kind == "mlp":
            total = weights["hidden/bias"]
            for j, name in enumerate(d.name for d in schema.dense):
                total = total + x[2 * j : 2 * j + 2] @ weights[f"hidden/number/{escape(name)}"]
            for c, name in enumerate(t.name for t in schema.tables):
                embedded = weights[f"embedding/{escape(name)}"][ids[c]]
                total = total + embedded @ weights[f"hidden/category/{escape(name)}"]
            hidden = total.relu()
        result = {}
        for target in schema.targets:
            head = f"head/{escape(target.name)}"
            if hidden is not None:
                out = weights[f"{head}/bias"] + weights[f"{head}/weight"] @ hidden
            else:
                out = weights[f"{head}/bias"]
                for j, name in enumerate(d.name for d in schema.dense):
                    out = out + x[2 * j : 2 * j + 2] @ weights[f"{head}/number/{escape(name)}"]
                for c, name in enumerate(t.name for t in schema.tables):
                    out = out + weights[f"{head}/category/{escape(name)}"][ids[c]]
            result[target.name] = out
        return result

    def loss(self, target: Target, out: Tensor, y: float) -> Tensor | None:
        """Return the loss that is differentiated; None where the frame is not set yet."""
        if target.kind == "binary":
            return functional.binary_cross_entropy_with_logits(out[0], torch.tensor(y).double())
        if target.kind == "multiclass":
            return functional.cross_entropy(out[None], torch.tensor([int(y)]))
        _, _, _, m, s = self.frames[target.name]
        return functional.mse_loss(out[0], torch.tensor((y - m) / s).double()) if s > 0 else None

    def score(self, target: Target, out: Tensor) -> list[float]:
        """Return the scores of one target."""
        if target.kind == "binary":
            return [float(out[0].sigmoid())]
        if target.kind == "multiclass":
            return list(out.softmax(0).tolist())
        _, _, _, m, s = self.frames[target.name]
        return [m + s * float(out[0])]

    def gradients(self, x: Tensor, ids: Tensor, y: np.ndarray, weight: float) -> Weights:
        """Return the gradient of one row by autograd, for the weights of labelled targets."""
        held = {n: w.clone().requires_grad_() for n, w in self.weights.items()}
        outs = self.outputs(held, x, ids)
        total = torch.zeros((), dtype=torch.float64)
        for t, target in enumerate(self.recipe.schema.targets):
            if not math.isnan(y[t]):
                loss = self.loss(target, outs[target.name], float(y[t]))
                total = total + (outs[target.name].sum() * 0.0 if loss is None else loss)
        found = torch.autograd.grad(total * weight, list(held.values()), allow_unused=True)
        return {n: g for n, g in zip(held, found, strict=True) if g is not None}

    def learn(self, rows: Rows, weight: np.ndarray) -> np.ndarray:
        """Score and learn row after row; return the scores [N, O]."""
        scores = []
        for r in range(len(rows)):
            x, ids = torch.from_numpy(rows.x[r]).double(), torch.from_numpy(rows.ids[r])
            outs = self.outputs(self.weights, x, ids)
            row = [v for t in self.recipe.schema.targets for v in self.score(t, outs[t.name])]
            scores.append(row)
            labelled = ~np.isnan(rows.y[r])
            if weight[r] > 0 and labelled.any():
                gradients = self.gradients(x, ids, rows.y[r], float(weight[r]))
                self.step(gradients, ids, rows.y[r])
        return np.array(scores)

    def step(self, gradients: Weights, ids: Tensor, y: np.ndarray) -> None:
        """Take one optimizer step, then move the frames."""
        schema = self.recipe.schema
        self.counts[""] += 1
        for t, target in enumerate(schema.targets):
            self.counts[target.name] += not math.isnan(y[t])
        tables = {escape(n): c for c, n in enumerate(t.name for t in schema.tables)}
        for name, gradient in gradients.items():
            kind, _, rest = name.partition("/")
            owner = next(
                (t.name for t in schema.targets if name.startswith(f"head/{escape(t.name)}/")), ""
            )
            column = rest.rpartition("/")[2]
            is_table = kind == "embedding" or (kind == "head" and "/category/" in name)
            where = (ids[tables[column]],) if is_table else (...,)
            self._move(name, where, gradient[where], self.counts[owner])
        for t, target in enumerate(schema.targets):
            if target.scaled and not math.isnan(y[t]):
                self._reframe(target, float(y[t]))

    def _move(self, name: str, where: tuple, g: Tensor, count: int) -> None:
        learning = self.recipe.learning
        w, a, b = self.weights[name], self.slots[0][name], self.slots[1][name]
        lr = learning.learning_rate
        match self.recipe.optimizer:
            case "sgd":
                w[where] -= lr * g
            case "momentum":
                a[where] = learning.momentum * a[where] + g
                w[where] -= lr * a[where]
            case "adagrad":
                a[where] += g * g
                w[where] -= lr * g / (a[where].sqrt() + 1e-10)
            case "adam":
                a[where] = learning.beta1 * a[where] + (1 - learning.beta1) * g
                b[where] = learning.beta2 * b[where] + (1 - learning.beta2) * g * g
                m, v = (
                    a[where] / (1 - learning.beta1**count),
                    b[where] / (1 - learning.beta2**count),
                )
                w[where] -= lr * m / (v.sqrt() + 1e-8)

    def _reframe(self, target: Target, y: float) -> None:
        frame = self.frames[target.name]
        frame[0] += 1
        n = int(frame[0])
        if n > 100 and frame[2] > 0:
            reach = 32 * math.sqrt(frame[2])
            y = min(max(y, frame[1] - reach), frame[1] + reach)
        rate = max(1 / n, 1 / 20000)
        delta = y - frame[1]
        frame[1] += rate * delta
        frame[2] = (1 - rate) * (frame[2] + rate * delta * delta)
        m, s = frame[3], frame[4]
        if n & (n - 1) and not (s == 0 and frame[2] > 0):
            return
        new_s = math.sqrt(frame[2]) or s
        frame[3], frame[4] = frame[1], new_s
        if s == 0:
            return
        ratio, powers = s / new_s, {"sgd": (0, 0), "momentum": (1, 0), "adagrad": (2, 0)}
        first, second = powers.get(self.recipe.optimizer, (1, 2))
        head = f"head/{escape(target.name)}/"
        for name in self.weights:
            if name.startswith(head):
                self.weights[name] *= ratio
                self.slots[0][name] *= ratio**first
                self.slots[1][name] *= ratio**second
        self.weights[f"{head}bias"] += (m - frame[1]) / new_s
