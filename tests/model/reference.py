"""The models again in plain torch with autograd, one row at a time: slow, and easy to believe.

Everything is float64. Table rows are lazy, as the service promises: their optimizer state moves
when the row is touched. Frames of number targets are renewed by the same published rule (PopArt),
written here a second time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from service.events.schema import Target
from service.model.featurizer import Rows
from service.model.layout import Layout
from service.model.names import escape
from service.model.recipe import Recipe
from service.model.state import State

Weights = dict[str, Tensor]
Outputs = dict[str, Tensor]


class Row(NamedTuple):
    """One row of Rows."""

    x: Tensor
    ids: Tensor
    bags: list[tuple[Tensor, Tensor]]
    """Entries and values of each bag."""


def row_of(rows: Rows, r: int) -> Row:
    """Return row r, in float64."""
    bags = []
    for first, last in itertools.pairwise(rows.spans[r].tolist()):
        values = torch.from_numpy(rows.values[first:last]).double()
        bags.append((torch.from_numpy(rows.entries[first:last]), values))
    return Row(torch.from_numpy(rows.x[r]).double(), torch.from_numpy(rows.ids[r]), bags)


def _mixed(code: int) -> int:
    """SplitMix64's last steps."""
    code = (code ^ code >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    code = (code ^ code >> 27) * 0x94D049BB133111EB % 2**64
    return code ^ code >> 31


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

    def outputs(self, weights: Weights, row: Row, mask: Tensor | None = None) -> Outputs:
        """Return the outputs of each target for one row; mask [H]: of the hidden units."""
        hidden = self._hidden(weights, row) if self.recipe.kind == "mlp" else None
        if hidden is not None and mask is not None:
            hidden = hidden * mask
        result = {}
        for target in self.recipe.schema.targets:
            head = f"head/{escape(target.name)}"
            out = weights[f"{head}/bias"]
            if hidden is not None:
                result[target.name] = out + weights[f"{head}/weight"] @ hidden
                continue
            for block, x in self._dense(row):
                out = out + x @ weights[f"{head}/{block}"]
            for name, entries, values in self._sparse(row):
                out = out + values @ weights[f"{head}/{name}"][entries]
            result[target.name] = out
        return result

    def _hidden(self, weights: Weights, row: Row) -> Tensor:
        total = weights["hidden/bias"]
        for block, x in self._dense(row):
            total = total + x @ weights[f"hidden/{block}"]
        for name, entries, values in self._sparse(row):
            embedded = values @ weights[f"embedding/{name.removeprefix('category/')}"][entries]
            total = total + embedded @ weights[f"hidden/{name}"]
        if self.recipe.model.layer_norm:
            gain, bias = weights["hidden/norm/gain"], weights["hidden/norm/bias"]
            total = functional.layer_norm(total, total.shape, gain, bias)
        return total.relu()

    def _dense(self, row: Row) -> Iterator[tuple[str, Tensor]]:
        for block in self.recipe.schema.dense:
            kind = "figures" if block.kind == "text" else block.kind
            found = row.x[block.start : block.start + block.width + 1]
            yield f"{kind}/{escape(block.name)}", found

    def _sparse(self, row: Row) -> Iterator[tuple[str, Tensor, Tensor]]:
        schema = self.recipe.schema
        for at, table in enumerate(schema.tables):
            one = torch.ones(1, dtype=torch.float64)
            yield f"{table.kind}/{escape(table.name)}", row.ids[at : at + 1], one
        for bag, (entries, values) in zip(schema.bags, row.bags, strict=True):
            yield f"{bag.kind}/{escape(bag.name)}", entries, values

    def _mask(self) -> Tensor | None:
        """Return what the hidden units are multiplied with while a row is learned."""
        model, seed = self.recipe.model, self.recipe.learning.seed
        if self.recipe.kind != "mlp" or model.dropout == 0.0:
            return None
        start = _mixed(seed ^ _mixed(self.counts[""]))
        draws = [(_mixed((start + h) % 2**64) >> 11) / 2.0**53 for h in range(model.hidden)]
        kept = torch.tensor([d >= model.dropout for d in draws], dtype=torch.float64)
        return kept / (1.0 - model.dropout)

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

    def gradients(self, row: Row, y: np.ndarray, weight: float) -> Weights:
        """Return the gradient of one row by autograd, for the weights of labelled targets."""
        held = {n: w.clone().requires_grad_() for n, w in self.weights.items()}
        outs = self.outputs(held, row, self._mask())
        total = torch.zeros((), dtype=torch.float64)
        for t, target in enumerate(self.recipe.schema.targets):
            if not math.isnan(y[t]):
                loss = self.loss(target, outs[target.name], float(y[t]))
                part = outs[target.name].sum() * 0.0 if loss is None else loss
                total = total + target.weight * part
        found = torch.autograd.grad(total * weight, list(held.values()), allow_unused=True)
        return {n: g for n, g in zip(held, found, strict=True) if g is not None}

    def learn(self, rows: Rows, weight: np.ndarray) -> np.ndarray:
        """Score and learn row after row; return the scores [N, O]."""
        scores = []
        for r in range(len(rows)):
            row = row_of(rows, r)
            outs = self.outputs(self.weights, row)
            scores.append(
                [v for t in self.recipe.schema.targets for v in self.score(t, outs[t.name])]
            )
            labelled = ~np.isnan(rows.y[r])
            if weight[r] > 0 and labelled.any():
                self.step(self.gradients(row, rows.y[r], float(weight[r])), row, rows.y[r])
        return np.array(scores)

    def step(self, gradients: Weights, row: Row, y: np.ndarray) -> None:
        """Take one optimizer step, then move the frames."""
        schema = self.recipe.schema
        self.counts[""] += 1
        for t, target in enumerate(schema.targets):
            self.counts[target.name] += not math.isnan(y[t])
        touched = {name: entries for name, entries, _ in self._sparse(row)}
        for name, gradient in gradients.items():
            owner = next(
                (t.name for t in schema.targets if name.startswith(f"head/{escape(t.name)}/")), ""
            )
            head = f"head/{escape(owner)}/" if owner else "embedding/"
            field = name.removeprefix(head).removeprefix("factors/")
            if name.startswith("embedding/") and "/" not in field:
                field = f"category/{field}"
            where: tuple = (...,) if name.startswith("hidden/") else (touched.get(field, ...),)
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
