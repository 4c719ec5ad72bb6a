"""A process that tries records of which some hang, raise or eat memory; prints how each died."""

from __future__ import annotations

import json
import sys
import time

from service.learn import trials
from service.learn.learner import Learner
from tests.learn.cuts import learner, record

KINDS = ["good", "raises", "hangs", "hungry"]


def deadly(self: Learner, records, decoded, next_offsets) -> None:
    """Stand in for take: do what the records say."""
    for one in records:
        match one.value.decode():
            case "raises":
                raise ValueError("no such thing")
            case "hangs":
                time.sleep(1e6)
            case "hungry":
                bytearray(trials._available_bytes() + (1 << 30))


def main() -> None:
    """Try each kind alone."""
    Learner.take = deadly  # type: ignore[method-assign,assignment]
    Learner.decode = lambda self, records: None  # type: ignore[method-assign,assignment,return-value]
    patience_s, found = trials.PATIENCE_S, {}
    for kind in KINDS:
        trials.PATIENCE_S = 0.5 if kind == "hangs" else 10 * patience_s
        tried = trials.Trials(learner(), [record(0, kind.encode())])
        found[kind] = tried.dies(1, set())
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
