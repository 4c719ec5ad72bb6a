"""The picture of docs/accuracy.md: `python docs/capture_experts.py DATA` writes docs/experts.svg.

DATA: the folder of electricity.csv.gz. Some twenty seconds; the same picture every time on one machine.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.accuracy_streams import STREAMS, settings_of
from service.learn.evaluate import evaluate
from service.learn.race import drawn
from service.stream.files import count_rows, read_files, to_json

PICTURE = Path(__file__).parent / "experts.svg"


def main(data: Path) -> None:
    """Learn the stream with nothing but its fields named, and draw it."""
    stream = STREAMS["electricity"]
    files = [data / str(stream.file)]
    points: list[tuple[int, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = settings_of(stream, Path(folder), seed=0)
    result, _ = evaluate(
        settings,
        map(to_json, read_files(files)),
        count_rows(files, None),
        watch=lambda done, report: points.append((done, report)),
    )
    PICTURE.write_text(drawn([("", points, result)]), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
