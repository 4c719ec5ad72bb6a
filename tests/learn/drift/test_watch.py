"""What alarms do to the weights: by state alone, so that a replay does it again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from service.learn.drift.report import report
from service.learn.learner import Learner
from service.model.kinds import module_code
from service.model.recipe import Recipe
from service.settings import DriftSettings, EventSettings, LearningSettings, ModelSettings
from service.stream.records import Record
from service.weights.digest import digest
from tests.learn.cuts import learner, recipe, record, take
from tests.learn.desk import Desk

NET = "tests.modules.nets:Net"
REACTIONS = [["raise_rates"], ["reset_head"], ["raise_rates", "reset_head"]]
EVENT: dict[str, Any] = {
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 64}},
    "targets": {"y": {"type": "binary"}, "z": {"type": "number"}},
}
TURNED, ENDS = 3000, 4500


def of(kind: str, *react: str, **drift: object) -> Recipe:
    """Return a recipe of two targets; of one where a kind learns no numbers."""
    targets = {"y": EVENT["targets"]["y"]} if kind == "svm" else EVENT["targets"]
    return recipe(kind, {**EVENT, "targets": targets}, {"react": react, **drift})


def stream() -> list[Record]:
    """Return records whose label `y` turns round at TURNED; `z` goes on as before."""
    rng = np.random.default_rng(4)
    found = []
    for at in range(ENDS):
        x = float(rng.normal())
        y = int((x > 0) == (at < TURNED)) if rng.random() < 0.95 else int(x > 0)
        event = {"x": x, "c": f"c{at % 7}", "y": y, "z": 3 * x + float(rng.normal())}
        found.append(record(at, event))
    return found


@pytest.fixture(scope="module")
def turned() -> list[Record]:
    return stream()


def learned(by: Recipe, records: list[Record], size: int = 500) -> tuple[Learner, list[str]]:
    """Return a learner that learned them in cuts of a size, and what it did after alarms."""
    one, done = learner(by), []
    for at in range(0, len(records), size):
        done += take(one, records[at : at + size]).answers
    return one, done


@pytest.mark.parametrize(
    ("kind", "react"),
    [
        *(("linear", react) for react in REACTIONS),
        *((kind, REACTIONS[-1]) for kind in ("mlp", "svm", "fm")),
    ],
    ids=lambda given: given if isinstance(given, str) else "+".join(given),
)
def test_how_rows_are_cut_makes_no_difference_to_what_an_alarm_does(turned, kind, react):
    """The same bits of weights, optimizer and metrics for cuts of 61, 1,024 and 4,500 rows."""
    found = [learned(of(kind, *react), turned, size) for size in (61, 1024, ENDS)]

    assert 1 == len({str(digest(one.state.parts())) for one, _ in found})
    assert 1 == len({tuple(done) for _, done in found})
    assert {answer.split()[0] for answer in found[0][1]} == set(react)


@pytest.mark.parametrize("react", REACTIONS, ids="+".join)
def test_a_replay_repeats_what_alarms_did(turned, tmp_path, react):
    """From the first snapshot on, after a crash in the middle of what an alarm began."""
    desk = Desk(tmp_path, of("linear", *react))
    for at in range(0, 3900, 130):
        desk.learn(turned[at : at + 130])
    entries = [e for e in desk.entries() if "drift" in e]
    assert any(e["drift"]["answers"] for e in entries)
    before = digest(desk.learner.state.parts())
    again = desk.restart()
    replayed = digest(again.learner.state.parts())
    lineage = again.learner.standing.lineage
    again.close()

    assert before == replayed
    assert desk.learner.standing.lineage == lineage


def test_a_replay_repeats_raised_rates_of_a_module(turned, tmp_path):
    """A module has no heads of its targets, and its rates are raised as all others."""
    module_code.trust(NET)
    by = Recipe(
        "test",
        EventSettings.model_validate(EVENT),
        ModelSettings.model_validate({"kind": NET, "arguments": {"size": 2, "hidden": 6}}),
        LearningSettings(),
        DriftSettings.model_validate({"react": ["raise_rates"]}),
    )
    desk = Desk(tmp_path, by)
    for at in range(0, 3900, 130):
        desk.learn(turned[at : at + 130])
    assert any(e["drift"]["answers"] for e in desk.entries() if "drift" in e)
    before = digest(desk.learner.state.parts())
    again = desk.restart()
    replayed = digest(again.learner.state.parts())
    again.close()

    assert before == replayed


def test_a_snapshot_carries_what_is_known_of_drift(turned, tmp_path):
    """Half by one process and half by the next, or all by one: the same bits."""
    by = of("linear", "raise_rates", "reset_head")
    desk = Desk(tmp_path, by)
    for at in range(0, 3300, 110):
        desk.learn(turned[at : at + 110])
    desk.order("snapshot")
    desk = desk.restart()
    assert 0 == desk.learner.watch.course(desk.learner.state)[0] - 3300 % 256
    desk.learn(turned[3300:])
    found = digest(desk.learner.state.parts())
    desk.close()

    assert digest(learned(by, turned)[0].state.parts()) == found


def test_watching_changes_no_weight(turned):
    """With detectors on and only observing, weights and optimizer are as without them."""
    with_them, _ = learned(of("linear", "log"), turned)
    without, _ = learned(of("linear", losses=False, inputs=False), turned)
    found, expected = (digest(one.state.parts()) for one in (with_them, without))

    assert (expected["weights"], expected["optimizer"]) == (found["weights"], found["optimizer"])
    assert 1 == report(with_them.watch, with_them.state)["losses"]["y"]["adwin"]["alarms"]
    assert {} == report(without.watch, without.state)["losses"]


def test_rates_are_raised_and_fall_back(turned):
    """By the factor at once, then less with every 256 rows, and 1 again after so many learned."""
    one = learner(of("linear", "raise_rates", raise_rates={"factor": 5.0, "rows": 600}))
    factors = []
    for at in range(0, ENDS, 32):
        take(one, turned[at : at + 32])
        factors.append(one.watch.factor(one.state))
    raised = [f for f in factors if f > 1.0]

    assert {1.0} == set(factors[: TURNED // 32])
    steps = [5.0, 1 + 4 * 344 / 600, 1 + 4 * 88 / 600]
    assert [f for f in steps for _ in range(8)] == pytest.approx(raised[:24])
    assert 1.0 == factors[-1]


def test_a_reset_takes_the_head_that_failed_and_nothing_else(turned):
    """At the end of the alarm's block `y` predicts one half; `z` and its memory go on."""
    one, plain = learner(of("linear", "reset_head")), learner(of("linear"))
    done: list[str] = []
    for at in range(0, ENDS, 256):
        done = take(one, turned[at : at + 256]).answers
        take(plain, turned[at : at + 256])
        if done:
            break
    parts, untouched = one.state.parts(), plain.state.parts()
    own = {n for n in parts["weights"] if n.startswith("head/y/")}
    memory = {n for n in parts["optimizer"] if "/head/y/" in n} | {"steps/y"}

    assert ["reset_head y"] == done
    assert own
    for part, names in (("weights", own), ("optimizer", memory)):
        for name, tensor in parts[part].items():
            if name in names:
                assert not tensor.any(), name
            else:
                assert bool((tensor == untouched[part][name]).all()), name


def test_a_reset_goes_live(turned, tmp_path):
    """What is served has no bit of the old head left."""
    desk = Desk(tmp_path, of("linear", "reset_head"))
    for at in range(0, ENDS, 256):
        desk.learn(turned[at : at + 256])
        if "reset_head" in str(desk.entries()[-1].get("drift")):
            break
    served, own = desk.live_image(), desk.learner.state.image.tobytes()
    desk.close()

    assert "reset_head" in str(desk.entries()[-1]["drift"])
    assert own == served


@pytest.mark.parametrize("react", REACTIONS, ids="+".join)
def test_reactions_help_where_the_world_turns_round(turned, react):
    """Adagrad's steps have become short when the labels turn: the reaction makes them long."""
    plain, _ = learned(of("linear"), turned)
    helped, _ = learned(of("linear", *react), turned)
    losses = [one.report()["y"]["fading"]["log_loss"] for one in (plain, helped)]

    assert losses[1] < 0.8 * losses[0]


def test_inputs_and_losses_that_move_in_one_cut_are_both_told():
    """Whatever the reset that follows has forgotten by then."""
    rng, given = np.random.default_rng(5), []
    for at in range(6000):
        x, y, z = rng.normal(), rng.random() < 0.95, rng.normal()
        shop = "a" if at < 4000 else "b"
        event = {"x": float(x), "c": shop, "y": int((x > 0) == (y == (at < 4500))), "z": float(z)}
        given.append(record(at, event))
    done = take(learner(of("linear", "reset_head")), given)

    assert {"adwin", "unseen"} <= {alarm.by for alarm in done.alarms}
    assert "reset_head y" in done.answers


def test_only_what_changes_the_state_is_in_the_recipe():
    """Where alarms are told is not; how they change weights, and what is kept of them, is."""
    told = of("linear", "log", "webhook", webhook="https://example.com/?key=s3cret")
    assert of("linear") == told
    assert b"s3cret" not in told.to_json()
    assert Recipe.from_json(told.to_json()) == told
    for changed in (
        {"react": ["reset_head"]},
        {"react_to": ["page_hinkley"]},
        {"adwin_delta": 0.01},
        {"raise_rates": {"factor": 3.0}},
        {"inputs": False},
    ):
        assert of("linear") != recipe("linear", EVENT, changed), changed


def test_a_webhook_is_an_address_that_nobody_is_shown():
    """Only http and https; hidden in what the settings print."""
    found = DriftSettings.model_validate({"webhook": "https://h.example/T0/s3cret"})
    assert "s3cret" not in repr(found)
    for wrong in ("ftp://h.example/", "file:///etc/passwd", "h.example", "https://"):
        with pytest.raises(ValueError, match="webhook"):
            DriftSettings.model_validate({"webhook": wrong})
