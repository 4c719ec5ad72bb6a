"""Whole states on disk, each complete or not there.

    objects/<sha256>.safetensors     one part of a state; several snapshots may share it
    v000000000123-0a1b2c3d/          one snapshot; appears only by rename
        manifest.json                what it consists of, with checksums
        PINNED                       there only while an operator wants to keep it
    .tmp-*                           an attempt that did not finish; removed by the next owner

Knows tensors and files; does not know what they mean. `Snapshots` is the one writer: it belongs to
the process that holds the state directory's lock. Everybody else uses `SnapshotReader`. `write` is
for a background thread and a state that nobody changes meanwhile. Every file is flushed before its
name can be seen, every name before the call returns; any error (a failed flush too) ends the
attempt, leaves the snapshots before it alone and takes its own files away.
"""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from service import crash
from service.errors import SnapshotInvalid
from service.weights import durable, manifest, tensor_file
from service.weights.digest import Part, part_digest
from service.weights.keep import Candidate, Keep, kept
from service.weights.manifest import Manifest, StoredPart
from service.weights.snapshot_reader import OBJECTS, Failure, Found, Listed, Parts, SnapshotReader

__all__ = [
    "Failure", "Found", "Keep", "Listed", "Manifest", "Parts", "SnapshotReader", "Snapshots",
]  # fmt: skip


class Snapshots(SnapshotReader):
    """The owner's side: write and collect, besides all that a reader can."""

    def __init__(
        self,
        directory: Path,
        keep: Keep,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(directory)
        self._objects = directory / OBJECTS
        self._keep = keep
        self._now = now
        self._stored: dict[str, StoredPart] = {}
        """By digest: parts that this process wrote or read whole, so need not write again."""
        self._changing = threading.Lock()
        durable.make_directory(self._objects)
        _remove_unfinished(directory)
        _remove_unfinished(self._objects)

    def write(self, parts: Mapping[str, Part], meta: Mapping[str, Any]) -> Manifest:
        """A new snapshot of `meta["version"]` in `meta["lineage"]`; durable when this returns."""
        version, lineage = meta["version"], meta["lineage"]
        id = manifest.snapshot_id(version, lineage)
        with self._changing:
            created: list[Path] = []
            try:
                files, digests = self._write_objects(parts, created)
                crash.point("snap_weights_written")
                written = Manifest(
                    schema=manifest.SCHEMA,
                    id=id,
                    version=version,
                    lineage=lineage,
                    serial=self._next_serial(),
                    created_at=self._now().astimezone(UTC).isoformat(),
                    files=files,
                    digest=digests,
                    meta=dict(meta),
                )
                self._write_manifest(written)
            except tensor_file.Unusable as error:
                self._take_back(created)
                raise SnapshotInvalid(
                    f"the state of version {version} is unfit: {error}"
                ) from error
            except OSError:
                self._take_back(created)  # or a full disk fills up with what no snapshot names
                raise
            self._stored = {digests[name]: files[name] for name in files}
            return written

    def set_aside(self, version: int) -> tuple[str, ...]:
        """Put every snapshot of a later version out of use, without removing it; the ids.

        Its directory is named `aside-...` then, which no reader looks at.
        """
        with self._changing:
            later = [e.id for e in self.list() if e.manifest and e.manifest.version > version]
            for id in later:
                durable.rename(
                    self.directory / id, self.directory / f"aside-{uuid.uuid4().hex[:8]}-{id}"
                )
            durable.flush_directory(self.directory)
            return tuple(later)

    def collect(self, reach: Iterable[int] = ()) -> tuple[str, ...]:
        """Remove what the keep policy does not keep, then the parts nobody names; the ids gone.

        For each version of `reach` the newest snapshot up to it stays as well. A damaged snapshot goes when there are as many good ones as the policy wants at least.
        """
        with self._changing:
            listed = self.list()
            good = [entry for entry in listed if entry.manifest]
            stays = kept(map(_candidate, good), self._keep)
            for version in reach:
                upto = [e for e in good if e.manifest and e.manifest.version <= version]
                stays |= {e.id for e in upto[:1]}
            if len(good) < self._keep.last:
                stays |= {entry.id for entry in listed if entry.manifest is None}
            gone = tuple(e.id for e in listed if e.id not in stays and not e.pinned)
            self._remove(gone)
            self._remove_unnamed()
            return gone

    def pin(self, id: str) -> None:
        """Keep this one until `unpin`; never while old ones are being collected."""
        with self._changing:
            super().pin(id)

    def _write_objects(
        self, parts: Mapping[str, Part], created: list[Path]
    ) -> tuple[dict[str, StoredPart], dict[str, str]]:
        files: dict[str, StoredPart] = {}
        digests: dict[str, str] = {}
        for name, part in parts.items():
            tensor_file.check(part)
            digests[name] = part_digest(part)
            files[name] = self._reusable(digests[name]) or self._write_object(part, created)
        durable.flush_directory(self._objects)
        return files, digests

    def _reusable(self, digest: str) -> StoredPart | None:
        stored = self._stored.get(digest)
        if stored is None:
            return None
        path = self._objects / stored.object
        return stored if path.exists() and path.stat().st_size == stored.bytes else None

    def _write_object(self, part: Part, created: list[Path]) -> StoredPart:
        temporary = self._objects / f"{durable.TEMPORARY}{uuid.uuid4().hex}"
        try:
            nbytes, sha256 = tensor_file.write(part, temporary)
            path = self._objects / f"{sha256}{tensor_file.SUFFIX}"
            if not path.exists():
                created.append(path)
            durable.rename(temporary, path)  # also heals a damaged one of this name
        finally:
            durable.unlink(temporary)
        return StoredPart(object=path.name, bytes=nbytes, sha256=sha256)

    def _write_manifest(self, written: Manifest) -> None:
        content = manifest.encode(written)
        final = self.directory / written.id
        if final.exists():  # the same version again, after a restart: its directory is in place
            durable.write_file(final / manifest.NAME, content)
            durable.flush_directory(self.directory)  # who renamed it may have died before that
            return
        temporary = self._temporary(written.id)
        try:
            durable.create_directory(temporary)
            crash.point("snap_before_manifest")
            durable.write_new(temporary / manifest.NAME, content, _manifest_written)
            durable.flush_directory(temporary)
            crash.point("snap_before_rename")
            durable.rename(temporary, final)
            crash.point("snap_after_rename")
        except OSError:
            with contextlib.suppress(OSError):  # the next owner removes what stays
                durable.remove_directory(temporary)
            raise
        durable.flush_directory(self.directory)
        crash.point("snap_after_dirsync_before_commit")

    def _temporary(self, id: str) -> Path:
        return self.directory / f"{durable.TEMPORARY}{id}-{uuid.uuid4().hex}"

    def _next_serial(self) -> int:
        return 1 + max((e.manifest.serial for e in self.list() if e.manifest), default=0)

    def _remember(self, digest: str, stored: StoredPart) -> None:
        self._stored[digest] = stored

    def _remove(self, ids: tuple[str, ...]) -> None:
        for id in ids:  # first out of sight, so that a crash leaves no half of one behind
            durable.rename(self.directory / id, self._temporary(id))
            crash.point("mid_gc")
        durable.flush_directory(self.directory)
        _remove_unfinished(self.directory)

    def _remove_unnamed(self) -> None:
        named = self._named()
        for path in self._objects.glob(f"*{tensor_file.SUFFIX}"):
            if path.name not in named:
                durable.unlink(path)
        self._stored = {d: part for d, part in self._stored.items() if part.object in named}

    def _take_back(self, created: list[Path]) -> None:
        named = self._named()  # the last flush may have failed with the snapshot already in place
        for path in created:
            if path.name not in named:
                durable.unlink(path)

    def _named(self) -> set[str]:
        good = [entry.manifest for entry in self.list() if entry.manifest]
        return {stored.object for one in good for stored in one.files.values()}


def _manifest_written() -> None:
    crash.point("snap_manifest_before_fsync")


def _candidate(entry: Listed) -> Candidate:
    assert entry.manifest, entry.id
    created_at = datetime.fromisoformat(entry.manifest.created_at)
    return Candidate(entry.id, entry.manifest.serial, created_at, entry.pinned)


def _remove_unfinished(directory: Path) -> None:
    for path in directory.glob(".tmp*"):
        if path.is_dir():
            durable.remove_directory(path)
        else:
            durable.unlink(path)
