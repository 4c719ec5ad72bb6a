"""From the moment an event is produced to the first reply whose version has learned it.

A constant stream onto four partitions, learned and answered by `headwater run`, watched through
/v1/predict and through the live file. The baseline is Kafka's own acknowledgement of the same
records, heard by their producer. The stream begins a few seconds before it is measured: a Kafka
that was just started compiles itself meanwhile. What the replies say is checked on the way, from
the first record on: see `truth`.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from benchmarks import events, truth, watch
from benchmarks.plan import Plan
from benchmarks.processes import PREDICT, Process, Service, free_port, module
from benchmarks.results import Baseline, Failed, Result, Run
from benchmarks.stream import Sent
from service.stream.kafka import KafkaBroker
from service.weights.journal import Journal

RATE = 5_000.0
SLICES = 5
_WARM_EVENTS = 2_048
_WARM_SECONDS = 5.0
_SNAPSHOT_SECONDS = 10  # the default of 30 might leave a short run without one
_PATIENCE_S = 120.0


def run(plan: Plan) -> list[Result]:
    """Stream once; the runs of each result are slices of that stream."""
    port = free_port()
    with plan.cluster.topic("freshness", events.PARTITIONS) as (topic, broker):
        events.publish(broker, topic, _WARM_EVENTS)
        tree = events.settings_for(topic, plan.cluster.bootstrap, plan.kind)
        tree |= {
            "api": {"port": port, "workers": 1},
            "snapshots": {"every_seconds": _SNAPSHOT_SECONDS},
        }
        plan.say("freshness: starting the service ...")
        with Service("run", tree, plan.folder / "run") as service:
            service.until(lambda meta: meta["events_learned"] >= _WARM_EVENTS, _PATIENCE_S)
            url = f"http://127.0.0.1:{port}{PREDICT}"
            service.until_answering(url, events.questions(1, 1)[0], _PATIENCE_S)
            return _measure(plan, service, broker, topic, port)


def _measure(
    plan: Plan, service: Service, broker: KafkaBroker, topic: str, port: int
) -> list[Result]:
    question = events.questions(1, 1)[0]
    by_reply = watch.Watcher("replies", watch.replies(port, question, topic))
    by_file = watch.Watcher("live-file", watch.publications(service.runtime, topic))
    warm_s = min(_WARM_SECONDS, plan.seconds)
    plan.say(
        f"freshness: {RATE:,.0f} events/s for {plan.seconds:g} s, after {warm_s:g} s to warm up ..."
    )
    checked = 0
    path = plan.folder / "sent.npz"
    arguments = [plan.cluster.bootstrap, topic, f"{RATE}", f"{warm_s + plan.seconds}", str(path)]
    for watcher in (by_reply, by_file):
        watcher.start()
    with Process(module("benchmarks.stream", *arguments), plan.folder / "stream.log") as stream:
        while stream.running:
            service.check()
            checked += _check_ends(by_reply, broker, topic)
            time.sleep(0.5)
        stream.wait(_PATIENCE_S)
    sent = Sent.load(path)
    ends = [broker.watermarks((topic, p))[1] for p in range(events.PARTITIONS)]
    service.until(lambda meta: meta["events_learned"] >= sum(ends), _PATIENCE_S)
    _until_seen(by_reply, ends)
    for watcher in (by_reply, by_file):
        watcher.stop()
        truth.check_sights(watcher.sights)
    compared = _check_journal(service, topic, [*by_reply.sights, *by_file.sights])
    first = round(RATE * warm_s)
    achieved = (len(sent.sent_ns) - 1 - first) / (sent.sent_ns[-1] - sent.sent_ns[first]) * 1e9
    details: dict[str, object] = {
        "events": len(sent.sent_ns) - first,
        "events_to_warm_up": first,
        "events_per_second": round(float(achieved), 1),
        "replies": len(by_reply.sights),
        "versions_replied": len({sight.version for sight in by_reply.sights}),
        "versions_published": len(by_file.sights),
        "versions_compared_with_the_journal": compared,
        "replies_compared_with_the_topic": checked,
    }
    return [
        result
        for name, watcher in (("freshness", by_reply), ("freshness-live", by_file))
        for result in _results(plan, name, sent, first, watcher, details)
    ]


def _results(
    plan: Plan,
    name: str,
    sent: Sent,
    first: int,
    watcher: watch.Watcher,
    details: dict[str, object],
) -> list[Result]:
    seen_ns = np.array([sight.seen_ns for sight in watcher.sights], dtype=np.int64)
    waited_ms = truth.freshness_ns(sent, seen_ns, watcher.through())[first:] / 1e6
    acked_ms = (sent.acked_ns - sent.sent_ns)[first:] / 1e6
    after = [round(ms, 3) for ms in np.percentile(waited_ms - acked_ms, (50, 99)).tolist()]
    plan.say(
        f"{name}: p50 {np.percentile(waited_ms, 50):.1f} ms, p99 {np.percentile(waited_ms, 99):.1f}"
        f" ms; after Kafka's acknowledgement of the same record p50 {after[0]:.1f}, p99 {after[1]:.1f}"
    )
    more = {
        "p50_and_p99_after_acknowledgement_ms": after,
        "worst_ms": round(float(waited_ms.max()), 3),
    }
    return [_result(name, q, waited_ms, acked_ms, details | more) for q in (50, 99)]


def _result(
    name: str,
    q: int,
    waited_ms: NDArray[np.float64],
    acked_ms: NDArray[np.float64],
    details: dict[str, object],
) -> Result:
    """Return a quantile over all records, and over each slice of them."""

    def quantiles(waited: NDArray[np.float64], acked: NDArray[np.float64]) -> Run:
        return Run.against(float(np.percentile(waited, q)), float(np.percentile(acked, q)))

    slices = zip(np.array_split(waited_ms, SLICES), np.array_split(acked_ms, SLICES), strict=True)
    whole = quantiles(waited_ms, acked_ms)
    assert whole.baseline is not None, "made of both"
    return Result(
        name=f"{name}-p{q}",
        value=whole.value,
        unit="ms",
        baseline=Baseline("acknowledged by Kafka", whole.baseline),
        ratio=whole.ratio,
        runs=[quantiles(*both) for both in slices],
        details=details,
    )


def _check_ends(watcher: watch.Watcher, broker: KafkaBroker, topic: str) -> int:
    """Hold the last reply against the ends of the topic, asked for after it."""
    if (sight := watcher.last) is None:
        return 0
    ends = [broker.watermarks((topic, p))[1] for p in range(events.PARTITIONS)]
    truth.check_ends(sight, ends)
    return 1


def _until_seen(watcher: watch.Watcher, ends: list[int]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while watcher.last is None or watcher.last.through != tuple(ends):
        if watcher.error is not None:
            raise watcher.error
        if time.monotonic() > deadline:
            raise Failed(f"no reply covers the whole topic, {ends}; the last: {watcher.last}")
        time.sleep(0.005)


def _check_journal(service: Service, topic: str, sights: list[watch.Sight]) -> int:
    """Add up the journal's entries, and hold every version that was seen against them."""
    journal = Journal.reader(service.state / "journal")
    first = journal.first_version
    assert first is not None, "a learner that learned has journaled"
    # the oldest entries may be gone; then the sum begins where every partition was named
    at = dict.fromkeys(range(events.PARTITIONS), 0) if first == 0 else {}
    cursors: dict[int, tuple[int, ...]] = {}
    for entry in journal.read(first):
        at |= {int(p): offset for p, offset in entry.get("next", {}).get(topic, {}).items()}
        if len(at) == events.PARTITIONS:
            cursors[entry["version"]] = tuple(at[p] for p in sorted(at))
    return truth.check_journal(sights, cursors)
