"""Settings that can be used and seldom do what is wanted: what `config check` warns of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from service import settings
from service.learn.evaluate import evaluate
from service.settings import Settings

FEATURES = {"a": {"type": "number"}, "b": {"type": "time"}, "c": {"type": "category"}}


def made(
    target: str = "number", kind: str = "linear", weight: float = 1.0, **learning: Any
) -> Settings:
    """Settings with sgd and six inputs that are 1 where all fields are missing."""
    return Settings.model_validate(
        {
            "name": "x",
            "kafka": {"topics": ["x"]},
            "event": {"features": FEATURES, "targets": {"y": {"type": target, "weight": weight}}},
            "model": {"kind": kind},
            "learning": {"optimizer": "sgd"} | learning,
        }
    )


@pytest.mark.parametrize(
    ("said", "warned"),
    [
        (made(learning_rate=0.16), False),
        (made(learning_rate=0.175), True),
        (made(learning_rate=0.09, weight=2), True),
        (made(learning_rate=0.175, safe_steps=True), False),
        (made(learning_rate=0.175, clip=1.0), False),
        (made(learning_rate=5, optimizer="adagrad"), False),
        (made("binary", learning_rate=0.9), False),
        (made("binary", learning_rate=1), True),
        (made("binary", learning_rate=1, safe_steps=True), False),
        (made("binary", "mlp", learning_rate=1), True),
        (made("number", "rls"), False),
    ],
)
def test_a_rate_that_overshoots_is_doubted(said: Settings, warned: bool) -> None:
    """
    The warning names the setting, and what to do.
    """
    found = settings.doubts(said)

    assert warned is bool(found)
    for one in found:
        assert "learning.learning_rate" == one.path
        assert "adagrad" in str(one.hint)


@pytest.mark.parametrize("rate", [0.16, 0.175])
def test_the_doubt_begins_where_weights_run_away(rate: float) -> None:
    """
    On events without a field: just below the bound all are learned, just above most are not.
    """
    said = made(learning_rate=rate)
    events = [json.dumps({"y": 5 + i * 7 % 5}).encode() for i in range(2000)]
    outcomes = evaluate(said, events)[0]["outcomes"]

    assert bool(settings.doubts(said)) is (outcomes.get("quarantined", 0) > 0)
