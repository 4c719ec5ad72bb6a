"""Kafka to weights, against an empty consume loop over the same records with the same client.

The learner is `headwater learner` from an empty state directory, once a round; the loop takes
turns with it. Start-up and compiling are left out: the clock runs from the first version that has
learned something to the one that has learned everything, by the times that versions carry.
"""

from __future__ import annotations

import msgspec

from benchmarks import events, machine
from benchmarks.consume import Took
from benchmarks.plan import Plan
from benchmarks.processes import Process, Service, module
from benchmarks.results import Failed, Result, Run, of_rounds
from service.stream.kafka import KafkaBroker

_BASELINE = "empty consume loop"
_BASELINE_SECONDS = 2.0
_PATIENCE_S = 300.0


def run(plan: Plan) -> list[Result]:
    """Measure in rounds."""
    with plan.cluster.topic("learn", events.PARTITIONS) as (topic, broker):
        plan.say(f"learn: publishing {plan.events:,} events to {events.PARTITIONS} partitions ...")
        nbytes = events.publish(broker, topic, plan.events)
        runs, cpu_runs = [], []
        for number in range(1, plan.rounds + 1):
            consumed = _consume(plan, topic)
            learned = _learn(plan, topic, broker)
            runs.append(Run.against(learned.per_second, consumed.per_second))
            if learned.cpu_us is not None and consumed.cpu_us is not None:
                cpu_runs.append(Run.against(learned.cpu_us, consumed.cpu_us))
            plan.say(
                f"learn: round {number} of {plan.rounds}: {learned.per_second:,.0f} events/s, "
                f"empty loop {consumed.per_second:,.0f}, ratio {runs[-1].ratio:.3f}"
            )
    details = {"events": plan.events, "bytes_per_event": round(nbytes / plan.events, 1)}
    results = [of_rounds("learn", "events/s", _BASELINE, runs, details)]
    if cpu_runs:
        results.append(of_rounds("learn-cpu", "us/event", _BASELINE, cpu_runs, details))
    return results


def _consume(plan: Plan, topic: str) -> Took:
    log = plan.folder / "consume.log"
    arguments = [plan.cluster.bootstrap, topic, str(events.PARTITIONS), str(plan.events)]
    arguments.append(str(min(_BASELINE_SECONDS, plan.seconds / 10)))
    with Process(module("benchmarks.consume", *arguments), log) as process:
        process.wait(_PATIENCE_S)
        return msgspec.json.decode(process.output, type=Took)


def _learn(plan: Plan, topic: str, broker: KafkaBroker) -> Took:
    tree = events.settings_for(topic, plan.cluster.bootstrap, plan.kind)
    with Service("learner", tree, plan.folder / "learner") as service:
        first = service.until(lambda meta: meta["events_learned"] > 0, _PATIENCE_S)
        pid = service.learner_pid()
        cpu_before = machine.cpu_seconds(pid)
        last = service.until(lambda meta: meta["events_learned"] >= plan.events, _PATIENCE_S)
        cpu_after = machine.cpu_seconds(pid)
    through = {int(p): offset for p, offset in last["trained_through"][topic].items()}
    ends = {p: broker.watermarks((topic, p))[1] for p in range(events.PARTITIONS)}
    if last["events_learned"] != plan.events or through != ends:
        raise Failed(f"learned {last['events_learned']} events through {through}, not {ends}")
    if first is last:
        raise Failed("everything was learned in one version: too few events to measure")
    cpu = None if cpu_before is None or cpu_after is None else cpu_after - cpu_before
    return Took(
        last["events_learned"] - first["events_learned"],
        (last["published_at_ns"] - first["published_at_ns"]) / 1e9,
        cpu,
    )
