"""Make the pictures of docs/demo.md: `python docs/capture_demo.py`, a good minute.

Runs the real `headwater demo` in a tmux of a known size and takes its screen three times: before
there is a twin, after a change of taste, and after Ctrl-C. Writes docs/demo-*.svg. Needs tmux; ends what
it starts.
"""

from __future__ import annotations

import io
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).parent
COLUMNS, LINES = 100, 36
CHANGE_S = 40
"""Between changes of taste: sooner than by default, so that nobody waits."""
AFTER_S = 8
"""From a change of taste to the picture: what the models lost by it is in their figures by then."""
_PATIENCE_S = 120
_REMOTE_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
_SEED = "headwater"
"""Of the ids in a picture: the same screen gives the same file."""


class Terminal:
    """A tmux server of its own with one window; use as a context manager."""

    def __init__(self, folder: Path, command: str) -> None:
        self._tmux = ["tmux", "-f", "/dev/null", "-S", str(folder / "tmux")]
        self._command = command

    def __enter__(self) -> Terminal:
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self._run("new-session", "-d", *size, f"{self._command}; echo; echo ended; exec sleep 600")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("kill-server")

    def press(self, key: str) -> None:
        self._run("send-keys", key)

    def screen(self, *, coloured: bool = False) -> str:
        return self._run("capture-pane", "-p", *(["-e"] if coloured else []))

    def wait(self, until: Callable[[str], object], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not until(self.screen()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never saw {what}; the screen:\n{self.screen()}")
            time.sleep(0.1)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(
            [*self._tmux, *arguments], check=True, capture_output=True, text=True, encoding="utf-8"
        )
        return done.stdout


def elapsed(screen: str) -> int:
    """Return the seconds that the demo says it has run; 0 before it says so."""
    found = re.search(r"headwater demo +(\d+):(\d+)", screen)
    return 60 * int(found[1]) + int(found[2]) if found else 0


def keep(name: str, terminal: Terminal) -> None:
    """Write one screen as a picture."""
    shown = terminal.screen(coloured=True).rstrip()
    coloured = shown.rpartition("\nended")[0] or shown
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text.from_ansi(coloured), soft_wrap=True)
    picture = console.export_svg(title="headwater demo", unique_id=f"{_SEED}-{name}")
    # no font from elsewhere: the reader's own monospaced one
    picture = _REMOTE_FONTS.sub("", picture).replace("Fira Code", "DejaVu Sans Mono")
    (DOCS / f"demo-{name}.svg").write_text(picture)


def main() -> None:
    """Take the three pictures."""
    ours = Path(sys.executable).with_name("headwater")
    with tempfile.TemporaryDirectory(
        dir="/var/tmp"
    ) as folder:  # a short path: it is in the picture
        command = f"cd {folder}; PATH={shlex.quote(str(ours.parent))}:$PATH TMPDIR=/var/tmp "
        command += f"PYTHONPATH={shlex.quote(str(DOCS.parent))} headwater demo --change {CHANGE_S}"
        with Terminal(Path(folder), command) as terminal:
            terminal.wait(lambda screen: elapsed(screen) >= 10, "ten seconds of the demo")
            keep("start", terminal)
            terminal.wait(lambda screen: "just changed" in screen, "a change of taste")
            terminal.wait(lambda screen: elapsed(screen) >= CHANGE_S + AFTER_S, "what it costs")
            keep("change", terminal)
            terminal.wait(lambda screen: elapsed(screen) >= 2 * CHANGE_S - 5, "what was learned")
            terminal.press("C-c")
            terminal.wait(lambda screen: "\nended" in screen, "the end")
            keep("end", terminal)


if __name__ == "__main__":
    main()
