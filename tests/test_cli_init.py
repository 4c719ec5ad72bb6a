"""`headwater config init`: the settings it writes are good, and learn at once."""

from __future__ import annotations

import csv
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service import settings
from service.cli.config_init import init
from service.cli.written import Origin, settings_text
from service.errors import HeadwaterError
from service.events import values
from service.events.guess.table import guess_table
from service.events.schema import Schema
from service.learn.evaluate import evaluate
from service.stream.files import read_files, to_json

Run = Callable[..., subprocess.CompletedProcess[str]]

FILES = [
    ("electricity.csv.gz", "class", 5_000),
    ("electricity_delayed_labels.csv.gz", "ValueToPredict", 5_000),
    ("fraud_transactions.parquet", "TX_FRAUD", 60_000),
    ("toulouse_bikes.csv.gz", "bikes", 10_000),
    ("movielens_100k.csv.gz", "rating", 10_000),
    ("sms_spam.csv.gz", "label", 5_574),
]


def made(file: Path, target: str, out: Path, **options: Any) -> str:
    """Run the command in this process; return what it wrote."""
    init(
        file, target, out, **{"name": None, "topic": None, "limit": 5000, "force": False} | options
    )
    return out.read_text(encoding="utf-8")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "target", "limit"), FILES, ids=[name for name, *_ in FILES])
def test_the_settings_learn_at_once(
    data_file: Callable[[str], Path], tmp_path: Path, name: str, target: str, limit: int
) -> None:
    """
    On each of the public streams they beat the prior without an edit.
    """
    path = data_file(name)
    made(path, target, tmp_path / "it.yaml")
    found = settings.load(tmp_path / "it.yaml", environment={})
    result, _ = evaluate(found, map(to_json, read_files([path], limit)), limit)
    report = result["targets"][target]
    metrics = ("mae", "rmse") if report["type"] == "number" else ("log_loss",)

    assert report["scored"] > 0
    for metric in metrics:
        assert report["metrics"][metric] < report["baselines"]["prior"][metric]


def test_the_answer_in_disguise_stands_in_a_comment(
    data_file: Callable[[str], Path], tmp_path: Path
) -> None:
    """
    The scenario of a fraud is left out, with the reason, so that it can be put back.
    """
    path = data_file("fraud_transactions.parquet")
    rows = [row for row in read_files([path], 5000) if isinstance(row, dict)]
    text = settings_text(guess_table(rows, "TX_FRAUD"), Origin(path, "fraud", "fraud", None))

    assert "    # TX_FRAUD_SCENARIO: {type: number}" in text
    assert "the answer in disguise" in text


class TestOddFiles:
    def test_a_table_as_spreadsheets_write_it(self, tmp_path: Path) -> None:
        """
        Semicolons, a byte order mark, spaces in names, a newline in a cell, empty cells.
        """
        lines = [
            f'{i % 5 / 2};"a {i % 3}\nb";{"" if i % 4 else 7 + i % 2};{["low", "high"][i % 2]}'
            for i in range(60)
        ]
        path = write(
            tmp_path / "Umsatz 2024.csv", "\ufeffPreis je m²;Ort;Rest;Y or N\n" + "\n".join(lines)
        )
        text = made(path, "Y or N", tmp_path / "it.yaml")
        found = settings.load(tmp_path / "it.yaml", environment={})

        assert {"Preis je m²", "Ort", "Rest"} == set(found.event.features)
        assert "Umsatz-2024" == found.name
        assert "missing in 45 rows" in text

    def test_labels_in_several_spellings(self, tmp_path: Path) -> None:
        """
        Yes and yes are one label, in the settings and when events are decoded; so is a YES to come.
        """
        words = ["Yes", "no", "yes", "No"]
        lines = [
            f'"{["H;3", "K", "L"][i % 3]}","{i * 7919 % 10_007}","{words[i % 4]}"'
            for i in range(80)
        ]
        path = write(tmp_path / "a.csv", "cell,seconds,y\r\n" + "\r\n".join(lines))
        text = made(path, "y", tmp_path / "it.yaml")
        found = settings.load(tmp_path / "it.yaml", environment={})
        schema = Schema(found.event)
        labels = [values.label(schema.targets[0], word) for word in [*words, "YES", "NO"]]

        assert {"cell": "category", "seconds": "number"} == {
            name: field.type for name, field in found.event.features.items()
        }
        assert "Yes, yes say yes: 40 of 80 labels" in text
        assert [1, 0, 1, 0, 1, 0] == labels

    def test_names_that_yaml_would_misread(self, tmp_path: Path) -> None:
        """
        NO, 1, true, a colon, a quote, a newline: each comes back as it was.
        """
        names = [
            "NO",
            "1",
            "true",
            "a: b",
            'say "x"',
            "two\nlines",
            "# no comment",
            "\\n",
            "~",
            "-",
        ]
        path = tmp_path / "odd.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*names, "y"])
            writer.writerows([[i * n % 13 / 2 for n in range(1, 11)] + [i % 2] for i in range(40)])
        made(path, "y", tmp_path / "it.yaml")

        assert set(names) == set(settings.load(tmp_path / "it.yaml", environment={}).event.features)

    def test_a_column_without_a_name_is_counted(self, tmp_path: Path) -> None:
        """
        The first column of a spreadsheet's export has none.
        """
        path = write(tmp_path / "a.csv", ",x,y\n" + "".join(f"{i},{i % 3},{i}\n" for i in range(9)))

        assert "# 1 more: a column without a name" in made(path, "y", tmp_path / "it.yaml")

    def test_lines_that_are_no_events_are_counted(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """
        A bad line of jsonl does not stop the guessing, and is told.
        """
        good = [json.dumps({"x": i % 3, "y": i / 2}) for i in range(30)]
        path = write(tmp_path / "a.jsonl", "\n".join([*good, "oops", "[]"]))
        made(path, "y", tmp_path / "it.yaml")

        assert "2 lines" in capsys.readouterr().err


class TestCommand:
    def test_what_it_writes_passes_the_check(self, headwater: Run, tmp_path: Path) -> None:
        """
        init, then check, as a newcomer would type them; the file names its schema if that is there.
        """
        write(tmp_path / "a.csv", "x,y\n" + "".join(f"{i % 3 / 2},{i % 2}\n" for i in range(30)))
        headwater("config", "schema", "--out", "headwater.schema.json")
        ended = headwater("config", "init", "--from", "a.csv", "--target", "y", "--topic", "t.1")
        text = (tmp_path / "headwater.yaml").read_text()

        assert (
            0,
            "headwater.yaml: 1 feature, y is binary; 0 columns left out, each with its reason\n",
        ) == (
            ended.returncode,
            ended.stdout,
        )
        assert text.startswith("# yaml-language-server: $schema=headwater.schema.json\n")
        assert "topics: [t.1]" in text
        assert 0 == headwater("config", "check").returncode

    def test_a_file_that_is_there_is_not_overwritten(self, headwater: Run, tmp_path: Path) -> None:
        """
        Without --force, and even with it when nothing can be guessed.
        """
        write(tmp_path / "a.csv", "x,y\n1,2\n")
        write(tmp_path / "headwater.yaml", "mine")
        refused = headwater("config", "init", "--from", "a.csv", "--target", "y")
        unknown = headwater("config", "init", "--from", "a.csv", "--target", "yy", "--force")

        assert (2, True) == (refused.returncode, "--force" in refused.stderr)
        assert (2, True) == (unknown.returncode, "'y'" in unknown.stderr)
        assert "mine" == (tmp_path / "headwater.yaml").read_text()
        assert ["a.csv", "headwater.yaml"] == sorted(path.name for path in tmp_path.iterdir())

    def test_to_stdout_the_settings_are_all_that_is_printed(
        self, headwater: Run, tmp_path: Path
    ) -> None:
        """
        Data on stdout, what is said about it on stderr; a sample may come from stdin.
        """
        write(tmp_path / "a.csv", "x,y\n1.5,2.5\n")
        ended = headwater("config", "init", "--from", "a.csv", "--target", "y", "--out", "-")
        (tmp_path / "it.yaml").write_text(ended.stdout)

        assert settings.load(tmp_path / "it.yaml", environment={}).event.targets.keys() == {"y"}


cells = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**20), 10**20),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(
        ["", "yes", "no", "2024-01-31", "1,5", "$3", "007", "nan", "inf", "1_0", "1e99"]
    ),
)
nested = st.one_of(
    st.lists(st.integers(0, 3), max_size=3),
    st.lists(st.floats(-1, 1), min_size=2, max_size=2),
    st.lists(st.text("ab", max_size=2), max_size=3),
    st.dictionaries(
        st.text("ab.", max_size=2), st.one_of(cells, st.lists(st.text("a"), max_size=2))
    ),
)
fields = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@hypothesis_settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
@given(st.data())
def test_any_table_gives_settings_that_can_be_used(data: st.DataObject) -> None:
    """
    Whatever is in the cells, the settings pass the check and the evaluation ends.
    """
    names = data.draw(st.lists(fields, min_size=2, max_size=5, unique=True))
    kinds = [
        data.draw(
            st.sampled_from(
                [
                    cells,
                    nested,
                    st.one_of(cells, nested),
                    st.integers(0, 9),
                    st.booleans(),
                    st.text("ab", max_size=2),
                ]
            )
        )
        for _ in names
    ]
    rows = data.draw(st.lists(st.tuples(*kinds), min_size=1, max_size=30))
    events = [{n: v for n, v in zip(names, row, strict=True) if v is not None} for row in rows]
    target = names[-1]
    assume(target and any(target in event for event in events))
    try:
        table = guess_table(events, target)
    except HeadwaterError:
        return  # no target, or nothing beside it; what is said has tests of its own
    text = settings_text(table, Origin(Path("t.csv"), "t", "t", None))
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "t.yaml", text)
        found = settings.load(path, {"model.kind": "linear"}, environment={})  # quick to set up
    result, _ = evaluate(found, map(to_json, events))

    assert len(events) == result["rows"]
    assert not result["outcomes"].get("dead_lettered"), text


@pytest.mark.parametrize(("text", "said"), [("a,y\n,\n", "is empty"), ("a,y\n", "no event")])
def test_a_file_with_nothing_in_it_is_said_to_be_empty(
    tmp_path: Path, text: str, said: str
) -> None:
    """
    Not that it lacks the target.
    """
    path = write(tmp_path / "x.csv", text)

    with pytest.raises(HeadwaterError, match=said):
        made(path, "y", tmp_path / "x.yaml")


def test_keys_with_dots_inside_objects_give_settings_that_load(tmp_path: Path) -> None:
    """
    Their path is written as a list.
    """
    lines = "".join(
        json.dumps({"device": {"screen.size": {"inch": 5 + i % 7}}, "y": i % 2}) + "\n"
        for i in range(50)
    )
    made(write(tmp_path / "x.jsonl", lines), "y", tmp_path / "x.yaml")
    (field,) = settings.load(tmp_path / "x.yaml", environment={}).event.features.values()

    assert ("device", "screen.size", "inch") == field.path
