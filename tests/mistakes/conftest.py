"""Commands in this process, and the page that their messages are held against."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.cli import main as command
from tests.mistakes.mistake import Mistake, Request
from tests.mistakes.page import PAGE, messages, render

Said = tuple[int, str]
Do = Callable[..., Said]
_WRITES = os.environ.get("HEADWATER_TEST_MISTAKES") == "write"  # noqa: TID251 - a name of the suite


@pytest.fixture(autouse=True)
def _signals_as_before() -> Iterator[None]:
    """A learner that begins in this process asks for signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def headwater(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Do:
    """Give a command in the folder; return its exit code and all that it prints, but for log lines."""

    def run(line: str, **environment: str) -> Said:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "300")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", line.split())
        capfd.readouterr()
        try:
            code = command.main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        printed = capfd.readouterr()
        return code, plain(printed.out + printed.err, tmp_path)

    return run


def plain(text: str, folder: Path) -> str:
    """Return what people read: without log lines and frames, with names for what differs each time."""
    lines = []
    for line in text.replace(str(folder), "/srv/pay").splitlines():
        if line.startswith('{"') or set(line) & set("╭╰"):
            continue
        lines.append(line.strip("│ ") if line.startswith("│") else line.rstrip())
    text = re.sub(r"process \d+ on \S+?(?=\. |$)", "process 4711 on server-1", "\n".join(lines))
    return re.sub(r"\n{2,}", "\n", text).strip("\n")


def make(mistake: Mistake, folder: Path, settings: str | None = None) -> None:
    """Write its settings and files."""
    text = mistake.settings if settings is None else settings
    if text is not None:
        (folder / "headwater.yaml").write_text(text)
    for name, content in mistake.files.items():
        (folder / name).write_text(content)


def picked(text: str, only: str) -> str:
    """Return the line that begins so, and those that are indented below it."""
    if not only:
        return text
    found: list[str] = []
    for line in text.splitlines():
        if line.startswith(only) or (found and line.startswith("      ")):
            found.append(line)
        elif found:
            break
    return "\n".join(found)


class Page:
    """Holds messages against docs/mistakes.md, or writes them there."""

    def __init__(self) -> None:
        self._kept = messages()
        self._seen: dict[str, str] = {}

    def holds(self, mistake: Mistake | Request, ended: Said) -> None:
        """Exit code or status, and every line of the message."""
        code, said = ended
        self._seen[mistake.what] = said
        assert mistake.code == code, said
        assert said, "nothing is said"
        assert "Traceback" not in said
        if not _WRITES:
            assert self._kept.get(mistake.what) == said

    def knows(self, mistake: Mistake | Request, ended: Said) -> bool:
        """Whether this is what the page says."""
        return (mistake.code, self._kept.get(mistake.what)) == ended

    def close(self) -> None:
        """Write what was seen, where the page is to be written."""
        if _WRITES:
            PAGE.write_text(render(self._kept | self._seen))


@pytest.fixture(scope="session")
def page() -> Iterator[Page]:
    """The page of mistakes."""
    page = Page()
    yield page
    page.close()
