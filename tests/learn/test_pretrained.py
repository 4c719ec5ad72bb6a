"""A new model that starts from weights in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from service.errors import BadSettings, SnapshotInvalid
from service.learn import history, pretrained, restore
from service.learn.drift import reset
from service.learn.rebuild import rebuild
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import PretrainedSettings
from service.weights.digest import digest
from service.weights.journal import Journal
from service.weights.snapshots import Keep, Snapshots
from tests.learn import cuts
from tests.learn.cuts import recipe


def file_of(folder: Path, **tensors: torch.Tensor) -> Path:
    """Return a safetensors file; `__` in a name stands for a slash."""
    path = folder / "weights.safetensors"
    named = {name.replace("__", "/"): tensor for name, tensor in tensors.items()}
    safetensors.torch.save_file(named, path)
    return path


def matched(path: Path, **said: Any) -> pretrained.Matched:
    """Compare a file with the mlp of cuts.py."""
    return pretrained.match(
        Layout(recipe("mlp")), PretrainedSettings.model_validate({"file": path, **said})
    )


def test_tensors_are_matched_by_name_and_all_differences_are_told(tmp_path):
    """Used, missing, unexpected, and of another shape."""
    path = file_of(
        tmp_path, hidden__bias=torch.ones(8), embedding__c=torch.ones(3, 2), other=torch.ones(1)
    )

    found = matched(path)

    assert {"hidden/bias": "hidden/bias"} == found.used
    assert ["other"] == found.unexpected
    assert ["embedding/c is [64, 2], embedding/c is [3, 2]"] == found.misfits
    assert "head/y/weight" in found.missing
    assert "hidden/bias" not in found.missing
    assert "normaliser/x" not in found.missing
    assert 4 == len(found.lines())


def test_names_may_differ_one_by_one_or_by_a_pattern(tmp_path):
    """`hidden/*: trunk.*` is for all that begin so; a name of its own goes first."""
    path = file_of(tmp_path, **{
        "trunk.bias": torch.ones(8), "trunk.number/x": torch.ones(2, 8), "table": torch.ones(64, 2),
    })  # fmt: skip

    found = matched(path, names={"hidden/*": "trunk.*", "embedding/c": "table"})

    assert {
        "hidden/bias": "trunk.bias", "hidden/number/x": "trunk.number/x", "embedding/c": "table",
    } == found.used  # fmt: skip


@pytest.mark.parametrize(
    ("said", "says"),
    [
        ({"file": "nowhere.safetensors"}, "cannot be read"),
        ({"strict": True}, "differs from the model"),
        ({"names": {"hidden/bias": "nothing"}}, "holds no tensor that fits"),
        ({"names": {"hidden/bais": "x"}}, r"the model has no weights \['hidden/bais'\]"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, said, says):
    """With the setting, and what to do."""
    path = file_of(tmp_path, hidden__bias=torch.ones(8))

    with pytest.raises(BadSettings, match=says):
        matched(
            **{"path": path, **said} if "file" not in said else {"path": tmp_path / said["file"]}
        )


def test_a_number_that_is_not_finite_is_refused_before_anything_is_journaled(tmp_path):
    """The next start finds a directory as if nothing had been tried."""
    path = file_of(tmp_path, hidden__bias=torch.full((8,), torch.nan))
    with Journal.open(tmp_path / "journal") as journal:
        with pytest.raises(BadSettings, match="hidden/bias is not finite"):
            restore.begin(recipe("mlp"), {("t", 0): 0}, {"t": None}, journal, {}, matched(path))

        assert journal.last_version is None


def test_version_0_is_made_of_the_file_and_can_be_made_of_it_again(tmp_path):
    """The genesis entry has the sha256: a rebuild is the same, or says that the file changed."""
    bias = torch.linspace(-1, 1, 8, dtype=torch.float16)
    path = file_of(tmp_path, hidden__bias=bias)
    with Journal.open(tmp_path / "journal") as journal:
        begun = restore.begin(recipe("mlp"), {("t", 0): 0}, {"t": None}, journal, {}, matched(path))
        entry = next(iter(journal.read(0)))
    first = digest(begun.state.parts())

    assert np.array_equal(begun.state.parts()["weights"]["hidden/bias"], bias.float())
    assert first == digest(history.genesis(entry).state.parts())
    file_of(tmp_path, hidden__bias=bias + 1)
    with pytest.raises(SnapshotInvalid, match="has changed since"):
        history.genesis(entry)
    path.unlink()
    with pytest.raises(SnapshotInvalid, match="put it back"):
        history.genesis(entry)


def test_a_rebuild_from_snapshot_0_needs_no_file(tmp_path):
    """The first snapshot holds what the file had."""
    path = file_of(tmp_path, hidden__bias=torch.ones(8))
    with Journal.open(tmp_path / "journal") as journal:
        begun = restore.begin(recipe("mlp"), {("t", 0): 0}, {"t": None}, journal, {}, matched(path))
        Snapshots(tmp_path / "snapshots", Keep()).write(begun.state.parts(), begun.meta())
    path.unlink()

    made = rebuild(tmp_path, 0, tmp_path / "out", lambda _: pytest.fail("nothing is read"))

    assert digest(begun.state.parts()) == made["digest"]


@pytest.mark.parametrize(
    "learning",
    [{"average": {}}, {"l2_init": 0.1}, {"ewc": {}}, {"agem": {"memory": 10}, "step_rows": 4}],
)
def test_what_begins_as_a_weight_begins_as_that_of_the_file(tmp_path, learning):
    """The average is what is served; an anchor and the point of l2_init pull to what was given."""
    path = file_of(tmp_path, hidden__bias=torch.full((8,), 0.5))
    of = recipe("mlp", **learning)
    found = pretrained.match(Layout(of), PretrainedSettings.model_validate({"file": path}))
    with Journal.open(tmp_path / "journal") as journal:
        begun = restore.begin(of, {("t", 0): 0}, {"t": None}, journal, {}, found)

    beside = [name for name in begun.state.flats if name != "fisher"]
    assert beside
    for name in beside:
        first = begun.layout.kind.places["hidden/bias"]
        assert np.array_equal(begun.state.flats[name][first : first + 8], np.full(8, 0.5))


GIVEN = {"hidden__bias": torch.full((8,), 0.5), "head__y__weight": torch.full((1, 8), 0.25)}


@pytest.mark.parametrize("learning", [{}, {"average": {}}])
def test_a_head_that_is_reset_begins_as_that_of_the_file_again(tmp_path, learning):
    """Whatever was learned since, and without the file: the state holds what it began from."""
    path = file_of(tmp_path, **GIVEN)
    of = recipe("mlp", drift={"react": ["reset_head"]}, **learning)
    found = pretrained.match(Layout(of), PretrainedSettings.model_validate({"file": path}))
    with Journal.open(tmp_path / "journal") as journal:
        begun = restore.begin(of, {("t", 0): 0}, {"t": None}, journal, {}, found)
    path.unlink()
    cuts.take(begun, cuts.records(200))
    learned = begun.state.parts()["weights"]
    assert not torch.equal(GIVEN["head__y__weight"], learned["head/y/weight"])
    hidden = learned["hidden/bias"].clone()
    reset.head(begun.state, of.schema.targets[0])

    for name, weights in learned.items():
        if name.endswith("head/y/weight"):
            assert torch.equal(GIVEN["head__y__weight"], weights), name
    assert torch.equal(hidden, learned["hidden/bias"])


def test_a_pull_that_is_asked_for_later_is_to_the_weights_of_the_file(tmp_path):
    """The settings of a restart may bring l2_init in; they need not speak of the file any more."""
    path = file_of(tmp_path, **GIVEN)
    with Journal.open(tmp_path / "journal") as journal:
        begun = restore.begin(recipe("mlp"), {("t", 0): 0}, {"t": None}, journal, {}, matched(path))
        snapshots = Snapshots(tmp_path / "snapshots", Keep())
        cuts.take(begun, cuts.records(200))
        snapshots.write(begun.state.parts(), begun.meta() | {"version": 0})
        path.unlink()
        later = restore.restore(
            recipe("mlp", l2_init=0.1), journal, snapshots, {},
            restore.Policy(False, False, ()), lambda _: pytest.fail("nothing is read"),
            lambda *_: None,
        ).learner  # fmt: skip
    drawn = cuts.learner(recipe("mlp")).state.parts()["weights"]["embedding/c"]
    first = later.state.parts()["optimizer"]

    assert 0.1 == later.recipe.learning.l2_init
    assert torch.equal(GIVEN["head__y__weight"], first["initial/head/y/weight"])
    assert torch.equal(GIVEN["hidden__bias"], first["initial/hidden/bias"])
    assert torch.equal(drawn, first["initial/embedding/c"])


def test_a_model_without_a_file_keeps_nothing_of_it():
    """No array is added to its state, and its recipe is spelled as it was."""
    plain = recipe("mlp")

    assert "initial" not in Layout(plain).flats
    assert b"from_file" not in plain.to_json()
    assert "initial" in Layout(Recipe.from_json(plain.begun(from_file=True).to_json())).flats


def test_a_number_that_single_precision_cannot_hold_is_refused(tmp_path):
    """It would be infinite."""
    path = file_of(tmp_path, hidden__bias=torch.full((8,), 1e300, dtype=torch.float64))
    with (
        Journal.open(tmp_path / "journal") as journal,
        pytest.raises(BadSettings, match="too large"),
    ):
        restore.begin(recipe("mlp"), {("t", 0): 0}, {"t": None}, journal, {}, matched(path))
