"""What `python -m service` does before anything of it is imported."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from service.supervise import environment

SEEN = """
import signal, sys
given = signal.SIG_IGN if sys.argv[1] == "ignored" else signal.default_int_handler
signal.signal(signal.SIGINT, given)
class Watching:
    def find_spec(self, name, *_):
        if name == "service.cli.main":
            print(getattr(signal.getsignal(signal.SIGINT), "name", "raises"))
sys.meta_path.insert(0, Watching())
import service.__main__
print(signal.getsignal(signal.SIGINT) is given)
"""


@pytest.mark.parametrize(
    ("given", "meanwhile"), [("ignored", signal.SIG_IGN), ("usual", signal.SIG_DFL)]
)
def test_ctrl_c_amid_imports_ends_without_a_traceback_unless_it_is_ignored(
    given: str, meanwhile: signal.Handlers
) -> None:
    """
    Ctrl-C is not meant for a background job, whose shell has it ignored.
    """
    said = subprocess.run(
        [sys.executable, "-c", SEEN, given], capture_output=True, text=True, check=True,
        env=environment(),
    )  # fmt: skip

    assert [meanwhile.name, "True"] == said.stdout.split()
