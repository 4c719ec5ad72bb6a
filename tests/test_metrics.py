"""Metrics: declared once, counted per process, merged into one exposition."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import METRICS, STATES, Metrics, file_of, merge

CONTRACT = """
headwater_records_total{topic} headwater_events_total{outcome,reason} headwater_cuts_total{trigger}
headwater_dead_letters_total{reason} headwater_snapshots_total{result}
headwater_http_requests_total{method,route,code} headwater_replay_divergence_total
headwater_read_retries_total headwater_field_unknown_total{field}
headwater_field_missing_total{field} headwater_version headwater_published_version
headwater_served_version headwater_served_age_seconds headwater_events_learned
headwater_lag_records{topic,partition} headwater_lag_seconds
headwater_cursor_offset{topic,partition} headwater_snapshot_offset{topic,partition}
headwater_retention_headroom_records{topic,partition} headwater_learner_up
headwater_learner_state{state} headwater_learner_heartbeat_timestamp_seconds
headwater_score{target,metric,window,model} headwater_baseline_score{target,metric,baseline}
headwater_build_info headwater_model_info headwater_freshness_seconds
headwater_step_duration_seconds headwater_cut_duration_seconds headwater_publish_seconds
headwater_snapshot_pause_seconds headwater_snapshot_duration_seconds
headwater_http_request_duration_seconds headwater_forward_seconds
headwater_learner_time_seconds_total{phase}
"""
FREE_LABELS = {
    "headwater_build_info",
    "headwater_model_info",
    "headwater_http_request_duration_seconds",
}


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(text: bytes, name: str, **labels: str) -> float | None:
    return samples(text).get((name, frozenset(labels.items())))


def busy(process: str) -> Metrics:
    """Metrics with at least one sample in every family."""
    metrics = Metrics(process)
    for metric in METRICS:
        labels = [f'{label} "\\\n\u00e9' for label in metric.labels]
        if metric.kind == "counter":
            metrics.counter(metric.name).inc(1, *labels)
        elif metric.kind == "gauge":
            metrics.gauge(metric.name).set(-0.5, *labels)
        else:
            metrics.histogram(metric.name).observe(0.02, *labels)
    return metrics


@pytest.mark.parametrize("promised", CONTRACT.split())
def test_every_promised_metric_is_declared(promised: str) -> None:
    """
    Dashboards rely on names and labels; they are never renamed or dropped.
    """
    name, _, labels = promised.rstrip("}").partition("{")
    declared = {metric.name: metric for metric in METRICS}

    assert name in declared
    assert name in FREE_LABELS or tuple(filter(None, labels.split(","))) == declared[name].labels


def test_names_follow_the_conventions() -> None:
    """
    Counters end in _total, nothing else does; everything has a help text that is a sentence.
    """
    assert len(METRICS) == len({metric.name for metric in METRICS})
    for metric in METRICS:
        assert re.fullmatch(r"headwater_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.help.endswith(".")
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_freshness_is_measured_from_a_millisecond_to_a_minute() -> None:
    """
    The promise is about milliseconds, the alarm about a minute.
    """
    buckets = {metric.name: metric.buckets for metric in METRICS}["headwater_freshness_seconds"]

    assert (0.001, 60.0) == (buckets[0], buckets[-1])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_exposition(tmp_path: Path) -> None:
    """
    `promtool check metrics` has nothing to say about a full scrape of three processes.
    """
    busy("learner").write(file_of("learner", tmp_path))
    busy("api-1").write(file_of("api-1", tmp_path))
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=merge(busy("api-0"), tmp_path),
        capture_output=True,
        check=False,
    )

    assert (0, b"", b"") == (checked.returncode, checked.stdout, checked.stderr)


def test_each_family_stands_once_and_together(tmp_path: Path) -> None:
    """
    One HELP and one TYPE for all processes, and their samples right behind.
    """
    busy("learner").write(file_of("learner", tmp_path))
    lines = merge(busy("api-0"), tmp_path).decode().splitlines()
    types = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    owners = []
    for line in lines:
        if line.startswith("# TYPE"):
            owners.append(line.split()[2])
        elif not line.startswith("#"):
            assert line.startswith(owners[-1].removesuffix("_total"))

    assert len(types) == len(set(types))


def test_every_sample_says_its_process(tmp_path: Path) -> None:
    """
    The label `process` tells learner and workers apart.
    """
    busy("learner").write(file_of("learner", tmp_path))
    told = {dict(labels).get("process") for _, labels in samples(merge(busy("api-0"), tmp_path))}

    assert {"learner", "api-0"} == told


def test_own_samples_are_fresher_than_the_own_file(tmp_path: Path) -> None:
    """
    Who answers a scrape counts itself as it is now, once.
    """
    own = Metrics("api-0")
    requests = own.counter("headwater_http_requests_total")
    requests.inc(1, "GET", "/healthz", "200")
    own.write(file_of("api-0", tmp_path))
    requests.inc(1, "GET", "/healthz", "200")
    labels = {"method": "GET", "route": "/healthz", "code": "200", "process": "api-0"}

    assert 2 == value(merge(own, tmp_path), "headwater_http_requests_total", **labels)


def test_facts_about_the_learner_come_from_who_is_asked(tmp_path: Path) -> None:
    """
    A dead learner's file still says "learning"; the reader of its heartbeat knows better.
    """
    learner = Metrics("learner")
    learner.gauge("headwater_learner_up").set(1)
    learner.write(file_of("learner", tmp_path))
    own = Metrics("api-0")
    own.gauge("headwater_learner_up").set(0)
    found = merge(own, tmp_path)

    assert 0 == value(found, "headwater_learner_up", process="learner")
    assert value(found, "headwater_learner_up", process="api-0") is None


def test_what_a_process_counts_is_there_before_it_happens(tmp_path: Path) -> None:
    """
    A rate needs a zero to start from; a process that does not count it shows none.
    """
    Metrics("learner").write(file_of("learner", tmp_path))
    found = merge(Metrics("api-0"), tmp_path)

    assert 0 == value(found, "headwater_replay_divergence_total", process="learner")
    assert 0 == value(found, "headwater_forward_seconds_count", process="api-0")
    assert value(found, "headwater_forward_seconds_count", process="learner") is None


def test_a_count_kept_elsewhere_is_set() -> None:
    """
    The learner's counts of events live in its state and survive its death.
    """
    metrics = Metrics("learner")
    metrics.set_counter("headwater_events_total", {"reason": "", "outcome": "learned"}, 12)
    metrics.set_counter("headwater_events_total", {"reason": "", "outcome": "learned"}, 15)

    assert 15 == metrics.counter("headwater_events_total").get("learned", "")


@pytest.mark.parametrize("unknown", [float("nan"), float("inf"), float("-inf")])
def test_a_gauge_that_is_not_known_is_not_shown(tmp_path: Path, unknown: float) -> None:
    """
    A score that is not defined yet is absent, not NaN, in the file and in the scrape.
    """
    metrics = Metrics("api-0")
    metrics.gauge("headwater_served_age_seconds").set(unknown)
    metrics.write(file_of("api-0", tmp_path))

    assert value(merge(metrics, tmp_path), "headwater_served_age_seconds", process="api-0") is None


@given(st.lists(st.floats(min_value=0, max_value=100), max_size=200))
def test_many_values_at_once_count_as_one_by_one(values: list[float]) -> None:
    """
    `observe_many` is `observe` for arrays: same buckets, same count, same sum.
    """
    one_by_one, at_once = Metrics("learner"), Metrics("learner")
    for each in values:
        one_by_one.histogram("headwater_freshness_seconds").observe(each)
    at_once.histogram("headwater_freshness_seconds").observe_many(np.array(values))
    (_, expected), (_, got) = (
        metrics.histogram("headwater_freshness_seconds").rows()[0]
        for metrics in (one_by_one, at_once)
    )
    assert isinstance(expected, list)
    assert isinstance(got, list)

    assert expected[:-1] == got[:-1]
    assert pytest.approx(expected[-1]) == got[-1]


def test_buckets_add_up(tmp_path: Path) -> None:
    """
    Buckets are cumulative, a value on a bound belongs below it, and +Inf is the count.
    """
    metrics = Metrics("learner")
    metrics.histogram("headwater_freshness_seconds").observe_many(np.array([0.001, 0.0015, 99.0]))
    metrics.write(file_of("learner", tmp_path))
    found = merge(Metrics("api-0"), tmp_path)
    name = "headwater_freshness_seconds"

    assert 1 == value(found, f"{name}_bucket", le="0.001", process="learner")
    assert 2 == value(found, f"{name}_bucket", le="0.002", process="learner")
    assert 2 == value(found, f"{name}_bucket", le="60.0", process="learner")
    assert 3 == value(found, f"{name}_bucket", le="+Inf", process="learner")
    assert 3 == value(found, f"{name}_count", process="learner")
    assert 99.0025 == value(found, f"{name}_sum", process="learner")


@pytest.mark.parametrize(
    "damaged", [b"", b"{", b"[]", b"\xff", b'{"process":"api-9"}', b'{"families":{"a":1}}']
)
def test_a_damaged_file_costs_only_itself(tmp_path: Path, damaged: bytes) -> None:
    """
    One file that cannot be read never costs the scrape.
    """
    file_of("api-9", tmp_path).write_bytes(damaged)
    busy("learner").write(file_of("learner", tmp_path))

    assert -0.5 == value(merge(Metrics("api-0"), tmp_path), "headwater_version", process="learner")


def test_a_family_of_another_version_is_left_out(tmp_path: Path) -> None:
    """
    While an upgrade rolls, a neighbour may have other labels or buckets.
    """
    busy("learner").write(file_of("learner", tmp_path))
    path = file_of("learner", tmp_path)
    path.write_bytes(
        path.read_bytes().replace(
            b'"headwater_lag_seconds":[[[]', b'"headwater_lag_seconds":[[["x"]'
        )
    )
    found = merge(Metrics("api-0"), tmp_path)

    assert value(found, "headwater_lag_seconds", process="learner") is None
    assert -0.5 == value(found, "headwater_version", process="learner")


def test_what_is_asked_for_is_refreshed_first(tmp_path: Path) -> None:
    """
    Gauges that only matter when somebody looks are set when somebody looks.
    """
    metrics = Metrics("api-0")
    looks: list[int] = []

    def refresh() -> None:
        looks.append(1)
        metrics.gauge("headwater_served_version").set(len(looks))

    metrics.before_reading(refresh)
    metrics.write(file_of("api-0", tmp_path))

    assert 2 == value(merge(metrics, tmp_path), "headwater_served_version", process="api-0")


def test_the_file_is_kept_fresh_and_written_at_the_end(tmp_path: Path) -> None:
    """
    A thread writes the file while the process lives, and what came last is in it.
    """
    metrics = Metrics("api-0")
    with metrics.kept_in(tmp_path, every_s=3600):
        metrics.counter("headwater_read_retries_total").inc()
    found = merge(Metrics("api-1"), tmp_path)

    assert 1 == value(found, "headwater_read_retries_total", process="api-0")


def test_a_full_disk_costs_only_freshness(tmp_path: Path) -> None:
    """
    A file that cannot be written is not the end of the process.
    """
    with Metrics("api-0").kept_in(tmp_path / "gone", every_s=0.001):
        pass

    assert not (tmp_path / "gone").exists()


def test_counting_from_many_threads_loses_nothing() -> None:
    """
    Every method may be called from any thread.
    """
    metrics = Metrics("learner")

    def count() -> None:
        for _ in range(2000):
            metrics.counter("headwater_cuts_total").inc(1, "size")
            metrics.histogram("headwater_publish_seconds").observe(0.001)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = metrics.histogram("headwater_publish_seconds").rows()[0][1]
    assert isinstance(rows, list)

    assert 8000 == metrics.counter("headwater_cuts_total").get("size") == sum(rows[:-1])


def test_there_is_a_series_for_every_state() -> None:
    """
    The states are those of the contract.
    """
    assert "restoring|replaying|learning|idle|paused|frozen|halted|down" == "|".join(STATES)
