"""One round: a fresh topic, a fresh state, a service under load, strokes, and the verdict.

A round that holds leaves a line in the results and nothing else; one that does not keeps its
folder. Results are a file of JSON lines, so that a run that was broken off goes on after its last
whole round.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tests.chaos.house import House, Monitor, Stuck, until
from tests.chaos.nemesis import Nemesis, costs
from tests.e2e.service import CHECKOUT, Topic

RESULTS = "results.jsonl"
_VERIFY_S = 900.0


class Plan(msgspec.Struct):
    """What a run is asked for."""

    directory: Path
    bootstrap: str
    broker: str
    seed: int
    rate: float = 400.0
    keep_rounds: bool = False

    @property
    def results(self) -> Path:
        """Where each round leaves its line."""
        return self.directory / RESULTS


class Assault(Protocol):
    """What happens to the service in a round; returns more to be written down."""

    def __call__(self, under: Round) -> dict[str, Any]: ...


class Round:
    """Everything of one round. A context: whatever it started is gone afterwards."""

    def __init__(self, plan: Plan, folder: Path, seed: str) -> None:
        folder.mkdir(parents=True)
        self.plan = plan
        self.folder = folder
        self.topic = Topic(plan.bootstrap, 4)
        self.dead = Topic(plan.bootstrap, 1)
        self.house = House(folder, plan.bootstrap, self.topic.name, self.dead.name)
        self.monitor = Monitor(self.house.runtime)
        self.nemesis = Nemesis(self.house, self.monitor, seed)
        self.skipped: list[tuple[int, int]] = []
        self.turns = False
        """History may turn back in this round: the verifier follows the way that counts."""
        self._others: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Round:
        self.monitor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.monitor.close()
        for process in self._others.values():
            process.kill()
            process.wait()
        self.house.close()

    def begin(self) -> None:
        """Start the service, the producer, and, when it learns, the clients."""
        self.house.start()
        self.produce()
        until(lambda: self.monitor.version > 0, f"the first version; {self.house.last_words()}")
        self.watch()

    def produce(self) -> None:
        """Start the producer."""
        self._start("produce", self.plan.bootstrap, self.topic.name, str(self.plan.rate))

    def watch(self) -> None:
        """Start the clients."""
        self._start("watch", str(self.house.port))

    def end(self) -> None:
        """Stop the producer, let all be learned, stop the clients, then the service, clean."""
        self._stop("produce")
        if self.house.process is None:
            self.house.start()
        ends = {p: end for p, end in self.topic.ends().items() if int(p) < 4}

        def all_learned() -> dict[str, Any] | None:
            model = self.house.model()
            through = model.get("trained_through", {}).get(self.topic.name, {})
            done = {p: n for p, n in through.items() if p in ends} == ends
            return model if done else None

        until(all_learned, f"the end of the topic; {self.house.last_words()}")
        status = until(lambda: self.house.ask("status"), "a status")
        model = until(all_learned, "the last version")
        self._stop("watch")
        code = self.house.terminate()
        facts = {
            "bootstrap": self.plan.bootstrap, "topic": self.topic.name, "dead": self.dead.name,
            "outcomes": status["outcomes"], "model": model, "down": self.nemesis.down,
            "skipped": self.skipped, "turns": self.turns, "exit_codes": [*self.nemesis.exit_codes, code],
        }  # fmt: skip
        (self.folder / "round.json").write_text(json.dumps(facts))

    def verdict(self) -> dict[str, Any]:
        """Have the verifier, a process of its own, say what it finds."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.chaos", "verify", str(self.folder)],
            cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=_VERIFY_S,
        )  # fmt: skip
        if done.returncode:
            return {"ok": False, "failures": [f"the verifier died: {done.stderr[-2000:]}"]}
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def strokes(self) -> list[dict[str, Any]]:
        """What was struck, with its cost; what the clients met in between goes to the last one."""
        strokes = self.nemesis.strokes
        costs(strokes, self.monitor)
        with contextlib.suppress(FileNotFoundError):
            seen = json.loads((self.folder / "watch.json").read_text())
            for name in ("retried", "failed"):
                times = [one if name == "retried" else one[0] for one in seen[name]]
                for at, stroke in enumerate(strokes):
                    until_s = strokes[at + 1]["at"] if at + 1 < len(strokes) else float("inf")
                    stroke[name] = sum(stroke["at"] <= t < until_s for t in times)
        return strokes

    def _start(self, what: str, *arguments: str) -> None:
        told = {"produce": "produced.json", "watch": "watch.json"}[what]
        with (self.folder / f"{what}.log").open("ab") as log:
            self._others[what] = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos", what, *arguments, str(self.folder / told)],
                cwd=CHECKOUT, stdout=log, stderr=log,
            )  # fmt: skip

    def _stop(self, what: str) -> None:
        process = self._others.pop(what, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        code = process.wait(180.0)
        if code:
            said = (self.folder / f"{what}.log").read_text(errors="replace")[-1000:]
            raise Stuck(f"{what} ended with {code}: {said}")


def done_so_far(plan: Plan) -> list[dict[str, Any]]:
    """The rounds that are in the results already, oldest first."""
    if not plan.results.is_file():
        return []
    return [json.loads(line) for line in plan.results.read_text().splitlines()]


def play(plan: Plan, kind: str, number: int, assault: Assault) -> dict[str, Any]:
    """Play one round; return its line, which is in the results then."""
    seed = f"{plan.seed}/{kind}/{number}"
    folder = plan.directory / f"{kind}-{number:04d}"
    shutil.rmtree(folder, ignore_errors=True)  # broken off, or failed and run again
    began = time.monotonic()
    line: dict[str, Any] = {"kind": kind, "number": number, "seed": seed, "broker": plan.broker}
    with Round(plan, folder, seed) as under:
        try:
            line |= assault(under)
            under.end()
            line["strikes_s"] = round(time.monotonic() - began, 1)
            verdict = under.verdict()
        except Stuck as stuck:
            verdict = {"ok": False, "failures": [str(stuck)]}
        line |= {"strokes": under.strokes(), "kills": under.nemesis.kills, "verdict": verdict}
    line["seconds"] = round(time.monotonic() - began, 1)
    with plan.results.open("a") as file:
        file.write(json.dumps(line) + "\n")
    if verdict["ok"] and not plan.keep_rounds:
        shutil.rmtree(folder)
        gone = under.topic.admin.delete_topics([under.topic.name, under.dead.name])
        for name, done in gone.items():
            if (error := done.exception(30)) is not None:
                print(f"{name} stays: {error}", flush=True)
    return line


def random_kills(kills: int) -> Assault:
    """So many kills, as they are drawn."""

    def assault(under: Round) -> dict[str, Any]:
        under.begin()
        while under.nemesis.kills < kills:
            under.nemesis.strike()
        return {}

    return assault


@contextlib.contextmanager
def broker(name: str, directory: Path, bootstrap: str | None) -> Iterator[str]:
    """A broker for the run: one that is there already, the embedded one, or a real Kafka."""
    if bootstrap is not None:
        yield bootstrap
        return
    if name == "embedded":
        from service.stream.embedded import EmbeddedBroker

        with EmbeddedBroker(directory / "broker") as running:
            yield running.bootstrap_servers
        return
    script = CHECKOUT.parent / "shared" / "kafka" / "kafka"
    if not script.is_file():
        raise SystemExit(f"no Kafka: {script} is not there; give --bootstrap")
    where = str(directory / "kafka")

    def run(*arguments: str) -> str:
        return subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, text=True, check=True,
            timeout=180,
        ).stdout.strip()  # fmt: skip

    try:
        yield run("start", where, "--port", "0")
    finally:
        run("stop", where)
