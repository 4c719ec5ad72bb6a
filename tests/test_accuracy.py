"""What the comparison with River says, and that it notices when it is not fair or not true."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.__main__ import main
from benchmarks.accuracy_river import drifting, row_of, told
from benchmarks.accuracy_scores import Scored, bounds, no_change, of_river
from benchmarks.accuracy_streams import STREAMS, Stream, fields_of, settings_of, write
from benchmarks.accuracy_streams import Missing as StreamMissing
from benchmarks.results import Failed, as_json, as_table
from service.settings import Settings

NO_RIVER = shutil.which("false") or "false"


def asked(folder: Path) -> accuracy.Asked:
    """Nothing is there: no River, no data sets."""
    return accuracy.Asked(
        folder, lambda _: None, river=NO_RIVER, deep=NO_RIVER, data=folder / "none"
    )


def lines(path: Path, *events: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    return path


@pytest.mark.parametrize("stream", STREAMS.values(), ids=STREAMS)
def test_a_stream_names_its_fields_and_nothing_else(
    stream: Stream, tmp_path: Path, load_settings: Callable[..., Settings]
) -> None:
    """
    It asks for a mixture; model and learning are else what they are without a word about them.
    """
    untold = load_settings(
        '{"name": "n", "kafka": {"topics": ["t"]}, "event": {"features": {"x": {"type": "number"}}, '
        '"targets": {"y": {"type": "binary"}}}, "model": {"kind": "mixture"}}'
    )

    found = settings_of(stream, tmp_path, seed=untold.learning.seed)

    assert (untold.model, untold.learning) == (found.model, found.learning)


def test_a_stream_that_cannot_be_had_is_left_out_and_named(tmp_path: Path) -> None:
    """
    No data set and no River: no figures, and why.
    """
    nothing = asked(tmp_path)

    assert [] == accuracy.run(nothing)
    assert set(STREAMS) == set(nothing.skipped)
    assert "--data" in nothing.skipped["electricity"]
    assert NO_RIVER in nothing.skipped["sea"]


def test_a_row_says_that_river_is_missing(tmp_path: Path) -> None:
    """
    The service's figure stands alone, and nobody takes it for a comparison.
    """
    path = lines(tmp_path / "rows.jsonl", {"y": 1})
    other = accuracy._competitor(asked(tmp_path), STREAMS["bananas"], path, "ARFClassifier", 1, 0)
    scored = Scored(np.ones(4), np.ones(4), 0.1)

    results = accuracy._results(STREAMS["bananas"], [accuracy.Round(scored, [other])])

    (printed,) = json.loads(as_json(results, {}))["results"]
    assert (1.0, None, None) == (printed["value"], printed["baseline"]["value"], printed["ratio"])
    assert "River ARFClassifier: exit 1" in as_table(results, {})


def test_deep_river_has_an_interpreter_of_its_own(tmp_path: Path) -> None:
    """
    It needs another torch; the others are asked of River's, and the row says whose it is.
    """
    (python := tmp_path / "python").write_text('#!/bin/sh\necho "$0: $3" >&2; exit 1\n')
    python.chmod(0o755)
    path = lines(tmp_path / "rows.jsonl", {"y": 1})
    mine = accuracy.Asked(tmp_path, lambda _: None, river=NO_RIVER, deep=str(python))

    deep, knn = (
        accuracy._competitor(mine, STREAMS["diabetes"], path, model, 1, 0)
        for model in ("DeepMLP", "KNNRegressor")
    )

    assert ("deep-river MLP", f"{python}: DeepMLP") == (deep.name, deep.why)
    assert ("River KNNRegressor", "exit 1") == (knn.name, knn.why)


def test_streams_that_nobody_looked_at_are_marked() -> None:
    """
    The results of both are not to be mixed up; each has competitors of its own sort.
    """
    unseen = {name: one.competitors for name, one in STREAMS.items() if one.unseen}

    assert {"shuttle", "yeast", "digits", "breast_cancer"} == {
        name for name, models in unseen.items() if "ARFClassifier" in models
    }
    assert {"solar_flare", "water_flow", "diabetes"} == {
        name for name, models in unseen.items() if "ARFRegressor" in models
    }
    assert all("DeepMLP" in models for models in unseen.values())


def test_a_row_of_several_labels_is_asked_for_one() -> None:
    """
    And a time becomes numbers that every model takes.
    """
    noon = datetime(2022, 3, 20, 12, tzinfo=UTC)

    assert ({"hour": 12, "weekday": 6}, 1.5) == told(({"Time": noon}, 1.5))
    assert ({"a": 1}, 3) == told(({"a": 1}, {"c-class-flares": 3, "m-class-flares": 0}))
    assert ({"a": 1}, True) == told(({"a": 1}, {"Class1": True, "Class2": False}))


def test_a_model_that_was_stopped_is_compared_on_its_rows() -> None:
    """
    Both figures are of the same first rows, and the row says how many.
    """
    scored = Scored(np.array([1.0, 1.0, 0.0, 0.0]), np.ones(4), 0.1)
    other = accuracy.Other("River ARFClassifier", 2, 0.5, "stopped after 1 s")

    (result,) = accuracy._results(STREAMS["bananas"], [accuracy.Round(scored, [other])])

    assert result.baseline is not None
    assert (1.0, 0.5, 2.0) == (result.value, result.baseline.value, result.ratio)
    assert "first 2 rows" in result.baseline.name
    assert [0.5] == result.details["all_rows"]


def test_the_last_value_may_be_that_of_the_same_station(tmp_path: Path) -> None:
    """
    A key seen for the first time is said to be as the row before.
    """
    stations = [{"station": s} for s in ("a", "b", "a", "b")]
    path = lines(tmp_path / "rows.jsonl", *stations)
    labels = np.array([1.0, 5.0, 2.0, 6.0])

    assert [0, 1, 1, 5] == no_change(path, labels, "station").guesses.tolist()
    assert [0, 1, 5, 2] == no_change(path, labels, None).guesses.tolist()


def test_figures_are_counted_alike_on_both_sides() -> None:
    """
    Two hits, one false alarm and one miss, of five rows.
    """
    ours = Scored(np.array([1.0, 1, 1, 0, 0]), np.array([1.0, 1, 0, 1, 0]), 0.5)
    theirs = {"rows": 5, "right": 3, "hits": 2, "yes": 6, "error": 2.0}

    for figure, value in (("accuracy", 0.6), ("F1", 2 / 3), ("MAE", 0.4)):
        assert value == pytest.approx(ours.figure(figure, 5))
        assert value == pytest.approx(of_river(theirs, figure))


def test_permuted_labels_are_the_same_labels(tmp_path: Path) -> None:
    """
    Only their rows are others.
    """
    path = lines(tmp_path / "rows.jsonl", *({"x": i, "y": i} for i in range(50)))

    accuracy.permute(path, "y")

    events = [json.loads(line) for line in path.read_text().splitlines()]
    assert list(range(50)) == [event["x"] for event in events]
    assert sorted(range(50)) == sorted(event["y"] for event in events)
    assert list(range(50)) != [event["y"] for event in events]


def test_a_leak_is_found() -> None:
    """
    Nobody is better than the commonest class on labels that mean nothing.
    """
    labels = np.tile([0.0, 1.0], 500)

    assert pytest.approx((0.5, np.log(2))) == bounds("s", Scored(1 - labels, labels, 0.7))
    with pytest.raises(Failed, match="leaks"):
        bounds("s", Scored(labels, labels, 0.7))
    with pytest.raises(Failed, match="leaks"):
        bounds("s", Scored(1 - labels, labels, 0.3))


def test_made_up_streams_change_where_they_should() -> None:
    """
    Each concept has as many rows, and a change takes about 50.
    """
    parts: list[Any] = [[({}, k)] * 1000 for k in range(4)]

    found = [y for _, y in drifting(parts, 2000, random.Random(0))]

    assert [0, 1, 2, 3] == [found[at] for at in (249, 749, 1249, 1749)]
    assert 2000 == len(found)
    assert {0, 1} == set(found[475:525])


def test_river_is_given_numbers_texts_and_words() -> None:
    """
    What a csv holds as text becomes what River's models take.
    """
    sms = fields_of(STREAMS["sms_spam"])
    power = fields_of(STREAMS["electricity"])
    event = dict.fromkeys(power["numbers"], "0.5") | {"day": "2", "class": "UP"}

    words = row_of({"text": "Win, win now", "label": "ham"}, sms)

    assert ({"text:win": 2, "text:now": 1}, False) == words
    assert (dict.fromkeys(power["numbers"], 0.5) | {"day": "2"}, True) == row_of(event, power)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """
    With what to do about it.
    """
    with pytest.raises(StreamMissing, match=r"no .*electricity\.csv\.gz; --data"):
        write(STREAMS["electricity"], tmp_path / "rows", tmp_path, NO_RIVER, 10, 0)


def test_an_unknown_stream_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Exit 2, with the streams there are.
    """
    with pytest.raises(SystemExit) as ended:
        main(["accuracy", "--streams", "electricty"])

    assert 2 == ended.value.code
    assert "electricity, phishing" in capsys.readouterr().err
