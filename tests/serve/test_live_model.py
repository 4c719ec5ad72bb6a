"""Reading the live weights while they change."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from service.metrics import Metrics
from service.model.scorer import Scorer
from service.serve.live_model import LiveModel
from service.serve.problems import Refused
from service.weights.live import LiveWriter
from tests.fakes.scorer import NBYTES, TELLTALE, TelltaleScorer, image_of, telltale_scorer
from tests.processes import until

SCORER: Scorer = TelltaleScorer(TELLTALE)


class Publisher:
    """Publishes images in which every word is the version."""

    def __init__(self, directory: Path) -> None:
        self.writer = LiveWriter.open(directory, nbytes=NBYTES, layout=TELLTALE.to_json())
        self.version = 0

    def publish(self) -> None:
        self.version += 1
        meta = {
            "name": "telltale",
            "version": self.version,
            "lineage": "l",
            "events_learned": 0,
            "trained_through": {},
            "published_at_ns": time.time_ns(),
            "event_time_ms": None,
        }
        touched = np.ones(NBYTES // 256, dtype=np.uint8)
        while not self.writer.publish(image_of(self.version), touched, meta):
            time.sleep(0.0001)


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    publisher = Publisher(tmp_path)
    with publisher.writer:
        yield publisher


@pytest.fixture
def live(tmp_path: Path, publisher: Publisher) -> Iterator[LiveModel]:
    retries = Metrics("api-0").counter("headwater_read_retries_total")
    live = LiveModel(tmp_path, retries, telltale_scorer)
    live.follow()
    yield live
    live.close()


def seen(live: LiveModel) -> tuple[float, float, int]:
    """Return the greatest and least word of the image, and the version the reply would name."""
    columns, _ = SCORER.decoder.features([{"x": 1}])
    scores, served = live.read(lambda attached: attached.score(columns))
    return scores[0, 0], scores[0, 1], served.version


def test_every_read_is_of_the_version_it_names(live: LiveModel, publisher: Publisher) -> None:
    """
    While a writer publishes as fast as it can, no read mixes versions, none goes back.
    """
    publisher.publish()
    done = threading.Event()

    def publish() -> None:
        while not done.is_set():
            publisher.publish()

    thread = threading.Thread(target=publish)
    thread.start()
    reads: list[tuple[float, float, int]] = []

    def enough() -> bool:
        reads.extend(seen(live) for _ in range(100))
        return len(reads) >= 400 and len({version for _, _, version in reads[::20]}) > 2

    try:
        until(enough)
    finally:
        done.set()
        thread.join()
    versions = [version for _, _, version in reads]

    assert [(v, v, v) for v in versions] == reads
    assert versions == sorted(versions)


def test_a_read_that_is_overtaken_is_done_again(
    tmp_path: Path, live: LiveModel, publisher: Publisher
) -> None:
    """
    A slot that was overwritten while it was read is thrown away, and counted.
    """
    publisher.publish()
    metrics = Metrics("api-0")
    retries = metrics.counter("headwater_read_retries_total")
    reader = LiveModel(tmp_path, retries, telltale_scorer)
    reader.follow()
    overtaken = [True]

    def slow(attached: object) -> str:
        if overtaken:
            overtaken.pop()
            for _ in range(3):
                publisher.publish()  # the third waits 50 ms for the pin, then writes over it
        return "read"

    result, served = reader.read(slow)
    reader.close()

    assert ("read", publisher.version) == (result, served.version)
    assert 1 == retries.get()


def test_a_reader_that_never_keeps_up_reads_a_copy(live: LiveModel, publisher: Publisher) -> None:
    """
    What takes longer than any pin is respected is computed on a private copy, and still true.
    """
    publisher.publish()
    columns, _ = SCORER.decoder.features([{"x": 1}])
    tries = []

    def slow(attached: object) -> tuple[float, float]:
        tries.append(1)
        if len(tries) <= 5:
            for _ in range(3):
                publisher.publish()
        scores = attached.score(columns)  # type: ignore[attr-defined]
        return scores[0, 0], scores[0, 1]

    (greatest, least), served = live.read(slow)

    assert greatest == least == served.version
    assert 6 == len(tries)


def test_a_bug_in_the_computation_is_not_taken_for_a_torn_read(
    live: LiveModel, publisher: Publisher
) -> None:
    """
    What is raised over an intact slot comes through at once.
    """
    publisher.publish()

    with pytest.raises(ZeroDivisionError):
        live.read(lambda _: 1 / 0)


def test_nothing_to_read_is_not_ready(tmp_path: Path) -> None:
    """
    Without a live file there is nothing to compute with.
    """
    live = LiveModel(tmp_path, Metrics("api-0").counter("headwater_read_retries_total"))
    live.follow()

    with pytest.raises(Refused, match="no learner has started yet"):
        live.scorer()


def test_weights_of_another_arrangement_are_not_read(tmp_path: Path, publisher: Publisher) -> None:
    """
    An API that would look for tensors in other places says so instead of guessing.
    """
    publisher.publish()
    live = LiveModel(tmp_path, Metrics("api-0").counter("headwater_read_retries_total"))
    live.follow()
    with pytest.raises(Refused, match="run the API and the learner from one version"):
        seen(live)
    live.close()


def test_the_last_weights_outlive_their_writer(
    tmp_path: Path, live: LiveModel, publisher: Publisher
) -> None:
    """
    A learner that is gone, even with its files, takes nothing away.
    """
    publisher.publish()
    live.follow()
    publisher.writer.close()
    for path in tmp_path.iterdir():
        path.unlink()
    live.follow()

    assert (1, 1, 1) == seen(live)


def test_a_learner_that_returns_is_followed(
    tmp_path: Path, live: LiveModel, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    After its death the learner goes on in the same file, and so does the reader.
    """
    publisher.publish()
    assert (1, 1, 1) == seen(live)
    publisher.writer.close()
    again = Publisher(tmp_path)
    again.version = 1
    with again.writer:
        again.publish()
        live.follow()

        assert (2, 2, 2) == seen(live)


def test_a_file_that_takes_over_is_followed_at_the_next_request(
    live: LiveModel, publisher: Publisher, tmp_path: Path
) -> None:
    """
    Not only when the next look is due: another worker may serve from it already.
    """
    publisher.publish()
    live.follow()
    publisher.writer.close()
    other = LiveWriter.open(tmp_path, nbytes=NBYTES, layout=TELLTALE.to_json(), meta_bytes=1 << 17)
    publisher.writer = other
    publisher.publish()
    live.follow()

    assert 2 == live.read(lambda _: None)[1].version
    other.close()


def test_an_api_that_starts_first_says_that_it_waits_for_a_learner(tmp_path: Path) -> None:
    """
    Which is no trouble of a file; that the file is there is said as well.
    """
    retries = Metrics("api-0").counter("headwater_read_retries_total")
    live = LiveModel(tmp_path, retries, telltale_scorer)
    with capture_logs() as logs:

        def told(lines: int) -> bool:
            live.follow()
            return len(logs) >= lines

        until(lambda: told(1))
        with Publisher(tmp_path).writer:
            until(lambda: told(2))
        live.close()

    assert ["waiting", "live_file"] == [one["event"] for one in logs]
    assert f"no learner has written live weights in {tmp_path} yet" == logs[0]["why"]
    assert logs[1]["trouble"] is None
