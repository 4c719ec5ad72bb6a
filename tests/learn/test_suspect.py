"""What a learner has in hand outlives it, and its deaths are counted by range."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.learn.suspect import (
    COUNTS,
    DECODING,
    FILE,
    LEARNING,
    Held,
    InHand,
    Suspect,
    Suspects,
    count,
)
from tests.processes import PATIENCE_S

RANGE = [("t", 0, 10, 20), ("t", 1, 5, 9)]
DIES = f"""
import os, signal
from pathlib import Path
from service.learn.suspect import DECODING, LEARNING, Suspects
suspects = Suspects(Path({{directory!r}}))
suspects.in_hand.hold(DECODING, "live", [("t", 0, 20, 30)])
suspects.in_hand.hold(LEARNING, "live", {RANGE!r})
suspects.in_hand.release(DECODING)
os.kill(os.getpid(), signal.SIGKILL)
"""


def die(directory: Path, *places, phase="live") -> None:
    """A run that ends with these ranges in hand, one a cell."""
    suspects = Suspects(directory)
    for cell, held in enumerate(places):
        suspects.in_hand.hold(cell, phase, held)
    suspects.close()


def known(directory: Path) -> dict[str, int]:
    """Return the deaths by range, as the next run counts them."""
    suspects = Suspects(directory)
    found = {str(s): s.deaths for s in suspects.live(1)}
    suspects.close()
    return found


def test_what_a_killed_process_had_in_hand_is_read_by_the_next(tmp_path):
    """SIGKILL leaves no time to write; the kernel keeps what was in memory."""
    line = [sys.executable, "-c", DIES.format(directory=str(tmp_path))]
    assert -9 == subprocess.run(line, timeout=PATIENCE_S, check=False).returncode

    assert {"t, partition 0, offsets 10 to 19; t, partition 1, offsets 5 to 8": 1} == known(
        tmp_path
    )


def test_a_run_that_ends_with_empty_hands_accuses_nobody(tmp_path):
    """Nor does the first one of all."""
    suspects = Suspects(tmp_path)
    suspects.in_hand.hold(LEARNING, "live", RANGE)
    suspects.in_hand.release(LEARNING)
    suspects.close()

    assert {} == known(tmp_path)


@given(at=st.integers(0, 60), bit=st.integers(0, 7))
def test_a_cell_that_was_not_written_to_its_end_holds_nothing(tmp_path_factory, at, bit):
    """Whichever bit is wrong."""
    path = tmp_path_factory.mktemp("torn") / FILE
    in_hand = InHand(path)
    in_hand.hold(DECODING, "live", RANGE)
    assert [Held("live", RANGE)] == in_hand.left()
    in_hand.close()
    raw = bytearray(path.read_bytes())
    at = 64 + at % len(raw[64:].rstrip(b"\0"))
    raw[at] ^= 1 << bit
    path.write_bytes(raw)

    assert [] == InHand(path).left()


def test_a_range_of_very_many_partitions_fits(tmp_path):
    """What has no room is left out; the rest is a range all the same."""
    in_hand = InHand(tmp_path / FILE)
    places = [("a-topic-with-a-long-name" * 8, p, 0, 10**12) for p in range(5000)]
    in_hand.hold(LEARNING, "replay", places)

    (held,) = in_hand.left()
    assert 100 < len(held.places) < 5000
    assert held.places == places[: len(held.places)]


def test_deaths_on_ranges_that_overlap_are_counted_together(tmp_path):
    """After a restart the same records may be cut in another way."""
    die(tmp_path, [("t", 0, 10, 20)])
    die(tmp_path, [("t", 0, 15, 30)])
    die(tmp_path, [("t", 0, 30, 40)], [("t", 0, 12, 13)])

    assert {
        "t, partition 0, offsets 10 to 29": 3,
        "t, partition 0, offsets 30 to 39": 1,
    } == known(tmp_path)


def test_one_death_counts_once_for_a_range_in_both_hands():
    """Decoded ahead by one thread, learned by the other."""
    suspects: list[Suspect] = []
    count(suspects, [Held("live", [("t", 0, 0, 9)]), Held("live", [("t", 0, 4, 12)])])

    assert [Suspect("live", [("t", 0, 0, 12)], 1)] == suspects


def test_a_range_that_got_through_is_a_suspect_no_more(tmp_path):
    """The cursors have passed it; others stay."""
    die(tmp_path, [("t", 0, 10, 20)], [("t", 1, 0, 5)])
    suspects = Suspects(tmp_path)
    assert 1 == suspects.deaths({("t", 0): 10, ("t", 1): 5})

    suspects.drop_passed({("t", 0): 20, ("t", 1): 4})

    assert ["t, partition 1, offsets 0 to 4"] == [str(s) for s in suspects.live(1)]
    assert 0 == suspects.deaths({("t", 0): 20, ("t", 1): 5})
    suspects.close()


def test_a_death_is_not_counted_twice(tmp_path):
    """A crash between counting and emptying the hands finds that it was counted."""
    die(tmp_path, RANGE)
    hands = (tmp_path / FILE).read_bytes()
    first = known(tmp_path)
    (tmp_path / FILE).write_bytes(hands)

    assert first == known(tmp_path)
    assert [1] == list(first.values())


def test_a_power_loss_accuses_no_event(tmp_path):
    """What was in hand when the machine went down is forgotten."""
    die(tmp_path, RANGE)
    Suspects(tmp_path, power_lost=True).close()

    assert {} == known(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe", b'{"schema": 1}'])
def test_counts_that_cannot_be_read_begin_anew(tmp_path, damage):
    """They only speed things up: the next deaths are counted again."""
    die(tmp_path, RANGE)
    known(tmp_path)
    (tmp_path / COUNTS).write_bytes(damage)
    (tmp_path / FILE).write_bytes(damage)
    die(tmp_path, RANGE)

    assert [1] == list(known(tmp_path).values())


def test_a_replay_that_killed_three_times_is_known(tmp_path):
    """Two deaths are bad luck; what lies beside the range is no suspect."""
    place, beside = [("t", 0, 0, 10)], [("t", 0, 10, 20)]
    for deaths in (1, 2, 3):
        die(tmp_path, place, phase="replay")
        suspects = Suspects(tmp_path)
        suspect = suspects.in_replay(place)
        assert (deaths == 3) == (suspect is not None and suspect.deaths == 3)
        assert suspects.in_replay(beside) is None
        assert [] == suspects.live(1)
        suspects.close()


def test_a_range_over_many_partitions_names_five(tmp_path):
    """The reason of a halt is for people, and must fit into a heartbeat."""
    said = str(Suspect("live", [("t", partition, 0, 10) for partition in range(300)], 6))

    assert said.startswith("t, partition 0, offsets 0 to 9; t, partition 1,")
    assert said.endswith("t, partition 4, offsets 0 to 9; and 295 more")
