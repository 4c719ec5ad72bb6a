"""Processes that write and read a live file, for the tests to start and kill.

`python -m tests.weights.live_actors ROLE DIRECTORY ...`; each prints one line of JSON at its end.
An image is whole when every 8-byte word in it equals the version in the slot's meta data.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from service.weights.live_format import fence_for
from service.weights.live_reader import LiveReader

PATIENCE_S = 240  # far beyond what any of them needs on a busy machine
LAYOUT = b'{"what":"every word is the version"}'


class Tally:
    """What a reader saw."""

    def __init__(self) -> None:
        self.intact = 0
        self.retried = 0
        self.torn = 0
        self.fell = 0
        self.version = 0
        self.advanced = 0

    def look(self, reader: LiveReader, pause_s: float = 0.0) -> None:
        """Read the current image once, with a pause in the middle, and judge it."""
        with reader.pinned() as slot:
            if slot is None:
                return
            words = slot.image.view(np.uint64)
            lowest = int(words.min())
            time.sleep(pause_s)
            highest = int(words.max())
            if not slot.intact():
                self.retried += 1
                return
            version = slot.meta["version"]
        self.intact += 1
        self.torn += not lowest == highest == version
        self.fell += version < self.version
        self.advanced += version > self.version
        self.version = version


def publish_for_ever(
    directory: Path, nbytes: int, machine: str, seconds: float, gap_s: float = 0.0
) -> int:
    """Publish one version after the other, as fast as readers allow or with gaps of up to `gap_s`
    between them; the last version."""
    from service.weights.live_writer import LiveWriter  # numba: not for the readers

    image = np.zeros(nbytes // 8, dtype=np.uint64)
    touched = np.ones(nbytes // 256, dtype=np.uint8)
    chance = random.Random(2)
    reader = LiveReader(directory)
    with reader.pinned() as slot:
        version = slot.meta["version"] if slot else 0
    reader.close()
    with LiveWriter.open(
        directory, nbytes=nbytes, layout=LAYOUT, fence=fence_for(machine)
    ) as writer:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            version += 1
            image.fill(version)
            while not writer.publish(image.view(np.uint8), touched, {"version": version}):
                time.sleep(0.0005)
            writer.beat({"version": version})
            time.sleep(chance.uniform(0.0, gap_s))
    return version


def read(
    directory: Path, machine: str, others: int, pause_s: float, enough: tuple[int, int]
) -> dict[str, Any]:
    """Judge one image after the other until it was `enough`: so many new versions, so many retries.

    `others` are readers of this process that take a pin cell each before.
    """
    crowd = [LiveReader(directory) for _ in range(others)]
    reader = LiveReader(directory, fence=fence_for(machine))
    tally, chance = Tally(), random.Random(0)
    deadline = time.monotonic() + PATIENCE_S
    while (tally.advanced < enough[0] or tally.retried < enough[1]) and time.monotonic() < deadline:
        reader.refresh()
        # Unpinned, a read is intact only if it is short beside the time between two publications:
        # so reads of all lengths up to pause_s, and a writer that leaves gaps.
        tally.look(reader, chance.uniform(0.0, pause_s) if others else pause_s)
    for one in (reader, *crowd):
        one.close()
    return vars(tally)


def kill_writers(directory: Path, nbytes: int, rounds: int) -> dict[str, Any]:
    """Start a writer, kill it in the middle of its work, judge what it left; `rounds` times."""
    from service.weights import live_copy

    live_copy.warm()
    chance = random.Random(1)
    reader = LiveReader(directory)
    tally = Tally()
    left_odd = 0
    for _ in range(rounds):
        child = os.fork()
        if child == 0:
            publish_for_ever(directory, nbytes, "x86_64", PATIENCE_S)
            os._exit(0)
        before = tally.version
        deadline = time.monotonic() + PATIENCE_S
        while tally.version < before + 2 and time.monotonic() < deadline:
            reader.refresh()
            tally.look(reader)
        time.sleep(chance.uniform(0, 0.01))  # any moment will do
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        tally.look(reader)
        left_odd += _half_written(reader)
    return {**vars(tally), "left_odd": left_odd}


def _half_written(reader: LiveReader) -> bool:
    with reader.pinned() as slot:
        return slot is not None and any(n.load() % 2 for n in slot.view.sequences)


def hold_a_pin(directory: Path, *, careless: bool) -> dict[str, Any]:
    """Pin the current slot twice, by two readers; close one; say so; keep the other to the end.

    Careless code in this process reads the file meanwhile, which drops the process's locks on it.
    """
    keeper, other = LiveReader(directory), LiveReader(directory)
    slot = keeper.pin()
    assert slot is not None
    assert other.pin() is not None
    other.close()
    if careless:
        _ = [path.read_bytes() for path in directory.glob("live-*.bin")]
        keeper.refresh()
    say({"pinned": slot.meta["version"]})
    sys.stdin.readline()
    return {"intact": slot.intact()}


def say(line: dict[str, Any]) -> None:
    """One line of JSON for the test."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main(role: str, directory: Path, *rest: str) -> None:
    """Play one role."""
    if role == "write":
        nbytes, machine, seconds, gap_s = int(rest[0]), rest[1], float(rest[2]), float(rest[3])
        say({"version": publish_for_ever(directory, nbytes, machine, seconds, gap_s)})
    elif role == "read":
        enough = int(rest[3]), int(rest[4])
        say(read(directory, rest[0], int(rest[1]), float(rest[2]), enough))
    elif role == "kill":
        say(kill_writers(directory, int(rest[0]), int(rest[1])))
    elif role == "hold":
        say(hold_a_pin(directory, careless=rest == ("careless",)))
    else:
        raise SystemExit(f"no such role: {role}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
