"""What a mixture's state takes is what docs/models.md says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.learn.learner import Learner
from service.learn.standing import Standing
from service.model.kinds import recipe_of
from service.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "models.md"
COLUMNS = ("binary", "number", "multiclass")


def told() -> dict[str, list[list[float]]]:
    """Return the rows of the table of memory: the figures in each column, by its first words."""
    table = PAGE.read_text(encoding="utf-8").split("What its state takes")[1].split("So ten")[0]
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| ")]
    figure = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?! classes)")
    return {
        name.strip(): [[float(n) for n in figure.findall(cell)] for cell in cells]
        for name, *cells in rows[1:]
    }


def megabytes(numbers: int, categories: int, texts: int, kind: str, classes: int) -> float:
    """Return what the page says."""
    each = {name: cells[COLUMNS.index(kind)] for name, cells in told().items()}
    start, *per_class = each["whatever the fields are"]
    if per_class:
        few, start_of_many, many = per_class
        start = start + few * classes if classes < 5 else start_of_many + many * classes
    (number,), (more,) = each["each number, up to forty"], each["each number beyond"]
    (category,) = each["each category of 65,536 buckets, up to five"]
    (beyond,) = each["each category beyond"]
    (pairs,) = each["each category, where there are two or more"]
    (both,) = each["the first two categories together"]
    (first,), (text,) = each["the first text, list or map"], each["each text, list or map"]
    found = start + number * min(numbers, 40) + more * max(numbers - 40, 0)
    found += category * min(categories, 5) + beyond * max(categories - 5, 0)
    if categories > 1:
        found += pairs * categories + both
    return found + text * texts + (first * (classes if per_class else 1) if texts else 0.0)


@pytest.mark.parametrize(
    ("numbers", "categories", "texts", "kind", "classes"),
    [
        (1, 0, 0, "binary", 2),
        (60, 0, 0, "binary", 2),
        (10, 3, 1, "binary", 2),
        (10, 3, 1, "number", 0),
        (1, 8, 0, "multiclass", 3),
        (10, 0, 2, "multiclass", 10),
        (10, 2, 0, "multiclass", 26),
    ],
)
def test_a_state_takes_the_memory_that_the_page_says(
    numbers: int, categories: int, texts: int, kind: str, classes: int,
    load_settings: Callable[..., Settings],
) -> None:  # fmt: skip
    """To within 6 percent, by fields and classes."""
    counts = (("number", numbers), ("category", categories), ("text", texts))
    features = {f"{name}{i}": {"type": name} for name, n in counts for i in range(n)}
    target: dict[str, Any] = {"type": kind}
    if kind == "multiclass":
        target["classes"] = [str(c) for c in range(classes)]
    given = {
        "name": "n", "kafka": {"topics": ["t"]}, "model": {"kind": "mixture"},
        "event": {"features": features, "targets": {"y": target}},
    }  # fmt: skip
    recipe = recipe_of(load_settings(json.dumps(given)))
    learner = Learner.fresh(recipe, Standing(version=0, lineage="memory", cursors={}))

    taken = learner.state.image.nbytes / 1e6

    assert taken == pytest.approx(megabytes(numbers, categories, texts, kind, classes), rel=0.06)
