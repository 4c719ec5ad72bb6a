"""`python -m benchmarks`: measure, and print a table or one JSON object. Progress on stderr.

Exit: 0 measured; 1 a measurement failed, or what was measured was not true; 2 usage; 130
interrupted. Whatever ends it, what it started is stopped and what it made is deleted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TypeVar

from benchmarks import accuracy, cluster, freshness, learn, machine, predict, snapshot, torn
from benchmarks.accuracy_streams import MODELS, STREAMS
from benchmarks.plan import Plan
from benchmarks.results import Failed, Result, as_json, as_table
from service import logs
from service.errors import HeadwaterError

BENCHMARKS: dict[str, Callable[[Plan], list[Result]]] = {
    "learn": learn.run,
    "predict": predict.run,
    "freshness": freshness.run,
    "snapshot": snapshot.run,
    "torn": torn.run,
}
ALONE: dict[str, Callable[[accuracy.Asked], list[Result]]] = {
    "accuracy": accuracy.run,
    "leaks": accuracy.leaks,
}
"""Without Kafka, and for long: only where they are named."""
Number = TypeVar("Number", int, float)
_EMBEDDED_EVENTS = 100_000  # that broker keeps everything in memory


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; return what the process ends with."""
    asked = _parsed(arguments)
    logs.configure("benchmarks", level="WARNING")  # stdout is for the result
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    try:
        with tempfile.TemporaryDirectory(prefix="headwater-bench-") as folder:
            results, where = _measured(asked, Path(folder))
    except (Failed, HeadwaterError, OSError) as error:
        _say(f"benchmarks: {error}")
        return 1
    except KeyboardInterrupt:
        _say("benchmarks: interrupted")
        return 130
    print(as_json(results, where).decode() if asked.json else as_table(results, where))
    return 0


def _measured(asked: argparse.Namespace, folder: Path) -> tuple[list[Result], dict[str, object]]:
    load = machine.load_average()
    if load[0] > machine.cores() / 2:
        _say(f"the machine is busy (load {load[0]:g}): only the ratios will say something")
    named = asked.names or BENCHMARKS
    results: list[Result] = []
    more: dict[str, object] = {}
    broker = "none"
    if alone := [name for name in named if name in ALONE]:
        found = _asked(asked, folder)
        for name in alone:
            results += ALONE[name](found)
        more = {"river": accuracy.version(found.river), "left_out": found.skipped}
    if beside := [name for name in named if name in BENCHMARKS]:
        with cluster.found(asked.bootstrap, folder, _say) as kafka:
            broker = kafka.kind
            events = asked.events if kafka.real else min(asked.events, _EMBEDDED_EVENTS)
            rounds, seconds = asked.rounds or 3, asked.seconds or 20.0
            plan = Plan(kafka, folder, _say, events, rounds, seconds, asked.kind)
            more["model"] = asked.kind
            for name in beside:
                results += BENCHMARKS[name](plan)
    return results, {**machine.described(broker, load), **more}


def _asked(asked: argparse.Namespace, folder: Path) -> accuracy.Asked:
    return accuracy.Asked(
        folder,
        _say,
        streams=asked.streams or tuple(STREAMS),
        models=asked.models or MODELS,
        rows=asked.rows,
        seeds=asked.rounds or 1,
        seconds=60.0 if asked.seconds is None else asked.seconds,
        river=asked.river_python,
        data=asked.data,
    )


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure the service against baselines, in the same run.",
    )
    names, alone = ", ".join(BENCHMARKS), ", ".join(ALONE)
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"{names}: all of these if none is given; {alone}: without Kafka, and for long",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--seconds", type=_positive(float), metavar="S",
        help="length of the stream of freshness; a quarter of it for each load of predict (20); "
        "accuracy: processor time for each model of River (60)",
    )  # fmt: skip
    parser.add_argument(
        "--events", type=_positive(int), default=400 * 1024, metavar="N",
        help="events that learn reads in each round (409600)",
    )  # fmt: skip
    parser.add_argument(
        "--rounds", type=_positive(int), metavar="R",
        help="how often learn and predict take turns with their baselines (3); accuracy: seeds (1)",
    )  # fmt: skip
    parser.add_argument(
        "--kind",
        default="linear",
        help="model.kind of what learn, predict and freshness run (linear)",
    )
    parser.add_argument(
        "--bootstrap", metavar="HOST:PORT",
        help="a Kafka to measure on; else HEADWATER_TEST_KAFKA, else one started here",
    )  # fmt: skip
    _add_accuracy(parser)
    asked = parser.parse_args(arguments)
    if unknown := [name for name in asked.names if name not in (*BENCHMARKS, *ALONE)]:
        parser.error(f"there is no benchmark {unknown[0]!r}; there are {names}, {alone}")
    for what, chosen, known in (
        ("stream", asked.streams, STREAMS),
        ("model of River", asked.models, MODELS),
    ):
        if unknown := [name for name in chosen or () if name not in known]:
            parser.error(f"there is no {what} {unknown[0]!r}; there are {', '.join(known)}")
    return asked


def _add_accuracy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("accuracy and leaks")
    for name, what in (("--streams", "streams"), ("--models", "models of River")):
        group.add_argument(
            name, type=lambda text: text.split(","), metavar="A,B", help=f"these {what} only"
        )
    group.add_argument(
        "--rows", type=_positive(int), default=50_000, metavar="N",
        help="of each stream that is made up (50000); 1000000 is what is published elsewhere",
    )  # fmt: skip
    group.add_argument(
        "--river-python", default=accuracy.river_python(), metavar="PYTHON",
        help="an interpreter that has River; else HEADWATER_TEST_RIVER, else this one",
    )  # fmt: skip
    group.add_argument(
        "--data", type=Path, default=accuracy.data_folder(), metavar="FOLDER",
        help="the data sets; else HEADWATER_TEST_DATA, else ../shared/data beside the checkout",
    )  # fmt: skip


def _positive(kind: type[Number]) -> Callable[[str], Number]:
    def read(text: str) -> Number:
        value = kind(text)
        if value <= 0:
            raise argparse.ArgumentTypeError(f"{text} is not more than 0")
        return value

    return read


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End once; what is being stopped and deleted then is not disturbed again."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
