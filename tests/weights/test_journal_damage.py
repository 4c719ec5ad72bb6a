"""What is torn at the end, and what is damaged in the middle."""

from __future__ import annotations

import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import JournalDamaged
from service.weights.journal import Entry, Journal, JournalReader

APPENDER = """
import sys
from pathlib import Path
from service.weights.journal import Journal
with Journal.open(Path(sys.argv[1])) as journal:
    for version in range(1, int(sys.argv[2]) + 1):
        journal.append({"version": version, "text": "x" * (version % 300)})
        if version % 500 == 0:
            journal.rotate()
"""


def entry(version: int) -> Entry:
    return {"version": version, "keys": 2**60 + version, "loss": "3fe62e42fefa39ef"}


ENTRIES = [entry(version) for version in range(1, 5)]


def written(directory: Path) -> tuple[Path, bytes, list[int]]:
    """A journal of four entries: its file, its bytes, and where each entry ends."""
    ends = []
    path = directory / f"{1:020d}.hwj"
    with Journal.open(directory) as journal:
        for one in ENTRIES:
            journal.append(one)
            ends.append(path.stat().st_size)
    return path, path.read_bytes(), ends


def damage(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    """
    Whole entries stay, the rest is cut and counted, and the journal goes on.
    """
    path, content, ends = written(tmp_path)
    found = []
    for size in range(len(content) + 1):
        damage(path, content[:size])
        with Journal.open(tmp_path) as journal:
            whole = sum(end <= size for end in ends)
            expected_torn = size - ([0, *ends][whole])
            found.append((journal.last_version or 0, journal.torn_bytes) == (whole, expected_torn))
            journal.append(entry(whole + 1))
            found.append([*ENTRIES[:whole], entry(whole + 1)] == list(journal.read(1)))

    assert all(found)
    assert 2 * (len(content) + 1) == len(found)


def test_a_flipped_bit_in_the_last_entry_is_a_torn_tail(tmp_path: Path) -> None:
    """
    Nothing good follows it, so it cannot be told from a write that a crash cut short.
    """
    path, content, ends = written(tmp_path)
    found = set()
    for bit in range(ends[-2] * 8, len(content) * 8):
        damage(path, flipped(content, bit))
        with Journal.open(tmp_path) as journal:
            found.add((journal.last_version, journal.torn_bytes))

    assert {(3, ends[-1] - ends[-2])} == found


def test_a_flipped_bit_anywhere_else_is_an_error_that_says_where(tmp_path: Path) -> None:
    """
    Good entries follow: this was on the disk and is wrong now. The file is left as it is.
    """
    path, content, ends = written(tmp_path)
    missed = []
    for bit in range(ends[-2] * 8):
        start = max(e for e in [0, *ends] if e <= bit // 8)
        damage(path, flipped(content, bit))
        with pytest.raises(JournalDamaged) as caught:
            Journal.open(tmp_path)
        if f"{path} is damaged at byte {start}:" not in str(caught.value):
            missed.append(bit)
        with pytest.raises(JournalDamaged):
            list(Journal.reader(tmp_path).read(1))

    assert [] == missed
    assert flipped(content, ends[-2] * 8 - 1) == path.read_bytes()


@given(garbage=st.binary(min_size=1, max_size=200) | st.integers(1, 9000).map(bytes))
def test_garbage_after_the_last_entry_is_a_torn_tail(
    tmp_path_factory: pytest.TempPathFactory, garbage: bytes
) -> None:
    """
    Also zeros, which a power cut leaves where a file was made longer before it was written.
    """
    directory = tmp_path_factory.mktemp("journal")
    path, content, _ = written(directory)
    damage(path, content + garbage)

    with Journal.open(directory) as journal:
        assert len(garbage) == journal.torn_bytes
        assert ENTRIES == list(journal.read(1))
    assert content == path.read_bytes()


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + zlib.crc32(payload).to_bytes(4, "little") + payload


@pytest.mark.parametrize(
    "payload",
    [b'{"version":4}', b'{"version":6}', b'{"version":"5"}', b'{"no":1}', b"[5]", b"{}", b"junk"],
)
def test_a_frame_that_is_not_the_next_entry_is_not_believed(tmp_path: Path, payload: bytes) -> None:
    """
    A good checksum over something else does not make it an entry.
    """
    path, content, _ = written(tmp_path)
    damage(path, content + frame(payload))

    with Journal.open(tmp_path) as journal:
        assert 4 == journal.last_version
        assert len(frame(payload)) == journal.torn_bytes


def test_damage_in_a_sealed_segment_is_an_error_even_at_its_end(tmp_path: Path) -> None:
    """
    What was sealed was flushed: there are no torn tails in it.
    """
    path, content, ends = written(tmp_path)
    with Journal.open(tmp_path) as journal:
        journal.rotate()
    damage(path, content[:-1])

    with Journal.open(tmp_path) as journal:
        assert 4 == journal.last_version
        with pytest.raises(JournalDamaged, match=f"byte {ends[-2]}"):
            list(journal.read(1))


def test_after_a_power_loss_a_hole_in_the_unflushed_end_is_cut_at(tmp_path: Path) -> None:
    """
    Pages reach the disk in any order, so good entries may follow a hole. The caller asks for it.
    """
    path, content, ends = written(tmp_path)
    damage(path, content[: ends[1]] + bytes(ends[2] - ends[1]) + content[ends[2] :])
    with pytest.raises(JournalDamaged):
        Journal.open(tmp_path)

    with Journal.open(tmp_path, after_power_loss=True) as journal:
        assert 2 == journal.last_version
        assert len(content) - ends[1] == journal.torn_bytes
    assert content[: ends[1]] == path.read_bytes()


def follow(reader: JournalReader, appender: subprocess.Popen[bytes]) -> Iterator[int]:
    """The versions as they come in, until the appender has ended and all is read."""
    version = 0
    while True:
        ended = appender.poll() is not None
        for one in reader.read(version + 1):
            version = one["version"]
            yield version
        if ended:
            return


def test_another_process_can_read_while_one_appends(tmp_path: Path) -> None:
    """
    It sees a growing run of whole entries, never a gap, never half of one.
    """
    command = [sys.executable, "-c", APPENDER, str(tmp_path), "3000"]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2]) as appender:
        seen = list(follow(Journal.reader(tmp_path), appender))

    assert 0 == appender.returncode
    assert list(range(1, 3001)) == seen


def test_after_a_power_loss_the_newest_segment_is_written_anew(tmp_path: Path) -> None:
    """
    After a failed flush the kernel shows bytes that may never reach the medium, and another flush
    of the same file would not say so: a new file is flushed instead.
    """
    path, content, _ = written(tmp_path)
    before = path.stat().st_ino
    (tmp_path / ".tmp-left-by-a-killed-one").write_bytes(b"half")

    with Journal.open(tmp_path, after_power_loss=True) as journal:
        journal.append(entry(5))

    assert before != path.stat().st_ino
    assert path.read_bytes().startswith(content)
    assert [path] == list(tmp_path.iterdir())
    assert [*ENTRIES, entry(5)] == list(Journal.reader(tmp_path).read(1))
