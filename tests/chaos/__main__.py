"""`python -m tests.chaos run|points|report`, and the processes that these start."""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path

from tests.chaos import events, rounds, watch
from tests.chaos.rounds import Plan

PER_ROUND = 50


def main() -> int:
    """Run one of the commands; 1 when a round did not hold."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, said in (("run", "random kills"), ("points", "every crash point")):
        one = commands.add_parser(name, help=said)
        one.add_argument("--broker", choices=["embedded", "kafka"], default="embedded")
        one.add_argument("--bootstrap", help="a broker that runs already")
        one.add_argument("--directory", type=Path, default=Path(".chaos"))
        one.add_argument("--seed", type=int, default=None)
        one.add_argument("--rate", type=float, default=400.0, help="events a second")
        one.add_argument("--keep", action="store_true", help="keep folders of rounds that held")
    commands.choices["run"].add_argument("--kills", type=int, default=50)
    commands.choices["run"].add_argument("--per-round", type=int, default=PER_ROUND)
    commands.choices["points"].add_argument("--only", nargs="*", help="names of points")
    commands.choices["points"].add_argument("--hits", type=int, nargs="*", default=[1, 2, 5])
    report = commands.add_parser("report", help="the table and the picture from the results")
    report.add_argument("--directory", type=Path, default=Path(".chaos"))
    produce = commands.add_parser("produce")
    produce.add_argument("bootstrap")
    produce.add_argument("topic")
    produce.add_argument("rate", type=float)
    produce.add_argument("told", type=Path)
    clients = commands.add_parser("watch")
    clients.add_argument("port", type=int)
    clients.add_argument("told", type=Path)
    commands.add_parser("verify").add_argument("folder", type=Path)
    given = parser.parse_args()
    match given.command:
        case "produce":
            events.produce(given.bootstrap, given.topic, given.rate, given.told)
        case "watch":
            watch.watch(given.port, given.told)
        case "verify":
            from tests.chaos.verify import verify

            print(json.dumps(verify(given.folder)))
        case "report":
            from tests.chaos.report import write

            write(given.directory / rounds.RESULTS)
        case _:
            return _play(given)
    return 0


def _play(given: argparse.Namespace) -> int:
    given.directory.mkdir(parents=True, exist_ok=True)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    with rounds.broker(given.broker, given.directory, given.bootstrap) as bootstrap:
        plan = Plan(given.directory, bootstrap, given.broker, seed, given.rate, given.keep)
        print(f"seed {seed}; results in {plan.results}", flush=True)
        if given.command == "points":
            from tests.chaos.points import sweep

            return sweep(plan, given.only, given.hits)
        return _random(plan, given.kills, given.per_round)


def _random(plan: Plan, kills: int, per_round: int) -> int:
    """Go on until so many kills are in rounds that held; stop at one that did not."""
    while True:
        known = [line for line in rounds.done_so_far(plan) if line["kind"] == "random"]
        so_far = sum(line["kills"] for line in known if line["verdict"]["ok"])
        if so_far >= kills:
            print(f"{so_far} kills in {len(known)} rounds")
            return 0
        assault = rounds.random_kills(min(per_round, kills - so_far))
        line = rounds.play(plan, "random", len(known) + 1, assault)
        shown = {k: v for k, v in line.items() if k != "strokes"}
        print(json.dumps(shown), flush=True)
        if not line["verdict"]["ok"]:
            return 1


if __name__ == "__main__":
    sys.exit(main())
