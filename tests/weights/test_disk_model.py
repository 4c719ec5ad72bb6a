"""The model of a disk under power cuts is one: what it calls flushed stays, what not may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.weights import durable
from tests.weights.disk_model import All, BytesOnly, Choices, Disk, NamesOnly, Recorder, write_tree


def left(root: Path, ops: list, choices: Choices) -> dict[str, bytes]:
    """The files that such a power cut leaves, by name."""
    write_tree(Disk(ops).left(choices), root)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    root = tmp_path / "disk"
    root.mkdir()
    return Recorder(monkeypatch, root)


@pytest.mark.parametrize(
    ("choices", "expected"),
    [
        (Choices(), {"old": b"safe"}),
        (All(), {"old": b"safe and more", "new": b"new"}),
        (NamesOnly(), {"old": b"safe" + bytes(9), "new": bytes(3)}),
        (BytesOnly(), {"old": b"safe and more"}),
    ],
)
def test_what_was_not_flushed_may_be_gone_in_each_of_its_ways(
    tmp_path: Path, recorder: Recorder, choices: Choices, expected: dict[str, bytes]
) -> None:
    """
    What was flushed is there, under a name that was flushed.
    """
    fd = durable.create(recorder.root / "old")
    durable.append(fd, b"safe")
    durable.flush(fd)
    durable.flush_directory(recorder.root)
    durable.append(fd, b" and more")
    other = durable.create(recorder.root / "first name")
    durable.append(other, b"new")
    durable.rename(recorder.root / "first name", recorder.root / "new")
    for one in (fd, other):
        durable.close(one)

    assert expected == left(tmp_path / "after", recorder.ops, choices)
    assert {"old": b"safe and more", "new": b"new"} == {
        p.name: p.read_bytes() for p in recorder.root.iterdir()
    }


def test_a_removed_file_may_come_back(tmp_path: Path, recorder: Recorder) -> None:
    """
    Until its directory is flushed.
    """
    durable.write_file(recorder.root / "file", b"content")
    durable.unlink(recorder.root / "file")

    assert {"file": b"content"} == left(tmp_path / "before", recorder.ops, Choices())
    durable.flush_directory(recorder.root)
    assert {} == left(tmp_path / "after", recorder.ops, Choices())


def test_a_flushed_file_without_its_name_is_lost(tmp_path: Path, recorder: Recorder) -> None:
    """
    That is why directories are flushed too.
    """
    durable.write_new(recorder.root / "file", b"content")

    assert {} == left(tmp_path / "after", recorder.ops, Choices())
