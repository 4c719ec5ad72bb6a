"""Backtests: accuracy on real streams, and the shape of the result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service import settings
from service.learn.evaluate import evaluate
from service.stream.files import read_files, to_json

CONFIG = Path(__file__).parent.parent.parent / "config"


def backtest(name: str, path: Path, limit: int | None = None, **overrides: object) -> dict:
    """Evaluate one of the shipped configs on a file."""
    found = settings.load(CONFIG / f"{name}.yaml", overrides)
    return evaluate(found, map(to_json, read_files([path], limit)), limit)[0]


def test_electricity_is_predicted_better_than_by_its_last_label(data_file):
    """Linear, one pass, scored before learned: accuracy of at least 0.90."""
    found = backtest("electricity", data_file("electricity.csv.gz"))["targets"]["class"]

    assert 0.8533 == pytest.approx(found["baselines"]["no_change"]["accuracy"], abs=1e-3)
    assert found["metrics"]["accuracy"] >= 0.90


def test_bikes_are_predicted_better_than_by_no_change(data_file):
    """A number target, MLP."""
    found = backtest("toulouse_bikes", data_file("toulouse_bikes.csv.gz"))["targets"]["bikes"]

    assert found["metrics"]["mae"] < 0.5 * found["baselines"]["no_change"]["mae"]
    for level, share in found["intervals"].items():
        assert float(level) == pytest.approx(share, abs=0.03), "as many inside as promised"


def test_ratings_are_predicted_ten_percent_better_than_by_their_mean(data_file):
    """Categories only."""
    found = backtest("movielens_100k", data_file("movielens_100k.csv.gz"))["targets"]["rating"]

    assert found["metrics"]["mae"] <= 0.9 * found["baselines"]["prior"]["mae"]


def test_the_result_has_the_shape_that_others_rely_on(tmp_path):
    """headwater.evaluate/1, JSON from end to end; bad rows are outcomes, not errors."""
    path = tmp_path / "rows.jsonl"
    rows = [json.dumps({"x1": i % 7, "x2": i % 3, "y": i % 5}) for i in range(500)]
    path.write_text("\n".join([*rows, "not json", "{}"]) + "\n")
    found = json.loads(json.dumps(backtest("article", path)))

    assert "headwater.evaluate/1" == found["schema"]
    assert 502 == found["rows"]
    assert {"learned": 500, "dead_lettered": 1, "filtered": 1} == found["outcomes"]
    assert {"weights", "optimizer", "metrics"} == found["digest"].keys()
    target = found["targets"]["y"]
    assert {"type", "scored", "metrics", "fading", "baselines"} <= target.keys()
    assert {"mae", "rmse", "r2"} == target["metrics"].keys() == target["fading"].keys()
    assert {"no_change", "prior"} == target["baselines"].keys()
    assert 502 == found["curve"][-1]["rows"]
    assert {"mae", "rmse", "r2"} == found["curve"][-1]["y"].keys()
    assert [] == found["experts"]


def test_the_same_rows_give_the_same_digest_and_how_they_are_cut_does_not_matter(tmp_path):
    """Twice the same; and one row a cut gives the same weights as a thousand."""
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps({"x1": i, "x2": 1, "y": 0.1 * i}) for i in range(40)))
    once, again = backtest("article", path), backtest("article", path)
    cut = backtest("article", path, None, **{"learning.batch_rows": "1"})

    assert once["digest"] == again["digest"] == cut["digest"]
    assert (1, 40) == (once["version"], cut["version"])
