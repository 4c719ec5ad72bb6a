"""What a module of the user's own is tried for before anything starts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from service.errors import BadSettings
from service.learn.evaluate import evaluate
from service.learn.module_rules import examine
from service.model.kinds import module_code, recipe_of
from service.model.recipe import Recipe
from service.settings import EventSettings, LearningSettings, ModelSettings, Settings, load
from tests.learn.test_restoring import Home
from tests.processes import PATIENCE_S
from tests.test_docs import blocks

CHECKOUT = Path(__file__).parent.parent.parent
EVERY_KIND = {
    "features": {
        "amount": {"type": "number"},
        "new": {"type": "boolean"},
        "shop": {"type": "category", "buckets": 64},
        "tags": {"type": "categories", "buckets": 64},
        "title": {"type": "text", "buckets": 128},
        "place": {"type": "vector", "size": 3},
        "rest": {"type": "map", "rest": True, "buckets": 64},
        "at": {"type": "time"},
    },
    "interactions": [["amount", "shop"]],
    "targets": {
        "y": {"type": "binary"}, "grade": {"type": "multiclass", "classes": ["a", "b", "c"]},
    },
}  # fmt: skip
BROKEN = {
    "Raises": "ValueError: no rows today",
    "Misshapen": r"what forward returned has shape \[1\], not \[1, 4\]",
    "OtherTargets": r"forward returned outputs for \['price'\], not for \['grade', 'y'\]",
    "Double": "parameter out.weight is torch.float64",
    "NotFinite": "forward is not finite for an event in which every field is missing",
    "Chance": "gives other outputs for an event in which every field is missing when it is called",
    "OwnChance": "in train mode, outputs differ with the same seed",
    "Company": "outputs for an event change by",
    "BatchNorm": "forward changes buffers in train mode: norm.running_mean",
    "WritesWeights": "forward writes into its own weights in eval mode",
    "WritesInputs": "forward writes into its inputs",
    "NoGradient": "outputs have no gradient",
    "OtherEachTime": "out.weight has other first values when the module is made again",
    "MaxNorm": "table has max_norm",
    "Hidden": "layers holds layers or weights in a plain list",
    "Unsaved": "outputs differ when the module is made again and has the same weights",
}


@pytest.fixture(autouse=True)
def torch_as_it_was():
    """Modules ask torch for one thread and determinism; other tests have it as it was."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)


def recipe(kind: str) -> Recipe:
    """Return a recipe with fields of every kind and two targets."""
    module_code.trust(kind)
    return Recipe(
        "test", EventSettings.model_validate(EVERY_KIND),
        ModelSettings.model_validate({"kind": kind}), LearningSettings(),
    )  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_breaks_a_rule_is_refused(name):
    """With the rule, and with what to do."""
    with pytest.raises(BadSettings, match=BROKEN[name]) as caught:
        examine(recipe(f"tests.modules.bad:{name}"))

    assert all(problem.hint for problem in caught.value.problems)


@pytest.mark.parametrize("name", ["nets:Net", "nets:WithBuffers", "bad:Good"])
def test_a_module_that_keeps_the_rules_is_measured(name):
    """How many weights, how long an event takes; over fields of every kind."""
    found = examine(recipe(f"tests.modules.{name}"))

    assert [] == found.warnings
    assert (True, True) == (found.parameters > 0, found.row_us > 0.0)


def test_weights_that_no_output_depends_on_are_told():
    """They are no error; they would just never be learned."""
    found = examine(recipe("tests.modules.bad:Idle"))

    assert ["no output depends on idle.weight, idle.bias: never learned"] == found.warnings


def test_a_module_that_dies_of_read_only_memory_ends_only_the_process_that_tries_it(
    tmp_path,
):
    """`config check --probe` says so, in a sentence, and ends with 3."""
    settings = {
        "name": "t", "kafka": {"topics": ["t"]}, "model": {"kind": "nets_of_mine:Net"},
        "event": {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}},
    }  # fmt: skip
    (tmp_path / "headwater.yaml").write_text(json.dumps(settings))
    source = (CHECKOUT / "tests/modules/bad.py").read_text()
    (tmp_path / "nets_of_mine.py").write_text(source.replace("class WritesTheSame", "class Net"))

    done = subprocess.run(
        [sys.executable, "-m", "service", "config", "check", "--probe"], cwd=tmp_path,
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip

    assert 3 == done.returncode
    assert "nets_of_mine:Net ended the process that tried it: SIGSEGV" in done.stdout
    assert "It may write into its weights" in done.stdout


def test_the_example_of_the_page_is_a_module_that_learns(tmp_path, monkeypatch):
    """docs/modules.md, its first two blocks: the rules are kept, and it beats the mean so far."""
    page = CHECKOUT / "docs/modules.md"
    code, yaml = blocks(page, "python")[0], blocks(page, "yaml")[0]
    (tmp_path / "towers.py").write_text(code)
    (tmp_path / "headwater.yaml").write_text(yaml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found = load(tmp_path / "headwater.yaml", environment={})
    rng = np.random.default_rng(0)
    rows = [
        json.dumps({
            "user": u, "age": 20 + u, "occupation": "o", "item": i, "genres": "comedy, war"[: 6 + i],
            "title": f"film number {i}", "rating": (u % 5) + (i % 3) + 0.3 * noise,
        }).encode()
        for u, i, noise in zip(
            rng.integers(0, 30, 3000).tolist(), rng.integers(0, 40, 3000).tolist(),
            rng.normal(size=3000).tolist(), strict=True,
        )
    ]  # fmt: skip

    examine(recipe_of(found))
    report = evaluate(found, rows)[0]["targets"]["rating"]

    assert report["fading"]["mae"] < 0.5 * report["baselines"]["prior"]["mae"]


def test_code_that_changed_is_told_at_the_start(tmp_path, monkeypatch):
    """Its weights fit: learning goes on, with an entry in the journal and a note."""
    module = tmp_path / "changing_net.py"
    source = (CHECKOUT / "tests/modules/bad.py").read_text()
    module.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    event = {"features": {"x": {"type": "number"}}, "targets": {"y": {"type": "binary"}}}
    found = Settings.model_validate({
        "name": "t", "kafka": {"topics": ["t"]}, "model": {"kind": "changing_net:Good"},
        "event": event,
    })  # fmt: skip
    home = Home(tmp_path / "state", partitions=1, of=recipe_of(found))
    home.learn(10)

    module.write_text(source + "\n# a remark\n")
    home.learner.recipe = recipe_of(found)
    restored = home.restart()

    assert any("the code of changing_net:Good changed" in note for note in restored.notes)
    assert "settings" == next(iter(home.journal.read(2)))["kind"]
    assert 10 == restored.learner.events_learned
