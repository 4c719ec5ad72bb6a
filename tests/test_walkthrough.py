"""README.md and docs/tutorial.md are typed in as they stand: each command, in order, in an empty folder.

A comment above a block says what a reader does otherwise: `file: NAME` (write it), `background` (a
terminal of its own), `ctrl-c` (in that terminal, before this block), `skip: WHY`. A block without a
language below a block of commands is what they print. Versions, lineages, ages and times are others each
time; every other figure, the predictions too, must be the one on the page.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.processes import PATIENCE_S, free_port

CHECKOUT = Path(__file__).parent.parent
_BLOCK = re.compile(
    r"(?P<notes>(?:^<!--[^>]*-->\n)*)^```(?P<kind>[a-z]*)\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_NOTE = re.compile(r"<!-- ([a-z-]+)(?:: (.*?))? -->")
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:e-?\d+)?")
_OTHER_EACH_TIME = re.compile(
    r'("lineage":"|"age_seconds":|"version":|\bversion (?=\d)|\bage_seconds |uptime seconds +|pid +|lineage +'
    r"|heartbeat age seconds +|version +(?=\d)|acknowledged, |The learner is )[\w.]+"
)


@dataclass
class Block:
    """A code block of a page, what the page says to do with it, and what it prints."""

    kind: str
    body: str
    notes: dict[str, str]
    prints: str = ""


@dataclass
class Reader:
    """Somebody who follows a page in a folder of their own."""

    page: Path
    folder: Path
    port: int = field(default_factory=free_port)
    running: subprocess.Popen[bytes] | None = None
    typed: int = 0
    versions: dict[str, str] = field(default_factory=dict)
    failure: BaseException | None = None

    def read(self) -> None:
        """Follow the page to its end; what goes wrong is in `failure`."""
        try:
            for block in blocks(self.page.read_text()):
                self.do(block)
        except BaseException as error:  # noqa: BLE001  # the test that waits for this thread raises it
            self.failure = error
        finally:
            self.interrupt()

    def do(self, block: Block) -> None:
        """Do what one block asks for."""
        if "skip" in block.notes:
            assert block.notes["skip"], "why?"
            return
        if "ctrl-c" in block.notes:
            assert 130 == self.interrupt()
        if "file" in block.notes:
            (self.folder / block.notes["file"]).write_text(block.body)
        elif "background" in block.notes:
            self.start(block.body)
        elif block.kind == "sh":
            self.type(block)

    def start(self, script: str) -> None:
        """Run it in a terminal of its own, and wait until the API answers."""
        with (self.folder / "terminal.log").open("ab") as log:
            self.running = subprocess.Popen(
                self.command(f"exec {script}"), cwd=self.folder, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        probe = f"curl -s localhost:{self.port}/healthz"
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run(["bash", "-c", probe], capture_output=True, check=False).returncode:
            assert self.running.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def type(self, block: Block) -> None:
        """Type it; a question (curl, status) is asked again until the answer is the page's."""
        asks = block.body.startswith(("curl", "headwater status"))
        deadline = time.monotonic() + PATIENCE_S
        while True:
            done = self.shell(block.body)
            same = alike(block.prints) == alike(done.stdout) if block.prints else True
            if not asks or same or time.monotonic() > deadline or self.running is None:
                break
            time.sleep(0.1)
        assert 0 == done.returncode, f"{block.body}\n{done.stdout}\n{self.log()}"
        if block.prints:
            assert alike(block.prints) == alike(done.stdout), (
                f"{block.body}\n{done.stdout}\n{self.log()}"
            )
        self.typed += 1
        for told, real in zip(versions(block.prints), versions(done.stdout), strict=False):
            self.versions[told] = real

    def shell(self, script: str) -> subprocess.CompletedProcess[str]:
        """Run a script as typed but for the port, and a version that an earlier reply gave."""
        script = script.replace("localhost:8080", f"localhost:{self.port}")
        script = re.sub(r"--to (\d+)", lambda m: f"--to {self.versions[m[1]]}", script)
        return subprocess.run(
            self.command(script), cwd=self.folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip

    def command(self, script: str) -> list[str]:
        """Return a shell for it: a free port, our `headwater` and `python`, nothing out of the folder."""
        port, runtime = self.port, shlex.quote(str(self.folder / "runtime"))
        setting = f"export HEADWATER_API__PORT={port} HEADWATER_RUNTIME__DIRECTORY={runtime}"
        found = f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
        return ["bash", "-e", "-o", "pipefail", "-c", f"{setting}\n{found}\n{script}"]

    def interrupt(self) -> int | None:
        """Press Ctrl-C in the other terminal; return how it ended, None where nothing runs."""
        if self.running is None:
            return None
        running, self.running = self.running, None
        running.send_signal(signal.SIGINT)
        return running.wait(PATIENCE_S)

    def log(self) -> str:
        """Return what the other terminal shows."""
        path = self.folder / "terminal.log"
        return path.read_text() if path.exists() else ""


def blocks(text: str) -> Iterator[Block]:
    """Give the blocks of a page that a reader acts on."""
    waiting: Block | None = None
    for match in _BLOCK.finditer(text):
        block = Block(match["kind"], match["body"], dict(_NOTE.findall(match["notes"])))
        if waiting is not None and not block.kind and "skip" not in waiting.notes:
            waiting.prints = block.body
        if waiting is not None:
            yield waiting
        waiting = block if block.kind else None
    if waiting is not None:
        yield waiting


def alike(text: str) -> list[str]:
    """Return the words of an output; what is other each time is masked, figures are rounded."""
    masked = _OTHER_EACH_TIME.sub(r"\1~", text)
    rounded = _NUMBER.sub(lambda m: _rounded(m[0]), masked)
    return rounded.split()


def _rounded(figure: str) -> str:
    plain = figure.replace(",", "")
    return f"{float(plain):.6f}" if plain.count(".") == 1 else plain


def versions(text: str) -> list[str]:
    """Return the versions that replies name."""
    return re.findall(r'"version":(\d+)', text)


def test_an_output_is_compared_by_all_that_must_be_the_same() -> None:
    """
    Ages, versions and lineages may differ, a prediction may not.
    """
    page = '{"p":0.4325998,"version":1,"lineage":"ab12","age_seconds":1.25}'

    assert alike(page) == alike('{"p":0.4325998,"version":7,"lineage":"ff","age_seconds":0.1}')
    assert alike(page) != alike('{"p":0.4326998,"version":1,"lineage":"ab12","age_seconds":1.25}')
    assert alike("The learner is idle.") == alike("The learner is learning.")
    assert alike("version  8\nage_seconds 1.5") == alike("version    12\nage_seconds 0.508")


def test_a_block_knows_what_the_page_says_about_it() -> None:
    """
    Comments and the output below belong to the block; an output of what is skipped does not count.
    """
    text = "<!-- ctrl-c -->\n<!-- background -->\n```sh\na\n```\nso:\n```\nb\n```\n<!-- skip: no -->\n```sh\nc\n```\n```\nd\n```\n"

    first, second = blocks(text)

    assert ({"ctrl-c": "", "background": ""}, "b\n") == (first.notes, first.prints)
    assert ({"skip": "no"}, "") == (second.notes, second.prints)


@pytest.mark.e2e
@pytest.mark.slow
def test_the_readme_and_the_tutorial_do_what_they_say(tmp_path: Path) -> None:
    """
    Two newcomers at once, each with a page, type every command and get what the page shows.
    """
    pytest.importorskip("noida_db", reason="the embedded broker is not installed")
    readers = []
    for page in ("README.md", "docs/tutorial.md"):
        folder = tmp_path / Path(page).stem[0]  # short: the path of a socket has its limits
        folder.mkdir()
        readers.append(Reader(CHECKOUT / page, folder))
    threads = [threading.Thread(target=reader.read) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for reader in readers:
        if reader.failure is not None:
            raise reader.failure

    assert [3, 12] == [reader.typed for reader in readers]
