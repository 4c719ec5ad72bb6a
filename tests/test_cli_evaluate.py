"""`headwater evaluate`: variants side by side, and their curves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from service.cli import evaluate
from service.cli.compared import best, table
from service.cli.main import app
from service.cli.variants import variants_of
from service.errors import HeadwaterError
from service.learn import plot

Told = Callable[..., str]

SETTINGS = """\
name: line
kafka: {topic: line}
event:
  features: {x: {type: number}}
  targets: {y: {type: number}}
model: {kind: linear}
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """Settings, and a file to learn."""
    (tmp_path / "headwater.yaml").write_text(SETTINGS)
    path = tmp_path / "line.csv"
    path.write_text("x,y\n" + "".join(f"{i % 7},{3 * (i % 7) + 1}\n" for i in range(400)))
    return path


@pytest.fixture
def told(line: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Run the command in this process, in the folder of the settings; return its stdout."""
    monkeypatch.chdir(line.parent)

    def run(*arguments: str) -> str:
        ended = CliRunner().invoke(app, ["evaluate", *arguments])
        assert 0 == ended.exit_code, ended.output
        return ended.stdout

    return run


def names(sets: list[str], named: list[str] | None = None) -> list[str]:
    return [one.name for one in variants_of(sets, named)]


def test_the_table_says_what_a_copy_would_be_worth_that_stopped_learning(
    line: Path, told: Told
) -> None:
    """
    The line moves after the freeze, the copy does not; and nothing that is learned changes by it.
    """
    line.write_text(line.read_text() + "".join(f"{i % 7},{9 - i % 7}\n" for i in range(1000)))
    few = (str(line), "--set", "learning.batch_rows=50", "--set")
    with_twin = json.loads(told(*few, "learning.frozen_after=380", "--json"))
    without = json.loads(told(*few, "learning.frozen_after=null", "--json"))

    twin = with_twin["targets"]["y"]["frozen_twin"]
    assert (8, 400, 1000) == (twin["version"], twin["events"], twin["scored"])
    assert twin["live_paired"]["metrics"]["mae"] < 0.5 * twin["frozen"]["metrics"]["mae"]
    assert "frozen after 400 events, on the 1,000 since: mae" in told(
        *few, "learning.frozen_after=380"
    )
    assert without["targets"]["y"].pop("frozen_twin") is None
    with_twin["targets"]["y"].pop("frozen_twin")
    for result in (with_twin, without):
        result.pop("seconds")
        result.pop("events_per_second")
    assert with_twin == without


class TestVariants:
    def test_nothing_repeated_is_one_variant(self) -> None:
        """
        The settings as they are, with what --set says.
        """
        [one] = variants_of(["a.b=1", "c=2"], None)

        assert ("", {"a.b": "1", "c": "2"}) == (one.name, one.overrides)

    def test_repeated_keys_make_a_grid(self) -> None:
        """
        Every combination, the first values first.
        """
        sets = ["m.rate=1", "kind=x", "m.rate=2", "kind=y", "seed=3"]

        assert ["rate=1, kind=x", "rate=1, kind=y", "rate=2, kind=x", "rate=2, kind=y"] == names(
            sets
        )
        assert {"m.rate": "2", "kind": "y", "seed": "3"} == variants_of(sets, None)[-1].overrides

    def test_named_variants_may_hold_lists(self) -> None:
        """
        A comma begins a new key only before KEY=.
        """
        [one, two] = variants_of([], ["as is:", "two:kafka.topics=a,b,learning.seed=1"])

        assert {} == one.overrides
        assert {"kafka.topics": "a,b", "learning.seed": "1"} == two.overrides

    def test_named_variants_go_over_the_grid(self) -> None:
        """
        Each of them with each combination.
        """
        assert ["p, a=1", "p, a=2", "q, a=1", "q, a=2"] == names(["a=1", "a=2"], ["p:", "q:b=1"])

    @pytest.mark.parametrize(
        ("sets", "named", "says"),
        [
            ([f"a={i}" for i in range(65)], None, "at most 64"),
            ([], ["x"], "is not NAME:KEY=VALUE"),
            ([], ["x:a"], "is not KEY=VALUE"),
            ([], ["x:a=1,a=2"], "set twice"),
            ([], ["x:a=1", "x:a=2"], "names two variants"),
            (["a=1", "a=2"], ["x:a=3"], "here and repeatedly"),
        ],
    )
    def test_what_makes_no_sense_is_told(
        self, sets: list[str], named: list[str] | None, says: str
    ) -> None:
        """
        Too many, unnamed, doubled, contradictory.
        """
        with pytest.raises(typer.BadParameter, match=says):
            variants_of(sets, named)


class TestCommand:
    def test_variants_as_json_and_as_a_picture(self, told: Told, line: Path) -> None:
        """
        Each variant has its name, its settings and the result of its own pass.
        """
        rates = [f"--set=learning.learning_rate={rate}" for rate in ("0.001", "0.3")]
        found = json.loads(told("line.csv", *rates, "--json", "--plot", "p.png"))
        slow, fast = found["variants"]

        assert "headwater.evaluate/1-variants" == found["schema"]
        assert ("learning_rate=0.3", {"learning.learning_rate": "0.3"}) == (
            fast["name"],
            fast["set"],
        )
        assert "headwater.evaluate/1" == fast["result"]["schema"]
        assert (
            fast["result"]["targets"]["y"]["metrics"]["mae"]
            < slow["result"]["targets"]["y"]["metrics"]["mae"]
        )
        assert (line.parent / "p.png").read_bytes().startswith(b"\x89PNG")

    def test_a_picture_needs_no_library(self, told: Told, line: Path) -> None:
        """
        An .svg: the model and both baselines, and every variant beside each other.
        """
        told("line.csv", "--plot", "one.svg")
        told("line.csv", "--plot", "two.svg", "--variant=slow:", "--variant=fast:")

        for name, said in (("one.svg", ("model", "no change")), ("two.svg", ("slow", "fast"))):
            drawn = ElementTree.fromstring((line.parent / name).read_text(encoding="utf-8"))
            texts = drawn.iter("{http://www.w3.org/2000/svg}text")
            words = {str(text.text).replace(" (off the chart)", "") for text in texts}
            assert {*said, "rows", "mean absolute error (less is better)"} <= words

    def test_a_picture_of_another_kind_is_a_usage_error(self, line: Path) -> None:
        """
        Said before anything is learned.
        """
        ended = CliRunner().invoke(app, ["evaluate", str(line), "--plot", "p.pdf"])

        assert 2 == ended.exit_code
        assert ".svg or .png" in ended.stderr

    @pytest.mark.parametrize("name", ["folder.svg", "nowhere/p.svg"])
    def test_a_picture_that_cannot_be_written_is_a_usage_error(self, line: Path, name: str) -> None:
        """
        Not a traceback after an hour of learning.
        """
        (line.parent / "folder.svg").mkdir()
        ended = CliRunner().invoke(app, ["evaluate", str(line), "--plot", str(line.parent / name)])

        assert (2, "") == (ended.exit_code, ended.stdout)

    def test_a_picture_that_fails_to_be_written_is_told_after_the_result(
        self, line: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        As on a disk that is full.
        """
        monkeypatch.chdir(line.parent)
        (line.parent / "p.svg").symlink_to("/dev/full")
        ended = CliRunner().invoke(app, ["evaluate", "line.csv", "--plot", "p.svg"])

        assert isinstance(ended.exception, HeadwaterError)
        assert "p.svg: No space left" in str(ended.exception)
        assert "mae" in ended.stdout

    def test_one_variant_keeps_its_shape(self, told: Told, line: Path) -> None:
        """
        Scripts that read headwater.evaluate/1 go on.
        """
        plain, named = (
            json.loads(told("line.csv", *options, "--json")) for options in ((), ("--variant=x:",))
        )

        assert "headwater.evaluate/1" == plain["schema"]
        assert plain.keys() == named.keys()
        assert plain["digest"] == named["digest"]

    def test_what_a_module_prints_is_not_in_the_answer(
        self, told: Told, line: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        It goes to stderr, so that --json stays JSON.
        """
        source = "from tests.modules.bad import Good\nprint('imported')\n\n\nclass Loud(Good):\n"
        source += "    def forward(self, batch):\n        print('called')\n"
        source += "        return super().forward(batch)\n"
        (line.parent / "a_loud_module.py").write_text(source)
        monkeypatch.syspath_prepend(line.parent)
        monkeypatch.setattr(evaluate, "probed", lambda *_: None)  # it would be tried elsewhere
        kinds = "--set=model.kind=auto", "--set=model.experts=[prior, a_loud_module:Loud]"

        found = json.loads(told("line.csv", "--json", "--limit=50", *kinds))

        assert {"prior/1", "Loud"} <= {one["expert"] for one in found["experts"]}

    def test_stdin_is_read_once(self, line: Path) -> None:
        """
        Variants need a file.
        """
        ended = CliRunner().invoke(app, ["evaluate", "-", "--variant=a:", "--variant=b:"])

        assert (2, "") == (ended.exit_code, ended.stdout)


def result(mae: float) -> dict:
    figures = {"mae": mae, "rmse": 2 * mae, "r2": None}
    base = {"no_change": figures, "prior": figures}
    report = {"type": "number", "scored": 5, "metrics": figures, "baselines": base}
    return {"targets": {"y": report}, "events_per_second": 9}


def test_the_table_marks_the_best_and_shows_differences() -> None:
    """
    The least error has the star; what is behind a figure is how far it is from the first.
    """
    rows = table([("a", result(2.0)), ("b", result(1.5))]).splitlines()
    [first] = [row for row in rows if "│ a " in row]
    [second] = [row for row in rows if "│ b " in row]

    assert "  2.0000 " in first
    assert "*" not in first
    assert "* 1.5000 (-0.5000)" in second
    assert any("prior" in row for row in rows)


def test_a_target_of_some_variants_has_a_table_too() -> None:
    """
    With a dash for those that lack it.
    """
    more = result(2.0)
    more["targets"]["z"] = result(0.5)["targets"]["y"]
    rows = table([("a", result(2.0)), ("b", more)]).splitlines()
    [at] = [k for k, row in enumerate(rows) if row.startswith("z (number")]

    assert ["-", "* 0.5000"] == [
        row.split("│")[2].strip() for row in rows[at:] if "│ a " in row or "│ b " in row
    ]


def test_the_best_is_by_metric() -> None:
    """
    Less log loss, more accuracy, and nothing where nothing is known.
    """
    assert (0.1, 0.9, None) == (
        best("log_loss", [0.1, None, 0.3]),
        best("accuracy", [0.9, 0.2]),
        best("auc", [None]),
    )


def test_every_variant_is_a_line_and_a_far_baseline_only_a_word(tmp_path: Path) -> None:
    """
    Two panels for each target; figures that are not defined yet leave gaps.
    """
    figures = [None, 0.6, 0.5]
    points = [
        (
            100 * i,
            {
                "y": {
                    "type": "binary",
                    "metrics": {"log_loss": value},
                    "fading": {"log_loss": value},
                    "baselines": {"prior": {"log_loss": 0.7}, "no_change": {"log_loss": 3.0}},
                    "fading_baselines": {"prior": {"log_loss": 0.7}, "no_change": {}},
                }
            },
        )
        for i, value in enumerate(figures)
    ]
    figure = plot.picture([("a", points), ("b", points)])
    left, right = figure.axes
    labels = [line.get_label() for line in left.lines]

    assert ["a", "b", "prior (mean so far)", "no change: off the chart, 3"] == labels
    assert ["a", "b", "prior (mean so far)"] == [line.get_label() for line in right.lines]
    assert ("rows", "log loss (nats, less is better)") == (left.get_xlabel(), left.get_ylabel())


def test_a_curve_of_one_point_can_be_seen() -> None:
    """
    A file of one cut is a dot and not an empty picture.
    """
    report = {"type": "number", "metrics": {"mae": 1.0}, "fading": {"mae": 1.0}}
    baselines = {"baselines": {"prior": {"mae": 1.1}}, "fading_baselines": {"prior": {"mae": 1.1}}}
    figure = plot.picture([("a", [(300, {"y": report | baselines})])])

    assert {"o"} == {drawn.get_marker() for panel in figure.axes for drawn in panel.lines}
