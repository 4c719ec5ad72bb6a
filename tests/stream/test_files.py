"""Rows of files: what is in a cell, what is missing, and what cannot be read."""

from __future__ import annotations

import csv
import datetime
import decimal
import gzip
import io
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import HeadwaterError
from service.stream.files import count_rows, read_files, rows, to_json

cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20)


class TestCsv:
    def test_cells_are_text_and_empty_ones_are_missing(self, tmp_path: Path) -> None:
        """
        Nothing is guessed about a cell; an empty one is not there.
        """
        path = tmp_path / "x.csv"
        path.write_text('a,b,c\n1,,"x, y"\n,2.50,\n')

        assert [{"a": "1", "c": "x, y"}, {"b": "2.50"}] == list(rows(path))

    def test_a_short_row_lacks_its_last_cells(self, tmp_path: Path) -> None:
        """
        Cells that a row does not have are missing.
        """
        path = tmp_path / "x.csv"
        path.write_text("a,b\n1\n\n2,3\n")

        assert [{"a": "1"}, {"a": "2", "b": "3"}] == list(rows(path))

    def test_a_long_row_is_told_with_its_line(self, tmp_path: Path) -> None:
        """
        More cells than columns: the columns are wrong, and nobody guesses how.
        """
        path = tmp_path / "x.csv"
        path.write_text("a,b\n1,2\n1,2,3\n")

        with pytest.raises(HeadwaterError, match=r"x\.csv, line 3: 3 cells, but 2 columns"):
            list(rows(path))

    def test_a_column_that_stands_twice_is_refused(self, tmp_path: Path) -> None:
        """
        One of them would be lost.
        """
        path = tmp_path / "x.csv"
        path.write_text("a,a\n1,2\n")

        with pytest.raises(HeadwaterError, match="twice"):
            list(rows(path))

    @given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), cells), max_size=10))
    def test_whatever_was_written_is_read(
        self, tmp_path_factory: pytest.TempPathFactory, written: list[dict[str, str]]
    ) -> None:
        """
        Commas, quotes, newlines inside cells: the same cells come back, without the empty ones.
        """
        path = tmp_path_factory.mktemp("csv") / "x.csv.gz"
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["a", "b", "c", "always"], quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows({**row, "always": "1"} for row in written)
        path.write_bytes(gzip.compress(text.getvalue().encode()))

        found = list(rows(path))

        wanted = [{k: v for k, v in row.items() if v} | {"always": "1"} for row in written]
        assert wanted == found

    def test_a_broken_gz_is_told(self, tmp_path: Path) -> None:
        """
        A file that ends in the middle is an error, not a short file.
        """
        path = tmp_path / "x.csv.gz"
        path.write_bytes(gzip.compress(b"a\n" + b"1\n" * 1000)[:-20])

        with pytest.raises(HeadwaterError, match=r"x\.csv\.gz, line"):
            list(rows(path))


class TestJsonl:
    def test_lines_come_as_they_stand(self, tmp_path: Path) -> None:
        """
        Well-formed or not, every byte but the newline is kept; empty lines are none.
        """
        path = tmp_path / "x.jsonl"
        path.write_bytes(b'{"a": 1}\n\n{broken\xff\n {} \r\n{"last":1}')

        assert [b'{"a": 1}', b"{broken\xff", b" {} \r", b'{"last":1}'] == list(rows(path))

    def test_stdin_is_jsonl(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        A single dash reads lines from standard input.
        """
        fed = io.TextIOWrapper(io.BytesIO(b'{"a":1}\n{"a":2}\n'))
        monkeypatch.setattr(sys, "stdin", fed)

        assert [b'{"a":1}', b'{"a":2}'] == list(rows(Path("-")))


class TestEncoding:
    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_a_csv_in_another_encoding_is_told_what_to_do(
        self, tmp_path: Path, encoding: str
    ) -> None:
        """
        The file is named, and how it becomes UTF-8.
        """
        path = tmp_path / "x.csv"
        path.write_text("city,y\nKöln,1\n", encoding=encoding)

        with pytest.raises(HeadwaterError, match=r"x\.csv.*not UTF-8.*iconv"):
            list(rows(path))


class TestParquet:
    def test_cells_keep_their_types_and_times_are_iso(self, tmp_path: Path) -> None:
        """
        Numbers are numbers, null and NaN are missing, times are ISO texts.
        """
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "x.parquet"
        table = pa.table(
            {
                "n": pa.array([1, None]),
                "f": pa.array([float("nan"), 2.5]),
                "t": pa.array([1_600_000_000_123_000_000, 0], pa.timestamp("ns")),
                "z": pa.array([1_600_000_000_000, 0], pa.timestamp("ms", "Europe/Paris")),
                "s": pa.array(["x", "y"]).dictionary_encode(),
            }
        )
        pq.write_table(table, path)

        assert [
            {
                "n": 1,
                "t": "2020-09-13T12:26:40.123",
                "z": "2020-09-13T12:26:40Z",
                "s": "x",
            },
            {"f": 2.5, "t": "1970-01-01T00:00:00", "z": "1970-01-01T00:00:00Z", "s": "y"},
        ] == list(rows(path))

    def test_cells_of_every_type_are_as_json_has_them(self, tmp_path: Path) -> None:
        """
        Times of day, durations, bytes and maps too, inside lists as well; so is what `config init`
        looks at.
        """
        pa = pytest.importorskip("pyarrow")
        pq = pytest.importorskip("pyarrow.parquet")
        path = tmp_path / "x.parquet"
        table = pa.table(
            {
                "clock": pa.array([datetime.time(1, 2, 3)]),
                "took": pa.array([datetime.timedelta(seconds=5)]),
                "raw": pa.array([b"\x00\xff"]),
                "open": pa.array([[("a", 1.5)]], pa.map_(pa.string(), pa.float64())),
                "days": pa.array([[datetime.date(2024, 1, 31)]]),
                "price": pa.array([decimal.Decimal("1.50")]),
            }
        )
        pq.write_table(table, path)
        (found,) = rows(path)

        assert {
            "clock": "01:02:03",
            "took": "PT5S",
            "raw": "AP8=",
            "open": {"a": 1.5},
            "days": ["2024-01-31"],
            "price": "1.50",
        } == found

    def test_what_is_no_parquet_is_told(self, tmp_path: Path) -> None:
        """
        The file is named.
        """
        pytest.importorskip("pyarrow")
        path = tmp_path / "x.parquet"
        path.write_bytes(b"not parquet")

        with pytest.raises(HeadwaterError, match=r"x\.parquet"):
            list(rows(path))


class TestFiles:
    @pytest.mark.parametrize("name", ["x.txt", "x", "x.gz", "csv"])
    def test_an_unknown_kind_is_refused(self, name: str) -> None:
        """
        The kinds that are known are named.
        """
        with pytest.raises(HeadwaterError, match=r"\.parquet"):
            rows(Path(name))

    @pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.jsonl", "x.parquet"])
    def test_a_missing_file_is_told(self, tmp_path: Path, name: str) -> None:
        """
        The file is named.
        """
        with pytest.raises(HeadwaterError, match=name):
            list(rows(tmp_path / name))

    def test_files_are_read_one_after_the_other_up_to_the_limit(self, tmp_path: Path) -> None:
        """
        The limit is for all of them together.
        """
        for name in ("1", "2"):
            (tmp_path / f"{name}.csv").write_text(f"a\n{name}1\n{name}2\n")
        paths = [tmp_path / "1.csv", tmp_path / "2.csv"]

        assert [{"a": "11"}, {"a": "12"}, {"a": "21"}] == list(read_files(paths, 3))
        assert (4, 3) == (count_rows(paths), count_rows(paths, 3))

    def test_rows_are_counted_before_they_are_read(self, tmp_path: Path) -> None:
        """
        With or without a last newline, a header is no row.
        """
        (tmp_path / "x.csv").write_text("a\n1\n2")
        (tmp_path / "x.jsonl").write_text("{}\n{}\n{}\n")

        assert (2, 3) == (
            count_rows([tmp_path / "x.csv"]),
            count_rows([tmp_path / "x.jsonl"]),
        )


class TestJson:
    def test_numbers_stay_digit_by_digit(self) -> None:
        """
        A cell of a number field that is a JSON number becomes one; everything else stays text.
        """
        row: dict[str, object] = {"n": "0.10", "t": "0.10", "x": "1_0", "y": " 1", "z": "NaN"}

        assert (
            b'{"n":0.10,"t":"0.10","x":"1_0","y":" 1","z":"NaN"}'
            == to_json(row, ["n", "x", "y", "z", "absent"])
        )  # fmt: skip

    def test_bytes_are_left_alone(self) -> None:
        """
        A line of jsonl is sent as it is.
        """
        assert b"{broken" == to_json(b"{broken", ["n"])

    @given(st.dictionaries(cells, cells), st.lists(cells))
    def test_the_result_is_always_json_with_the_same_texts(
        self, row: dict[str, object], numbers: list[str]
    ) -> None:
        """
        Whatever cells hold, the event can be read again.
        """
        event = msgspec.json.decode(to_json(dict(row), numbers))

        assert row.keys() == event.keys()
        assert all(v == row[k] or float(v) == float(str(row[k])) for k, v in event.items())
