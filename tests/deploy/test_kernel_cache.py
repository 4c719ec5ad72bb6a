"""An image's compiled kernels are used although its root cannot be written to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import compile_kernels
from service.cli.main import app
from service.learn import warm
from service.model import prequential
from service.model.kinds import KINDS, module_warm
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import EXPERTS, MIXTURES

CHECKOUT = Path(__file__).parent.parent.parent
KERNELS = """
from numba import njit


@njit(cache=True)
def double(x):
    return x + x


@njit(cache=True)
def negative(x):
    return -x
"""


def calls(folder: Path, script: str, **variables: str) -> str:
    """Run a script beside the kernels; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", f"from kernels import double, negative\n{script}"],
        env={"PATH": os.defpath, "PYTHONPATH": f"{folder}:{CHECKOUT}", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout.strip()


def files(folder: Path) -> dict[str, bytes]:
    """Return what numba wrote beside the sources."""
    return {path.name: path.read_bytes() for path in (folder / "__pycache__").glob("*.nb[ic]")}


def test_what_was_shipped_is_used_and_what_is_new_goes_elsewhere(tmp_path: Path) -> None:
    """
    A kernel that the image has is not compiled again; one that it lacks is compiled once, into the
    folder that can be written to, and the image's files stay as they are.
    """
    (tmp_path / "kernels.py").write_text(KERNELS)
    calls(tmp_path, "double(1)")
    shipped = files(tmp_path)
    hits = "print([sum(f.stats.cache_hits.values()) for f in (double, negative)])"
    elsewhere = {
        "NUMBA_CACHE_DIR": str(tmp_path / "elsewhere"),
        "NUMBA_CACHE_LOCATOR_CLASSES": "service.kernel_cache.ShippedLocator",
    }
    use = f"double(1), double(1.5), negative(1)\n{hits}"
    first, second = (calls(tmp_path, use, **elsewhere) for _ in range(2))

    assert 2 == len(shipped)
    assert ("[1, 0]", "[2, 1]") == (first, second)
    assert shipped == files(tmp_path)
    assert any(path.is_symlink() for path in (tmp_path / "elsewhere").rglob("*.nbc"))


def test_an_image_compiles_every_kind_field_and_strategy(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Each kind of model, with a field of each type and all strategies that it can follow; what is
    asked to be compiled can be built.
    """
    asked: list[Recipe] = []
    alone: list[str] = []
    monkeypatch.setattr(warm, "compile_passes", asked.append)
    monkeypatch.setattr(module_warm, "compile_all", lambda: None)
    monkeypatch.setattr(compile_kernels, "_learn_alone", alone.append)
    result = CliRunner().invoke(app, ["compile-kernels"])
    in_force = {kind: {name for one in asked if one.kind == kind for name in Layout(one).plan.names}
                for kind in KINDS}  # fmt: skip

    assert 0 == result.exit_code, result.output
    assert set(KINDS) - set(EXPERTS) == {one.kind for one in asked} == set(alone)  # mixture has all
    assert all(set(warm._FIELDS) == {s.type for s in one.schema.specs.values()} for one in asked)
    assert {"l2", "ewc", "agem", "lookahead"} == set.intersection(
        *(names for kind, names in in_force.items() if kind not in {"rls", *MIXTURES})
    )


def test_a_model_of_one_target_is_compiled_too() -> None:
    """
    Its arrays are laid out in another way, so it has kernels of its own.
    """
    compile_kernels._learn_alone("linear")
    scores = {str(signature[2]) for signature in prequential._update_binary.signatures}

    assert "array(float64, 1d, C)" in scores
