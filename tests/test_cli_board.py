"""The table of experts: how they did over time, in columns that stay below each other."""

from __future__ import annotations

from typing import Any

import pytest

from service.cli.board import board, parts, spark
from service.cli.figures import figure


def standing(name: str, *weights: float, metric: str = "accuracy") -> dict[str, Any]:
    """A place for each weight, 100 rows apart; its figure is the number of the place in tenths."""
    curve = [{"rows": 100 * (k + 1), "weight": w, metric: 0.1 * k} for k, w in enumerate(weights)]
    return {"expert": name, "weight": weights[-1], "metrics": {metric: 0.5}, "curve": curve}


def test_no_experts_no_table() -> None:
    """
    A model of one kind says nothing of experts.
    """
    assert [] == board([])


def test_all_columns_stay_below_their_heads() -> None:
    """
    Whatever the names and figures are.
    """
    names = ("a", "a_package.of_mine:Net/of/many/rates")
    head, *rows = board([standing(n, 0.1, 0.2, 0.3) for n in names], bars=True)

    assert {len(rows[0])} == {len(row) for row in rows}
    for column in ("weight", "accuracy", "begin", "middle", "end"):
        end = head.strip("\n").index(f" {column} " if column == "weight" else column) + len(column)
        figures = [row[: end + (column == "weight")].split()[-1] for row in rows]
        assert figures[0] == figures[1]
        assert float(figures[0]) >= 0.0
    assert all(row.endswith("  ▂▂▃") for row in rows)


@pytest.mark.parametrize("size", [1e-31, 3e-5, 0.25, 123.4567, 12345.6, 7e8, 3.3e30])
def test_figures_of_any_size_say_something_and_stay_in_their_columns(size: float) -> None:
    """
    A target may be counted in millionths, or in millions.
    """
    one = standing("a", 1.0, metric="mae")
    one["metrics"]["mae"] = one["curve"][0]["mae"] = size
    _, row = board([one], bars=False)
    told = row.split()

    assert 6 == len(told)
    assert [size] * 4 == pytest.approx([float(text) for text in told[2:]], rel=0.06)
    assert size == pytest.approx(float(figure(size)), rel=1e-3)
    assert len(figure(size)) <= 11


def test_thirds_weigh_places_by_their_rows() -> None:
    """
    A place without a figure does not count; a third without any has none.
    """
    curve = [
        {"rows": 100, "weight": 1.0, "mae": 2.0}, {"rows": 400, "weight": 1.0, "mae": 6.0},
        {"rows": 500, "weight": 1.0}, {"rows": 600, "weight": 1.0, "mae": 1.0},
        {"rows": 700, "weight": 1.0}, {"rows": 800, "weight": 1.0},
    ]  # fmt: skip

    assert [5.0, 1.0, None] == parts(curve, "mae")
    assert [2.0, 2.0, 2.0] == parts(curve[:1], "mae")
    assert [2.0, 5.0, 6.0] == parts(curve[:2], "mae")
    assert [None, None, None] == parts([], "mae")


@pytest.mark.parametrize(
    ("shares", "told"),
    [([], ""), ([0.0, 0.5, 1.0], "▁▅█"), ([1.0] * 32 + [0.0] * 32, "█" * 8 + "▁" * 8)],
)
def test_bars_tell_shares(shares: list[float], told: str) -> None:
    """
    Never more than sixteen.
    """
    assert told == spark(shares)


def test_an_output_that_has_no_bars_gets_none() -> None:
    """
    The columns of figures are the same.
    """
    with_bars, without = (board([standing("a", 0.1)], bars=b) for b in (True, False))

    assert with_bars[1].startswith(without[1])
    assert "over time" not in without[0]
