"""What predictions were worth, row by row: of the service with its default settings, and of rules
that learn nothing. One pass; every event is scored before it is learned.
"""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Failed
from service.learn import warm
from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.kinds import recipe_of
from service.settings import Settings
from service.stream.records import Record


@dataclass(frozen=True)
class Scored:
    """N rows of one stream."""

    guesses: NDArray[np.float64]
    """[N] the class (binary: 0 or 1), or the number."""
    labels: NDArray[np.float64]
    """[N] the same of what was true."""
    log_loss: float
    """Mean over all rows, in nats; NaN for numbers."""
    seconds: float | None = None
    """Of processor time, all threads together: decoding, predicting, learning."""

    def figure(self, kind: str, rows: int) -> float:
        """Return accuracy, F1 or MAE of the first `rows`."""
        guesses, labels = self.guesses[:rows], self.labels[:rows]
        if kind == "MAE":
            return float(np.abs(guesses - labels).mean())
        right = guesses == labels
        if kind == "accuracy":
            return float(right.mean())
        return f1(int((right & (labels == 1)).sum()), int((guesses + labels).sum()))


def f1(hits: int, yes: int) -> float:
    """Return F1. hits: said yes and it was; yes: how often it was said, and how often it was."""
    return 2 * hits / yes if yes else 0.0


def of_river(told: dict[str, Any], kind: str) -> float:
    """Return the figure that a model of River has reached."""
    if kind == "MAE":
        return float(told["error"] / told["rows"])
    return f1(told["hits"], told["yes"]) if kind == "F1" else float(told["right"] / told["rows"])


def headwater(settings: Settings, path: Path) -> Scored:
    """Return what the service makes of a file of JSON lines. Raises Failed where a row could not be
    learned, or where the service counts otherwise than is counted here."""
    recipe = recipe_of(settings)
    warm.compile_passes(recipe)
    learner = Learner.fresh(recipe, Standing(version=0, lineage="accuracy", cursors={}))
    (target,) = recipe.schema.targets
    lines = path.read_bytes().splitlines()
    size = settings.learning.batch_rows
    scores, labels = [], []
    began = time.process_time()
    for start in range(0, len(lines), size):
        cut = enumerate(lines[start : start + size], start)
        records = [Record("file", 0, at, at, None, line, None) for at, line in cut]
        step = learner.take(records, learner.decode(records), {("file", 0): start + len(records)})
        scores.append(step.scores)
        labels.append(step.labels[:, 0])
    seconds = round(time.process_time() - began, 2)
    found, y = np.concatenate(scores), np.concatenate(labels)
    if learner.events_learned != len(lines) or np.isnan(y).any():
        raise Failed(f"{path.name}: {len(lines)} rows, {learner.events_learned} learned")
    metrics = learner.report()[target.name]["metrics"]
    if target.kind == "number":
        scored, counted = Scored(found[:, 0], y, float("nan"), seconds), "mae"
    else:
        p = np.column_stack((1 - found, found)) if target.kind == "binary" else found
        guesses = (p[:, 1] >= 0.5) if target.kind == "binary" else p.argmax(axis=1)
        scored = Scored(guesses.astype(np.float64), y, metrics["log_loss"], seconds)
        counted = "accuracy"
    mine = scored.figure("MAE" if counted == "mae" else "accuracy", len(y))
    if abs(mine - metrics[counted]) > 1e-9 * max(1.0, abs(mine)):
        raise Failed(f"{path.name}: {counted} is {mine} here, {metrics[counted]} in the service")
    return scored


def no_change(path: Path, labels: NDArray[np.float64], key: str | None) -> Scored:
    """Return what it gives to repeat the last label, of the same value of `key` if there is one.

    What is seen for the first time is said to be as the label before it; the first of all 0.
    """
    last: dict[Any, float] = defaultdict(float)
    guesses = np.empty(len(labels))
    before = 0.0
    with path.open("rb") as file:
        for at, line in enumerate(file):
            whose = json.loads(line).get(key) if key else None
            guesses[at] = last.get(whose, before)
            before = last[whose] = labels[at]
    return Scored(guesses, labels, float("nan"))


def bounds(name: str, scored: Scored) -> tuple[float, float]:
    """Return what can be reached where labels have nothing to do with their rows: the share of the
    commonest class, and the entropy of the labels in nats. Raises Failed where `scored` is better
    by more than four standard errors: something has seen what it was to predict."""
    n = len(scored.labels)
    shares = np.unique(scored.labels, return_counts=True)[1] / n
    most, least = float(shares.max()), float(-(shares * np.log(shares)).sum())
    chance = 4 * math.sqrt(most * (1 - most) / n)
    accuracy = scored.figure("accuracy", n)
    if accuracy > most + chance or scored.log_loss < least - chance:
        raise Failed(
            f"{name}: labels are permuted, and accuracy {accuracy:.4f} (majority {most:.4f}), "
            f"log loss {scored.log_loss:.4f} (entropy {least:.4f}): something leaks"
        )
    return most, least
