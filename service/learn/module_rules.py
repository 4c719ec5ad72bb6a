"""The rules that a user's module keeps, tried on a private copy. For a process of its own: a module
that breaks them may end it.

Every rule is there because something relies on it: a prediction is a function of the event and the
weights; the API reads weights where it cannot write; a replay repeats what was learned.
"""

from __future__ import annotations

import mmap
import tempfile
import time

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.model.featurizer import Rows
from service.model.kinds.module import Module
from service.model.kinds.module_batch import Batch, batch_of, outputs_of
from service.model.kinds.module_bound import Bound, leaves_of
from service.model.kinds.module_build import (
    construct,
    joined,
    nothing,
    persistent_buffers,
    refuse,
    said,
    seeded,
)
from service.model.kinds.seam import Served
from service.model.recipe import Recipe

NEAR = 1e-4
"""How far outputs for a row may lie from those for the same row in other company."""
_SEVERAL = 7
_TIMED = 20


class Examined(msgspec.Struct):
    """What there is to say of a module that keeps the rules."""

    parameters: int
    """Weights that are learned."""
    row_us: float
    """Microseconds to score one event alone."""
    warnings: list[str]


def examine(recipe: Recipe) -> Examined:
    """Try every rule; BadSettings names the first that is broken, with the reason and a remedy."""
    kind = Module(recipe)
    _nothing_hidden(kind.module)
    _same_each_time(recipe, kind.module)
    _no_max_norm(kind.module)
    theta = np.zeros(kind.size, dtype=np.float32)
    for one in kind.parameters:
        first = kind.places[one.name]
        theta[first : first + one.size] = np.ravel(np.asarray(one.initial))
    kept = tuple(np.array(one.initial) for one in kind.extras)
    tried = _Tried(recipe, kind, kind.bound(theta, kept), (theta, *kept))
    cases = {
        "an event in which every field is missing": nothing(recipe.schema),
        "one event": examples(recipe, 1),
        f"{_SEVERAL} events": examples(recipe, _SEVERAL),
    }
    for what, rows in cases.items():
        tried.predicts(rows, what)
    tried.company(cases[f"{_SEVERAL} events"])
    tried.made_again(Module(recipe).bound(theta, kept), cases[f"{_SEVERAL} events"])
    for what, rows in reversed(cases.items()):
        tried.learns(rows, what)
    for what, rows in cases.items():
        tried.forgets(rows, what)
    warnings = tried.gradients(cases[f"{_SEVERAL} events"])
    row_us = _on_read_only_memory(kind, theta, kept, cases["one event"])
    learned = sum(p.numel() for p in kind.module.parameters() if p.requires_grad)
    return Examined(learned, round(row_us, 1), warnings)


def examples(recipe: Recipe, n: int) -> Rows:
    """Return n made-up rows: usual values, a field missing here and there, bags of 0 to 3."""
    schema, rng = recipe.schema, np.random.default_rng(n)
    rows = nothing(schema, n)
    for block in schema.dense:
        there = rng.random(n) < 0.8
        end = block.start + block.width
        rows.x[there, block.start : end] = rng.normal(size=(int(there.sum()), block.width))
        rows.x[there, end] = 0.0
    for c, table in enumerate(schema.tables):
        rows.ids[:, c] = rng.integers(0, table.buckets, n)
    entries: list[int] = []
    spans = np.zeros((n, len(schema.bags) + 1), dtype=np.int64)
    for r in range(n):
        spans[r, 0] = len(entries)
        for b, bag in enumerate(schema.bags):
            entries += sorted(rng.choice(min(bag.buckets, 4096), int(rng.integers(0, 4)), False))
            spans[r, b + 1] = len(entries)
    values = rng.normal(size=len(entries)).astype(np.float32)
    return Rows(rows.x, rows.ids, spans, np.array(entries, dtype=np.int64), values, rows.y)


class _Tried:
    """A module on memory of its own, and what happens to it."""

    def __init__(
        self, recipe: Recipe, kind: Module, bound: Bound, memory: tuple[NDArray[np.generic], ...]
    ) -> None:
        self.schema = recipe.schema
        self._kind = kind
        self._bound = bound
        self._memory = memory
        self._copies = [array.copy() for array in memory]
        self._foretold: dict[str, Tensor] = {}
        """What was predicted before anything was called in train mode."""

    def predicts(self, rows: Rows, what: str) -> None:
        """Scoring: shape, finite, twice the same, nothing written."""
        first, second = self._predict(rows, what), self._predict(rows, what)
        if not bool(torch.isfinite(first).all()):
            refuse(f"forward is not finite for {what}", "Every field may be missing, or any value.")
        if not torch.equal(first, second):
            refuse(
                f"forward gives other outputs for {what} when it is called again",
                "In eval mode outputs must be a function of the event and the weights: no chance, "
                "no memory of earlier calls.",
            )
        self._foretold[what] = first

    def forgets(self, rows: Rows, what: str) -> None:
        """What it did in train mode, its weights left alone, is not in its predictions."""
        if not torch.equal(self._predict(rows, what), self._foretold[what]):
            refuse(
                f"forward gives other outputs for {what} after calls in train mode",
                "Keep nothing from call to call in attributes: only weights are learned, saved and "
                "known to the API.",
            )

    def company(self, rows: Rows) -> None:
        """An event's prediction does not depend on what is asked beside it."""
        together = self._predict(rows, "several events")
        for r in range(len(rows)):
            alone = self._predict(rows.take(np.array([r])), "one event")
            off = float((together[r] - alone[0]).abs().max())
            if off > NEAR * (1.0 + float(alone.abs().max())):
                refuse(
                    f"outputs for an event change by {off:.2g} with the events beside it",
                    "Take no statistics over the batch: nn.LayerNorm instead of nn.BatchNorm1d, "
                    "and no mean or softmax over dimension 0.",
                )

    def made_again(self, bound: Bound, rows: Rows) -> None:
        """Another process makes the module anew, and reads the same weights."""
        first, own = self._predict(rows, "several events"), self._bound
        self._bound = bound
        second, self._bound = self._predict(rows, "several events"), own
        if not torch.equal(first, second):
            refuse(
                "outputs differ when the module is made again and has the same weights",
                "What predictions depend on must be a parameter, a buffer or an argument: the API "
                "makes the module in its own processes.",
            )

    def learns(self, rows: Rows, what: str) -> None:
        """Training mode: the same chance gives the same outputs, which have a gradient."""
        outs = [self._train(rows, what) for _ in range(2)]
        if not torch.equal(*outs):
            refuse(
                "in train mode, outputs differ with the same seed of torch",
                "Take chance from torch only (nn.Dropout, torch.rand): a replay sets its seed.",
            )
        if not outs[0].requires_grad:
            refuse("outputs have no gradient", "Leave out no_grad and detach around the weights.")

    def gradients(self, rows: Rows) -> list[str]:
        """Return a warning about weights that no gradient reaches."""
        outs = self._train(rows, "several events")
        try:
            found = torch.autograd.grad(outs.sum(), self._bound.weights, allow_unused=True)
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises is said to the user
            refuse(
                f"its gradient cannot be had: {said(error)}", "Use operations that torch derives."
            )
        self._only_its_own(outs)
        names = {id(p): name for name, p in self._kind.module.named_parameters()}
        without = [
            names[id(place.parameter)]
            for place, gradient in zip(self._bound.places, found, strict=True)
            if gradient is None
        ]
        return [f"no output depends on {', '.join(without)}: never learned"] if without else []

    def _only_its_own(self, outs: Tensor) -> None:
        """No gradient ends at what is neither learned nor saved: layers in objects, variables,
        lambdas."""
        own = {id(weight) for weight in self._bound.weights}
        for weight in leaves_of(outs):
            if id(weight) not in own:
                refuse(
                    f"outputs depend on weights {list(weight.shape)} that are none of the module's",
                    "They would be neither learned nor saved. Keep layers and weights as attributes "
                    "or in an nn.ModuleList, and reach them through self, in no lambda.",
                )

    def _predict(self, rows: Rows, what: str) -> Tensor:
        with torch.no_grad():
            return self._call(rows, what, train=False)

    def _train(self, rows: Rows, what: str) -> Tensor:
        with seeded(1):
            return self._call(rows, what, train=True)

    def _call(self, rows: Rows, what: str, *, train: bool) -> Tensor:
        module, batch = self._bound.module.train(train), batch_of(self.schema, rows)
        given = _flat(batch)
        copies = [tensor.clone() for tensor in given]
        extra = {n: b.clone() for n, b in module.named_buffers()}
        try:
            outs = module(batch)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's code raises is said to the user
            refuse(f"forward failed on {what}: {said(error)}", "forward takes 1 to any events.")
        mode = "train" if train else "eval"
        changed = [n for n, b in module.named_buffers() if not torch.equal(b, extra[n])]
        if changed:
            refuse(
                f"forward changes buffers in {mode} mode: {', '.join(changed)}",
                "What is learned must be a parameter. nn.LayerNorm needs no running statistics, "
                "nn.BatchNorm1d does.",
            )
        if not all(map(np.array_equal, self._copies, self._memory)):
            refuse(
                f"forward writes into its own weights in {mode} mode",
                "The API scores on memory that cannot be written: compute new tensors.",
            )
        if not all(torch.equal(was, now) for was, now in zip(copies, given, strict=True)):
            refuse("forward writes into its inputs", "Compute new tensors: x + 1, not x += 1.")
        return joined(outs, outputs_of(self.schema), len(rows))


def _flat(batch: Batch) -> list[Tensor]:
    return [
        tensor
        for value in batch.values()
        for tensor in (value if isinstance(value, tuple) else (value,))
    ]


def _same_each_time(recipe: Recipe, module: nn.Module) -> None:
    again = construct(recipe)
    for name, tensor in module.state_dict().items():
        other = again.state_dict().get(name)
        if other is None or not torch.equal(tensor, other):
            refuse(
                f"{name} has other first values when the module is made again",
                "Take chance from torch only: its seed is set from learning.seed.",
            )
    loose = {n: b for n, b in module.named_buffers() if n not in persistent_buffers(module)}
    others = dict(again.named_buffers())
    for name, buffer in loose.items():
        if name not in others or not torch.equal(buffer, others[name]):
            refuse(f"buffer {name} differs when the module is made again", "Make it persistent.")


def _nothing_hidden(module: nn.Module) -> None:
    """Layers in a plain list are no part of the module: they would neither be learned nor saved."""
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            held = list(value.values()) if isinstance(value, dict) else value
            if key.startswith("_") or not isinstance(held, list | tuple | set | frozenset):
                continue
            if any(isinstance(one, nn.Module | nn.Parameter) for one in held):
                where = f"{name}.{key}" if name else key
                refuse(
                    f"{where} holds layers or weights in a plain {type(value).__name__}",
                    "Use nn.ModuleList, nn.ModuleDict or nn.ParameterList, or they are not learned.",
                )


def _no_max_norm(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.max_norm is not None:
            refuse(
                f"{name} has max_norm, with which forward writes into its weights",
                "Leave max_norm out; divide what forward reads by its length instead.",
            )


def _on_read_only_memory(
    kind: Module, theta: NDArray[np.float32], kept: tuple[NDArray[np.generic], ...], rows: Rows
) -> float:
    """Score the way the API does; return microseconds. A module that writes ends the process."""
    arrays = (theta, *kept)
    with tempfile.TemporaryFile() as file:
        starts = []
        for array in arrays:
            starts.append(file.tell())
            file.write(array.tobytes())
            file.write(bytes(-file.tell() % 64))
        file.write(bytes(64))
        file.flush()
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    views = [
        np.frombuffer(held, array.dtype, array.size, start).reshape(array.shape)
        for array, start in zip(arrays, starts, strict=True)
    ]
    frames = np.zeros((len(kind.recipe.schema.targets), 5))
    served = Served(views[0], frames, tuple(views[1:]))
    took = []
    for _ in range(_TIMED):
        began = time.perf_counter()
        kind.score(served, rows)
        took.append(time.perf_counter() - began)
    return sorted(took)[_TIMED // 2] * 1e6
