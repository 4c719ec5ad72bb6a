"""Many classes: tables have fewer rows, so that a model stays small."""

from __future__ import annotations

from typing import Any

import pytest

from service.cli.room import too_large
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.settings import (
    DriftSettings,
    EventSettings,
    LearningSettings,
    ModelSettings,
    Settings,
)


def layout(classes: int) -> Layout:
    """Return the layout of a mixture with so many classes, and a text."""
    target: dict[str, Any] = {"type": "multiclass", "classes": [f"k{i}" for i in range(classes)]}
    event = {
        "features": {"a": {"type": "number"}, "t": {"type": "text"}},
        "targets": {"y": target},
    }
    return Layout(
        Recipe(
            "x", EventSettings.model_validate(event), ModelSettings(kind="mixture"),
            LearningSettings(), DriftSettings(),
        )
    )  # fmt: skip


@pytest.mark.parametrize("classes", [200, 1000])
def test_many_classes_and_a_text_take_less_than_a_gigabyte(classes: int) -> None:
    """Of which a table of words is the largest part."""
    assert layout(classes).nbytes < 700_000_000


def test_few_classes_have_whole_tables() -> None:
    """Rows are saved where there are more than 64 classes."""
    assert layout(64).kind.size > 2**17 * 2 * 64 * 2


@pytest.mark.parametrize(("classes", "kind", "warned"), [
    (1000, "auto", False), (5000, "auto", True), (1000, "prior", False), (5000, "linear", False),
])  # fmt: skip
def test_a_state_above_a_gigabyte_is_told(classes: int, kind: str, warned: bool) -> None:
    """With its size, and what to do."""
    target = {"type": "multiclass", "classes": [f"k{i}" for i in range(classes)]}
    found = too_large(
        Settings.model_validate(
            {
                "name": "x",
                "kafka": {"topics": ["x"]},
                "event": {"features": {"t": {"type": "text"}}, "targets": {"y": target}},
                "model": {"kind": kind},
            }
        )
    )
    assert warned is bool(found)
    for one in found:
        assert "3.0 GB" in one.msg
        assert "fewer" in str(one.hint)
