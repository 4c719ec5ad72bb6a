"""What a demo holds: its folder, its port, its topic, its signals."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.cli import demo_service
from service.cli.demo_ending import Ending
from service.cli.demo_folder import PREFIX, own_folder
from service.cli.demo_run import TopicLeft, topic_on
from service.cli.demo_service import DemoService, PortTaken
from service.cli.demo_stream import SETTINGS
from service.stream.embedded import EmbeddedBroker, is_installed
from tests.processes import until


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_the_folder_of_a_demo_goes_with_it(root: Path) -> None:
    """
    Private while it is there, with all that is in it gone afterwards, also after an error.
    """
    with own_folder() as folder:
        (folder / "state").mkdir()
        assert [folder] == list(root.iterdir())
        assert 0o700 == folder.stat().st_mode & 0o777
    assert [] == list(root.iterdir())
    with pytest.raises(ZeroDivisionError), own_folder():
        raise ZeroDivisionError

    assert [] == list(root.iterdir())


@pytest.mark.parametrize(
    ("name", "inside", "mode"),
    [("video", "talk.txt", 0o700), ("abcdefgh", "talk.txt", 0o700), ("abcdefgh", "state", 0o755),
     ("my-state", "state", 0o700)],
)  # fmt: skip
def test_a_folder_that_only_is_called_like_a_demos_stays(
    root: Path, name: str, inside: str, mode: int
) -> None:
    """
    What somebody keeps under such a name is not ours to remove.
    """
    kept = root / f"{PREFIX}{name}" / inside
    kept.mkdir(parents=True)
    kept.parent.chmod(mode)
    with own_folder():
        pass

    assert kept.exists()


def test_folders_of_demos_that_were_killed_are_cleared(root: Path) -> None:
    """
    One whose process was killed goes at the next start; one in use, and what only has a name
    like it, stay.
    """
    script = (
        "import sys, time; from service.cli.demo_folder import own_folder\n"
        "with own_folder() as folder: print(folder, flush=True); time.sleep(600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True,
        env={"TMPDIR": str(root), "PYTHONPATH": str(Path(demo_service.__file__).parents[2])},
    ) as other:  # fmt: skip
        assert other.stdout is not None
        theirs = Path(other.stdout.readline().strip())
        (theirs / "state").mkdir()
        (root / f"{PREFIX}link").symlink_to(root.parent)
        (root / f"{PREFIX}file").touch()
        with own_folder() as ours:
            assert {theirs, ours} == {one for one in root.iterdir() if one.is_dir()} - {
                root / f"{PREFIX}link"
            }
        other.kill()
        other.wait()
    with own_folder():
        assert not theirs.exists()

    assert {f"{PREFIX}link", f"{PREFIX}file"} == {one.name for one in root.iterdir()}
    assert root.parent.exists()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error(tmp_path: Path, taken: int) -> None:
    """
    It says which, and what to do.
    """
    with pytest.raises(PortTaken, match=f"port {taken} on 127.0.0.1 is taken .* another port"):
        DemoService(tmp_path, SETTINGS, taken, lambda: False)


def test_the_usual_port_is_only_a_wish(
    tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Where it is taken another one is, and from that moment on nobody else can have it.
    """
    monkeypatch.setattr(demo_service, "_USUAL_PORT", taken)
    service = DemoService(tmp_path, SETTINGS, None, lambda: False)
    port = int(service.url.rpartition(":")[2])

    assert port != taken
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", port))
    service.close()


def test_signals_are_noted() -> None:
    """
    Ctrl-C makes the exit code 130, also when another signal comes after it; nothing is raised.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    try:
        ending = Ending()
        assert not ending.asked
        os.kill(os.getpid(), signal.SIGHUP)
        until(lambda: ending.asked)
        assert 0 == ending.exit_code
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        until(lambda: ending.interrupted)
        assert 130 == ending.exit_code
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@pytest.mark.skipif(not is_installed(), reason="the extra `embedded` is not installed")
def test_a_topic_on_a_kafka_that_went_away_is_named_and_holds_nobody_up(tmp_path: Path) -> None:
    with EmbeddedBroker(tmp_path) as broker:
        held = topic_on(broker.bootstrap_servers, "headwater-demo-7")
        held.__enter__()
    closed_s = time.monotonic()
    with pytest.raises(TopicLeft, match=f"headwater-demo-7 is left on {broker.bootstrap_servers}"):
        held.__exit__(None, None, None)

    assert time.monotonic() - closed_s < 4.0
