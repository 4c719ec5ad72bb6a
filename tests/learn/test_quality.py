"""`headwater snapshots list` is a history of quality: results and settings of every snapshot."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli.main import app
from service.learn import history
from service.learn.environment import fingerprint
from service.learn.inventory import inventory
from service.learn.saving import Saver
from service.model.kinds import recipe_of
from service.settings import Settings, shown, state_directory
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.learn.cuts import learner, records, take

YAML = """
name: quality
kafka: {topics: [t], bootstrap_servers: embedded}
event:
  id: id
  features: {x: {type: number}, c: {type: category, buckets: 64}}
  targets: {y: {type: binary}}
model: {kind: linear}
learning: {holdout: 0.2, adapt: {by: hypergradient}}
"""


@pytest.fixture
def saved(load_settings: Callable[..., Settings], tmp_path: Path) -> Settings:
    """Two snapshots; between them 400 events, and two settings that changed."""
    found = load_settings(YAML, overrides={"state.directory": str(tmp_path / "s")})
    changes = {"learning.clip": 2.0, "snapshots.every_seconds": 5.0}
    later = load_settings(YAML, overrides={"state.directory": str(tmp_path / "s"), **changes})
    state = state_directory(found)
    of = learner(recipe_of(found))
    for settings in (found, later):
        with ExitStack() as stack:
            journal = stack.enter_context(Journal.open(state / "journal"))
            snapshots = Snapshots(state / "snapshots", Keep(5, 0, 0))
            saver = Saver(snapshots, journal, fingerprint(), shown(settings))
            stack.callback(saver.close)
            of = history.rebuilt(of, recipe_of(settings))
            take(of, records(400, 400 * of.standing.version))
            saver.now(of)
    return later


def test_each_snapshot_says_how_good_it_was_and_what_changed_before_it(saved: Settings) -> None:
    """Figures since version 0, recent ones, those of held-out events, the rate."""
    newer, older = inventory(saved)

    for one in (newer, older):
        assert 0 < one["metrics"]["y"]["log_loss"] < 2
        assert 0 < one["fading"]["y"]["log_loss"] < 2
        assert 0 < one["held_out"]["y"]["metrics"]["log_loss"] < 2
    assert newer["learning_rate"] != older["learning_rate"]
    assert {} == older["changed"]
    assert {"learning.clip": [None, 2.0], "snapshots.every_seconds": [30.0, 5.0]} == newer[
        "changed"
    ]


def test_the_list_is_read_by_people_too(
    saved: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A line per target, and one of changes."""
    config = tmp_path / "headwater.yaml"
    config.write_text(json.dumps(shown(saved)))
    result = CliRunner().invoke(app, ["snapshots", "list", "--config", str(config)])

    assert 0 == result.exit_code, result.output
    assert "y: log_loss 0." in result.output
    assert "held out 0." in result.output
    assert "; rate 0.0" in result.output
    changed = "learning.clip: null, now 2.0; snapshots.every_seconds: 30.0, now 5.0"
    assert f"since the one before: {changed}" in result.output
