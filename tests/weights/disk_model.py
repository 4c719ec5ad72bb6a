"""A disk that remembers what was done to it, and what a power cut may leave of that.

`Recorder` stands in for the functions of `durable` by which journal and snapshots change the disk;
each does its work, and is noted. `after` builds from the first so many of those notes a disk as it
may be found when the power comes back:

- of what was written to a file since its last flush, each piece may be there, be missing, be there
  in part, or be zeros (a longer file whose bytes never came); a cut may have come or not;
- of the names made, changed or removed in a directory since its last flush, each change may be
  there or not, whatever the others are; but a rename comes as a whole;
- what was flushed is there.

`Choices` decides about each: `draw` of hypothesis, or always the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.weights import durable

Op = tuple[Any, ...]
CHANGING = (
    "create", "append", "truncate", "flush", "create_directory", "rename", "unlink",
    "remove_directory", "flush_directory",
)  # fmt: skip


class Killed(BaseException):
    """The process is dead. No `except` of the service may catch it."""


class Choices:
    """What became of a change that was not flushed. This one: nothing is left of any."""

    def name(self, *, newest: bool) -> bool:
        """Whether this change of a name is there. newest: it is the last one of its directory."""
        return False

    def cut(self) -> bool:
        """Whether a file that was cut off is."""
        return False

    def piece(self, size: int) -> tuple[str, int]:
        """What is there of `size` bytes: ("lost", 0), ("zeros", n) or ("bytes", n)."""
        return "lost", 0


class All(Choices):
    """Everything is there, as after the death of a process."""

    def name(self, *, newest: bool) -> bool:
        return True

    def cut(self) -> bool:
        return True

    def piece(self, size: int) -> tuple[str, int]:
        return "bytes", size


class NamesOnly(All):
    """Every name is there, and no byte that was not flushed: files as long as they were, of zeros."""

    def piece(self, size: int) -> tuple[str, int]:
        return "zeros", size


class BytesOnly(All):
    """Every byte is there, under the names of before."""

    def name(self, *, newest: bool) -> bool:
        return False


class NewestNameOnly(All):
    """Every byte is there, and of each directory's changes the last one alone."""

    def name(self, *, newest: bool) -> bool:
        return newest


class Drawn(Choices):
    """As hypothesis likes it."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self._draw = draw
        """Returns a number from 0 to its argument."""

    def name(self, *, newest: bool) -> bool:
        return self._draw(1) == 1

    def cut(self) -> bool:
        return self._draw(1) == 1

    def piece(self, size: int) -> tuple[str, int]:
        match self._draw(3):
            case 0:
                return "lost", 0
            case 1:
                return "zeros", size
            case 2:
                return "bytes", self._draw(size)
        return "bytes", size


@dataclass
class File:
    """One file: what is safe of it, and what was done since."""

    safe: bytes = b""
    since: list[Op] = field(default_factory=list)

    def whole(self) -> bytes:
        return self.left(All())

    def left(self, choices: Choices) -> bytes:
        """Its bytes after a power cut."""
        content = bytearray(self.safe)
        for op, where, what in self.since:
            if op == "cut":
                if choices.cut():
                    del content[where:]
                continue
            kind, n = choices.piece(len(what))
            if kind == "lost":
                continue
            content.extend(bytes(max(0, where + n - len(content))))
            content[where : where + n] = what[:n] if kind == "bytes" else bytes(n)
        return bytes(content)


@dataclass
class Folder:
    """One directory: its names as they are now, as they are safe, and the changes between."""

    now: dict[str, Any] = field(default_factory=dict)
    safe: dict[str, Any] = field(default_factory=dict)
    since: list[dict[str, Any]] = field(default_factory=list)
    """Each change: what becomes of which names; None removes one."""

    def change(self, **names: Any) -> None:
        self.since.append(names)
        _apply(self.now, names)

    def left(self, choices: Choices) -> dict[str, Any]:
        """Its names after a power cut."""
        names = dict(self.safe)
        for change in self.since:
            if choices.name(newest=change is self.since[-1]):
                _apply(names, change)
        return names


def _apply(names: dict[str, Any], change: dict[str, Any]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class Recorder:
    """Notes every change of the disk below `root` while it stands in."""

    def __init__(self, patch: pytest.MonkeyPatch, root: Path) -> None:
        self.root = root
        self.ops: list[Op] = []
        self.watching = True
        self.dies_after: int | None = None
        """So many changes from now, the process is killed; from then on it changes nothing."""
        self._open: dict[int, int] = {}
        self._files = 0
        for name in (*CHANGING, "reopen", "close"):
            patch.setattr(durable, name, getattr(self, f"_{name}")(getattr(durable, name)))

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """What happens meanwhile, on another disk, is not noted."""
        self.watching = False
        try:
            yield
        finally:
            self.watching = True

    def revive(self) -> None:
        """Another process goes on."""
        self.dies_after = None

    def _alive(self) -> None:
        if self.dies_after == 0:
            raise Killed

    def _note(self, kind: str, *what: Any) -> None:
        if not self.watching:
            return
        named = [str(w.relative_to(self.root)) if isinstance(w, Path) else w for w in what]
        self.ops.append((kind, *named))
        if self.dies_after is not None:
            self.dies_after -= 1
            self._alive()

    def _opened(self, real: Any, kind: str) -> Any:
        def opened(path: Path) -> int:
            self._alive()
            fd: int = real(path)
            self._files += 1
            self._open[fd] = self._files
            self._note(kind, path, self._files)
            return fd

        return opened

    def _create(self, real: Any) -> Any:
        return self._opened(real, "create")

    def _reopen(self, real: Any) -> Any:
        return self._opened(real, "reopen")

    def _append(self, real: Any) -> Any:
        def append(fd: int, content: Any) -> int:
            self._alive()
            n: int = real(fd, content)
            self._note("append", self._open[fd], bytes(content[:n]))
            return n

        return append

    def _truncate(self, real: Any) -> Any:
        def truncate(fd: int, size: int) -> None:
            self._alive()
            real(fd, size)
            self._note("truncate", self._open[fd], size)

        return truncate

    def _flush(self, real: Any) -> Any:
        def flush(fd: int) -> None:
            self._alive()
            # noted only: what a real flush does to this machine's disk is not what is tested
            self._note("flush", self._open[fd])

        return flush

    def _close(self, real: Any) -> Any:
        def close(fd: int) -> None:
            self._open.pop(fd)
            real(fd)

        return close

    def _create_directory(self, real: Any) -> Any:
        def create_directory(path: Path) -> None:
            self._alive()
            real(path)
            self._note("create_directory", path)

        return create_directory

    def _rename(self, real: Any) -> Any:
        def rename(old: Path, new: Path) -> None:
            self._alive()
            real(old, new)
            self._note("rename", old, new)

        return rename

    def _unlink(self, real: Any) -> Any:
        def unlink(path: Path) -> None:
            there = path.exists()
            self._alive()
            real(path)
            if there:
                self._note("unlink", path)

        return unlink

    def _remove_directory(self, real: Any) -> Any:
        def remove_directory(path: Path) -> None:
            self._alive()
            real(path)
            self._note("remove_directory", path)

        return remove_directory

    def _flush_directory(self, real: Any) -> Any:
        def flush_directory(path: Path) -> None:
            self._alive()
            if path == self.root or self.root in path.parents:  # not what holds the root itself
                self._note("flush_directory", path)

        return flush_directory


Tree = dict[str, Any]
"""Names, each of a Tree or of the bytes of a file."""


def _left(folder: Folder, choices: Choices) -> Tree:
    return {
        name: _left(node, choices) if isinstance(node, Folder) else node.left(choices)
        for name, node in folder.left(choices).items()
    }


def write_tree(tree: Tree, where: Path) -> None:
    """Make a directory that holds this."""
    where.mkdir()
    for name, node in tree.items():
        if isinstance(node, dict):
            write_tree(node, where / name)
        else:
            (where / name).write_bytes(node)


class Disk:
    """The disk as the notes describe it."""

    def __init__(self, ops: list[Op]) -> None:
        self.root = Folder()
        self._open: dict[int, File] = {}
        for name, *rest in ops:
            getattr(self, f"_{name}")(*rest)

    def left(self, choices: Choices) -> Tree:
        """What a power cut leaves."""
        return _left(self.root, choices)

    def _folder(self, path: str) -> tuple[Folder, str]:
        *above, name = Path(path).parts or ("",)
        folder = self.root
        for step in above:
            folder = folder.now[step]
        return folder, name

    def _create(self, path: str, number: int) -> None:
        folder, name = self._folder(path)
        self._open[number] = File()
        folder.change(**{name: self._open[number]})

    def _reopen(self, path: str, number: int) -> None:
        folder, name = self._folder(path)
        self._open[number] = folder.now[name]

    def _append(self, number: int, content: bytes) -> None:
        file = self._open[number]
        file.since.append(("append", len(file.whole()), content))

    def _truncate(self, number: int, size: int) -> None:
        self._open[number].since.append(("cut", size, b""))

    def _flush(self, number: int) -> None:
        file = self._open[number]
        file.safe, file.since = file.whole(), []

    def _create_directory(self, path: str) -> None:
        folder, name = self._folder(path)
        folder.change(**{name: Folder()})

    def _rename(self, old: str, new: str) -> None:
        folder, name = self._folder(old)
        _, other = self._folder(new)
        folder.change(**{other: folder.now[name], name: None})

    def _unlink(self, path: str) -> None:
        folder, name = self._folder(path)
        folder.change(**{name: None})

    _remove_directory = _unlink

    def _flush_directory(self, path: str) -> None:
        folder, name = self._folder(path)
        folder = folder.now[name] if name else folder
        folder.safe, folder.since = dict(folder.now), []
