"""Scoring for the API: from an image of bytes (read-only) to predictions. Needs no torch.

Knows the layout and the kernels; knows no files, no HTTP. The same kernels that score a row
before it is learned score it here, on the weights where they lie.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.errors import LayoutChanged
from service.events.decode import Columns, Decoder
from service.model import intervals, prequential, rivals
from service.model.featurizer import Featurizer
from service.model.layout import Entry, Layout
from service.model.rate import rate_of
from service.model.recipe import Recipe

HalfWidths = dict[str, float | None]
"""By number target: how far from a prediction its label lies with some probability."""
Intervals = dict[str, list[float] | None]
"""By number target: the two ends of an interval around a prediction."""


class Scorer:
    """Scores events with any image of one recipe."""

    def __init__(self, recipe: Recipe, layout: Layout | None = None) -> None:
        """layout: the recipe's, where there is one already. LayoutChanged where code is not there."""
        self.recipe = recipe
        self.schema = recipe.schema
        self.layout = layout or Layout(recipe)
        if self.layout.kind.lacks is not None:
            raise LayoutChanged(self.layout.kind.lacks)
        self.decoder = Decoder(self.schema, recipe.learning.seed)
        self.featurizer = Featurizer(self.schema)
        self.nbytes = self.layout.nbytes
        self.rivals = {
            name: Scorer(rival.layout.recipe, rival.layout)
            for name, rival in self.layout.rivals.items()
        }

    def attach(self, image: NDArray[np.uint8]) -> Attached:
        """Return a view of one image; cheap, nothing is copied but what is small."""
        return Attached(self, image)

    def predictions(self, scores: NDArray[np.float64]) -> list[dict[str, object]]:
        """Return one prediction per row: probability, {class: probability} or value."""
        columns: list[list[object]] = []
        for t in self.schema.targets:
            block = scores[:, t.start : t.start + t.outputs].tolist()
            if t.kind == "multiclass":
                columns.append([dict(zip(t.classes, row, strict=True)) for row in block])
            else:
                columns.append([row[0] for row in block])
        names = [t.name for t in self.schema.targets]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def intervals(self, scores: NDArray[np.float64], halves: HalfWidths) -> list[Intervals]:
        """Return for each row of scores [N, O] {number target: [from, to]}; None where too little
        is known."""
        found: list[Intervals] = [{} for _ in scores]
        for t in self.schema.targets:
            if t.kind != "number":
                continue
            half = halves[t.name]
            for one, value in zip(found, scores[:, t.start].tolist(), strict=True):
                ends = [] if half is None else [value - half, value + half]
                one[t.name] = ends if ends and all(map(math.isfinite, ends)) else None
        return found


class Attached:
    """The views of one image that a prediction reads. Valid while the image is."""

    def __init__(self, scorer: Scorer, image: NDArray[np.uint8]) -> None:
        self._scorer = scorer
        self._image = image
        layout, schema = scorer.layout, scorer.schema
        theta = _view(image, layout.served, np.float32, (layout.theta_size,))
        self._frames = _view(image, layout.frames, np.float64, (len(schema.targets), 5))
        self._scales = image[: layout.scales_bytes]
        extras = tuple(layout.by_name[one.part, one.name].view(image) for one in layout.kind.extras)
        self._read = layout.kind.reader(theta, extras)
        self._rivals = {
            name: Attached(scorer.rivals[name], rival.part(image))
            for name, rival in layout.rivals.items()
        }
        if self._rivals:
            self._serves: Any = layout.by_name["weights", rivals.SERVES].view(image)

    @property
    def _answering(self) -> Attached:
        """The model that answers now: this one, or a challenger."""
        if not self._rivals:
            return self
        return self._rivals.get(rivals.named_in(self._serves), self)

    @property
    def runs_code(self) -> bool:
        """Whether the model that answers is a module of the user's own, which may raise."""
        return self._answering._scorer.recipe.model.is_module

    @property
    def outputs(self) -> int:
        """Scores of one event."""
        return self._scorer.schema.outputs

    def score(self, columns: Columns) -> NDArray[np.float64]:
        """Return the scores [N, O] of the events, by the model that answers."""
        return self._answering.score_alone(columns)

    def score_each(self, columns: Columns) -> None:
        """Score events by every model, to no end: their kernels are loaded, or compiled."""
        for one in (self, *self._rivals.values()):
            one.score_alone(columns)

    def score_alone(self, columns: Columns) -> NDArray[np.float64]:
        """Return the scores [N, O] of the events by this very model."""
        # A kernel compiled for memory it may write takes a copy of these few numbers.
        scales = self._scorer.layout.scales(self._scales.copy())
        rows = self._scorer.featurizer.rows(columns, scales)
        return self._read(self._frames.copy(), rows)

    def half_widths(self, level: float) -> HalfWidths:
        """Return how far from its prediction each number target lies with probability `level`."""
        now = self._answering
        return {
            name: intervals.half_width(np.array(entry.view(now._image), np.float64), level)
            for name, entry in now._scorer.layout.intervals.items()
        }

    def digest(self) -> dict[str, str]:
        """Return the sha256 of each part over name-sorted (name, dtype, shape, bytes)."""
        parts: dict[str, list[Entry]] = {}
        for entry in self._scorer.layout.entries:
            parts.setdefault(entry.part, []).append(entry)
        return {part: self._digest(entries) for part, entries in parts.items()}

    def learning_rate(self) -> float | None:
        """Return the rate that the next event will be learned with; None where there is none."""
        now = self._answering
        layout = now._scorer.layout
        if not layout.kind.differentiable:
            return None
        entry = layout.by_name.get(("optimizer", "rate"))
        vector = None if entry is None else entry.view(now._image)
        return rate_of(layout.recipe.learning.learning_rate, vector)

    def challengers(self) -> dict[str, dict[str, Any]]:
        """Return how each model did, see rivals.py; nothing where there are no challengers."""
        return rivals.report(self._scorer.layout, self._image)

    def targets(self) -> dict[str, object]:
        """Return {target: {"type", "scored", "metrics", "fading", "baselines", "held_out", ...}}."""
        layout, now = self._scorer.layout, self._answering
        result: dict[str, object] = {}
        for target in self._scorer.schema.targets:
            state, held = (
                np.array(each[target.name].view(self._image)) if target.name in each else None
                for each in (layout.scores, layout.held_out)
            )
            assert state is not None, "there is a target, so it has a vector"
            found = prequential.report(target, state, held)
            entry = now._scorer.layout.intervals.get(target.name)
            kept = None if entry is None else np.array(entry.view(now._image))
            result[target.name] = found | intervals.report(kept)
        return result

    def _digest(self, entries: list[Entry]) -> str:
        total = hashlib.sha256()
        for entry in sorted(entries, key=lambda e: e.name):
            total.update(f"{entry.name}\0{entry.dtype}\0{list(entry.shape)}\0".encode())
            total.update(np.ascontiguousarray(entry.view(self._image)).tobytes())
        return total.hexdigest()


def _view(image: NDArray[np.uint8], start: int, dtype: type, shape: tuple[int, ...]) -> Any:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return image[start : start + size].view(dtype).reshape(shape)
