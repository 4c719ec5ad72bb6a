"""Charts as SVG text: panels of lines or of stacked areas over the rows of a stream, with a legend.

No library; one self-contained file. Light or dark as the reader's system is. Knows nothing of models.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from html import escape as _quoted
from itertools import groupby

WIDTH, LEFT, PLOT, GAP = 1000, 78, 640, 58
ENTRY, SQUEEZED = 17, 172
"""Units: of the picture, left of a panel, of a panel, between two; of a line of a legend, of a long name."""
LETTERS = {"title": 96, "panel": 104, "legend": 25, "squeezed": 40}
"""How many of them there is room for; a name in a legend is squeezed before it is cut."""
_NO_XML = re.compile("[\x00-\x1f\ud800-\udfff\ufffe\uffff]")
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;fill:#1f2933}
.h{font-weight:600;font-size:14.5px}.s{font-size:12px;fill:#52606d}.e{text-anchor:end}.m{text-anchor:middle}
.page{fill:#fbfcfd}.grid{stroke:#dfe5ea}.axis{stroke:#7b8794}
.l{fill:none;stroke-width:1.5;stroke-linejoin:round}.thin{stroke-width:1;opacity:.28}.area{stroke:none;opacity:.82}
.whole{stroke:#111820;stroke-width:2.4}.base{stroke:#66727e;stroke-width:1.4;stroke-dasharray:6 4}
.rival{stroke-dasharray:9 3 2 3;stroke-width:1.9}.dot{stroke-width:5;stroke-linecap:round}
@media (prefers-color-scheme:dark){
text{fill:#e4e9ee}.s{fill:#a9b7c4}.page{fill:#171c23}.grid{stroke:#2d3741}.axis{stroke:#8a98a6}
.whole{stroke:#f4f7fa}.base{stroke:#9aa8b5}}
"""


@dataclass(frozen=True)
class Line:
    """A line of a panel."""

    name: str
    rows: Sequence[int]
    values: Sequence[float | None]
    """None: a gap."""
    kind: str = ""
    """whole, base, rival, thin, or nothing: how it is drawn."""
    colour: str = ""
    """Of what is not drawn as whole or base."""
    note: str = ""
    """What the legend says of it beside its name; it is not in the legend where it is thin."""


@dataclass(frozen=True)
class Panel:
    """Lines over the same rows, the first on top; as areas on each other where `stacked`."""

    title: str
    unit: str
    lines: Sequence[Line]
    low: float
    high: float
    height: int = 300
    stacked: bool = False
    head: str = ""
    """Over the legend."""


def cut(text: str, most: int) -> str:
    """Return a text of so many letters at most."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def escape(text: str) -> str:
    """Return a text as XML has it; letters that it may not hold are replaced."""
    return _quoted(_NO_XML.sub("\ufffd", text))


def picture(title: str, panels: Sequence[Panel]) -> str:
    """Return the picture: its panels one under the other."""
    parts, top = (
        [f'<text class="h" x="{LEFT}" y="28">{escape(cut(title, LETTERS["title"]))}</text>'],
        72,
    )
    for panel in panels:
        parts.append(_panel(panel, top))
        legend = ENTRY * (1 + sum(1 for line in panel.lines if line.kind != "thin"))
        top += max(panel.height + GAP, legend) + 26
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top - 14}" width="{WIDTH}" '
        f'height="{top - 14}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
        f'<style>{_STYLE}</style><rect class="page" width="{WIDTH}" height="{top - 14}" rx="8"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return the round numbers from low to high that an axis names: 2 .. `most` of them, 1, 2, 2.5 or 5
    times a power of ten apart."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    steps = (factor * power for factor in (1, 2, 2.5, 5, 10))
    step = next((s for s in steps if span / s <= most - 1), 10 * power)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [n * step for n in range(first, last + 1)]


def _panel(panel: Panel, top: int) -> str:
    last = max((line.rows[-1] for line in panel.lines if line.rows), default=1) or 1
    scale = _Scale(last, panel.low, panel.high, top, panel.height)
    lines = [_from_start(line) for line in panel.lines]
    clip = f"c{top}"
    parts = [
        f'<clipPath id="{clip}"><rect x="{LEFT}" y="{top}" width="{PLOT}" height="{panel.height}"/></clipPath>',
        f'<text x="{LEFT}" y="{top - 12}">{escape(cut(panel.title, LETTERS["panel"]))}</text>',
        *_axes(panel, scale, top, last),
        f'<g clip-path="url(#{clip})">',
        *(
            _areas(lines, scale)
            if panel.stacked
            else (_line(one, scale) for one in reversed(lines))
        ),
        "</g>",
        *_legend(panel, top),
    ]
    return "\n".join(parts)


@dataclass(frozen=True)
class _Scale:
    last: int
    low: float
    high: float
    top: int
    height: int

    def x(self, rows: float) -> float:
        return LEFT + PLOT * rows / self.last

    def y(self, value: float) -> float:
        """Far off the panel stays near it: numbers of any size make a path that can be read."""
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return self.top + self.height * (1.0 - min(max(share, -1.0), 2.0))


def _from_start(line: Line) -> Line:
    """Return a line that can be seen, where there is one place only: it speaks of all rows up to it."""
    if len(line.rows) != 1:
        return line
    return replace(line, rows=(0, *line.rows), values=(*line.values, *line.values))


def _axes(panel: Panel, scale: _Scale, top: int, last: int) -> Iterable[str]:
    bottom, middle = top + panel.height, top + panel.height / 2
    for value in ticks(panel.low, panel.high):
        y = scale.y(value)
        yield f'<path class="grid" d="M{LEFT} {y:.1f}h{PLOT}"/>'
        yield f'<text class="s e" x="{LEFT - 8}" y="{y + 4:.1f}">{value:.4g}</text>'
    for rows in filter(float.is_integer, map(float, ticks(0, last))):
        x = scale.x(rows)
        yield f'<path class="axis" d="M{x:.1f} {bottom}v5"/>'
        yield f'<text class="s m" x="{x:.1f}" y="{bottom + 19}">{rows:,.0f}</text>'
    yield f'<path class="axis" d="M{LEFT} {bottom}h{PLOT}"/>'
    yield f'<text class="s e" x="{LEFT + PLOT}" y="{bottom + 36}">rows</text>'
    yield (
        f'<text class="s m" transform="translate(18 {middle:g}) rotate(-90)">{escape(panel.unit)}</text>'
    )


def _line(line: Line, scale: _Scale) -> str:
    points = [
        (scale.x(rows), None if value is None else scale.y(value))
        for rows, value in zip(line.rows, line.values, strict=True)
    ]
    pieces = [list(run) for there, run in groupby(points, lambda p: p[1] is not None) if there]
    drawn = "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in piece) for piece in pieces)
    dots = "".join(f"M{piece[0][0]:.1f} {piece[0][1]:.1f}h0" for piece in pieces if len(piece) == 1)
    paint = f' stroke="{line.colour}"' if line.colour else ""
    shown = (
        f'<path class="l {line.kind}"{paint} d="{drawn}"><title>{escape(line.name)}</title></path>'
    )
    return shown + (f'<path class="l dot {line.kind}"{paint} d="{dots}"/>' if dots else "")


def _areas(lines: Sequence[Line], scale: _Scale) -> Iterable[str]:
    """Yield an area for each line, from the top of those before it to that and its own values."""
    if not lines:
        return
    below = [0.0] * len(lines[0].rows)
    for line in lines:
        above = [b + (v or 0.0) for b, v in zip(below, line.values, strict=True)]
        there = list(zip(map(scale.x, line.rows), map(scale.y, above), strict=True))
        back = list(zip(map(scale.x, line.rows), map(scale.y, below), strict=True))[::-1]
        points = "L".join(f"{x:.1f} {y:.1f}" for x, y in there + back)
        yield (
            f'<path class="area" fill="{line.colour}" d="M{points}Z">'
            f"<title>{escape(line.name)}</title></path>"
        )
        below = above


def _legend(panel: Panel, top: int) -> Iterable[str]:
    x, y = LEFT + PLOT + 18, top + 4
    if panel.head:
        yield f'<text class="s e" x="{WIDTH - 12}" y="{y - 14}">{escape(panel.head)}</text>'
    for line in panel.lines:
        if line.kind == "thin":
            continue
        if panel.stacked:
            yield f'<rect class="area" x="{x}" y="{y - 6}" width="22" height="11" fill="{line.colour}"/>'
        else:
            paint = f' stroke="{line.colour}"' if line.colour else ""
            yield f'<path class="l {line.kind}"{paint} d="M{x} {y}h22"/>'
        name, width = cut(line.name, LETTERS["squeezed"]), ""
        if len(name) > LETTERS["legend"]:
            width = f' textLength="{SQUEEZED}" lengthAdjust="spacingAndGlyphs"'
        yield f'<text class="s" x="{x + 28}" y="{y + 4}"{width}>{escape(name)}</text>'
        if line.note:
            yield f'<text class="s e" x="{WIDTH - 12}" y="{y + 4}">{escape(line.note)}</text>'
        y += ENTRY
