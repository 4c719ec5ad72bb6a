"""What an evaluation shows over time: figures from place to place, and their picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from xml.etree import ElementTree

import pytest

from service.learn import race
from service.learn.chart import Line, Panel, picture, ticks
from service.learn.evaluate import evaluate
from service.learn.race import Scores, drawn, of_model, scores_panel, weights_panel
from service.learn.track import Track, between
from service.model.experts import EXPERTS
from service.settings import Settings

PLACE = {"svg": "http://www.w3.org/2000/svg"}
Run = tuple[str, list[tuple[int, dict[str, Any]]], dict[str, Any]]


def report(scored: int, accuracy: float | None, no_change: float = 0.5) -> dict[str, Any]:
    baselines = {"no_change": {"accuracy": no_change}, "prior": {"accuracy": 0.55}}
    return {
        "type": "binary", "scored": scored, "metrics": {"accuracy": accuracy}, "baselines": baselines,
    }  # fmt: skip


def run(name: str = "", experts: tuple[str, ...] = (), challengers: tuple[str, ...] = ()) -> Run:
    """Four places; experts with equal weights, the first named the best."""
    rows = [100, 200, 300, 400]
    points = [(n, {"y": report(n, 0.9)}) for n in rows]
    places = [
        {"rows": n, "weight": 1 / max(len(experts), 1), "accuracy": 0.85, "log_loss": 0.3}
        for n in rows
    ]
    figures = {"metrics": {"accuracy": 0.85, "log_loss": 0.3}, "curve": places}
    return name, points, {
        "rows": 400, "targets": {"y": points[-1][1]["y"]},
        "experts": [{"target": "y", "expert": one, **figures} for one in experts],
        "challengers": {one: {"targets": {"y": figures}} for one in ("main", *challengers)},
    }  # fmt: skip


def lines_of(svg: str) -> list[tuple[str, str]]:
    """Return class and name of every path that has a name; raises where it is no XML."""
    paths = ElementTree.fromstring(svg).iterfind(".//svg:path[svg:title]", PLACE)
    return [(path.get("class", ""), str(path.findtext("svg:title", "", PLACE))) for path in paths]


def scores(names: Iterable[str]) -> list[Scores]:
    return [Scores(name, [10, 20], [0.5, 0.5], 0.5, (0.1, 0.1)) for name in names]


class TestFigures:
    @pytest.mark.parametrize("target", ["binary", "number"])
    def test_the_places_of_an_expert_add_up_to_its_figure(
        self, target: str, load_settings: Callable[..., Settings]
    ) -> None:
        """
        Each place tells of the rows since the one before it, so their mean is that of all.
        """
        found = load_settings(
            json.dumps({
                "name": "n", "kafka": {"topics": ["t"]}, "model": {"kind": "prior"},
                "event": {
                    "features": {"x": {"type": "number"}}, "targets": {"y": {"type": target}},
                },
            })
        )  # fmt: skip
        rows = [json.dumps({"x": i, "y": (i * i // 7) % 2}).encode() for i in range(3000)]
        result, _ = evaluate(found, rows, len(rows))

        metric = "accuracy" if target == "binary" else "mae"
        assert result["experts"]
        for one in result["experts"]:
            curve = one["curve"]
            assert [1024, 2048, 3000] == [place["rows"] for place in curve]
            assert one["weight"] == curve[-1]["weight"]
            mean = sum(
                n * place[metric] for n, place in zip((1024, 1024, 952), curve, strict=True)
            ) / len(rows)
            assert one["metrics"][metric] == pytest.approx(mean, abs=2e-4)

    def test_what_is_between_two_reports_is_told_by_their_difference(self) -> None:
        """
        90 of the first 100 and 170 of 200 are 80 of the second hundred; of nothing, nothing is said.
        """
        first, second = report(100, 0.9), report(200, 0.85)

        assert {"accuracy": pytest.approx(0.8)} == between(first, second, ("metrics",))
        assert {"accuracy": 0.9} == between(None, first, ("metrics",))
        assert {"accuracy": None} == between(first, report(100, 0.9), ("metrics",))
        assert {} == between(None, report(0, None), ("metrics",))

    def test_places_of_a_target_in_millionths_have_figures(
        self, load_settings: Callable[..., Settings]
    ) -> None:
        """
        Digits are kept, not decimals.
        """
        found = load_settings(
            "name: n\nkafka: {topics: [t]}\nmodel: {kind: prior}\n"
            "event: {features: {x: {type: number}}, targets: {y: {type: number}}}\n"
        )
        rows = [json.dumps({"x": i, "y": 1e-8 * (i % 7)}).encode() for i in range(300)]
        result, _ = evaluate(found, rows, len(rows))

        for one in result["experts"]:
            assert one["metrics"]["mae"] == pytest.approx(one["curve"][0]["mae"], rel=1e-5)

    def test_a_challenger_has_its_figures_from_place_to_place(self) -> None:
        """
        One that sat out some rows has none there; a place that is told twice is one.
        """
        track = Track()
        for rows, scored, accuracy in (
            (100, 100, 0.9),
            (200, 200, 0.85),
            (300, 200, 0.85),
            (300, 200, 0.85),
        ):
            track.note_models({"bold": {"targets": {"y": report(scored, accuracy)}}}, rows)

        assert [
            {"rows": 100, "accuracy": 0.9}, {"rows": 200, "accuracy": 0.8}, {"rows": 300},
        ] == track.curve_of_model("y", "bold")  # fmt: skip
        assert [] == track.curve_of_model("z", "bold")

    def test_a_last_place_of_few_rows_is_not_drawn(self) -> None:
        """
        Its figure is chance; and a place that is told twice is one.
        """
        points = [(n, {"y": report(n, 0.9)}) for n in (100, 200, 300, 320, 320)]

        assert [100, 200, 300] == of_model("m", points, "y").rows
        assert 4 == len(of_model("m", [*points[:3], (400, {"y": report(400, 0.9)})], "y").rows)


class TestPicture:
    def test_every_expert_challenger_and_baseline_has_a_line_and_every_expert_an_area(self) -> None:
        """
        The best member of an expert is drawn and named, others thin; all can be pointed at.
        """
        names = ("nets/1", "nets/2", "forest/9", "own:Net")
        found = lines_of(drawn([run("", names, ("bold",))]))

        drawn_as = {name: kind for kind, name in found if kind.startswith("l")}
        assert {
            *names,
            "bold",
            "no change (off the chart)",
            "prior (off the chart)",
            "model",
        } == set(drawn_as)
        assert ("l whole", "l thin", "l ") == tuple(
            drawn_as[name] for name in ("model", "nets/2", "nets/1")
        )
        assert {"nets", "forest", "own:Net"} == {name for kind, name in found if kind == "area"}

    def test_variants_are_lines_and_have_no_weights(self) -> None:
        """
        Their experts would be too many.
        """
        found = lines_of(drawn([run("a", ("nets/1",)), run("b", ("nets/1",))]))

        assert ["b", "a"] == [name for _, name in found if len(name) == 1]
        assert not [name for kind, name in found if kind == "area"]

    def test_a_variant_without_a_target_has_no_line_for_it(self) -> None:
        """
        Nor has one in which the target is of another type; the baselines are of the first that has it.
        """
        less, more, other = run("less"), run("more"), run("other")
        more[1][-1][1]["z"] = report(400, 0.7)
        other[1][-1][1]["z"] = {**report(400, 0.7), "type": "number"}
        for _, points, _ in (more, other):
            for _, reports in points[:-1]:
                reports["z"] = points[-1][1]["z"]
        svg = drawn([less, more, other])
        names = [name.removesuffix(" (off the chart)") for _, name in lines_of(svg)]

        assert {"less": 1, "more": 2, "other": 1} == Counter(
            n for n in names if len(n) in {4, 5} and n != "prior"
        )
        assert "y: how well" in svg[: svg.index("z: how well")]

    def test_weights_lie_on_each_other_up_to_one(self) -> None:
        """
        An area is what all members of an expert count together.
        """
        rows, shares = (
            [10, 20],
            {"nets/1": (0.2, 0.5), "nets/2": (0.3, 0.1), "forest/1": (0.5, 0.4)},
        )
        panel = weights_panel("y", [Scores(n, rows, [0.5] * 2, 0.5, w) for n, w in shares.items()])

        assert {"nets": [0.5, 0.6], "forest": [0.5, 0.4]} == {
            line.name: pytest.approx(line.values) for line in panel.lines
        }
        areas = ElementTree.fromstring(picture("t", [panel])).findall(".//svg:g/svg:path", PLACE)
        assert ["M398.0", "M398.0"] == [area.get("d", "").split()[0] for area in areas]
        assert f"L718.0 {72 + 190 * (1 - 1.0):.1f}L" in areas[-1].get("d", "")

    def test_no_expert_of_a_picture_has_the_colour_of_another(self) -> None:
        """
        Modules of the user's own beside all that are built in; each has one colour in all panels.
        """
        names = ["Net", "slow", *EXPERTS]
        one, other = (weights_panel("y", scores(order)) for order in (names, names[::-1]))
        colours = {line.name: line.colour for line in one.lines}

        assert len(names) == len(set(colours.values()))
        assert colours == {line.name: line.colour for line in other.lines}

    def test_one_place_can_be_seen(self) -> None:
        """
        It speaks of all rows up to it: a flat line, a band of the whole width.
        """
        line = Line("a", [50], [0.5])
        for stacked, expected in ((False, "M78.0 222.0L718.0 222.0"), (True, "M78.0 222.0L718.0")):
            svg = picture("t", [Panel("p", "u", [line], 0.0, 1.0, stacked=stacked)])
            path = ElementTree.fromstring(svg).find(".//svg:g/svg:path", PLACE)
            assert path is not None
            assert path.get("d", "").startswith(expected)

    def test_axes_of_rows_name_whole_ones(self) -> None:
        """
        Of one row there is no fifth.
        """
        svg = picture("t", [Panel("p", "u", [Line("a", [1], [0.5])], 0.0, 1.0)])
        told = [text.text for text in ElementTree.fromstring(svg).iterfind(".//svg:text", PLACE)]

        assert ["0", "1", "rows"] == told[told.index("rows") - 2 : told.index("rows") + 1]

    def test_what_is_far_off_does_not_press_the_others_together(self) -> None:
        """
        A baseline near the lines widens the panel; one that is not near is named.
        """
        rows = list(range(1, 21))
        model = Scores("m", rows, [0.9 + 0.002 * (n % 5) for n in rows], 0.9)
        near, far = (Scores(n, rows, [v] * 20, v) for n, v in (("near", 0.896), ("far", 0.2)))
        panel = scores_panel("y", "accuracy", [model], [near, far], [], [])

        assert 0.8 < panel.low <= 0.896
        assert ["m", "near", "far (off the chart)"] == [line.name for line in panel.lines]

    def test_a_gap_is_a_gap_and_a_single_point_a_dot(self) -> None:
        """
        Nothing is drawn over places where nothing was predicted.
        """
        line = Line("a", [1, 2, 3, 4], [0.5, None, 0.5, 0.6])
        svg = picture("t", [Panel("p", "u", [line], 0.0, 1.0)])
        paths = [
            p.get("d", "") for p in ElementTree.fromstring(svg).iterfind(".//svg:g/svg:path", PLACE)
        ]

        assert 2 == paths[0].count("M")
        assert paths[1].endswith("h0")

    def test_names_cannot_break_the_picture(self) -> None:
        """
        They come from the settings; figures of any size make a path.
        """
        line = Line('<a href="x">&\x01\ud800', [1, 2], [1e300, float("1e-300")])
        svg = picture("<&\x01>", [Panel("&\x02", "<", [line], 0.0, 1.0, head="<")])

        assert ['<a href="x">&\ufffd\ufffd'] == [name for _, name in lines_of(svg)]

    def test_long_names_stay_where_they_belong(self) -> None:
        """
        They are squeezed, then cut; the whole of it comes up where it is pointed at.
        """
        names = ["squares/plain/0.9999 (off the chart)", "long" * 99]
        lines = [Line(name, [1, 2], [0.5, 0.5], note="0.5") for name in names]
        svg = picture("t" * 999, [Panel("p" * 999, "u", lines, 0.0, 1.0)])
        texts = list(ElementTree.fromstring(svg).iterfind(".//svg:text", PLACE))

        assert max(len(text.text or "") for text in texts) < 110
        assert [names[0], None] == [
            next((t.text for t in texts if t.text == name and t.get("textLength")), None)
            for name in names
        ]
        assert names == [name for _, name in lines_of(svg)][::-1]

    @pytest.mark.parametrize(
        ("low", "high", "expected"),
        [
            (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (0.83, 0.97, [0.85, 0.9, 0.95]),
            (0.0, 45312.0, [0, 10000, 20000, 30000, 40000]),
            (3.0, 3.0, [3.0]),
        ],
    )
    def test_axes_name_round_numbers(self, low: float, high: float, expected: list[float]) -> None:
        """
        Few of them, and one where there is no room.
        """
        assert expected == pytest.approx(ticks(low, high))


def test_every_expert_of_the_house_has_a_colour_that_is_the_same_in_every_picture():
    assert {*EXPERTS} == {*race._ORDER}
