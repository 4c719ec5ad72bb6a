"""The drawings of docs/concepts.md: `python docs/drawings.py` writes docs/drawings/*.svg.

Each is a panel with colours of its own, light or dark as the reader's system is, so that it can be read
on any page. Change the functions below, not the files; a test fails when they differ.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "drawings"

_STYLE = """
text{font:14px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:#1f2933}
.t{font-weight:600}.s{font-size:12.5px;fill:#52606d}.m{text-anchor:middle}
.panel{fill:#fbfcfd;stroke:#d5dce3}.zone{fill:none;stroke:#9fb0bf;stroke-dasharray:5 4}
.box{fill:#e3f2f0;stroke:#2a8c82}.disk{fill:#fdf1dc;stroke:#b7812a}.mem{fill:#e6ebfa;stroke:#5468b4}
.out{fill:#eef1f4;stroke:#7b8794}.gone{fill:none;stroke:#7b8794;stroke-dasharray:4 3}
.line{fill:none;stroke:#3e4c59;stroke-width:1.6;marker-end:url(#a)}.side{stroke-dasharray:5 4}#a path{fill:#3e4c59}
@media (prefers-color-scheme:dark){
text{fill:#e4e9ee}.s{fill:#a9b7c4}.panel{fill:#1b2129;stroke:#3a4652}.zone{stroke:#5d6d7c}
.box{fill:#123f3b;stroke:#4fb8ac}.disk{fill:#46340f;stroke:#d9a648}.mem{fill:#232e5c;stroke:#8b9de6}
.out{fill:#2a323b;stroke:#8a98a6}.gone{stroke:#8a98a6}.line{stroke:#b8c4cf}#a path{fill:#b8c4cf}}
"""
_ARROW = (
    '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
    'orient="auto-start-reverse"><path d="M0 0L8 4L0 8z"/></marker>'
)


def drawing(width: int, height: int, title: str, *parts: str) -> str:
    """Return a drawing: a panel of that many units, and what is on it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><defs>{_ARROW}</defs>"
        f'<rect class="panel" x=".5" y=".5" width="{width - 1}" height="{height - 1}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def box(kind: str, x: int, y: int, width: int, height: int, *lines: str) -> str:
    """Return a box with its name in the middle, and smaller lines under it."""
    middle, top = x + width / 2, y + height / 2 + 5 - 8.5 * (len(lines) - 1)
    texts = (
        f'<text class="m {"s" if n else "t"}" x="{middle:g}" y="{top + 17 * n:g}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )
    return (
        f'<rect class="{kind}" x="{x}" y="{y}" width="{width}" height="{height}" rx="5"/>'
        + "".join(texts)
    )


def zone(x: int, y: int, width: int, height: int, title: str) -> str:
    """Return a dashed frame around what is one process or one disk."""
    return (
        f'<rect class="zone" x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
        f'<text class="s" x="{x + 10}" y="{y + 18}">{escape(title)}</text>'
    )


def arrow(*points: tuple[int, int], side: bool = False) -> str:
    """Return a line through these points, with a head at the last one."""
    path = "L".join(f"{x} {y}" for x, y in points)
    return f'<path class="line{" side" if side else ""}" d="M{path}"/>'


def note(x: int, y: int, *lines: str, kind: str = "s") -> str:
    """Return lines of text that begin at a place."""
    return "".join(
        f'<text class="{kind}" x="{x}" y="{y + 17 * n}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )


def flow() -> str:
    """The way of an event from Kafka into a reply."""
    steps = ["order, cut", "decode", "score", "learn"]
    return drawing(
        880, 400, "How data flows: from Kafka through the learner and the live weights to replies",
        zone(150, 20, 680, 180, "learner process: one, owns every partition"),
        box("out", 20, 60, 100, 60, "Kafka", "your topics"),
        *(box("box", 175 + 128 * n, 60, 100, 60, step) for n, step in enumerate(steps)),
        box("disk", 715, 60, 100, 60, "journal", "on disk"),
        arrow((120, 90), (175, 90)),
        *(arrow((275 + 128 * n, 90), (303 + 128 * n, 90)) for n in range(3)),
        arrow((659, 90), (715, 90)),
        box("out", 278, 150, 150, 36, "dead letters"),
        arrow((353, 120), (353, 150), side=True),
        note(362, 140, "cannot be used"),
        box("disk", 715, 150, 100, 36, "snapshots"),
        arrow((609, 120), (609, 168), (715, 168), side=True),
        note(620, 160, "now and then"),
        box("mem", 480, 228, 258, 60, "live weights", "one memory-mapped file, two slots"),
        arrow((815, 90), (852, 90), (852, 258), (738, 258)),
        note(770, 250, "publish"),
        zone(150, 310, 680, 75, "API processes: one or more"),
        *(box("box", 195 + 128 * n, 334, 100, 40, step) for n, step in enumerate(["decode", "score", "reply"])),
        box("out", 20, 334, 100, 40, "HTTP"),
        arrow((120, 354), (195, 354)),
        arrow((295, 354), (323, 354)),
        arrow((423, 354), (451, 354)),
        arrow((480, 258), (373, 258), (373, 334)),
        note(390, 250, "read, no copy"),
        box("out", 20, 222, 110, 60, "you", "status, pause"),
        arrow((130, 252), (170, 252), (170, 202), side=True),
    )  # fmt: skip


def live_file() -> str:
    """Two slots of which one is served, and cells beside them."""
    return drawing(
        880, 330, "The live file: two slots; the learner writes one while workers read the other",
        zone(250, 20, 380, 290, "live weights: one file in memory, never truncated"),
        box("mem", 275, 55, 330, 62, "slot A: version 41", "weights, lineage, offsets, times; sequence 82"),
        box("mem", 275, 137, 330, 62, "slot B: version 42, served", "the same, sequence 84"),
        box("out", 275, 220, 155, 66, "heartbeat, state", "of the learner"),
        box("out", 450, 220, 155, 66, "pins", "one cell per worker"),
        box("box", 30, 60, 160, 60, "learner", "one process"),
        note(40, 138, "writes the slot that is not", "served, then turns: 43 will", "be in slot A"),
        arrow((190, 88), (275, 88)),
        arrow((110, 190), (110, 253), (275, 253), side=True),
        note(122, 244, "its heartbeat"),
        box("box", 690, 110, 160, 46, "API worker 0"),
        box("box", 690, 172, 160, 46, "API worker 1"),
        arrow((605, 158), (690, 136)),
        arrow((605, 174), (690, 192)),
        arrow((770, 218), (770, 253), (605, 253), side=True),
        note(692, 272, "“I read slot B”"),
        note(640, 40, "1 pin the slot, 2 compute on", "the mapped memory, 3 look at", "the sequence: same as before?"),
    )  # fmt: skip


def journal() -> str:
    """Entries, snapshots under them, what a restart does, and a rollback."""
    left, wide = 30, 92
    kinds = ["genesis", "cut", "cut", "cut", "pause", "resume", "cut", "rollback", "cut"]

    def at(version: int) -> int:
        return left + wide * version

    def entries() -> Iterator[str]:
        for version, kind in enumerate(kinds):
            yield box("disk", at(version), 62, wide - 10, 50, f"{version}", kind)

    return drawing(
        880, 330, "The journal: one entry a version; snapshots under some; a restart, a rollback",
        note(30, 32, "journal: one entry for each version, in order, each with length and checksum", kind="t"),
        *entries(),
        '<path class="line side" d="M715 62C715 34 347 34 347 60"/>',
        note(470, 56, "version 7 has the bits of 3"),
        box("mem", at(0), 160, wide - 10, 44, "snapshot"),
        box("mem", at(3), 160, wide - 10, 44, "snapshot"),
        arrow((at(0) + 41, 160), (at(0) + 41, 112)),
        arrow((at(3) + 41, 160), (at(3) + 41, 112)),
        note(at(0), 226, "version 0, before", "the first record"),
        note(at(3), 226, "one whole state:", "weights, optimizer,", "metrics, offsets"),
        '<rect class="gone" x="393" y="122" width="266" height="26" rx="4"/>',
        note(402, 140, "4 to 6: given up by the rollback"),
        arrow((at(3) + 82, 182), (at(8) + 41, 182), (at(8) + 41, 114)),
        note(at(5), 202, "a restart: read the newest snapshot,", "do the entries after it again from"),
        note(at(5), 236, "the same records, hold each against", "its checksum and its loss, go live"),
        note(30, 300, "A cut's entry: next offsets, counts by outcome, checksum of the records' keys, the sum of losses as 64 bits."),
    )  # fmt: skip


def icon() -> str:
    """Three waves."""
    waves = "".join(
        f'<path d="M3 {y}q4.5 -6 9 0t9 0t9 0" fill="none" stroke="#26a69a" stroke-width="3" stroke-linecap="round"/>'
        for y in (10, 17, 24)
    )
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 33 33">{waves}</svg>\n'


DRAWINGS = {"flow.svg": flow, "live.svg": live_file, "journal.svg": journal, "icon.svg": icon}


def main() -> None:
    """Write every drawing."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in DRAWINGS.items():
        (FOLDER / name).write_text(draw(), encoding="utf-8")
        sys.stdout.write(f"{name}\n")


if __name__ == "__main__":
    main()
