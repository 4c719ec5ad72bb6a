"""The live file within one process: publishing and pinning."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.weights.live import LiveReader, LiveWriter
from tests.weights.live_images import ALL, BLOCKS, LAYOUT, NONE, Clock, image, opened, served


def test_nothing_is_served_before_the_first_publication(
    writer: LiveWriter, reader: LiveReader
) -> None:
    """
    The layout is known already.
    """
    assert reader.pin() is None
    assert LAYOUT == reader.layout
    assert reader.heartbeat() is None
    assert 0 == writer.publications


def test_what_is_published_is_served(writer: LiveWriter, reader: LiveReader) -> None:
    """
    Image and meta data belong together.
    """
    assert writer.publish(image(7), ALL, {"version": 7, "lineage": "ä"})

    with reader.pinned() as slot:
        assert slot
        assert {"version": 7, "lineage": "ä"} == slot.meta
        assert image(7).tobytes() == slot.image.tobytes()
        assert slot.intact()


def test_the_image_cannot_be_written(writer: LiveWriter, reader: LiveReader) -> None:
    """
    It is the mapped file itself, without a copy and without the right to change it.
    """
    writer.publish(image(7), ALL, {"version": 7})
    slot = reader.pin()

    assert slot
    assert not slot.image.flags.writeable
    with pytest.raises(ValueError, match="WRITEABLE"):
        slot.image.flags.writeable = True
    with pytest.raises(ValueError, match="read-only"):
        slot.image[0] = 1


changes = st.lists(
    st.tuples(st.sets(st.integers(0, BLOCKS - 1)), st.booleans()), min_size=1, max_size=12
)


@given(changes=changes)
def test_copying_what_was_touched_gives_the_whole_image(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[set[int], bool]]
) -> None:
    """
    For any sequence of touched blocks and of publications that a pin made fail.
    """
    directory = tmp_path_factory.mktemp("live")
    clock, now = Clock(), image(0)
    with opened(directory, clock=clock) as writer:
        writer.publish(now, ALL, {"version": 0})
        reader, blocking = LiveReader(directory), LiveReader(directory)
        for version, (blocks, blocked) in enumerate(changes, start=1):
            held = blocking.pin() if blocked else None
            touched = NONE.copy()
            for block in blocks:
                now[block * 256 : (block + 1) * 256] = version
                touched[block] = 1
            if not writer.publish(now, touched, {"version": version}):
                clock.now_s += 1
                assert writer.publish(now, NONE, {"version": version})
            with reader.pinned() as slot:
                assert slot
                assert version == slot.meta["version"]
                assert now.tobytes() == slot.image.tobytes()
            if held:
                blocking.unpin()
        reader.close()
        blocking.close()


def test_blocks_not_touched_are_not_copied(writer: LiveWriter, reader: LiveReader) -> None:
    """
    After both slots were written whole, only flagged blocks travel.
    """
    for version, touched in ((1, ALL), (2, ALL), (3, NONE)):
        writer.publish(image(version), touched, {"version": version})
    second = NONE.copy()
    second[1] = True
    writer.publish(image(4), second, {"version": 4})

    with reader.pinned() as slot:
        assert slot
        assert [2, 4, 2] == [int(slot.image[at]) for at in (0, 256, 512)]


def test_a_pinned_slot_is_left_alone_for_50_ms(
    writer: LiveWriter, reader: LiveReader, clock: Clock
) -> None:
    """
    The other slot is written at once; then the pinned one's turn comes, and waits.
    """
    writer.publish(image(1), ALL, {"version": 1})
    slot = reader.pin()
    assert slot

    assert writer.publish(image(2), ALL, {"version": 2})
    assert not writer.publish(image(3), ALL, {"version": 3})
    clock.now_s += 0.049
    assert not writer.publish(image(3), ALL, {"version": 3})
    assert slot.intact()
    assert {1} == set(slot.image.tolist())


def test_after_50_ms_a_pinned_slot_is_written_over(
    writer: LiveWriter, reader: LiveReader, clock: Clock
) -> None:
    """
    The reader notices, and finds the new version when it tries again.
    """
    writer.publish(image(1), ALL, {"version": 1})
    slot = reader.pin()
    writer.publish(image(2), ALL, {"version": 2})
    writer.publish(image(3), ALL, {"version": 3})
    clock.now_s += 0.051

    assert writer.publish(image(3), NONE, {"version": 3})
    assert slot
    assert not slot.intact()
    reader.unpin()
    assert (3, 3) == served(reader)


def test_a_reader_that_hangs_is_waited_for_once(
    writer: LiveWriter, reader: LiveReader, clock: Clock
) -> None:
    """
    Its pin is void from then on; it does not slow down every second publication.
    """
    writer.publish(image(1), ALL, {"version": 1})
    reader.pin()
    writer.publish(image(2), ALL, {"version": 2})
    writer.publish(image(3), ALL, {"version": 3})
    clock.now_s += 0.051

    assert [True] * 5 == [writer.publish(image(v), ALL, {"version": v}) for v in range(3, 8)]


def test_unpinning_frees_the_slot(writer: LiveWriter, reader: LiveReader) -> None:
    """
    The writer need not wait any more.
    """
    writer.publish(image(1), ALL, {"version": 1})
    reader.pin()
    writer.publish(image(2), ALL, {"version": 2})
    assert not writer.publish(image(3), ALL, {"version": 3})
    reader.unpin()

    assert writer.publish(image(3), NONE, {"version": 3})
    assert (3, 3) == served(reader)


def test_two_pins_of_one_reader_need_two_unpins(writer: LiveWriter, reader: LiveReader) -> None:
    """
    Threads of one process share a cell.
    """
    writer.publish(image(1), ALL, {"version": 1})
    first, second = reader.pin(), reader.pin()
    writer.publish(image(2), ALL, {"version": 2})
    reader.unpin(first)
    assert not writer.publish(image(3), ALL, {"version": 3})
    reader.unpin(second)

    assert writer.publish(image(3), ALL, {"version": 3})


def test_the_key_names_the_memory(writer: LiveWriter, reader: LiveReader) -> None:
    """
    Two slots take turns, so views made for a slot can be used again.
    """
    keys = []
    for version in range(4):
        writer.publish(image(version), ALL, {"version": version})
        with reader.pinned() as slot:
            assert slot
            keys.append((slot.key, slot.image.ctypes.data))

    assert keys[:2] == keys[2:]
    assert 2 == len(set(keys))


def test_a_64th_and_a_65th_reader_read_as_well(writer: LiveWriter, tmp_path: Path) -> None:
    """
    Without a cell there is no protection, only more retries.
    """
    writer.publish(image(1), ALL, {"version": 1})
    readers = [LiveReader(tmp_path) for _ in range(66)]
    slots = [one.pin() for one in readers]
    writer.publish(image(2), ALL, {"version": 2})

    assert [(2, 2)] * 66 == [served(one) for one in readers]
    assert all(slot and slot.intact() for slot in slots)
    for one in readers:
        one.close()
    assert (2, 2) == served(LiveReader(tmp_path))


def test_a_cell_becomes_free_when_its_reader_closes(writer: LiveWriter, tmp_path: Path) -> None:
    """
    And a reader that had none takes it at its next refresh.
    """
    writer.publish(image(1), ALL, {"version": 1})
    crowd = [LiveReader(tmp_path) for _ in range(64)]
    late = LiveReader(tmp_path)
    crowd[5].close()
    late.refresh()
    late.pin()
    writer.publish(image(2), ALL, {"version": 2})

    assert not writer.publish(image(3), ALL, {"version": 3})
    for one in (late, *crowd):
        one.close()


def test_the_heartbeat_is_apart_from_publications(writer: LiveWriter, reader: LiveReader) -> None:
    """
    An idle stream is not a dead learner.
    """
    writer.beat({"state": "replaying", "heartbeat_ns": 5})
    assert {"state": "replaying", "heartbeat_ns": 5} == reader.heartbeat()
    writer.beat({"state": "idle"})
    found = reader.heartbeat()

    assert found
    assert "idle" == found["state"]
    assert found["heartbeat_ns"] > 1_700_000_000 * 10**9
    assert found is reader.heartbeat()


def test_texts_that_do_not_fit_are_refused(writer: LiveWriter, reader: LiveReader) -> None:
    """
    Before anything is changed.
    """
    writer.publish(image(1), ALL, {"version": 1})
    writer.beat({"state": "learning"})
    with pytest.raises(ValueError, match="do not fit into 65536"):
        writer.publish(image(2), ALL, {"version": 2, "text": "x" * 65536})

    assert (1, 1) == served(reader)
    assert (reader.heartbeat() or {})["state"] == "learning"


@pytest.mark.parametrize("reason", ["x" * 100_000, "\u0001" * 9000, "\ud800", "\U0001f600" * 5000])
def test_a_sign_of_life_is_given_whatever_its_reason_says(
    writer: LiveWriter, reader: LiveReader, reason: str
) -> None:
    """
    A text that is too long, or that is no text, is cut: a learner does not die of its own words.
    """
    writer.beat({"state": "halted", "reason": reason, "lag_records": 7})
    found = reader.heartbeat() or {}

    assert ("halted", 7) == (found["state"], found["lag_records"])
    assert reason[:100] == found["reason"][:100] or reason == "\ud800"
    assert found["reason"].endswith("...") or reason == "\ud800"
