"""What Prometheus sees, and what a newcomer sees."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from typing import Any

import pytest

from tests.e2e.service import CHECKOUT, Topic, until
from tests.e2e.test_learning import events
from tests.processes import PATIENCE_S, free_port

pytestmark = pytest.mark.e2e


def test_prometheus_scrapes_a_running_service(make_service, embedded_bootstrap, tmp_path):
    """One scrape of any worker brings the learner and every worker."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed")
    topic = Topic(embedded_bootstrap)
    service = make_service(topic, api={"port": free_port(), "workers": 2})
    service.url = f"http://127.0.0.1:{service.sections['api']['port']}"
    service.start()
    topic.publish(events(120))
    service.learned(120)
    config, port = tmp_path / "prometheus.yml", free_port()
    config.write_text(json.dumps({
        "global": {"scrape_interval": "2s"},
        "scrape_configs": [{"job_name": "headwater", "static_configs": [
            {"targets": [service.url.removeprefix("http://")]}]}],
    }))  # fmt: skip
    with subprocess.Popen(
        [binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as prometheus:  # fmt: skip

        def asked(query: str) -> dict[str, float]:
            url = f"http://127.0.0.1:{port}/api/v1/query?query={urllib.parse.quote(query)}"
            try:
                with urllib.request.urlopen(url, timeout=60) as reply:
                    result = json.loads(reply.read())["data"]["result"]
            except OSError:
                return {}
            return {r["metric"].get("process", ""): float(r["value"][1]) for r in result}

        try:
            until(lambda: asked("up") == {"": 1.0}, "Prometheus says up")
            until(lambda: asked("headwater_events_learned") == {"learner": 120.0}, "events learned")
            workers = until(
                lambda: len(w := asked("headwater_served_version")) == 2 and w, "both workers"
            )
        finally:
            prometheus.terminate()

    assert {"api-0", "api-1"} == workers.keys()


def test_the_demo_learns_predicts_and_leaves_nothing_behind(tmp_path):
    """headwater demo --for S --json: a live model that beats its frozen twin."""
    pytest.importorskip("noida_db", reason="the extra `embedded` is not installed")

    def demo(seconds: int) -> tuple[dict[str, Any], str]:
        done = subprocess.run(
            [sys.executable, "-m", "service", "demo", "--for", str(seconds), "--json", "--port", "0"],
            cwd=CHECKOUT, capture_output=True, text=True, timeout=seconds + 2 * PATIENCE_S,
            check=False,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path), "PYTHONPATH": str(CHECKOUT)},
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
        return json.loads(done.stdout), done.stderr

    result, said = demo(10)
    if result["events_learned"] < 6000:  # a slow machine has shown too little by then
        result, said = demo(60)

    assert "headwater.demo/1" == result["schema"]
    assert result["events_learned"] > 2000
    assert 0 == result["predictions"]["failed"] < result["predictions"]["requests"]
    assert result["freshness_ms"]["p50"] < result["freshness_ms"]["p99"]
    assert result["live"]["log_loss"] < result["frozen"]["log_loss"]
    assert 0 < result["frozen"]["version"] < result["version"]
    assert "Three things to try" in said
    assert [] == [p.name for p in tmp_path.iterdir() if p.name.startswith("headwater-demo")]


def test_published_files_reach_the_model(make_service, embedded_bootstrap, tmp_path):
    """headwater publish ends with what was sent and acknowledged, and all of it is learned."""
    topic = Topic(embedded_bootstrap, 2)
    service = make_service(topic)
    service.start()
    file = tmp_path / "events.csv"
    rows = [f"{e['x']},{e['c']},{e['y']}" for e in events(500)]
    file.write_text("\n".join(["x,c,y", *rows]) + "\n")

    sent = service.json("publish", str(file))

    assert (500, 500) == (sent["sent"], sent["acknowledged"])
    assert topic.ends() == service.learned(500)["trained_through"][topic.name]
