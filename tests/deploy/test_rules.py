"""The rules of Prometheus: they parse, they fire when they should, each has its page."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from tests.deploy.files import CHECKOUT, PROMETHEUS, alerts, needs_promtool, unknown_in, yaml

ALERTS = {rule["alert"]: rule for rule in alerts()}
CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
OPERATIONS = (CHECKOUT / "docs" / "operations.md").read_text()


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it and return what it said."""
    return subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def asked_in(cases: Any) -> set[tuple[str, str]]:
    """Return which alert is expected to fire in which case."""
    found = set()
    for case in cases["tests"]:
        for asked in case.get("promql_expr_test", ()):
            for sample in asked["exp_samples"]:
                found |= {(n, case["name"]) for n in re.findall(r"Headwater\w+", sample["labels"])}
        for asked in case.get("alert_rule_test", ()):
            if asked["exp_alerts"]:
                found.add((asked["alertname"], case["name"]))
    return found


@needs_promtool
def test_the_rules_and_the_configuration_parse() -> None:
    """
    promtool finds nothing to say.
    """
    rules = promtool("check", "rules", str(PROMETHEUS / "rules.yml"))
    config = promtool("check", "config", "--syntax-only", str(PROMETHEUS / "prometheus.yml"))

    assert (0, 0) == (rules.returncode, config.returncode), rules.stderr + config.stderr


@needs_promtool
def test_the_rules_fire_when_they_should_and_then_only() -> None:
    """
    The cases of deploy/prometheus/tests, run by promtool.
    """
    done = promtool("test", "rules", *map(str, CASES))

    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_alert_fires_in_a_case() -> None:
    """
    No alert is there that was never seen to fire.
    """
    fired = {name for path in CASES for name, _ in asked_in(yaml(path))}

    assert set(ALERTS) == fired


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_what_is_exported(name: str) -> None:
    """
    Metrics and labels are those that the service declares.
    """
    assert [] == list(unknown_in(ALERTS[name]["expr"]))


def test_a_metric_that_is_not_there_is_noticed() -> None:
    """
    The check of names and labels finds what is wrong, in histograms too.
    """
    good = 'rate(headwater_forward_seconds_bucket{process="api-0"}[5m])'
    bad = 'headwater_versions + headwater_score{target!="a", colour=~"r{2}"}'

    assert [] == list(unknown_in(good))
    assert ["headwater_versions", "headwater_score{colour}"] == list(unknown_in(bad))


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_and_where_to_read_on(name: str) -> None:
    """
    Summary, description, severity; and a section of docs/operations.md (what it means, where to look,
    what to do), whose table lists it with the same severity and patience.
    """
    rule = ALERTS[name]
    notes = rule["annotations"]
    page, _, anchor = notes["runbook_url"].partition("#")
    section = re.search(rf"^### {anchor.replace('-', ' ')}\n\n(.*?)^###? ", OPERATIONS,
                        re.MULTILINE | re.DOTALL | re.IGNORECASE)  # fmt: skip
    row = rf"\| \[{name}\]\(#{anchor}\) \| [^|]+ \| {rule.get('for', '0m')} \| {rule['labels']['severity']} \|"

    assert {"summary", "description", "runbook_url"} == set(notes)
    assert "docs/operations.md" == page
    assert section is not None
    assert all(word in section[1] for word in ("*Means*", "*Look*", "*Do*"))
    assert re.search(row, OPERATIONS)
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_page_lists_no_other_alert() -> None:
    """
    The table of docs/operations.md has the alerts that there are.
    """
    assert set(ALERTS) == set(re.findall(r"^\| \[(Headwater\w+)\]", OPERATIONS, re.MULTILINE))
