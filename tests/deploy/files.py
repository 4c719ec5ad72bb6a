"""What lies in deploy/ and beside it, read for the tests."""

from __future__ import annotations

import copy
import functools
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.metrics import METRICS

CHECKOUT = Path(__file__).parent.parent.parent
DEPLOY = CHECKOUT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)
_SUFFIXES = ("_bucket", "_sum", "_count")
_NAME = re.compile(r"headwater_[a-z_]+")
_SELECTED = re.compile(r"(headwater_[a-z_]+)\{([^}]*)\}")
_LABEL = re.compile(r"([a-z_]+) *(?:=~|!~|!=|=)")
_FROM_OUTSIDE = {"process", "job", "instance", "le"}
"""Labels that the scrape and the exposition add."""


def yaml(path: Path) -> Any:
    """Return the one document of a file, as a copy of one's own."""
    return copy.deepcopy(parsed(path.read_text()))


@functools.cache
def parsed(text: str) -> Any:
    """Return the one document of a text; not to be changed."""
    return YAML(typ="safe").load(text)


def alerts() -> list[dict[str, Any]]:
    """Return every alert of the rules."""
    groups = yaml(PROMETHEUS / "rules.yml")["groups"]
    return [rule for group in groups for rule in group["rules"]]


def metrics_in(expression: str) -> set[str]:
    """Return the declared names of our metrics that an expression asks for."""
    return {declared(name) for name in _NAME.findall(expression)}


def declared(name: str) -> str:
    """Return the name a series of a histogram is declared under."""
    for suffix in _SUFFIXES:
        whole = name.removesuffix(suffix)
        if whole != name and whole in _HISTOGRAMS:
            return whole
    return name


def unknown_in(expression: str) -> Iterator[str]:
    """Yield what an expression asks for and the service does not export: names, labels."""
    for name in _NAME.findall(expression):
        if declared(name) not in _LABELS:
            yield name
    for name, selectors in _SELECTED.findall(expression):
        labels = set(_LABEL.findall(re.sub(r'"[^"]*"', '""', selectors)))
        for label in labels - _FROM_OUTSIDE - set(_LABELS.get(declared(name), ())):
            yield f"{name}{{{label}}}"


_LABELS = {metric.name: metric.labels for metric in METRICS}
_HISTOGRAMS = {metric.name for metric in METRICS if metric.kind == "histogram"}
