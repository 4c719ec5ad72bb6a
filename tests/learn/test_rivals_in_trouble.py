"""Challengers where something else goes wrong as well: records that are gone, weights that are not
finite, code that raises, another rule, work that is left out."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.torch import save_file
from structlog.testing import capture_logs

from service.errors import DataLost
from service.learn import pretrained, rivals
from service.learn.changes import challengers_changed
from service.learn.commands import Refused
from service.learn.learner import Learner
from service.model import rivals as held_of
from service.settings import MAIN, PretrainedSettings
from service.stream.records import Offsets, Record
from service.weights.digest import digest
from tests.learn.cuts import learner, recipe, records, take
from tests.learn.desk import PLACE, Desk, _Range
from tests.learn.test_rivals import Trouble, beside

WIDE = {
    "features": {"x": {"type": "number"}, "c": {"type": "category", "buckets": 4096}},
    "targets": {"y": {"type": "binary"}},
}
RULE = {"rows": 100, "windows": 3, "margin": 0.0, "sure": 0.0}


def without_records(desk: Desk, before: int) -> Desk:
    """Return a process on the same state, the records before this offset being gone."""
    desk.close()
    return Desk(
        desk.folder, desk.recipe, [r for r in desk.topic if r.offset >= before], skip_lost=True
    )


def failing(desk: Desk, how: str) -> None:
    """Have the challenger fail at the next cut."""
    layout = desk.learner.layout.rivals["deep"].layout
    desk.learner._rivals.pupils["deep"] = Trouble(layout, how)


def test_who_answered_after_a_rollback_still_does_where_the_records_are_gone(tmp_path):
    """What the rollback took back is not what was ordered; what stood before it is."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(20))
    desk.order("promote", name="deep")
    desk.learn(records(20, 20))
    back = desk.learner.standing.version
    desk.order("promote", name=MAIN)
    desk.orders.obey({"command": "rollback", "to": back})  # nobody waits until it is saved
    after = without_records(desk, 1000)
    answers = (desk.learner.state.serves, after.learner.state.serves)
    after.close()

    assert ("deep", "deep") == answers


def test_a_challenger_that_sat_out_does_not_answer_where_the_records_are_gone(tmp_path):
    """It was promoted once it had begun again, and that is given up: main answers."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    good = desk.learner._rivals.pupils["deep"]
    failing(desk, "not_finite")
    desk.learn(records(20))
    desk.learner._rivals.pupils["deep"] = good
    desk.saver.now(desk.learner)
    desk.learn(records(1000, 20))
    desk.order("promote", name="deep")
    with capture_logs() as logs:
        after = without_records(desk, 1020)
    answers = (desk.learner.state.serves, after.learner.state.serves)
    after.close()

    assert ("deep", MAIN) == answers
    [said] = [entry for entry in logs if entry["event"] == "promotion_given_up"]
    assert (MAIN, True) == (said["answers"], "deep failed and sits out" in said["why"])


class Holed(Desk):
    """Of the records those from offset 20 on are gone, as it is where a topic has partitions."""

    def _ranges(self, learner: Learner) -> _Range:
        reader = super()._ranges(learner)
        read = reader.read_range

        def read_range(next_offsets: Offsets) -> list[Record]:
            if next_offsets[PLACE] > 20:
                raise DataLost("offsets from 20 on are gone")
            return read(next_offsets)

        reader.read_range = read_range  # type: ignore[method-assign]
        return reader


def test_what_was_ordered_holds_where_records_are_gone_twice(tmp_path):
    """The entry that gave others up, and said what holds, is itself given up."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(20))
    desk.learn(records(20, 20))
    desk.order("promote", name="deep")
    desk.order("pause")
    desk.close()
    once = Holed(tmp_path, desk.recipe, desk.topic, skip_lost=True)
    held = (once.learner.state.serves, once.learner.standing.paused, once.kinds()[-1])
    twice = without_records(once, 1000)
    still = (twice.learner.state.serves, twice.learner.standing.paused, twice.kinds()[-1])
    twice.close()

    assert [("deep", True, "environment")] * 2 == [held, still]


def test_main_does_not_take_over_with_weights_that_are_not_finite(tmp_path):
    """Nobody looked at them while another answered: no event touches them."""
    desk = Desk(tmp_path, beside(event=WIDE, deep="mlp"))
    desk.learn(records(50))
    desk.order("promote", name="deep")
    state = desk.learner.state
    blocks = state.theta.reshape(-1, 64)
    free = np.flatnonzero(~blocks.any(axis=1))[2]
    blocks[free, 3] = np.nan
    state.touched[free] = 1
    desk.learn(records(20, 50))  # published: the challenger answers
    failing(desk, "raised")
    desk.learn(records(20, 70))
    answered, said = desk.live_meta()["answered_by"], desk.acts.status()
    desk.close()

    assert ("deep", "halted") == (answered, said["state"])
    assert "weights of version 4 are not finite" in said["reason"]


@pytest.mark.parametrize("how", ["raised", "not_finite"])
def test_the_audit_log_is_told_that_main_answers_as_the_challenger_failed(how, tmp_path):
    """Once, and only where it was the one that answered; a log line each time."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(20))
    with capture_logs() as logs:
        failing(desk, how)
        desk.learn(records(20, 20))
    none = list(desk.told)
    rivals._rest(desk.learner.state, "deep")[2] = 0
    rivals.change(desk.learner.state, "deep")
    desk.acts.course._look_who_answers()
    desk.learn(records(20, 40))
    metric = desk.metrics.counter("headwater_promotions_total").get("guard")
    desk.close()

    [line] = [entry for entry in logs if entry["event"] == "challenger_failed"]
    assert ("deep", how, 2) == (line["challenger"], line["how"], line["version"])
    assert ([], [("guard", "promote")], 1.0) == (none, desk.told, metric)


def test_a_start_says_which_challengers_are_gone_and_which_begin():
    """A name that was changed takes what was learned along with it."""
    old, new = beside(deep="mlp", same="fm"), beside(depe="mlp", same="fm")

    assert [
        "the challenger deep is gone, and what it learned",
        "the challenger depe begins: it has learned nothing yet",
    ] == list(challengers_changed(old, new))
    assert [] == list(challengers_changed(old, old))


class Speechless:
    """Raises whatever it is asked to score."""

    def score(self, *_: object) -> None:
        raise ValueError("the logits must be finite")


def test_a_challenger_that_raises_when_asked_cannot_answer_and_ends_nothing(tmp_path):
    """Its code may raise at an event without fields, which it is tried with before it answers."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(20))
    desk.learner._rivals.pupils["deep"]._model = Speechless()  # type: ignore[assignment]
    with pytest.raises(Refused, match="deep cannot answer: its scores are not finite"):
        desk.order("promote", name="deep")
    desk.close()


def test_where_the_guard_has_main_answer_the_status_says_so_at_once(tmp_path):
    """No cut comes after it that would."""
    desk = Desk(tmp_path, beside(deep="mlp"))
    desk.learn(records(50))
    desk.order("promote", name="deep")
    desk.learner.state.rivals["deep"].theta[:] = np.nan
    desk.learner.state.touch_all()
    desk.acts.note("resume")  # a version to be published
    desk.acts.tick()
    said = desk.acts.status()
    desk.close()

    assert ("guard", "promote") == desk.told[-1]
    assert 4 == said["version"] == said["published_version"]


def duels(of: Learner) -> list[float]:
    return np.concatenate(list(rivals._duels(of.state).values())).tolist()


def test_windows_won_under_another_rule_do_not_count(tmp_path):
    """Nor does an open one: its sums are of another figure. As long as the rule stays they do."""
    desk = Desk(tmp_path, beside(RULE, deep="mlp"))
    desk.learn(records(180))
    before = duels(desk.learner)
    desk.close()
    same = Desk(tmp_path, desk.recipe, desk.topic)
    kept = duels(same.learner)
    same.close()
    other = Desk(tmp_path, beside(RULE | {"metric": "accuracy"}, deep="mlp"), desk.topic)
    begun = duels(other.learner)
    again = other.restart()
    after = duels(again.learner)
    again.close()

    assert before == kept
    assert 80.0 in before
    assert [0.0] * 12 == begun == after


def test_a_frozen_version_keeps_its_bits_though_the_rule_changes(tmp_path):
    """It is served under the same number; what is learned beside it counts windows anew."""
    desk = Desk(tmp_path, beside(RULE, deep="mlp"))
    desk.learn(records(180))
    desk.order("freeze")
    frozen = desk.acts.course.served
    assert frozen is not None
    served = digest(frozen.state.parts())
    desk.close()
    other = Desk(tmp_path, beside(RULE | {"rows": 200}, deep="mlp"), desk.topic)
    again = other.acts.course.served
    assert again is not None
    still, version = digest(again.state.parts()), again.standing.version
    open_windows = duels(other.learner)
    other.close()

    assert (served, 2) == (still, version)
    assert [0.0] * 12 == open_windows


def test_weights_of_a_file_are_for_the_main_model_alone(tmp_path):
    """Also where the file is of a service with challengers, of which another one answered."""
    old, new = learner(beside(deep="mlp", gone="fm")), learner(beside(deep="mlp"))
    take(old, records(100))
    rivals.change(old.state, "gone")
    fresh = new.state.rivals["deep"].image.tobytes()
    file = tmp_path / "weights.safetensors"
    weights = old.state.parts()["weights"]
    save_file({name: tensor.clone() for name, tensor in weights.items()}, file)
    said = PretrainedSettings(file=file, strict=False)
    pretrained.start_from(new.state, pretrained.match(new.layout, said).entry())

    assert MAIN == new.state.serves
    assert fresh == new.state.rivals["deep"].image.tobytes()
    assert old.state.theta.tobytes() == new.state.theta.tobytes()


class Silent(rivals.Pupil):
    """Gives one event of each cut no score."""

    def learn(self, state, columns, learn):
        learned = super().learn(state, columns, learn)
        learned.scores[3], learned.applied[3] = np.nan, 2
        return learned


def test_the_model_that_answers_can_be_beaten_though_it_gives_some_events_no_score():
    """Those events are no loss of the others."""
    of = learner(beside(RULE | {"rows": 1000}, deep="mlp", other="linear"))
    rivals.change(of.state, "deep")
    of._rivals.pupils["deep"] = Silent(of.layout.rivals["deep"].layout)
    take(of, records(50))
    open_windows = rivals._duels(of.state)

    assert 49.0 == open_windows[MAIN][0] == open_windows["other"][0]
    assert np.isfinite(open_windows["other"]).all()


def test_mixtures_leave_the_same_work_out_where_learning_is_behind():
    """Else the one would look worse than the other for what it was not let do. One that begins again
    does so too."""
    base = recipe("mixture")
    of = learner(base.beside({"also": base.challenger(base.model, base.learning)}))
    of.shed(3)
    take(of, records(20))
    first = of.layout.rivals["also"].layout.kind.effort(of.state.rivals["also"].extras)
    report = of.challengers()
    rivals._set_back(of.state, "also", "raised")
    rivals._rest(of.state, "also")[held_of.LEFT] = 0
    take(of, records(20, 20))
    again = of.layout.rivals["also"].layout.kind.effort(of.state.rivals["also"].extras)

    assert (3, (20, 20, 20, 0, 0, 0)) == (first.level, first.rows)
    assert report[MAIN]["targets"] == report["also"]["targets"]
    assert first == again
