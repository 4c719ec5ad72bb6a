"""The frozen twin: scored beside the live model, and nothing of it in what is learned."""

from __future__ import annotations

import errno
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.learn.twin.paired import Paired
from service.learn.twin.twin import ROWS, Twin
from service.metrics import Metrics
from service.model import prequential
from service.model.kinds import module_code
from service.model.recipe import Recipe
from service.model.state import State
from service.settings import ModelSettings
from service.stream.records import Record
from service.weights import durable
from service.weights.digest import digest
from service.weights.snapshots import Keep, Snapshots
from tests.learn.cuts import learner, recipe, record, records, take
from tests.learn.desk import Desk
from tests.learn.test_rivals import beside

THREE = {
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}},
    "targets": {
        "y": {"type": "binary"},
        "colour": {"type": "multiclass", "classes": ["red", "green", "blue"]},
        "price": {"type": "number"},
    },
}


def made(kind: str) -> Recipe:
    """Return a recipe of a kind that learns all three; a module's has dropout."""
    if ":" not in kind:
        return recipe(kind, THREE)
    module_code.trust(kind)
    plain = recipe(event=THREE)
    model = ModelSettings.model_validate({"kind": kind, "arguments": {"dropout": 0.3}})
    return Recipe("test", plain.event, model, plain.learning)


def three(n: int, first: int = 0) -> list[Record]:
    """Return records whose answers change with time; some have no label of one kind."""
    rng = np.random.default_rng(first)
    found = []
    for i in range(first, first + n):
        x = float(rng.normal())
        event = {"x": x, "c": f"c{i % 5}", "y": int(x > math.sin(i / 200)), "price": x + i / 100}
        if i % 3:
            event["colour"] = ("red", "green", "blue")[i % 3]
        found.append(record(i, event))
    return found


def shown(
    metrics: Metrics, model: str, metric: str = "log_loss", window: str = "cumulative"
) -> float:
    """Return what the gauge says; NaN where nothing is shown."""
    value = metrics.gauge("headwater_score").get("y", metric, window, model)
    return value or math.nan


def frozen_events(desk: Desk) -> int | None:
    """Return how many events the twin had learned; None where there is none."""
    return None if desk.twin.said is None else desk.twin.said["events"]


def failures(desk: Desk, reason: str) -> float:
    """Return how often the twin was lost for this reason."""
    return desk.metrics.counter("headwater_twin_failures_total").get(reason)


def step(desk: Desk, first: int, n: int = 60) -> None:
    """Go round the loop once."""
    desk.learn(records(n, first))
    desk.acts.tick()


@pytest.mark.parametrize("kind", ["linear", "mlp", "tests.modules.nets:Net"])
def test_twin_and_live_are_scored_on_the_same_events_of_every_target(kind):
    """The frozen figures are those of the weights at the freeze, the paired ones those of the rows
    as they were learned: both as the live accumulators have them."""
    of = learner(made(kind))
    take(of, three(200))
    frozen, twin = of.copy(), Paired.of(of)
    again = {t.name: [prequential.fresh(t) for _ in range(2)] for t in of.recipe.schema.targets}
    for first in range(200, 600, 100):
        given = three(100, first)
        columns = of.decode(given).columns
        done = take(of, given)
        twin.compare(done, columns)
        still = frozen.score(columns)
        for t, target in enumerate(of.recipe.schema.targets):
            block = slice(target.start, target.start + target.outputs)
            y = np.ascontiguousarray(done.labels[:, t])
            for vector, scores in zip(again[target.name], (still, done.scores), strict=True):
                prequential.update(target, vector, scores[:, block], y)

    for target in of.recipe.schema.targets:
        report = twin.report()[target.name]
        for model, vector in zip(("frozen", "live_paired"), again[target.name], strict=True):
            expected = prequential.report(target, vector)
            assert expected["scored"] == report[model]["scored"] > 200
            for metric, value in expected["fading"].items():
                assert value == pytest.approx(report[model]["fading"][metric], rel=1e-4), metric
    error = {m: r["metrics"]["mae"] for m, r in twin.report()["price"].items()}
    assert error["live_paired"] < error["frozen"]  # the price goes on rising


@pytest.mark.parametrize("kind", ["linear", "mlp", "tests.modules.nets:Net"])
def test_what_is_learned_has_the_same_bits_with_a_twin_and_without(kind, tmp_path):
    """Also with a module that draws by chance while it learns."""
    found = []
    for after in (None, 0, 150):
        desk = Desk(tmp_path / str(after), made(kind), frozen_after=after)
        for first in range(0, 600, 60):
            desk.learn(three(60, first))
            desk.acts.tick()
        found.append((digest(desk.learner.state.parts()), desk.learner.standing.version))
        assert (after is not None) == (desk.twin.said is not None)
        desk.close()

    assert found[0] == found[1] == found[2]


TURNS = st.lists(st.sampled_from(["learn", "learn", "restart", "save", "roll back", "tear"]),
                 min_size=3, max_size=7)  # fmt: skip


@settings(max_examples=3, deadline=None)
@given(turns=TURNS)
def test_whatever_crashes_the_history_is_the_one_without_a_twin(turns, tmp_path_factory):
    """Digests and versions are equal after every step; a twin never knows what is still to come."""
    folder = tmp_path_factory.mktemp("turns")
    desks = [Desk(folder / str(after), recipe(), frozen_after=after) for after in (None, 100)]
    try:
        for turn in ["learn", "learn", *turns, "learn", "restart", "learn"]:
            for at, desk in enumerate(desks):
                if turn == "restart":
                    desks[at] = desk.restart()
                elif turn == "save":
                    desk.order("snapshot")
                elif turn == "roll back":
                    desk.order("rollback", to=max(0, desk.learner.standing.version - 2))
                elif turn == "tear":
                    _tear(desk)
                else:
                    step(desk, desk.learner.standing.cursors["t", 0])
                desks[at].acts.tick()
            without, beside = (desk.learner for desk in desks)
            assert without.standing.version == beside.standing.version
            assert digest(without.state.parts()) == digest(beside.state.parts())
            assert (frozen_events(desks[1]) or 0) <= beside.events_learned
    finally:
        for desk in desks:
            desk.close()


def _tear(desk: Desk) -> None:
    """Leave what a kill in the middle of writing leaves, and cut off what is there."""
    folder = desk.folder / "twin"
    (folder / ".tmp-torn").mkdir(parents=True, exist_ok=True)
    for file in folder.glob("objects/*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])


def test_a_restart_goes_on_with_the_same_twin_and_begins_its_figures_anew(tmp_path):
    """One copy, whatever happens to the process; both figures are of the same time."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    for first in range(0, 300, 60):
        step(desk, first)
    desk.twin.show()
    assert {"version": 2, "events": 120} == desk.acts.status()["frozen_twin"] == desk.twin.said
    assert shown(desk.metrics, "frozen") != shown(desk.metrics, "live_paired")
    before = desk.live_image()

    desk = desk.restart()
    assert {"version": 2, "events": 120} == desk.twin.said
    desk.twin.show()
    assert math.isnan(shown(desk.metrics, "frozen"))
    step(desk, 300)
    desk.twin.show()
    assert math.isfinite(shown(desk.metrics, "frozen"))
    assert 120.0 == desk.metrics.gauge("headwater_twin_events_learned").get()
    assert before != desk.live_image()
    assert 1 == len(list((tmp_path / "s" / "twin" / "objects").iterdir()))
    desk.close()


def test_the_twin_of_the_main_model_stays_where_challengers_come_and_go(tmp_path):
    """It says what it said; one of which a challenger answers is of that challenger's weights."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    for under in (beside(deep="mlp"), beside(deep="mlp", other="fm"), beside(deep="mlp")):
        desk.close()
        desk = Desk(desk.folder, under, desk.topic, frozen_after=100)
        step(desk, desk.learner.events_learned)
        assert 120 == frozen_events(desk)
    desk.order("promote", name="deep")
    desk.close()
    desk = Desk(desk.folder, desk.recipe, desk.topic, frozen_after=200)
    step(desk, desk.learner.events_learned)
    newer = frozen_events(desk)
    desk.close()
    desk = Desk(desk.folder, beside(deep="mlp", other="fm"), desk.topic, frozen_after=200)
    dropped = failures(desk, "other_layout")
    desk.close()

    assert (360, 1.0) == (newer, dropped)


@pytest.mark.parametrize("harm", ["flip", "missing", "manifest"])
def test_a_damaged_file_is_counted_and_another_twin_is_frozen(tmp_path, harm):
    """Learning goes on; what can be read after the next restart is the new one."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    desk.close()
    [file] = (tmp_path / "s" / "twin" / "objects").iterdir()
    [manifest] = (tmp_path / "s" / "twin").glob("v*/manifest.json")
    if harm == "missing":
        file.unlink()
    else:
        of = file if harm == "flip" else manifest
        content = bytearray(of.read_bytes())
        content[-100] ^= 1
        of.write_bytes(content)

    desk = desk.restart()
    assert 1.0 == failures(desk, "damaged")
    assert desk.twin.said is None
    step(desk, 120)
    assert 180 == frozen_events(desk)
    desk = desk.restart()
    assert 0.0 == failures(desk, "damaged")
    assert 180 == frozen_events(desk)
    desk.close()


@pytest.mark.parametrize(
    "foreign",
    [{"recipe": None}, {"recipe": []}, {"recipe": {}}, {"events_learned": None},
     {"events_learned": "many"}],
)  # fmt: skip
def test_a_whole_file_that_says_what_nobody_expects_is_no_end_of_the_learner(tmp_path, foreign):
    """As another release may write it: it is dropped and counted, and another twin is frozen."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    desk.close()
    kept = Snapshots(tmp_path / "s" / "twin", Keep(last=1, hourly=0, daily=0))
    found = kept.newest_valid()
    assert found is not None
    state = State(desk.learner.layout)
    kept.write(
        {"weights": state.parts()["weights"]}, found.manifest.meta | {"version": 2} | foreign
    )

    desk = desk.restart()
    assert desk.twin.said is None
    assert 1.0 == failures(desk, "damaged") + failures(desk, "other_layout")
    step(desk, 120)
    assert 180 == frozen_events(desk)
    desk.close()


def test_a_copy_that_cannot_be_made_ends_the_twin_and_not_the_learner(tmp_path, monkeypatch):
    """Whatever the reason: counted once, and learning goes on."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    monkeypatch.setattr(Paired, "of", lambda _: (_ for _ in ()).throw(RuntimeError("no room")))
    step(desk, 0, 120)
    step(desk, 120)

    assert 180 == desk.learner.events_learned
    assert 1.0 == failures(desk, "not_scored")
    assert desk.twin.said is None
    desk.close()


def test_a_full_disk_costs_the_file_and_no_event(tmp_path, monkeypatch):
    """The twin is scored from memory, the failure is counted, and a later try writes it."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    monkeypatch.setattr("service.learn.twin.twin._AGAIN_S", 0.0)
    real = durable.create

    def full(path: Path) -> int:
        if "twin" in path.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path)

    with monkeypatch.context() as disk:
        disk.setattr(durable, "create", full)
        step(desk, 0, 120)
        desk.twin.close()
        assert 1.0 == failures(desk, "not_written")
        step(desk, 120)
        desk.twin.close()
        assert 2.0 == failures(desk, "not_written")
    assert 180 == desk.learner.events_learned
    step(desk, 180)
    desk.twin.show()
    assert math.isfinite(shown(desk.metrics, "frozen"))
    desk = desk.restart()
    assert 120 == frozen_events(desk)
    desk.close()


def test_an_error_of_the_copy_ends_the_twin_and_not_the_learner(tmp_path):
    """A user's forward may raise on weights that learn no more; nothing of it is shown any more."""

    class Raises(Paired):
        def compare(self, step, columns, most=None) -> None:
            raise RuntimeError("no")

    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    step(desk, 120)
    desk.twin.show()
    assert math.isfinite(shown(desk.metrics, "frozen"))
    desk.twin._copy = Raises.of(desk.learner)
    step(desk, 180)
    step(desk, 240)
    assert 300 == desk.learner.events_learned
    assert 1.0 == failures(desk, "not_scored")
    assert math.isnan(shown(desk.metrics, "frozen"))
    assert desk.twin.said is None
    desk.close()


def test_other_fields_or_another_model_drop_the_twin(tmp_path):
    """A new field, then a twin that was made under it; another learning rate changes nothing."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    desk.recipe = recipe(learning_rate=0.1, optimizer="adam")
    desk = desk.restart()
    assert 120 == frozen_events(desk)

    more = {"features": {**recipe().event.model_dump()["features"], "z": {"type": "number"}}}
    desk.recipe = recipe(event={**recipe().event.model_dump(), **more})
    desk = desk.restart()
    assert 1.0 == failures(desk, "other_layout")
    assert desk.twin.said is None
    step(desk, 120)
    assert 180 == frozen_events(desk)
    desk.close()


def test_a_rollback_to_before_it_drops_the_twin_and_shows_nothing_of_it(tmp_path):
    """It knew events that are learned again; one that is older than the way back stays."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    for first in range(0, 240, 60):
        step(desk, first)
    desk.order("rollback", to=3)
    desk.acts.tick()
    assert {"version": 2, "events": 120} == desk.twin.said

    desk.order("rollback", to=1)
    desk.acts.tick()
    assert 1.0 == failures(desk, "other_history")
    assert desk.twin.said is None
    assert math.isnan(shown(desk.metrics, "frozen"))
    assert math.isnan(desk.metrics.gauge("headwater_twin_events_learned").get())
    step(desk, 60)
    assert 120 == frozen_events(desk)
    assert desk.twin.said["version"] > 2
    desk.close()


def test_a_larger_frozen_after_replaces_the_twin_when_it_is_reached(tmp_path):
    """Until then the old one is kept; a smaller one, and null, leave the file alone."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0, 120)
    for after, expected in ((200, 120), (None, None), (50, 120)):
        desk.frozen_after = after
        desk = desk.restart()
        step(desk, desk.learner.standing.cursors["t", 0], 20)
        assert expected == frozen_events(desk)
    desk.frozen_after = 200
    desk = desk.restart()
    step(desk, 180)
    assert 240 == frozen_events(desk)
    desk.close()


def test_while_a_version_is_frozen_by_guard_or_operator_no_twin_is_made(tmp_path):
    """What is learned in the shadow may be what the freeze is about."""
    desk = Desk(tmp_path / "s", recipe(), frozen_after=100)
    step(desk, 0)
    desk.order("freeze")
    step(desk, 60)
    assert desk.twin.said is None
    desk.order("unfreeze")
    step(desk, 120)
    assert 120 == frozen_events(desk)
    desk.close()


def test_scoring_takes_no_more_than_its_share_of_the_time():
    """A clock on which the twin needs 10 ms a cut, and the loop 10 ms more: 2 per cent are left."""
    time, metrics = [0.0], Metrics("learner")
    twin = Twin(0, metrics, clock=lambda: time[0])
    of = learner()
    twin.tick(of)

    class Slow(Paired):
        def compare(self, step, columns, most=None) -> None:
            time[0] += 0.01
            super().compare(step, columns, most)

    twin._copy = Slow.of(of)
    for first in range(0, 1500, 3):
        columns = of.decode(records(3, first)).columns
        time[0] += 0.01
        twin.compare(take(of, records(3, first)), columns)

    spent = metrics.counter("headwater_learner_time_seconds_total").get("twin")
    assert 0.015 < (spent - 0.02) / time[0] < 0.025
    assert round(spent / 0.01) * 3 == twin._copy.report()["y"]["frozen"]["scored"]


@pytest.mark.parametrize("kind", ["linear", "mlp", "fm", "svm", "rls"])
def test_the_copy_says_what_the_model_said_when_it_was_frozen(kind):
    """Of every kind, and where predictions come from an average."""
    of = learner(recipe(kind, **({} if kind == "rls" else {"average": {}})))
    take(of, records(200))
    columns = of.decode(records(50, 900)).columns
    before, twin = of.score(columns), Paired.of(of)
    take(of, records(200, 200))

    assert np.allclose(before, twin._attached.score(columns), rtol=1e-5)
    assert not np.allclose(before, of.score(columns), rtol=1e-5)


def test_an_event_that_one_of_them_cannot_score_counts_for_neither():
    """Else the two figures would be of other events."""
    of = learner()
    take(of, records(100))
    twin = Paired.of(of)
    given = records(40, 100)
    done = take(of, given)
    done.scores[7] = np.nan
    twin.compare(done, of.decode(given).columns)
    twin._state.theta[:] = np.nan
    twin.compare(done, of.decode(given).columns)

    report = twin.report()["y"]
    assert 39 == report["frozen"]["scored"] == report["live_paired"]["scored"]


def test_a_large_cut_is_sampled_evenly_and_a_small_one_taken_whole():
    """Not only its first events: those of the end of a cut count as much."""
    of = learner(recipe(event=THREE))
    twin = Paired.of(of)
    given = [record(i, {"x": 0.0, "y": 1, "price": i}) for i in range(ROWS * 8)]
    columns = of.decode(given).columns
    twin.compare(take(of, given), columns, ROWS)

    report = twin.report()["price"]["frozen"]
    assert report["scored"] == ROWS
    assert report["metrics"]["mae"] == pytest.approx(np.mean(np.arange(ROWS) * 8))
    twin.compare(take(of, given[:50]), of.decode(given[:50]).columns, ROWS)
    assert ROWS + 50 == twin.report()["price"]["frozen"]["scored"]
