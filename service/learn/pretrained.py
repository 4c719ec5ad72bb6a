"""Weights that a new model starts from: a safetensors file, matched with the model by name.

Only version 0 is made of it. Its genesis entry holds the file's sha256 and which tensor became
which, so that a rebuild from version 0 is the same, or says that the file is not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors
import structlog
import torch

from service.errors import BadSettings, Problem, SnapshotInvalid
from service.model.layout import Entry, Layout
from service.model.rivals import BESIDE
from service.model.state import State
from service.settings import PretrainedSettings

_log = structlog.get_logger(__name__)
_MODULE = "module/"
_SHOWN = 10


class Matched(msgspec.Struct):
    """What a file has of a model's weights."""

    file: str
    sha256: str
    used: dict[str, str]
    """Our names -> those in the file."""
    missing: list[str]
    """Weights that start fresh: the file has none of their name."""
    unexpected: list[str]
    """Tensors of the file that nothing of ours is named after."""
    misfits: list[str]
    """Pairs of one name and two shapes, as sentences; those of ours start fresh."""

    def entry(self) -> dict[str, Any]:
        """Return what the genesis entry holds."""
        return {"file": self.file, "sha256": self.sha256, "names": self.used}

    def lines(self) -> list[str]:
        """Return the differences for people."""
        told = [f"{self.file}: {len(self.used)} tensors are used"]
        for what, names in (
            ("not in the file, start fresh", self.missing),
            ("in the file, not used", self.unexpected),
            ("of another shape, start fresh", self.misfits),
        ):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                told.append(f"{len(names)} {what}: {', '.join(names[:_SHOWN])}{more}")
        return told


def match(layout: Layout, said: PretrainedSettings) -> Matched:
    """Compare a file with a model. BadSettings where it cannot be read, where nothing of it fits,
    and, with `strict`, where there is any difference."""
    path = said.file.expanduser().resolve()
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            names = file.keys()
            theirs = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        sha256 = _sha256(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise _bad("file", f"{path} cannot be read: {error}", "Name a safetensors file.") from None
    ours = _ours(layout)
    named = {name: _their_name(name, said.names, theirs) for name in ours}
    unknown = [name for name in said.names if not name.endswith("*") and name not in ours]
    if unknown:
        known = ", ".join(sorted(_wanted(layout))[:_SHOWN])
        raise _bad("names", f"the model has no weights {unknown}", f"It has: {known}...")
    there = {name: their for name, their in named.items() if their in theirs}
    used = {name: their for name, their in there.items() if theirs[their] == ours[name].shape}
    matched = Matched(
        file=str(path),
        sha256=sha256,
        used=used,
        missing=sorted(name for name in _wanted(layout) if name not in there),
        unexpected=sorted(theirs.keys() - set(there.values())),
        misfits=[
            f"{name} is {list(ours[name].shape)}, {their} is {list(theirs[their])}"
            for name, their in there.items()
            if name not in used
        ],
    )
    if not used or (said.strict and (matched.missing or matched.unexpected or matched.misfits)):
        why = "differs from the model" if used else "holds no tensor that fits the model"
        hint = "Map names in model.pretrained.names" + (
            ", or say strict: false." if used else "; `config check` shows both sides."
        )
        raise _bad("file", f"{why}: {'; '.join(matched.lines())}", hint)
    return matched


def tell(matched: Matched) -> None:
    """Log what is used and what is not."""
    _log.info(
        "pretrained", file=matched.file, sha256=matched.sha256, used=len(matched.used),
        missing=matched.missing, unexpected=matched.unexpected, misfits=matched.misfits,
    )  # fmt: skip


def start_from(state: State, entry: dict[str, Any]) -> None:
    """Write the tensors that a genesis entry speaks of into a fresh state.

    Raises SnapshotInvalid where the file is not there any more, or holds other bytes.
    """
    path = Path(entry["file"])
    hint = "put it back, or begin from a snapshot"
    try:
        found = _sha256(path)
        if found != entry["sha256"]:
            raise SnapshotInvalid(
                f"version 0 was made of {path}, which has changed since (sha256 {found}, was "
                f"{entry['sha256']}): {hint}"
            )
        with safetensors.safe_open(path, framework="pt") as file:
            for name, their in entry["names"].items():
                _write(state, name, file.get_tensor(their), path)
    except (OSError, safetensors.SafetensorError) as error:
        raise SnapshotInvalid(f"version 0 was made of {path}, {hint}: {error}") from None
    _follow(state, entry["names"])
    state.touch_all()


def _follow(state: State, written: Collection[str]) -> None:
    """What begins as a weight (an average, an anchor, the point of l2_init) begins as the one of
    the file, unless the file says what it is."""
    layout = state.layout
    for (part, name), (weight, _) in layout.copied.items():
        if name not in written:
            ours = layout.by_name["weights", weight].view(state.image)
            layout.by_name[part, name].view(state.image)[...] = ours


def _write(state: State, name: str, tensor: torch.Tensor, path: Path) -> None:
    if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
        raise _bad("file", f"{name} is not finite in {path}", "Leave it out of the file.")
    entry = state.layout.by_name["weights", name]
    view = entry.view(state.image)
    plain = tensor.to(torch.float64 if tensor.is_floating_point() else tensor.dtype).numpy()
    with np.errstate(over="ignore"):
        view[...] = plain
    if not np.isfinite(view).all():
        raise _bad("file", f"{name} is too large in {path}", "Leave it out of the file.")


def _ours(layout: Layout) -> dict[str, Entry]:
    """Return everything that the main model's predictions read, by name: challengers start from
    nothing, and who answers begins with it."""
    return {e.name: e for e in layout.own if e.part == "weights" and not e.name.startswith(BESIDE)}


def _wanted(layout: Layout) -> set[str]:
    """Return the names of weights: scales and frames may be in a file, and need not."""
    kept = {one.name for one in layout.kind.extras if one.part == "weights"}
    return kept | set(layout.parameters)


def _their_name(name: str, names: dict[str, str], theirs: dict[str, Any]) -> str:
    if name in names:
        return names[name]
    for pattern, their in names.items():
        if pattern.endswith("*") and name.startswith(pattern[:-1]):
            return their.removesuffix("*") + name[len(pattern) - 1 :]
    plain = name.removeprefix(_MODULE)
    return plain if name not in theirs and plain in theirs else name


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _bad(key: str, msg: str, hint: str) -> BadSettings:
    return BadSettings([Problem(f"model.pretrained.{key}", None, msg, hint)])
