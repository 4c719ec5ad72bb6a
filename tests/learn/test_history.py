"""Journal entries: what they do, and which of them lead to a version."""

from __future__ import annotations

import json

import pytest

from service.errors import LayoutChanged
from service.learn import history
from service.learn.changes import compare
from service.learn.history import Replayed, redo, way
from tests.learn.cuts import EVENT, learner, recipe, records, take


def nothing(_: object) -> list:
    """Read no record."""
    return []


def entries(*bases: int | None) -> list[dict]:
    """Return entries 1, 2, ...; each with the base given, if any."""
    made = [{"version": at, "kind": "pause"} for at in range(1, len(bases) + 1)]
    for entry, base in zip(made, bases, strict=True):
        if base is not None:
            entry["base"] = base
    return made


@pytest.mark.parametrize(
    ("bases", "start", "target", "expected"),
    [
        ((None, None, None), 0, 3, [1, 2, 3]),
        ((None, None, None), 2, 3, [3]),
        ((None, None, None), 3, 3, []),
        ((None, None, 1, None), 0, 4, [1, 3, 4]),
        ((None, None, 1, None), 2, 4, None),
        ((None, None, 0), 1, 3, None),
        ((None,), 0, 5, None),
    ],
)
def test_the_way_leads_around_what_was_given_up(bases, start, target, expected):
    """An entry with a base skips what lies between; no way is None."""
    found = way(entries(*bases), start, target)

    assert expected == (None if found is None else [e["version"] for e in found])


def test_a_cut_that_is_redone_from_other_records_is_a_divergence():
    """The checksum of the records' keys is held against the journal."""
    original = learner()
    step = take(original, records(20))
    entry = {"version": 1, "kind": "cut", "next": {"t": {"0": 20}}, "records": 20,
             "keys": step.keys, "loss": step.loss}  # fmt: skip
    same, other = Replayed(), Replayed()

    redo(learner(), entry, lambda _: records(20), same)
    redo(learner(), entry, lambda _: records(19), other)

    assert same.diverged_at is None
    assert 1 == other.diverged_at
    assert "19 records were read, 20 journaled" == other.reason


def test_a_cut_that_is_redone_with_other_bits_is_a_divergence():
    """The loss is compared as 64 bits, not as a number that is near."""
    entry = {"version": 1, "kind": "cut", "next": {"t": {"0": 20}}, "records": 20,
             "keys": take(learner(), records(20)).keys, "loss": "00" * 8}  # fmt: skip
    replayed = Replayed()

    redo(learner(), entry, lambda _: records(20), replayed)

    assert 1 == replayed.diverged_at


def test_pause_resume_and_halt_are_redone():
    """They take versions like everything else."""
    of, replayed = learner(), Replayed()
    for version, kind in ((1, "pause"), (2, "halt")):
        of = redo(of, {"version": version, "kind": kind, "reason": "r"}, nothing, replayed)
    assert (True, "r") == (of.standing.paused, of.standing.halted)

    of = redo(of, {"version": 3, "kind": "resume"}, nothing, replayed)

    assert (False, None, 3) == (of.standing.paused, of.standing.halted, of.standing.version)


def test_new_settings_are_redone_with_the_weights_kept():
    """A layout entry carries the recipe that is in force from then on."""
    of, replayed = learner(), Replayed()
    take(of, records(30))
    wider = EVENT | {"features": EVENT["features"] | {"z": {"type": "number"}}}
    new = recipe(event=wider)

    entry = {"version": 2, "kind": "layout", "recipe": json.loads(new.to_json())}
    after = redo(of, entry, nothing, replayed)

    assert new == after.recipe
    before = of.state.parts()["weights"]["head/y/category/c"]
    assert before.equal(after.state.parts()["weights"]["head/y/category/c"])
    assert of.state.scores["y"].tolist() == after.state.scores["y"].tolist()


def test_a_genesis_entry_is_enough_to_begin_again():
    """Recipe, lineage and start offsets: version 0 from nothing but the journal."""
    entry = {"version": 0, "kind": "genesis", "lineage": "a" * 16, "start": {"t": {"0": 7}},
             "recipe": json.loads(recipe("mlp").to_json()), "topic_ids": {"t": "id"}}  # fmt: skip
    of = history.genesis(entry)

    assert ({("t", 0): 7}, "a" * 16, 0) == (of.standing.cursors, of.standing.lineage, 0)
    assert (of.state.image == learner(recipe("mlp")).state.image).all()


def changed(**fields: dict | None) -> dict:
    """Return EVENT with other features; None removes one."""
    features = EVENT["features"] | fields
    return EVENT | {"features": {k: v for k, v in features.items() if v is not None}}


def test_learning_settings_may_change():
    """A rate is a new version, not a new model."""
    assert "settings" == compare(recipe(), recipe(learning_rate=0.3))
    assert "same" == compare(recipe(), recipe())


def test_a_field_may_be_added():
    """And its weights start from nothing."""
    assert "layout" == compare(recipe(), recipe(event=changed(z={"type": "number"})))


def test_a_field_is_removed_only_when_the_operator_says_so():
    """The message says how."""
    without = recipe(event=changed(x=None))
    with pytest.raises(LayoutChanged, match="--accept-removed x"):
        compare(recipe(), without)

    assert "layout" == compare(recipe(), without, ["x"])


@pytest.mark.parametrize(
    "event",
    [changed(x={"type": "category"}), changed(c={"type": "category", "buckets": 128}),
     changed(x={"type": "number", "scale": "none"}),
     EVENT | {"targets": {"y": {"type": "number"}}},
     EVENT | {"targets": {"y": {"type": "binary", "positive": "yes"}}}],
)  # fmt: skip
def test_what_a_name_means_may_not_change(event):
    """Types, buckets, scales and labels are refused with the difference."""
    with pytest.raises(LayoutChanged, match="does not fit the settings"):
        compare(recipe(), recipe(event=event))


def test_another_model_is_refused():
    """mlp weights are no linear weights."""
    with pytest.raises(LayoutChanged, match=r"model\.kind"):
        compare(recipe(), recipe("mlp"))
