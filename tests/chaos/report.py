"""The table and the picture of docs/reliability.md, from the results of `run` and `points`."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.e2e.service import CHECKOUT

PAGE = CHECKOUT / "docs" / "reliability.md"
PICTURE = CHECKOUT / "docs" / "reliability.png"
BEGIN, END = "<!-- chaos: begin -->", "<!-- chaos: end -->"

Line = dict[str, Any]
Stroke = dict[str, Any]
_ORDER = ("learner", "worker", "supervisor")


def write(results: Path) -> None:
    """Write both; rounds that did not hold are counted and shown as what they are."""
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    before, rest = PAGE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n{text(lines)}{END}{after}")
    picture(lines, PICTURE)
    print(text(lines))


def text(lines: Sequence[Line]) -> str:
    """The section with the figures, as markdown."""
    parts = [_summary(lines)]
    strokes = [s for line in lines if line["kind"] == "random" for s in line["strokes"]]
    if strokes:
        parts.append("Random kills, by what was killed and what it was doing:\n")
        parts.append(_table(_grouped(strokes)))
    points = [p for line in lines if line["kind"] == "points" for p in line.get("points", ())]
    if points:
        parts.append("Crash points, by the hits at which the process died:\n")
        parts.append(_points(lines))
    return "\n" + "\n".join(parts) + "\n"


def _summary(lines: Sequence[Line]) -> str:
    good = [line for line in lines if line["verdict"]["ok"]]
    bad = [line for line in lines if not line["verdict"]["ok"]]

    def total(name: str) -> int:
        return sum(line["verdict"][name] for line in good)

    brokers = sorted({line["broker"] for line in lines})
    random = [line for line in good if line["kind"] == "random"]
    points = [line for line in good if line["kind"] == "points"]
    deaths = sum(line["kills"] for line in points)
    seeds = sorted({line["seed"].split("/")[0] for line in lines})
    said = [
        f"- Broker: {', '.join(brokers)}; seeds {', '.join(seeds)}; {len(lines)} rounds, "
        f"{sum(line['seconds'] for line in lines) / 60:.0f} minutes.",
        f"- {sum(line['kills'] for line in random):,} random kills; {deaths:,} deaths for "
        f"{sum(len(line['points']) for line in points)} crash points and hits.",
        f"- {total('records'):,} records, {total('entries'):,} versions, "
        f"{total('versions_seen'):,} of them seen by clients, {total('digests_confirmed'):,} "
        "digests confirmed by a replay.",
        f"- {total('requests'):,} replies; {total('retried'):,} requests were under way in a "
        f"killed worker and repeated; {total('dead_letter_doubles'):,} dead letters twice.",
        f"- Rounds that did not hold: {len(bad)}.",
    ]
    said += [
        f"  - round {line['seed']}: {'; '.join(one.splitlines()[0][:200] for one in line['verdict']['failures'])}"
        for line in bad
    ]
    return "\n".join(said) + "\n"


def _grouped(strokes: Iterable[Stroke]) -> dict[tuple[str, str], list[Stroke]]:
    found: dict[tuple[str, str], list[Stroke]] = {}
    for stroke in sorted(strokes, key=lambda s: (_ORDER.index(s["victim"]), s["place"])):
        found.setdefault((stroke["victim"], stroke["place"]), []).append(stroke)
    return found


def _table(groups: dict[tuple[str, str], list[Stroke]]) -> str:
    rows = [
        "| killed | while | times | seconds without learning: median | most | requests repeated |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for (victim, place), strokes in groups.items():
        waits = _waits(strokes)
        middle = f"{statistics.median(waits):.1f}" if waits else ""
        most = f"{max(waits):.1f}" if waits else ""
        repeated = sum(stroke.get("retried", 0) for stroke in strokes)
        rows.append(f"| {victim} | {place} | {len(strokes)} | {middle} | {most} | {repeated} |")
    return "\n".join(rows) + "\n"


def _points(lines: Sequence[Line]) -> str:
    done: dict[str, set[int]] = {}
    for line in lines:
        for point in line.get("points", ()) if line["verdict"]["ok"] else ():
            done.setdefault(point["point"], set()).add(point["n"])
    strokes = [s for line in lines if line["kind"] == "points" for s in line["strokes"]]
    rows = [
        "| point | hits | deaths | seconds without learning: median | most | requests repeated |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, hits in done.items():
        died = [stroke for stroke in strokes if stroke["place"] == name]
        waits = _waits(died)
        middle = f"{statistics.median(waits):.1f}" if waits else ""
        most = f"{max(waits):.1f}" if waits else ""
        repeated = sum(stroke.get("retried", 0) for stroke in died)
        told = ", ".join(map(str, sorted(hits)))
        rows.append(f"| `{name}` | {told} | {len(died)} | {middle} | {most} | {repeated} |")
    return "\n".join(rows) + "\n"


def _waits(strokes: Iterable[Stroke]) -> list[float]:
    waits = (stroke["without_learning_s"] for stroke in strokes)
    return [wait for wait in waits if wait is not None]


def picture(lines: Sequence[Line], to: Path) -> None:
    """How long nothing was learned after each stroke, one dot each, by place."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    strokes = [s for line in lines if line["kind"] == "random" for s in line["strokes"]]
    groups = {
        f"{victim}, {place}": waits
        for (victim, place), found in _grouped(strokes).items()
        if (waits := _waits(found))
    }
    figure, axes = plt.subplots(figsize=(8.0, 0.9 + 0.4 * max(len(groups), 1)))
    for row, waits in enumerate(groups.values()):
        spread = [row + ((at * 0.618) % 1.0 - 0.5) * 0.6 for at in range(len(waits))]
        axes.plot(waits, spread, "o", markersize=3, alpha=0.6, color="#2563a8")
        axes.plot([statistics.median(waits)] * 2, [row - 0.35, row + 0.35], color="#b3261e")
    axes.set_yticks(range(len(groups)), [f"{name} ({len(w)})" for name, w in groups.items()])
    axes.invert_yaxis()
    axes.set_xlim(left=0.0)
    axes.set_xlabel("seconds without learning after a stroke; the line is the median")
    axes.grid(axis="x", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    figure.savefig(to, dpi=110)
    plt.close(figure)
