"""Accuracy without tuning: the service beside River's models, on the same rows, in the same run.

One pass over each stream, every event predicted before it is learned, one set of default settings
for all: what is named are the fields. River is measured against in processes of an interpreter that
has it; a model that takes longer than its time is stopped, and compared on the rows it got to.
`leaks`: the same with permuted labels, where nothing can be learned.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.accuracy_scores import Scored, bounds, headwater, no_change, of_river
from benchmarks.accuracy_streams import (
    CHECKOUT,
    DEEP,
    MODELS,
    RIVER,
    STREAMS,
    Missing,
    Stream,
    fields_of,
    settings_of,
    write,
)
from benchmarks.results import Baseline, Result, Run, of_rounds

RIVER_BY, DATA_BY = "HEADWATER_TEST_RIVER", "HEADWATER_TEST_DATA"
DEEP_BY = "HEADWATER_TEST_DEEP_RIVER"
LEAKS = ("electricity", "image_segments", "agrawal")


def river_python() -> str:
    """Return the interpreter that River is looked for in, unless another is named."""
    return machine.named(RIVER_BY) or sys.executable


def deep_python() -> str:
    """Return the interpreter that deep-river is looked for in: River's, unless another is named."""
    return machine.named(DEEP_BY) or river_python()


def data_folder() -> Path:
    """Return where the data sets are, unless another place is named."""
    named = machine.named(DATA_BY)
    return Path(named) if named else CHECKOUT.parent / "shared" / "data"


def version(river: str, package: str = "river") -> str:
    """Return the version of River or deep-river, or that there is none."""
    done = subprocess.run(
        [river, str(RIVER), "version", package], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else f"not installed in {river}"


@dataclass
class Asked:
    """What to measure. `seconds`: of processor time for each model of River."""

    folder: Path
    say: Callable[[str], None]
    streams: Sequence[str] = tuple(STREAMS)
    models: Sequence[str] = MODELS
    """Of River, where they can learn a stream."""
    rows: int = 50_000
    seeds: int = 1
    seconds: float = 60.0
    river: str = field(default_factory=river_python)
    deep: str = field(default_factory=deep_python)
    data: Path = field(default_factory=data_folder)
    skipped: dict[str, str] = field(default_factory=dict)
    """Filled: streams that could not be had, and why."""


def run(asked: Asked) -> list[Result]:
    """Measure all streams: for each a row for every model of River and every rule."""
    results: list[Result] = []
    for name in asked.streams:
        stream = STREAMS[name]
        rounds = [found for seed in range(asked.seeds) if (found := _round(asked, stream, seed))]
        if rounds:
            results += _results(stream, rounds)
    return results


def leaks(asked: Asked) -> list[Result]:
    """Learn permuted labels. Raises Failed where the service does better than can be: then it has
    seen what it was to predict."""
    results: list[Result] = []
    for name in (one for one in LEAKS if one in asked.streams):
        path = _rows(asked, STREAMS[name], 0)
        if path is None:
            continue
        permute(path, STREAMS[name].target)
        scored = headwater(settings_of(STREAMS[name], asked.folder, 0), path)
        n = len(scored.labels)
        most, least = bounds(name, scored)
        given = (
            ("accuracy", "majority", most, scored.figure("accuracy", n)),
            ("log loss", "entropy", least, scored.log_loss),
        )
        results += [
            of_rounds(f"leaks-{name}", unit, of, [Run.against(value, bound)], {"rows": n})
            for unit, of, bound, value in given
        ]
    return results


def permute(path: Path, target: str) -> None:
    """Give the labels of a file of JSON lines to other rows of it."""
    events = [json.loads(line) for line in path.read_bytes().splitlines()]
    labels = [event[target] for event in events]
    random.Random(0).shuffle(labels)
    for event, label in zip(events, labels, strict=True):
        event[target] = label
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


@dataclass(frozen=True)
class Other:
    """What one rule or model gave in one round."""

    name: str
    rows: int
    figure: float | None
    why: str = ""
    """Why there is no figure, or not of all rows."""
    seconds: float | None = None


@dataclass(frozen=True)
class Round:
    """One stream with one seed."""

    scored: Scored
    others: list[Other]


def _round(asked: Asked, stream: Stream, seed: int) -> Round | None:
    path = _rows(asked, stream, seed)
    if path is None:
        return None
    scored = headwater(settings_of(stream, asked.folder, seed), path)
    n = len(scored.labels)
    asked.say(f"{stream.name}: {n:,} rows, {stream.figure} {scored.figure(stream.figure, n):.4f}")
    others = []
    for key in (None, stream.key) if stream.key else (None,):
        rule = no_change(path, scored.labels, key)
        named = f"last of the {key}" if key else "no change"
        others.append(Other(named, n, rule.figure(stream.figure, n)))
    for model in (one for one in stream.competitors if one in asked.models):
        others.append(_competitor(asked, stream, path, model, n, seed))
        asked.say(f"  {others[-1].name}: {others[-1].figure} of {others[-1].rows:,} rows")
    path.unlink()
    return Round(scored, others)


def _rows(asked: Asked, stream: Stream, seed: int) -> Path | None:
    """Return a file of its events; None, and why in `skipped`, where they cannot be had."""
    path = asked.folder / f"{stream.name}.jsonl"
    try:
        write(stream, path, asked.data, asked.river, asked.rows, seed)
    except Missing as error:
        asked.skipped[stream.name] = str(error)
        asked.say(f"{stream.name} is left out: {error}")
        return None
    return path


def _competitor(
    asked: Asked, stream: Stream, path: Path, model: str, rows: int, seed: int
) -> Other:
    fields = asked.folder / f"{stream.name}.fields.json"
    fields.write_text(json.dumps(fields_of(stream)))
    given = (model, str(path), str(fields), str(asked.seconds), str(seed))
    python = asked.deep if model == DEEP else asked.river
    done = subprocess.run(
        [python, str(RIVER), "compete", *given], capture_output=True, text=True, check=False
    )
    name = "deep-river MLP" if model == DEEP else f"River {model}"
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return Other(name, 0, None, lines[-1] if lines else f"exit {done.returncode}")
    told: dict[str, Any] = json.loads(done.stdout)
    why = "" if told["rows"] == rows else f"stopped after {asked.seconds:g} s"
    return Other(name, told["rows"], of_river(told, stream.figure), why, told["cpu_seconds"])


def _results(stream: Stream, rounds: Sequence[Round]) -> list[Result]:
    """Return a result for each rule and model, over the seeds; those of one name are together."""
    results = []
    for at, first in enumerate(rounds[0].others):
        pairs = [(one, one.others[at]) for one in rounds]
        details: dict[str, Any] = {
            "rows": [len(one.scored.labels) for one in rounds],
            "compared_rows": [other.rows for _, other in pairs],
            "cpu_seconds": [other.seconds for _, other in pairs],
            "own_cpu_seconds": [one.scored.seconds for one in rounds],
            "why": [other.why for _, other in pairs],
            "all_rows": [
                one.scored.figure(stream.figure, len(one.scored.labels)) for one in rounds
            ],
        }
        runs = [_held(stream, one.scored, other) for one, other in pairs]
        why = next((other.why for _, other in pairs if other.why), "")
        fewest = min(other.rows for _, other in pairs)
        part = f", first {fewest:,} rows" if fewest else f": {why}"
        name = first.name + (part if why else "")
        value = statistics.median(run.value for run in runs)
        known = [run.baseline for run in runs if run.baseline is not None]
        ratios = [run.ratio for run in runs if run.ratio is not None]
        results.append(
            Result(
                stream.name,
                value,
                stream.figure,
                Baseline(name, statistics.median(known) if known else None),
                statistics.median(ratios) if ratios else None,
                runs,
                details,
            )
        )
    return results


def _held(stream: Stream, scored: Scored, other: Other) -> Run:
    """Return both figures of the rows that both have seen; of all rows where there is no other."""
    value = scored.figure(stream.figure, other.rows or len(scored.labels))
    return Run(value, other.figure, value / other.figure if other.figure else None)
