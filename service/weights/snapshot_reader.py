"""Find, check and load snapshots. Safe in any process, next to the one that writes them.

Knows the directories described in `snapshots`. Nothing is returned that was not checked to the
last bit: the manifest's own checksum, each part's size and sha256, its digest, and that every
number is finite. It changes nothing but the marks of pinned snapshots.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import torch

from service.errors import SnapshotInvalid
from service.weights import durable, manifest, tensor_file
from service.weights.digest import part_digest
from service.weights.manifest import Manifest, StoredPart

OBJECTS = "objects"
PINNED = "PINNED"
_ID = re.compile(r"v([0-9]{12,})-[0-9A-Za-z]{8}")

Parts = dict[str, dict[str, torch.Tensor]]


class Failure(TypedDict):
    """One thing wrong with one snapshot; `file` is relative to the snapshots' directory."""

    id: str
    file: str
    reason: str


class Damaged(SnapshotInvalid):
    """The one failure that makes a snapshot unusable."""

    def __init__(self, id: str, file: str, reason: str) -> None:
        self.failure = Failure(id=id, file=file, reason=reason)
        super().__init__(f"snapshot {id}: {file} {reason}")


class Listed(NamedTuple):
    """One entry of the directory; `manifest` is None when it cannot be trusted."""

    id: str
    manifest: Manifest | None
    pinned: bool
    reason: str | None


class Found(NamedTuple):
    """The snapshot to start from, and what was wrong with others that could have been it."""

    manifest: Manifest
    parts: Parts
    failures: list[Failure]


Listings = list[Listed]
Failures = list[Failure]


class SnapshotReader:
    """The snapshots in a directory, which need not exist yet."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.told: Callable[[int], None] = lambda _: None
        """Called with how many more bytes of states were read."""
        self.refused: Failures = []
        """What `newest_valid` found wrong so far, each once."""

    def list(self) -> Listings:
        """All of them, those with a damaged manifest first, then the newest first."""
        listed = [entry for id in self._ids() if (entry := self._listed(id)) is not None]
        return sorted(listed, key=_serial, reverse=True)

    def load(self, id: str) -> tuple[Parts, dict[str, Any]]:
        """The parts and the free meta data of one; SnapshotInvalid names the file at fault."""
        read = self._manifest(id)
        return self._parts(read), read.meta

    def newest_valid(
        self,
        max_version: int | None = None,
        accept: Callable[[Manifest], bool] | None = None,
    ) -> Found | None:
        """The newest that passes every check, at most of `max_version` and accepted by the caller.

        None only if there is no snapshot at all. If there are and none can be used, that is
        SnapshotInvalid: a state that was lost is not the same as a state that never was.
        """
        listed = self.list()
        failures: Failures = []
        for entry in listed:
            if max_version is not None and _version(entry.id) > max_version:
                continue
            if entry.manifest and accept and not accept(entry.manifest):
                continue
            try:
                read = self._manifest(entry.id)
                return Found(read, self._parts(read), failures)
            except Damaged as damaged:
                failures.append(damaged.failure)
                if damaged.failure not in self.refused:
                    self.refused.append(damaged.failure)
        if not listed:
            return None
        reasons = "; ".join(f"{f['file']} {f['reason']}" for f in failures) or "none fits"
        raise SnapshotInvalid(
            f"none of the {len(listed)} snapshots in {self.directory} can be used: {reasons}"
        )

    def has_up_to(self, version: int) -> bool:
        """Whether there is any snapshot, good or damaged, of at most this version."""
        return any(_version(id) <= version for id in self._ids())

    def verify(self) -> Failures:
        """Read everything; what is wrong, empty if nothing is."""
        failures: Failures = []
        for id in self._ids():
            try:
                read = self._manifest(id)
            except Damaged as damaged:
                found = [damaged.failure]
            else:
                found = self._check_parts(read)
            if (self.directory / id).exists():  # else collected by the owner while we read
                failures += found
        return failures

    def pin(self, id: str) -> None:
        """Keep this one until `unpin`, whatever the policy says."""
        durable.write_file(self._existing(id) / PINNED, b"")

    def unpin(self, id: str) -> None:
        """Leave it to the policy again."""
        directory = self._existing(id)
        durable.unlink(directory / PINNED)
        durable.flush_directory(directory)

    def _existing(self, id: str) -> Path:
        if id not in self._ids():
            raise SnapshotInvalid(f"there is no snapshot {id!r} in {self.directory}")
        return self.directory / id

    def _ids(self) -> tuple[str, ...]:
        if not self.directory.is_dir():
            return ()
        return tuple(sorted(p.name for p in self.directory.iterdir() if _ID.fullmatch(p.name)))

    def _listed(self, id: str) -> Listed | None:
        pinned = (self.directory / id / PINNED).exists()
        try:
            return Listed(id, self._manifest(id), pinned, None)
        except Damaged as damaged:
            if not (self.directory / id).exists():
                return None  # collected by the owner while we looked
            return Listed(id, None, pinned, damaged.failure["reason"])

    def _manifest(self, id: str) -> Manifest:
        file = f"{id}/{manifest.NAME}"
        if not _ID.fullmatch(id):
            raise Damaged(id, file, "is not where a snapshot can be")
        try:
            read = manifest.decode((self.directory / file).read_bytes())
        except OSError as error:
            raise Damaged(id, file, f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Damaged(id, file, f"is damaged: {error}") from error
        if read.id != id:
            raise Damaged(id, file, f"belongs to snapshot {read.id}")
        return read

    def _parts(self, read: Manifest) -> Parts:
        return {name: self._part(read, name) for name in read.files}

    def _check_parts(self, read: Manifest) -> Failures:
        failures: Failures = []
        for name in read.files:
            try:
                self._part(read, name)
            except Damaged as damaged:
                failures.append(damaged.failure)
        return failures

    def _part(self, read: Manifest, name: str) -> dict[str, torch.Tensor]:
        stored = read.files[name]
        file = f"{OBJECTS}/{stored.object}"
        try:
            part = tensor_file.read(self.directory / file, stored.bytes, stored.sha256, self.told)
        except tensor_file.Unusable as error:
            raise Damaged(read.id, file, f"({name}) {error}") from error
        if part_digest(part) != read.digest[name]:
            raise Damaged(read.id, file, f"({name}) has another digest than its manifest says")
        self._remember(read.digest[name], stored)
        return part

    def _remember(self, digest: str, stored: StoredPart) -> None:
        """A part passed every check; only the owner has use for that."""


def _version(id: str) -> int:
    found = _ID.fullmatch(id)
    assert found, id
    return int(found[1])


def _serial(entry: Listed) -> tuple[bool, int, str]:
    return entry.manifest is None, entry.manifest.serial if entry.manifest else 0, entry.id
