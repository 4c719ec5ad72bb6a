"""`python -m benchmarks.movielens FILE`: the factorization machine beside River's BiasedMF.

One pass over the same rows of MovieLens 100k, oldest first; each rating is predicted before it is
learned. River is no dependency: `--river PYTHON` names an interpreter that has it (pip install
river, in an environment of its own), and this file is run by it too. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).parent.parent / "config" / "movielens_100k.yaml"
RATES = ((0.025, 0.05), (0.05, 0.05), (0.025, 0.025))
"""Rates of biases and of factors: those of River's documentation first."""


def biased_mf(path: Path, bias_rate: float, latent_rate: float) -> dict[str, Any]:
    """Return what River's BiasedMF gives. Runs where River is installed."""
    from river import optim, reco

    model = reco.BiasedMF(
        n_factors=10,
        bias_optimizer=optim.SGD(bias_rate),
        latent_optimizer=optim.SGD(latent_rate),
        weight_initializer=optim.initializers.Zeros(),
        latent_initializer=optim.initializers.Normal(mu=0.0, sigma=0.1, seed=73),
    )
    total, rows = 0.0, 0
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            user, item, rating = row["user"], row["item"], float(row["rating"])
            total += abs(rating - model.predict_one(user=user, item=item))
            model.learn_one(user=user, item=item, y=rating)
            rows += 1
    rates = {"bias_rate": bias_rate, "latent_rate": latent_rate}
    return {"model": "River BiasedMF", **rates, "rows": rows, "mae": total / rows}


def headwater(path: Path, fields: set[str] | None = None) -> dict[str, Any]:
    """Return what CONFIG gives, with all of its features or with these only."""
    from service import settings
    from service.learn.evaluate import evaluate
    from service.stream.files import read_files, to_json

    found = settings.load(CONFIG)
    if fields is not None:
        features = {n: f for n, f in found.event.features.items() if n in fields}
        event = found.event.model_copy(update={"features": features})
        found = found.model_copy(update={"event": event})
    result, _ = evaluate(found, map(to_json, read_files([path], None)))
    used = sorted(found.event.features)
    mae = result["targets"]["rating"]["metrics"]["mae"]
    return {"model": "Headwater fm", "features": used, "rows": result["rows"], "mae": mae}


def main() -> int:
    """Measure and print; 1 where River was given and is the better one."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.movielens")
    parser.add_argument("file", type=Path, help="movielens_100k.csv.gz, oldest row first")
    parser.add_argument("--river", metavar="PYTHON", help="an interpreter that has River")
    parser.add_argument("--as-river", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.as_river:
        print(json.dumps([biased_mf(asked.file, *rates) for rates in RATES]))
        return 0
    found = [headwater(asked.file), headwater(asked.file, {"user", "item"})]
    rivers: list[dict[str, Any]] = []
    if asked.river:
        command = [asked.river, __file__, str(asked.file), "--as-river"]
        said = subprocess.run(command, check=True, capture_output=True, text=True)
        rivers = json.loads(said.stdout)
    print(json.dumps(found + rivers, indent=1))
    return int(any(river["mae"] <= found[0]["mae"] for river in rivers))


if __name__ == "__main__":
    sys.exit(main())
