"""Read events from files, oldest first: csv, jsonl (either may be .gz), parquet, or stdin.

Cells of csv stand between commas, or between semicolons or tabs where the first line has more
of those. A row of csv or parquet is an object without its empty cells; cells of csv are text. A
line of jsonl is bytes, as it stands, well-formed or not. Knows no Kafka and no settings. What
cannot be read raises HeadwaterError with the file and the line.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import sys
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from service.errors import HeadwaterError

Row = dict[str, object] | bytes

STDIN = Path("-")
_UNREADABLE = (OSError, EOFError, zlib.error)
_COUNTED_BYTES = 256 << 20
"""Larger files are not counted before they are read."""

_SHAPE = (
    "; a csv begins with a line of names, and its cells stand between commas, semicolons or tabs"
)
_json_number = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def read_files(
    paths: Sequence[Path], limit: int | None = None, wanted: Collection[str] = ()
) -> Iterator[Row]:
    """Return the rows of files, one file after the other, at most `limit` in all; see `rows`."""
    return islice((row for path in paths for row in rows(path, wanted)), limit)


def count_rows(paths: Sequence[Path], limit: int | None = None) -> int | None:
    """Return about how many rows there are, for a progress bar; None where that takes long."""
    total = 0
    for path in paths:
        count = _count(path)
        if count is None:
            return limit
        total += count
    return total if limit is None else min(total, limit)


def rows(path: Path, wanted: Collection[str] = ()) -> Iterator[Row]:
    """Return the rows of one file; `-` is jsonl on stdin. A table that has no column of `wanted` is
    refused: it has no line of names, or is another table."""
    kind = kind_of(path)
    if kind == "parquet":
        return _parquet(path, wanted)
    return _csv(path, wanted) if kind == "csv" else _jsonl(path)


def kind_of(path: Path) -> str:
    """Return csv, jsonl or parquet, by the file's name."""
    if path == STDIN:
        return "jsonl"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    kind = {".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet"}
    if not suffixes or suffixes[-1] not in kind:
        raise HeadwaterError(
            f"{path}: what is in it? Known are .csv, .csv.gz, .jsonl, .jsonl.gz, .parquet "
            "and - for jsonl on stdin"
        )
    return kind[suffixes[-1]]


def to_json(row: Row, numbers: Collection[str] = ()) -> bytes:
    """Return a row as the JSON of an event. Texts in `numbers` that are numbers become numbers."""
    if isinstance(row, bytes):
        return row
    for name in numbers:
        cell = row.get(name)
        if isinstance(cell, str) and _json_number.fullmatch(cell):
            row[name] = msgspec.Raw(cell.encode())  # digit by digit as it stands in the file
    return msgspec.json.encode(row)


def _held_against(columns: Sequence[str], wanted: Collection[str], path: Path, also: str) -> None:
    """Refuse a table that has none of the fields that are wanted."""
    if wanted and not set(columns) & set(wanted):
        has, asked = (", ".join(map(repr, list(some)[:8])) for some in (columns, wanted))
        raise HeadwaterError(
            f"{path}: none of its columns ({has}) is a field of the settings ({asked}){also}"
        )


def _open(path: Path) -> BinaryIO:
    if path == STDIN:
        return sys.stdin.buffer
    try:
        return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")  # type: ignore[return-value]  # as good as one
    except OSError as error:
        raise HeadwaterError(f"{path}: {error.strerror}") from None


def _jsonl(path: Path) -> Iterator[Row]:
    with _open(path) as lines:
        try:
            for line in lines:
                text = line.removesuffix(b"\n")
                if text:
                    yield text
        except _UNREADABLE as error:
            raise HeadwaterError(f"{path}: {error}") from None


def _csv(path: Path, wanted: Collection[str]) -> Iterator[Row]:
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, strict=True)
        try:
            head = text.readline()
            delimiter = _delimiter(head)
            reader = csv.reader(chain([head], text), strict=True, delimiter=delimiter)
            names = next(reader, [])
            if not names:
                raise HeadwaterError(f"{path}: is empty; a csv begins with a line of names")
            _held_against(names, wanted, path, _SHAPE)
            if len(set(names)) < len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise HeadwaterError(
                    f"{path}: a column name stands twice in the first line, {twice!r}: rename one"
                )
            for cells in reader:
                if len(cells) > len(names):
                    raise HeadwaterError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells, "
                        f"but {len(names)} columns"
                    )
                if cells:
                    yield {n: cell for n, cell in zip(names, cells, strict=False) if cell != ""}
        except UnicodeDecodeError:
            raise HeadwaterError(
                f"{path}, line {reader.line_num + 1} or after it: not UTF-8. Convert the file, as "
                f"iconv -f latin1 -t utf-8 does; or -f utf-16, as spreadsheets write it"
            ) from None
        except (csv.Error, *_UNREADABLE) as error:
            raise HeadwaterError(f"{path}, line {reader.line_num + 1}: {error}") from None


def _delimiter(head: str) -> str:
    """Return what stands between names: a comma, or what there is more of in the first line.

    >>> [_delimiter(head) for head in ("a,b", "a;b", "price (EUR, net);unit;id", "one")]
    [',', ';', ';', ',']
    """
    bare = re.sub(r'"[^"]*"', "", head)
    return max(",;\t", key=bare.count)


def _parquet(path: Path, wanted: Collection[str]) -> Iterator[Row]:
    with _parquet_file(path) as file:
        _held_against(file.schema_arrow.names, wanted, path, "")
        for batch in file.iter_batches(batch_size=8192):
            columns = [_cells(batch.column(i)) for i in range(batch.num_columns)]
            names = batch.schema.names
            for cells in zip(*columns, strict=True):
                yield {n: cell for n, cell in zip(names, cells, strict=True) if _is_there(cell)}


def _cells(column: Any) -> list[Any]:
    """Return a column's cells as JSON has them. Times, dates and durations become ISO texts, maps
    objects, bytes base64; of floats what is not finite is a text too."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        zone = "Z" if column.type.tz else ""
        if column.type.tz:
            column = column.cast(pa.timestamp(column.type.unit, "UTC"))
        column = pc.strftime(column, "%Y-%m-%dT%H:%M:%S")
        column = pc.replace_substring_regex(column, r"(\.[0-9]*?)0+$", r"\1")
        column = pc.replace_substring_regex(column, r"\.?$", zone)
    elif pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    cells: list[Any] = column.to_pylist(maps_as_pydicts="lossy")
    if pa.types.is_floating(column.type):
        return [str(c) if c is not None and math.isinf(c) else c for c in cells]
    if pa.types.is_integer(column.type) or pa.types.is_string(column.type):
        return cells
    return list(msgspec.to_builtins(cells, str_keys=True))


def _is_there(cell: object) -> bool:
    return cell is not None and cell == cell  # NaN is the empty cell of tables


def _parquet_file(path: Path) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        raise HeadwaterError(
            f"{path}: parquet needs the extra `evaluate`: pip install 'headwater[evaluate]'"
        ) from None
    try:
        return pq.ParquetFile(path)
    except OSError as error:
        raise HeadwaterError(f"{path}: {error.strerror or error}") from None
    except pa.ArrowInvalid as error:
        raise HeadwaterError(f"{path}: {error}") from None


def _count(path: Path) -> int | None:
    if path == STDIN:
        return None
    kind = kind_of(path)
    if kind == "parquet":
        with _parquet_file(path) as file:
            return int(file.metadata.num_rows)
    with _open(path) as lines:
        if path.stat().st_size > _COUNTED_BYTES:
            return None
        newlines, last = 0, b"\n"
        try:
            while chunk := lines.read(1 << 20):
                newlines += chunk.count(b"\n")
                last = chunk[-1:]
        except _UNREADABLE as error:
            raise HeadwaterError(f"{path}: {error}") from None
    return max(0, newlines + (last != b"\n") - (kind == "csv"))
