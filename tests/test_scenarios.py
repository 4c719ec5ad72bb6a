"""The pages of docs/scenarios: their commands run, and what they say is so."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scenarios
from service import settings
from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.kinds import recipe_of
from service.serve.ranking import Top, ranked
from service.stream.records import Record

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "scenarios"


class Page:
    """The commands of a page as they stand, evaluate with --json, running in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        text = (PAGES / name).read_text()
        (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        (folder / "config").symlink_to(ROOT / "config")
        # `-m benchmarks` is found beside the checkout's service
        ours = Path(sys.executable).parent
        commands = f"export PYTHONPATH='{ROOT}' PATH='{ours}':$PATH\n{commands}"
        self._files = folder / "stdout", folder / "stderr"
        with self._files[0].open("wb") as out, self._files[1].open("wb") as err:
            self._process = subprocess.Popen(
                ["bash", "-euc", commands.replace("headwater evaluate", "headwater evaluate --json")],
                cwd=folder, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    def target(self) -> dict[str, Any]:
        """Wait for its end; return the report of its one target."""
        code = self._process.wait(800)
        out, err = (file.read_text() for file in self._files)
        assert 0 == code, err
        (target,) = json.loads(out)["targets"].values()
        return target

    def close(self) -> None:
        """Kill what still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Page]]:
    """Every scenario's page; they run side by side."""
    names = sorted(scenarios.SCENARIOS)
    made = {name: Page(f"{name}.md", tmp_path_factory.mktemp(name)) for name in names}
    yield made
    for page in made.values():
        page.close()


def learned(config: str, events: list[dict[str, Any]]) -> Learner:
    """A learner that took the events in one cut."""
    found = settings.load(ROOT / "config" / config, environment={})
    of = Learner.fresh(recipe_of(found), Standing(0, "0" * 16, {("t", 0): 0}))
    take(of, events)
    return of


def take(of: Learner, events: list[dict[str, Any]]) -> None:
    """Take one more cut."""
    start = of.standing.cursors["t", 0]
    records = [
        Record("t", 0, start + i, 1000 + i, None, json.dumps(event).encode(), None)
        for i, event in enumerate(events)
    ]
    of.take(records, of.decode(records), {("t", 0): start + len(records)})


def score(of: Learner, events: list[dict[str, Any]]) -> Any:
    """Score events without their labels."""
    columns, faults = of.decoder.features(events)
    assert [] == faults
    return of.score(columns)


def test_fraud_is_found_far_better_than_by_chance(pages: dict[str, Page]) -> None:
    """Average precision of rare events, and a loss below that of their share."""
    found = pages["fraud"].target()

    assert found["metrics"]["average_precision"] > 0.5
    assert found["metrics"]["log_loss"] < 0.6 * found["baselines"]["prior"]["log_loss"]


def test_a_sudden_large_payment_raises_the_score_within_one_version() -> None:
    """Its amount does, before any verdict; one verdict, in one version, does for the next like it."""
    of = learned("fraud.yaml", list(scenarios.fraud(5000)))
    usual = {"id": "x", "time": "2026-01-09T15:00:00Z", "amount": 20.0, "merchant": "m1",
             "device": "d77"}  # fmt: skip
    large, version = {**usual, "amount": 900.0}, of.standing.version
    of_usual, of_large = score(of, [usual, large])[:, 0]
    assert of_large > 3 * of_usual
    take(of, [{**large, "is_fraud": 1}])

    assert version + 1 == of.standing.version
    assert score(of, [large])[0, 0] > 1.5 * of_large


def test_ratings_are_predicted_and_a_user_gets_what_the_user_likes(pages: dict[str, Page]) -> None:
    """Better than the mean by a quarter; the best candidates are of the genres rated best."""
    events = list(scenarios.recommendation(30_000))
    of = learned("recommendation.yaml", events)
    rated: dict[str, list[int]] = {}
    for event in events:
        if event["user"] == "u7":
            rated.setdefault(event["genre"], []).append(event["rating"])
    means = {genre: sum(r) / len(r) for genre, r in rated.items()}
    candidates = [{"user": "u7", **scenarios.an_item(item)} for item in range(300)]
    scores = score(of, candidates)
    best = [candidates[i]["genre"] for i in ranked(Top(10, "rating"), of.recipe.schema, scores)]
    mean_of_best = sum(means[genre] for genre in best) / len(best)
    found = pages["recommendation"].target()

    assert found["metrics"]["mae"] < 0.75 * found["baselines"]["prior"]["mae"]
    assert mean_of_best > sum(means.values()) / len(means) + 0.5


def test_clicks_of_one_in_a_hundred_are_calibrated(pages: dict[str, Page]) -> None:
    """What is predicted adds up to what comes, within a twentieth."""
    found = pages["ads"].target()

    assert 0.95 < found["metrics"]["calibration_ratio"] < 1.05
    assert found["metrics"]["log_loss"] < found["baselines"]["prior"]["log_loss"]


@pytest.mark.parametrize("name", sorted(scenarios.SCENARIOS))
def test_the_same_seed_gives_the_same_events(name: str) -> None:
    """So that the figures on the pages can be had again."""
    first, again = (list(scenarios.SCENARIOS[name](50)) for _ in range(2))

    assert first == again
    assert first != list(scenarios.SCENARIOS[name](50, seed=1))
