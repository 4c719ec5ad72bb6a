"""Every interleaving of a pin and publications, moment by moment.

Both sides come to their fence before and after each shared number they load or store. Here the
fence is where the other side gets its turn, or where the writer dies, so all orders can be tried
one by one instead of waiting for them to happen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from service.weights.live import LiveReader, LiveWriter

NBYTES = 1024
ALL = np.ones(NBYTES // 256, dtype=np.uint8)


class Killed(BaseException):
    """The writer dies here."""


class Moment:
    """A fence that does something, once, when it is passed for the `at`-th time from now."""

    def __init__(self) -> None:
        self._left = -1
        self._do: Callable[[], None] = lambda: None

    def after(self, at: int, do: Callable[[], None]) -> None:
        self._left, self._do = at, do

    def __call__(self) -> None:
        self._left -= 1
        if self._left == -1:
            self._do()

    @property
    def came(self) -> bool:
        return self._left < 0


def opened(directory: Path, moment: Moment) -> LiveWriter:
    """A writer that never waits for a pin: its clock runs a second at each look."""
    seconds = itertools.count()
    return LiveWriter.open(
        directory, nbytes=NBYTES, layout=b"{}", fence=moment, clock=lambda: float(next(seconds))
    )


def publish(writer: LiveWriter, *versions: int) -> None:
    for version in versions:
        image = np.full(NBYTES // 8, version, dtype=np.uint64).view(np.uint8)
        assert writer.publish(image, ALL, {"version": version})


def look(reader: LiveReader) -> int:
    """The version served now; the image must be all of it, or say that it is not intact."""
    with reader.pinned() as slot:
        assert slot
        values = set(slot.image.view(np.uint64).tolist())
        assert not slot.intact() or values == {slot.meta["version"]}
        return int(slot.meta["version"])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_publications_at_any_moment_of_a_pin(tmp_path: Path, count: int) -> None:
    """
    The reader gets one whole image, and a later look never finds an older one.
    """
    tried = 0
    with opened(tmp_path, Moment()) as writer:
        publish(writer, 1)
        moment = Moment()
        reader = LiveReader(tmp_path, fence=moment)
        while moment.came:
            before = 1 + tried * count
            newer = range(before + 1, before + count + 1)
            moment.after(tried, partial(publish, writer, *newer))
            found = [look(reader), look(reader)]
            tried += moment.came
            assert [] == [v for v in found if not before <= v <= newer[-1]]
            assert found == sorted(found)
        reader.close()

    assert tried > 5


def test_a_pin_at_any_moment_of_a_publication(tmp_path: Path) -> None:
    """
    It gets the image before or the image after, whole.
    """
    moment, version = Moment(), 1
    with opened(tmp_path, moment) as writer:
        publish(writer, version)
        reader = LiveReader(tmp_path)
        seen: list[int] = []
        while moment.came:
            moment.after(len(seen), lambda: seen.append(look(reader)))
            version += 1
            publish(writer, version)
            assert version == look(reader)
        reader.close()

    assert [0, 1] == sorted({at + 2 - found for at, found in enumerate(seen)})
    assert len(seen) > 8


MOMENTS = range(14)


@pytest.mark.parametrize("whole", [0, 1, 2])
@pytest.mark.parametrize("pins_at", MOMENTS)
def test_a_writer_that_dies_at_any_moment_while_a_reader_pins(
    tmp_path: Path, pins_at: int, whole: int
) -> None:
    """
    Some publications and a part of another, at one moment of a pin. What the reader calls intact
    is whole, and versions do not go back, not then and not after a restart.
    """
    found = [_death(tmp_path / str(at), pins_at, whole, at) for at in MOMENTS]

    assert [] == [seen for seen in found if seen != sorted(seen)]


def _death(directory: Path, pins_at: int, whole: int, dies_at: int) -> list[int]:
    """The versions that a reader sees around the death of a writer, and after another came."""
    pinning, writing = Moment(), Moment()
    writer = opened(directory, writing)
    publish(writer, 1)
    reader = LiveReader(directory, fence=pinning)

    def publish_and_die() -> None:
        publish(writer, *range(2, 2 + whole))
        writing.after(dies_at, _killed)
        with suppress(Killed):
            publish(writer, 2 + whole)

    pinning.after(pins_at, publish_and_die)
    seen = [1, look(reader), look(reader)]
    writer.close()
    with opened(directory, Moment()) as another:
        seen.append(look(reader))
        for version in (10, 11):
            publish(another, version)
            seen += [look(reader), version]
    reader.close()
    return seen


def _killed() -> None:
    raise Killed
