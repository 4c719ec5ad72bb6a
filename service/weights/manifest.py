"""What a snapshot says of itself: one JSON file that carries its own checksum.

Knows the text, not the directory around it. The last field is the sha256 of all that stands before
it, so a single wrong bit anywhere in the file is found, also in offsets and other free text that
nothing else covers.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

SCHEMA = "headwater.snapshot/1"
NAME = "manifest.json"
_OBJECT = re.compile(r"[0-9a-f]{64}\.safetensors")
_SEAL = re.compile(rb',\n  "sha256": "([0-9a-f]{64})"\n\}\n')
_SEAL_BYTES = len(b',\n  "sha256": ""\n}\n') + 64


class StoredPart(msgspec.Struct, frozen=True):
    """Where one part lies: `object` is a file name in the objects directory."""

    object: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True):
    """One snapshot. A higher `serial` was written later, whatever the clock said."""

    schema: str
    id: str
    version: int
    lineage: str
    serial: int
    created_at: str
    """ISO 8601, UTC."""
    files: dict[str, StoredPart]
    digest: dict[str, str]
    meta: dict[str, Any]

    @property
    def nbytes(self) -> int:
        """Bytes of all parts, shared with other snapshots or not."""
        return sum(part.bytes for part in self.files.values())


def snapshot_id(version: int, lineage: str) -> str:
    """The name of a snapshot's directory; `lineage` starts with eight letters or digits."""
    if not re.fullmatch(r"[0-9A-Za-z]{8}", lineage[:8]) or version < 0:
        raise ValueError(f"not a version and a lineage: {version}, {lineage!r}")
    return f"v{version:012d}-{lineage[:8]}"


def encode(manifest: Manifest) -> bytes:
    """The text of the file, sealed."""
    body = msgspec.json.format(msgspec.json.encode(manifest), indent=2).removesuffix(b"\n}")
    seal = hashlib.sha256(body).hexdigest()
    return body + f',\n  "sha256": "{seal}"\n}}\n'.encode()


def decode(content: bytes) -> Manifest:
    """The manifest, if no bit of it changed; otherwise ValueError that says what is wrong."""
    body, seal = content[:-_SEAL_BYTES], _SEAL.fullmatch(content[-_SEAL_BYTES:])
    if seal is None or hashlib.sha256(body).hexdigest() != seal[1].decode():
        raise ValueError("its text is not what was written")
    manifest = msgspec.json.decode(body + b"}", type=Manifest)
    if manifest.schema != SCHEMA:
        raise ValueError(f"schema {manifest.schema} is not {SCHEMA}")
    if manifest.files.keys() != manifest.digest.keys():
        raise ValueError("files and digests are not of the same parts")
    if any(not _OBJECT.fullmatch(stored.object) for stored in manifest.files.values()):
        raise ValueError("it names a file that cannot be a part")
    return manifest
