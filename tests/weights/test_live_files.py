"""Which live file there is: begun, continued, replaced, refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import HeadwaterError, Locked
from service.weights import boot, live_directory
from service.weights.live import LiveReader, LiveWriter
from service.weights.live_format import LAYOUT_OFFSET, fence_for
from tests.weights.live_images import ALL, LAYOUT, NBYTES, NONE, image, live_files, opened, served


@pytest.mark.parametrize("nbytes", [0, 255, 257, -256])
def test_an_image_has_whole_blocks(tmp_path: Path, nbytes: int) -> None:
    """
    The writer's flags are one per block.
    """
    with pytest.raises(ValueError, match="whole blocks"):
        opened(tmp_path, nbytes=nbytes)
    opened(tmp_path).close()


def test_a_second_writer_is_kept_out(writer: LiveWriter, tmp_path: Path) -> None:
    """
    Two would tear what each publishes.
    """
    with pytest.raises(Locked):
        opened(tmp_path)


def test_a_reopened_file_serves_on(tmp_path: Path) -> None:
    """
    A restarted learner disturbs nobody before its first publication, and counts on.
    """
    with opened(tmp_path) as first:
        for version in (1, 2, 3):
            first.publish(image(version), ALL, {"version": version})
    reader = LiveReader(tmp_path)
    slot = reader.pin()
    with opened(tmp_path) as second:
        assert 3 == second.publications
        assert slot
        assert slot.intact()
        assert (3, 3) == served(reader)
        second.publish(image(4), NONE, {"version": 4})
        assert (4, 4) == served(reader)
        assert not reader.refresh()
    reader.close()


def test_the_first_publications_of_a_reopened_file_copy_everything(tmp_path: Path) -> None:
    """
    Nobody knows what the writer before had copied.
    """
    with opened(tmp_path) as first:
        first.publish(image(1), ALL, {"version": 1})
    reader = LiveReader(tmp_path)
    with opened(tmp_path) as second:
        for version in (2, 3):
            second.publish(image(version), NONE, {"version": version})
            assert (version, version) == served(reader)
    reader.close()


def test_another_layout_is_another_file(tmp_path: Path) -> None:
    """
    The old one is unlinked; who has it mapped reads on, and follows when something is published.
    """
    with opened(tmp_path) as old:
        old.publish(image(1), ALL, {"version": 1})
        old.beat({"state": "learning"})
    reader = LiveReader(tmp_path)
    slot = reader.pin()
    before = live_files(tmp_path)
    with opened(tmp_path, layout=b"other") as new:
        new.beat({"state": "replaying"})
        assert not reader.refresh()
        assert (LAYOUT, (1, 1)) == (reader.layout, served(reader))
        assert (reader.heartbeat() or {})["state"] == "replaying"

        new.publish(image(2), ALL, {"version": 2})
        assert reader.refresh()
        assert (b"other", (2, 2)) == (reader.layout, served(reader))
        assert slot
        assert ({1}, True) == (set(slot.image.tolist()), slot.intact())
        reader.unpin(slot)
        after = live_files(tmp_path)
    reader.close()

    assert (1, 1) == (len(before), len(after))
    assert before != after


def test_a_reader_knows_before_anything_is_published_that_another_file_takes_over(
    tmp_path: Path,
) -> None:
    """
    Else one reader could serve an old version after another reader has served a newer one.
    """
    with opened(tmp_path) as first:
        first.publish(image(1), ALL, {"version": 1})
    reader = LiveReader(tmp_path)
    assert not reader.superseded
    with opened(tmp_path, layout=b"another") as second:
        assert reader.superseded
        assert not reader.refresh()
        assert (1, 1) == served(reader)
        second.publish(image(2), ALL, {"version": 2})
        assert reader.refresh()
        assert (2, 2) == served(reader)
        assert not reader.superseded
    reader.close()


def test_a_file_that_was_not_superseded_after_all_goes_on(tmp_path: Path) -> None:
    """
    A learner died before the pointer moved; the next one continues the old file.
    """
    with opened(tmp_path) as first:
        first.publish(image(1), ALL, {"version": 1})
    reader = LiveReader(tmp_path)
    live_directory.supersede(tmp_path)
    assert reader.superseded
    assert not reader.refresh()
    with opened(tmp_path):
        assert not reader.superseded
    assert (1, 1) == served(reader)
    reader.close()


def test_the_file_before_is_served_until_the_new_one_is_published_to(tmp_path: Path) -> None:
    """
    Also by a reader that starts in between: a learner may die there, and a worker too.
    """
    with opened(tmp_path) as old:
        old.publish(image(1), ALL, {"version": 1})
    opened(tmp_path, layout=b"another").close()
    reader = LiveReader(tmp_path)
    assert (LAYOUT, b"another", (1, 1)) == (reader.layout, reader.pointed_layout, served(reader))
    with opened(tmp_path, layout=b"another") as new:
        new.beat({"state": "replaying"})
        assert (reader.heartbeat() or {})["state"] == "replaying"
        new.publish(image(2), ALL, {"version": 2})
    assert reader.superseded
    assert reader.refresh()
    assert (b"another", (2, 2)) == (reader.layout, served(reader))
    assert 1 == len(live_files(tmp_path))
    reader.close()


def test_another_size_is_another_file(tmp_path: Path) -> None:
    """
    A file is never truncated and never grows.
    """
    opened(tmp_path).close()
    before = live_files(tmp_path)
    opened(tmp_path, nbytes=NBYTES * 2).close()
    opened(tmp_path, nbytes=NBYTES * 2, meta_bytes=4096).close()
    after = live_files(tmp_path)

    assert before[0].removesuffix("-1.bin") == after[0].removesuffix("-3.bin")
    assert 1 == len(after)


def test_a_file_of_another_boot_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A power cut may have torn it, if it was not on a tmpfs.
    """
    with opened(tmp_path) as before:
        before.publish(image(1), ALL, {"version": 1})
    monkeypatch.setattr(boot, "boot_id", lambda: "another boot")
    reader = LiveReader(tmp_path)
    assert reader.pin() is None
    assert "from before this machine's last start" in reader.trouble

    with opened(tmp_path) as after:
        after.publish(image(2), ALL, {"version": 2})
        assert reader.refresh()
        assert (2, 2) == served(reader)
    reader.close()


def test_a_directory_that_goes_away_changes_nothing_for_its_readers(tmp_path: Path) -> None:
    """
    They serve what they have mapped.
    """
    directory = tmp_path / "runtime"
    with opened(directory) as writer:
        writer.publish(image(1), ALL, {"version": 1})
    reader = LiveReader(directory)
    shutil.rmtree(directory)

    assert not reader.refresh()
    assert "live.json" in reader.trouble
    assert (1, 1) == served(reader)
    reader.close()


def test_a_reader_may_come_before_the_directory(tmp_path: Path) -> None:
    """
    It serves nothing until there is something.
    """
    reader = LiveReader(tmp_path / "runtime")
    assert (None, b"", None) == (reader.pin(), reader.layout, reader.heartbeat())
    with opened(tmp_path / "runtime") as writer:
        writer.publish(image(1), ALL, {"version": 1})
        assert reader.refresh()
        assert (1, 1) == served(reader)
    reader.close()
    reader.close()
    assert reader.pin() is None


@pytest.mark.parametrize(
    "pointer",
    ["", "{", "[]", '{"schema":"headwater.live/1","file":"../x"}',
     '{"schema":"headwater.live/2","file":"live-000000000000-1.bin"}',
     '{"schema":"headwater.live/1","file":"live-000000000000-9.bin"}'],
)  # fmt: skip
def test_a_bad_pointer_is_not_followed(tmp_path: Path, pointer: str) -> None:
    """
    The reader says why, and a writer begins a new file.
    """
    (tmp_path / live_directory.POINTER).write_text(pointer)
    reader = LiveReader(tmp_path)
    assert reader.trouble
    with opened(tmp_path) as writer:
        writer.publish(image(1), ALL, {"version": 1})
        reader.refresh()
        assert ("", (1, 1)) == (reader.trouble, served(reader))
    reader.close()


@pytest.mark.parametrize("offset", [0, 8, 16, 40, LAYOUT_OFFSET])
def test_a_file_that_is_not_what_it_says_is_not_mapped(tmp_path: Path, offset: int) -> None:
    """
    Magic, format, sizes and the layout's checksum are checked first.
    """
    opened(tmp_path).close()
    path = tmp_path / live_files(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)
    reader = LiveReader(tmp_path)

    assert reader.pin() is None
    assert path.name in reader.trouble


def test_the_pointer_is_json_for_everybody(writer: LiveWriter, tmp_path: Path) -> None:
    """
    It names the one file in the directory.
    """
    pointer = json.loads((tmp_path / "live.json").read_text())

    assert {"schema": "headwater.live/1", "file": live_files(tmp_path)[0]} == pointer


def test_the_space_is_really_there(writer: LiveWriter, tmp_path: Path) -> None:
    """
    A sparse file on a full tmpfs would kill the process that writes into its mapping.
    """
    found = (tmp_path / live_files(tmp_path)[0]).stat()

    assert found.st_blocks * 512 >= found.st_size


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_no_room_is_said_with_size_and_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """
    And what was begun is removed.
    """

    def refuse(code: int) -> Any:
        def refused(*_: Any) -> int:
            raise OSError(code, os.strerror(code))

        return refused

    monkeypatch.setattr(os, "posix_fallocate", refuse(errno.EOPNOTSUPP), raising=False)
    monkeypatch.setattr(os, call, refuse(errno.ENOSPC), raising=False)
    with pytest.raises(HeadwaterError, match=rf"need \d+ bytes in {tmp_path}, .*No space left"):
        opened(tmp_path)

    assert [] == live_files(tmp_path)
    monkeypatch.undo()
    opened(tmp_path).close()


def test_where_space_cannot_be_reserved_zeros_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Some file systems, and macOS, have no posix_fallocate.
    """

    def missing(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(os, "posix_fallocate", missing, raising=False)
    with opened(tmp_path, nbytes=5 << 20) as writer:
        found = (tmp_path / live_files(tmp_path)[0]).stat()
        assert found.st_blocks * 512 >= found.st_size > 10 << 20
        flags = np.ones((5 << 20) // 256, dtype=np.uint8)
        assert writer.publish(np.zeros(5 << 20, dtype=np.uint8), flags, {"version": 1})


@pytest.mark.parametrize("machine", ["arm64", "aarch64", "riscv64", "x86_64"])
def test_every_machine_has_its_order(tmp_path: Path, machine: str) -> None:
    """
    x86-64 needs no fence; all others get one made of a lock, and work the same.
    """
    fence = fence_for(machine)
    with opened(tmp_path, fence=fence) as writer:
        reader = LiveReader(tmp_path, fence=fence)
        for version in (1, 2, 3):
            writer.publish(image(version), ALL, {"version": version})
            assert (version, version) == served(reader)
        reader.close()

    assert (machine == "x86_64") == (fence is fence_for("AMD64"))
