"""deploy/grafana/board.json, made with Grafana's own library: `python -m deploy.grafana.board`.

Knows how a panel looks; what is on the board is in panels.py. Needs the extra `dev`.
"""

from __future__ import annotations

from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableRefresh,
)

from deploy.grafana.panels import ROWS, Shown

DATASOURCE = DataSourceRef(type_val="prometheus", uid="headwater-prometheus")
BOARD = Path(__file__).parent / "board.json"
_CHOICE = 'instance=~"$instance"'


def made() -> str:
    """Return the board as JSON."""
    board = (
        dashboard.Dashboard("Headwater")
        .uid("headwater")
        .description("A model that learns from a stream: is it healthy, fresh, right and safe?")
        .tags(["headwater"])
        .readonly()
        .refresh("10s")
        .time("now-30m", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.QueryVariable("instance")
            .label("Service")
            .datasource(DATASOURCE)
            .query("label_values(headwater_build_info, instance)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".+")
        )
    )
    numbers = count(1)
    for title, shown in ROWS.items():
        board.with_row(dashboard.Row(title).id(next(numbers)))
        for one in shown:
            board.with_panel(_panel(one).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n"


def _panel(shown: Shown) -> stat.Panel | timeseries.Panel:
    panel = _stat() if shown.kind == "stat" else _lines(stacked=shown.kind == "stack")
    panel.title(shown.title).description(shown.reading).unit(shown.unit)
    panel.datasource(DATASOURCE).span(shown.span).height(5 if shown.span < 8 else 8)
    for n, (expression, legend) in enumerate(shown.queries):
        panel.with_target(
            prometheus.Dataquery()
            .expr(expression.replace("@", _CHOICE))
            .legend_format(legend)
            .ref_id(chr(ord("A") + n))
            .datasource(DATASOURCE)
        )
    return panel


def _stat() -> stat.Panel:
    return (
        stat.Panel()
        .text_mode(looks.BigValueTextMode.VALUE_AND_NAME)
        .color_mode(looks.BigValueColorMode.NONE)
        .graph_mode(looks.BigValueGraphMode.NONE)
        .no_value("-")
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _lines(*, stacked: bool) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .fill_opacity(25 if stacked else 5)
        .line_width(1)
        .show_points(looks.VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
        .legend(
            common.VizLegendOptions()
            .display_mode(looks.LegendDisplayMode.LIST)
            .placement(looks.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    return panel


if __name__ == "__main__":
    BOARD.write_text(made())
