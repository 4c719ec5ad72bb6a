"""Grafana's board: made from code, of metrics that are there, with all that matter on it."""

from __future__ import annotations

import json
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from deploy.grafana.board import BOARD, DATASOURCE, made
from service.metrics import METRICS
from tests.deploy.files import DEPLOY, metrics_in, needs_promtool, unknown_in, yaml

PANELS: list[dict[str, Any]] = json.loads(BOARD.read_text())["panels"]
SHOWN = [panel for panel in PANELS if panel["type"] != "row"]
QUERIES = [(p["title"], t["expr"], t["legendFormat"]) for p in SHOWN for t in p["targets"]]
NOT_SHOWN: dict[str, str] = {}
"""Declared metrics that are not on the board, each with the reason."""


def plain(expression: str) -> str:
    """Return an expression with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "1m").replace("$instance", ".+")


def test_the_board_is_up_to_date() -> None:
    """
    deploy/grafana/board.json is what the code makes now.
    """
    assert made() == BOARD.read_text(), "python -m deploy.grafana.board"


def test_the_board_asks_for_what_is_exported() -> None:
    """
    Each metric and label of each query is declared by the service.
    """
    wrong = [f"{title}: {what}" for title, query, _ in QUERIES for what in unknown_in(query)]

    assert [] == wrong


def test_every_metric_is_on_the_board() -> None:
    """
    Each declared metric is on a panel, or is left out for a reason.
    """
    asked = set().union(*(metrics_in(query) for _, query, _ in QUERIES))
    there = {metric.name for metric in METRICS}

    assert there - set(NOT_SHOWN) == asked & there
    assert set(NOT_SHOWN) <= there - asked


def test_every_query_is_of_the_chosen_service() -> None:
    """
    Each selector has the variable in it: two services on one Prometheus are not mixed.
    """
    selector = re.compile(r"\b(?:(?:headwater|process)_[a-z_]+|ALERTS)\b(.{0,24})")
    loose = [
        query
        for _, query, _ in QUERIES
        for after in selector.findall(re.sub(r"\b(?:by|without) \([^)]*\)", "", query))
        if not after.startswith('{instance=~"$instance"')
    ]

    assert [] == loose


@needs_promtool
def test_every_query_parses(tmp_path: Path) -> None:
    """
    promtool takes each as the expression of a rule.
    """
    path = tmp_path / "queries.yml"
    rules = [{"record": f"q{n}", "expr": plain(query)} for n, (_, query, _) in enumerate(QUERIES)]
    with path.open("w") as file:
        YAML().dump({"groups": [{"name": "board", "rules": rules}]}, file)
    done = subprocess.run(
        ["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stderr
    assert f"{len(QUERIES)} rules found" in done.stdout


def test_legends_name_labels_that_are_left() -> None:
    """
    A legend shows no label that its query has summed away or never had.
    """
    labels = {metric.name: set(metric.labels) | {"process"} for metric in METRICS}
    wrong = []
    for title, query, legend in QUERIES:
        kept = {word for by in re.findall(r"by \(([^)]*)\)", query) for word in by.split(", ")}
        if "by (" not in query:
            kept = set().union({"process"}, *(labels[name] for name in metrics_in(query)))
        wrong += [title for label in re.findall(r"\{\{(\w+)\}\}", legend) if label not in kept]

    assert [] == wrong


def test_rows_go_from_health_to_the_machine() -> None:
    """
    The order in which an operator asks.
    """
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]

    assert ["Healthy", "Fresh", "Right", "Safe", "Serving", "Kafka", "Machine"] == rows


@pytest.mark.parametrize("panel", SHOWN, ids=[panel["title"] for panel in SHOWN])
def test_every_panel_says_how_to_read_it(panel: dict[str, Any]) -> None:
    """
    A sentence at least, and the source that is provisioned.
    """
    assert re.fullmatch(r"\S.{30,}\.", panel["description"])
    assert DATASOURCE.uid == panel["datasource"]["uid"]


def test_panels_lie_beside_each_other() -> None:
    """
    No two overlap, none is wider than the board, each has a number of its own.
    """
    places = [(p["title"], p["gridPos"]) for p in PANELS]
    over = [
        (a, b)
        for (a, p), (b, q) in combinations(places, 2)
        if p["x"] < q["x"] + q["w"] and q["x"] < p["x"] + p["w"]
        and p["y"] < q["y"] + q["h"] and q["y"] < p["y"] + p["h"]
    ]  # fmt: skip

    assert [] == over
    assert all(p["x"] + p["w"] <= 24 for _, p in places)
    assert len(PANELS) == len({panel["id"] for panel in PANELS})
    assert len(SHOWN) == len({panel["title"] for panel in SHOWN})


def test_the_source_and_the_board_are_provisioned() -> None:
    """
    The uid that the board names is that of the source.
    """
    [source] = yaml(DEPLOY / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    [provider] = yaml(DEPLOY / "grafana/provisioning/dashboards/headwater.yaml")["providers"]

    assert (DATASOURCE.uid, DATASOURCE.type_val) == (source["uid"], source["type"])
    assert not provider["allowUiUpdates"]
