"""Drift: what alarms find and what reactions to them are worth, on a public stream and made-up ones.

    python -m benchmarks.drift electricity.csv.gz

Prints a table for docs/drift.md as JSON lines. One pass, every event scored before it is learned.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from service import settings
from service.learn.evaluate import evaluate
from service.stream.files import read_files, to_json

ROWS, WIDTH = 60_000, 10
REACTIONS = {
    "log": {},
    "raise_rates": {"drift.react": "raise_rates"},
    "raise_rates, factor 2": {"drift.react": "raise_rates", "drift.raise_rates.factor": "2"},
    "reset_head": {"drift.react": "reset_head"},
    "both": {"drift.react": "raise_rates,reset_head"},
}
STREAM = {
    "name": "stream",
    "kafka": {"topics": ["t"]},
    "event": {
        "features": {f"x{i}": {"type": "number"} for i in range(WIDTH)},
        "targets": {"y": {"type": "binary"}},
    },
}


def made_up(kind: str) -> Iterator[bytes]:
    """Yield events whose label follows a plane through ten numbers, which is another from 20,000 and
    40,000 on: abrupt at once, gradual over 5,000 events, still never. One label in ten is wrong."""
    rng = np.random.default_rng(1)
    planes = rng.normal(size=(3, WIDTH))
    width = {"abrupt": 1, "gradual": 5000, "still": 1}[kind]
    for at in range(ROWS):
        x = rng.normal(size=WIDTH)
        share = np.clip((at - 20_000 * np.arange(1, 3)) / width, 0.0, 1.0)
        now = 0 if kind == "still" else int((rng.random() < share).sum())
        y = bool(planes[now] @ x > 0) ^ bool(rng.random() < 0.1)
        event: dict[str, Any] = {f"x{i}": float(v) for i, v in enumerate(x)}
        yield json.dumps(event | {"y": int(y)}).encode()


def measure(name: str, config: Path, rows: list[bytes], rule: dict[str, str]) -> None:
    """Print a line for each reaction."""
    for reaction, chosen in REACTIONS.items():
        overrides = {**rule, **chosen}
        found = settings.load(config, overrides)
        result, _ = evaluate(found, rows, len(rows))
        (report,) = result["targets"].values()
        (losses,) = result["drift"]["losses"].values()
        line: dict[str, Any] = {"stream": name, "rule": rule, "react": reaction}
        line |= {k: round(report["metrics"][k], 4) for k in ("accuracy", "log_loss")}
        for by, figures in losses.items():
            line[by] = [round(v, 2) if v is not None else None for v in figures.values()]
        line["answers"] = [result["drift"]["rates_raised"], result["drift"]["heads_reset"]]
        print(json.dumps(line), flush=True)


def main() -> None:
    """Measure all."""
    adagrad = {"learning.optimizer": "adagrad", "learning.learning_rate": "0.05"}
    sgd = {"learning.optimizer": "sgd", "learning.learning_rate": "0.05"}
    adam = {"learning.optimizer": "adam", "learning.learning_rate": "0.003"}
    made = Path(tempfile.mkdtemp()) / "stream.yaml"
    made.write_text(json.dumps(STREAM))
    for kind in ("still", "abrupt", "gradual"):
        rows = list(made_up(kind))
        for rule in (adagrad, sgd, adam):
            measure(kind, made, rows, rule)
    if sys.argv[1:]:
        path = Path(sys.argv[1])
        rows = list(map(to_json, read_files([path], None)))
        config = Path(__file__).parent.parent / "config" / "electricity.yaml"
        for rule in ({}, adagrad):
            measure("electricity", config, rows, rule)


if __name__ == "__main__":
    main()
