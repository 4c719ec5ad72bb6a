"""Predictions over HTTP, against a FastAPI app that does nothing, under the same load.

The service is `headwater run` with one API worker; its learner has learned a stream and is idle.
Both servers stay up for the whole measurement and take turns in being asked; so whatever else
runs, runs beside both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import events, load, machine
from benchmarks.plan import Plan
from benchmarks.processes import PREDICT, Process, Service, free_port, module
from benchmarks.results import Result, Run, of_rounds

SIZES = (1, 100)
_LEARNED = 20_480
_BODIES = 64
_WARM_S = 1.0
_PATIENCE_S = 120.0
_SHARE = 4  # of --seconds, for one measurement of one server


@dataclass(frozen=True)
class Server:
    """What is asked, and the process that answers."""

    url: str
    pid: int | None

    def cpu_seconds(self) -> float | None:
        """Return the processor time it has used."""
        return None if self.pid is None else machine.cpu_seconds(self.pid)


def run(plan: Plan) -> list[Result]:
    """Measure in rounds, for each size of request."""
    noop_port, port = free_port(), free_port()
    with plan.cluster.topic("predict", events.PARTITIONS) as (topic, broker):
        learned = min(_LEARNED, plan.events)
        events.publish(broker, topic, learned)
        tree = events.settings_for(topic, plan.cluster.bootstrap, plan.kind)
        tree |= {"api": {"port": port, "workers": 1}}
        plan.say("predict: starting the service and the no-op ...")
        with (
            Service("run", tree, plan.folder / "run") as service,
            Process(module("benchmarks.noop", str(noop_port)), plan.folder / "noop.log") as nothing,
        ):
            service.until(lambda meta: meta["events_learned"] >= learned, _PATIENCE_S)
            ours = Server(f"http://127.0.0.1:{port}{PREDICT}", service.worker_pid())
            theirs = Server(f"http://127.0.0.1:{noop_port}{PREDICT}", nothing.pid)
            body = events.questions(1, 1)[0]
            service.until_answering(ours.url, body, _PATIENCE_S)
            nothing.until_answering(theirs.url, body, _PATIENCE_S)
            return [result for size in SIZES for result in _measure(plan, size, ours, theirs)]


def _measure(plan: Plan, size: int, ours: Server, theirs: Server) -> list[Result]:
    bodies = events.questions(_BODIES, size)
    seconds = plan.seconds / _SHARE
    for server in (theirs, ours):
        load.load(server.url, bodies, min(_WARM_S, seconds), plan.folder)
    rates, middles, tails, costs = [], [], [], []
    for number in range(1, plan.rounds + 1):
        nothing, nothing_cpu_us = _load(theirs, bodies, seconds, plan.folder)
        answered, cpu_us = _load(ours, bodies, seconds, plan.folder)
        rates.append(Run.against(answered.per_second, nothing.per_second))
        middles.append(Run.against(answered.p50_ms, nothing.p50_ms))
        tails.append(Run.against(answered.p99_ms, nothing.p99_ms))
        if cpu_us and nothing_cpu_us:
            costs.append(Run.against(cpu_us, nothing_cpu_us))
        plan.say(
            f"predict: {size} events, round {number} of {plan.rounds}: "
            f"{answered.per_second:,.0f} requests/s, p50 {answered.p50_ms:.2f}, p99 {answered.p99_ms:.2f} ms; "
            f"no-op {nothing.per_second:,.0f}, {nothing.p50_ms:.2f}, {nothing.p99_ms:.2f} ms"
        )
    details = {
        "load_generator": load.generator(),
        "connections": load.CONNECTIONS,
        "body_bytes": round(sum(map(len, bodies)) / len(bodies)),
    }
    figures = [
        ("", "requests/s", rates),
        ("-p50", "ms", middles),
        ("-p99", "ms", tails),
        ("-cpu", "us/request", costs),
    ]
    return [
        of_rounds(f"predict-{size}{name}", unit, "FastAPI no-op", runs, details)
        for name, unit, runs in figures
        if runs
    ]


def _load(
    server: Server, bodies: Sequence[bytes], seconds: float, folder: Path
) -> tuple[load.Loaded, float | None]:
    """Ask a server; return also its processor time per request, in microseconds."""
    before = server.cpu_seconds()
    loaded = load.load(server.url, bodies, seconds, folder)
    after = server.cpu_seconds()
    if before is None or after is None:
        return loaded, None
    return loaded, 1e6 * (after - before) / loaded.requests
