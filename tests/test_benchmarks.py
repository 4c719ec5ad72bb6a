"""What the benchmarks say about what they measured, and that they notice when it is not true."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks import cluster, events, load, processes, truth
from benchmarks.__main__ import main
from benchmarks.results import Failed, Run, as_json, as_table, of_rounds
from benchmarks.stream import Sent
from benchmarks.watch import Sight
from service.events.decode import Decoder
from service.events.schema import Schema
from service.settings import Settings
from service.stream.embedded import EmbeddedBroker
from tests.processes import PATIENCE_S, until

RUNS = [Run.against(10.0, 100.0), Run.against(30.0, 100.0), Run.against(20.0, 400.0)]


def sight(version: int, *through: int, at: int = 0, lineage: str = "a", learned: int = -1) -> Sight:
    """What a true service says, unless told otherwise."""
    return Sight(at, version, lineage, sum(through) if learned < 0 else learned, through)


def sent(*places: tuple[int, int, int]) -> Sent:
    """Records as (partition, offset, moment of sending); acknowledged at once."""
    partition, offset, sent_ns = np.array(places, dtype=np.int64).T
    return Sent(partition, offset, sent_ns, sent_ns)


@pytest.fixture(scope="module")
def noop_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that does nothing."""
    port = processes.free_port()
    log = tmp_path_factory.mktemp("noop") / "noop.log"
    with processes.Process(processes.module("benchmarks.noop", str(port)), log) as process:
        url = f"http://127.0.0.1:{port}{processes.PREDICT}"
        process.until_answering(url, b"{}", PATIENCE_S)
        yield url


@pytest.mark.e2e
@pytest.mark.slow
def test_a_benchmark_prints_one_json_object_of_the_contract(tmp_path: Path) -> None:
    """
    Kafka to weights at a tiny size: every key is there, and nothing is left behind.
    """
    pytest.importorskip("noida_db", reason="the extra `embedded` is not installed")
    asked = ["learn", "--json", "--events", "40960", "--rounds", "1", "--seconds", "1"]
    with EmbeddedBroker(tmp_path / "broker") as broker:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", *asked, "--bootstrap", broker.bootstrap_servers],
            cwd=processes.CHECKOUT,
            env=processes.environment() | {"TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    assert 0 == done.returncode, done.stderr
    printed = json.loads(done.stdout)
    result = printed["results"][0]
    assert ("learn", "events/s", 1) == (result["name"], result["unit"], len(result["runs"]))
    assert {"name": "empty consume loop", "value": result["runs"][0]["baseline"]} == (
        result["baseline"]
    )
    assert result["ratio"] == pytest.approx(result["value"] / result["baseline"]["value"])
    assert {"cpu", "cores", "memory_gib", "python", "libraries", "broker"} <= set(
        printed["machine"]
    )
    assert [] == list(tmp_path.glob("headwater-bench-*"))


def test_the_ratio_is_the_median_of_the_ratios_of_each_round() -> None:
    """
    Rounds hold a figure against the baseline beside it, not against that of another time.
    """
    result = of_rounds("n", "events/s", "nothing", RUNS)

    assert result.baseline is not None
    assert (20.0, 100.0, 0.1) == (result.value, result.baseline.value, result.ratio)


def test_json_has_the_keys_of_the_contract() -> None:
    """
    name, value, unit, baseline, ratio, runs; and the machine beside the results.
    """
    printed = json.loads(as_json([of_rounds("n", "events/s", "nothing", RUNS)], {"cpu": "x"}))

    (result,) = printed["results"]
    assert {"cpu": "x"} == printed["machine"]
    assert {"name", "value", "unit", "baseline", "ratio", "runs"} <= set(result)
    assert {"name": "nothing", "value": 100.0} == result["baseline"]


def test_the_table_shows_medians_and_their_spread() -> None:
    """
    People see how far the rounds lie apart.
    """
    table = as_table([of_rounds("n", "events/s", "nothing", RUNS)], {"cpu": "x"})

    _, row, _, machine = table.splitlines()
    assert "n events/s 20 10 - 30 nothing 100 0.1 0.05 - 0.3" == " ".join(row.split())
    assert "cpu: x" == machine


def test_an_unknown_benchmark_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    """
    Exit 2, with the names there are.
    """
    with pytest.raises(SystemExit) as ended:
        main(["lern"])

    assert 2 == ended.value.code
    assert "learn, predict, freshness" in capsys.readouterr().err


def test_a_named_kafka_comes_before_that_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    --bootstrap, then HEADWATER_TEST_KAFKA; neither is stopped, both are tidied up.
    """
    monkeypatch.setenv(cluster.NAMED_BY, "there:9092")

    found = []
    for named in ("here:9092", None):
        with cluster.found(named, tmp_path, print) as kafka:
            found.append(kafka.bootstrap)

    assert ["here:9092", "there:9092"] == found


def test_no_setting_of_the_caller_reaches_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    HEADWATER_ variables stay outside.
    """
    monkeypatch.setenv("HEADWATER_LEARNING__BATCH_ROWS", "1")

    assert not [name for name in processes.environment() if name.startswith("HEADWATER_")]


def test_events_are_what_the_settings_describe(
    load_settings: Callable[..., Settings],
) -> None:
    """
    Ten features and a label, about 200 bytes, no fault in any of them; the same ones every time.
    """
    text = msgspec.json.encode(events.settings_for("t", "localhost:9092")).decode()
    decoder = Decoder(Schema(load_settings(text).event), seed=0)
    values = [msgspec.json.encode(event) for event in events.made(500)]

    decoded = decoder.decode_records(values)

    assert values == [msgspec.json.encode(event) for event in events.made(500)]
    assert [] == decoded.faults
    assert (500, 5) == decoded.columns.numbers.shape == decoded.columns.codes.shape
    assert {0.0, 1.0} == set(decoded.columns.targets[:, 0].tolist())
    assert 150 < sum(map(len, values)) / 500 < 250


def test_questions_hold_no_answers() -> None:
    """
    Bodies for /v1/predict: so many events each, without their label.
    """
    bodies = [json.loads(body) for body in events.questions(3, 7)]

    assert [7, 7, 7] == [len(body["events"]) for body in bodies]
    assert not [e for body in bodies for e in body["events"] if events.TARGET in e]


def test_load_counts_what_is_answered(noop_url: str, tmp_path: Path) -> None:
    """
    Both load generators reach a server, and say how fast it was.
    """
    bodies = events.questions(3, 1)

    def asked(ask: Callable[[], load.Loaded]) -> load.Loaded:
        """Ask until a machine that is busy elsewhere lets more than one request a connection be."""
        return until(lambda: found if (found := ask()).requests > load.CONNECTIONS else None)

    for loaded in (
        asked(lambda: load.own(noop_url, bodies, 0.2)),
        asked(lambda: load.load(noop_url, bodies, 0.2, tmp_path)),
    ):
        assert 0 == loaded.failed
        assert 0 < loaded.p50_ms <= loaded.p99_ms <= 1e3 * loaded.seconds


def test_load_that_is_not_answered_is_no_measurement(noop_url: str, tmp_path: Path) -> None:
    """
    Anything but 200 fails it, with both load generators.
    """
    assert 0 < load.own(noop_url + "/not/here", [b"{}"], 0.1).failed
    with pytest.raises(Failed):
        load.load(noop_url + "/not/here", [b"{}"], 0.1, tmp_path)


def test_freshness_is_the_time_to_the_first_sight_that_covers_a_record() -> None:
    """
    trained_through is the first offset that is not in the weights.
    """
    through = np.array([[0, 0], [1, 0], [2, 2]])
    records = sent((0, 0, 5), (0, 1, 6), (1, 0, 7), (1, 1, 8))

    waited = truth.freshness_ns(records, np.array([10, 20, 30]), through)

    assert [15, 24, 23, 22] == waited.tolist()


def test_what_was_never_learned_is_not_fresh() -> None:
    """
    A record above every trained_through fails the measurement.
    """
    with pytest.raises(Failed, match="1 records were never learned"):
        truth.freshness_ns(sent((0, 0, 5), (0, 1, 6)), np.array([10]), np.array([[1]]))


def test_nothing_is_learned_before_it_is_sent() -> None:
    """
    A reply that claims a record of the future is found out.
    """
    with pytest.raises(Failed, match="before they were sent"):
        truth.freshness_ns(sent((0, 0, 5)), np.array([4]), np.array([[1]]))


def test_a_true_story_passes() -> None:
    """
    Versions rise or stay, and count what is below trained_through.
    """
    truth.check_sights([sight(3, 1, 2), sight(3, 1, 2), sight(5, 4, 2)])
    truth.check_ends(sight(5, 4, 2), [4, 3])
    compared = truth.check_journal([sight(3, 1, 2), sight(5, 4, 2)], {5: (4, 2), 6: (9, 9)})

    assert 1 == compared


@pytest.mark.parametrize(
    "lie",
    [
        sight(2, 1, 2),
        sight(4, 1, 2, lineage="b"),
        sight(4, 1, 2, learned=4),
        sight(3, 2, 2),
        sight(3, 2, 1),
    ],
    ids=["version falls", "other lineage", "miscounted", "one version twice", "same sum"],
)
def test_lies_about_a_version_are_found(lie: Sight) -> None:
    """
    One of them is enough.
    """
    with pytest.raises(Failed):
        truth.check_sights([sight(3, 1, 2), lie])


def test_learning_beyond_the_end_of_the_topic_is_found() -> None:
    """
    No version has learned what was not there.
    """
    with pytest.raises(Failed, match="beyond the end"):
        truth.check_ends(sight(5, 4, 2), [4, 1])


@pytest.mark.parametrize("journaled", [{3: (2, 1)}, {}], ids=["differs", "knows nothing"])
def test_a_version_that_the_journal_does_not_confirm_is_found(
    journaled: dict[int, tuple[int, ...]],
) -> None:
    """
    The journal is what a version means.
    """
    with pytest.raises(Failed):
        truth.check_journal([sight(3, 1, 2)], journaled)
