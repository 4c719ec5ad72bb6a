"""F41: a state that an older release wrote is read, or refused in words; never guessed at.

Each released layout has its state directory in tests/fixtures, made by the code of that time.
"""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from service.errors import LayoutChanged
from service.learn import reach, restore
from service.learn.learner import Learner
from service.learn.restore import Policy, Restored
from service.learn.sources import RangeSource
from service.learn.standing import Standing
from service.model.recipe import Recipe
from service.stream.source import Source
from service.weights.journal import Journal
from service.weights.snapshots import Keep, SnapshotReader, Snapshots
from tests.fakes.broker import FakeBroker
from tests.fixtures import make_state
from tests.learn.cuts import recipe

FIXTURES = Path(make_state.__file__).parent
KINDS = ("linear", "mlp")
LAYOUTS = sorted(path.name for path in FIXTURES.glob("layout-*"))
STATES = [f"{layout}/{kind}" for layout in LAYOUTS for kind in KINDS]


def broker_of(state: Path) -> FakeBroker:
    """The topic that the state speaks of, as it was."""
    broker = FakeBroker()
    broker.create_topic("t", 3)
    for line in (state / "records.jsonl").read_text().splitlines():
        partition, offset, timestamp_ms, text = json.loads(line)
        log = broker.topics["t"].partitions[partition]
        broker.skip_offsets(("t", partition), offset - log.high)
        value = None if text is None else text.encode()
        broker.append(("t", partition), value, timestamp_ms=timestamp_ms)
    return broker


def restored(state: Path, of: Recipe) -> Restored:
    """What a learner of today makes of it."""
    broker = broker_of(state)

    def ranges(learner: Learner) -> RangeSource:
        source = Source(
            broker, ["t"], dict(learner.standing.cursors), batch_rows=100, linger_s=0.01,
            buffer_records=1000, clock=broker.clock, wall_ms=broker.clock.wall_ms,
        )  # fmt: skip
        return RangeSource(source, threading.Event(), lambda _: None)

    with Journal.open(state / "journal") as journal:
        return restore.restore(
            of, journal, Snapshots(state / "snapshots", Keep()), make_state.ENVIRONMENT,
            Policy(power_lost=False, skip_lost=False, accept_removed=()), ranges, lambda *_: None,
        )  # fmt: skip


@pytest.fixture
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of one fixture: what reads it may change it."""
    return Path(shutil.copytree(FIXTURES / request.param, tmp_path / "state"))


@pytest.mark.parametrize("state", STATES, indirect=True)
def test_f41_the_state_of_every_released_layout_is_read(state: Path) -> None:
    """Its snapshot is whole, its journal is replayed to the end, its weights are those of then."""
    kind = json.loads((state / "kind.json").read_text())
    of = recipe(kind, make_state.EVENT, holdout=0.1)

    after = restored(state, of)

    assert [] == SnapshotReader(state / "snapshots").verify()
    assert 3 == after.snapshot_version
    assert 5 == after.replayed.entries
    assert "records were read" not in (after.replayed.reason or "")
    standing = after.learner.standing
    assert {("t", 0): 52, ("t", 1): 60, ("t", 2): 10} == standing.cursors
    assert 112 == int(after.learner.state.outcomes.sum())
    then = safetensors.torch.load_file(state / "final.safetensors")
    now = after.learner.state.parts()["weights"]
    assert now.keys() == then.keys() | {"intervals/amount"}, "layout 4 has it, from nothing"
    for name, tensor in then.items():
        # another processor may round another way: the bits are what lineages are for
        np.testing.assert_allclose(now[name].numpy(), tensor.numpy(), rtol=1e-5, atol=1e-7)


def test_f41_experts_of_another_release_are_not_read_by_halves() -> None:
    """Where they remember in other shapes: it says so, and what to do."""
    learner = Learner.fresh(
        recipe("mixture", make_state.EVENT, holdout=0.1), Standing(0, "0" * 16, {})
    )
    meta, parts = learner.meta(), learner.state.parts()
    name = next(name for name in parts["weights"] if name.endswith("newton/plain_counts"))
    parts["weights"][name] = parts["weights"][name][:3]
    meta["recipe"]["layout"] = 4

    with pytest.raises(LayoutChanged, match=r"laid out as number 4.*other shapes.*start anew"):
        reach.from_snapshot(parts, meta)


def test_f41_a_state_keeps_the_kind_that_auto_meant_when_it_was_begun() -> None:
    """Which was linear in the first slices; a state of today says what it is."""
    today = recipe("auto", make_state.EVENT, holdout=0.1)
    then = json.loads(today.to_json())
    then["model"]["kind"] = "auto"

    assert "linear" == Recipe.from_json(json.dumps(then).encode()).kind
    assert "mixture" == Recipe.from_json(today.to_json()).kind == today.kind


@pytest.mark.parametrize("state", [f"{LAYOUTS[-1]}/{kind}" for kind in KINDS], indirect=True)
def test_f41_a_layout_of_the_future_is_refused_in_words(state: Path) -> None:
    """It names both numbers, and what to do."""
    read = SnapshotReader(state / "snapshots").list()[0].manifest
    assert read is not None
    future = json.dumps(read.meta["recipe"] | {"layout": 99}).encode()

    with pytest.raises(LayoutChanged, match=r"number 99, this release reads .*; use the release"):
        Recipe.from_json(future)
