"""Turns of history in any order where several models learn and any of them may answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.errors import LayoutChanged
from service.learn.commands import Refused
from service.settings import MAIN
from service.weights.digest import digest
from tests.learn import test_turns_machine as turns
from tests.learn.desk import Desk
from tests.learn.test_rivals import beside

RULE = {"rows": 100, "windows": 1, "margin": 0.0, "sure": 0.0, "rest": 100}


class Machine(turns.Machine):
    """Promotes too, by order and by a rule; another start may add a challenger and take one out."""

    def __init__(self, folder: Path, seed: int) -> None:
        super().__init__(folder, seed)
        self.desk.close()
        self.recipes = [
            beside(RULE, deep="mlp", other="fm"),
            beside(RULE, deep="mlp", third="linear"),
        ]
        self.desk = Desk(folder / "rivals", self.recipes[0], loss="act", window_events=50)
        self.folder = folder / "rivals"
        self.answered: set[str] = set()

    def step(self) -> None:
        """Give an order, or have another model answer."""
        if self.rng.random() < 0.2:
            self._promote(self.rng.choice([MAIN, "deep", "other", "third"]))
            self.check()
        else:
            super().step()

    def _promote(self, name: str) -> None:
        version = self.desk.learner.standing.version
        try:
            self.desk.order("promote", name=name)
        except Refused:
            assert version == self.desk.learner.standing.version
        else:
            assert (name, version + 1) == (
                self.desk.learner.state.serves, self.desk.learner.standing.version,
            )  # fmt: skip

    def check(self) -> None:
        """And who is said to have answered is who the image says, one that is there."""
        super().check()
        serves = self.desk.learner.state.serves
        assert serves in (MAIN, *self.desk.learner.state.rivals)
        if self.desk.publisher.version == self.desk.learner.standing.version:
            assert serves == self.desk.live_meta()["answered_by"]
        self.answered.add(serves)

    def _restart(self, *, another: bool) -> None:
        try:
            super()._restart(another=another)
        except LayoutChanged:  # the model that answers would be gone, or what the guard froze
            assert another
            self.recipes.reverse()
            settings = self.desk.settings.model_dump()
            self.desk = Desk(self.folder, self.recipes[0], self.desk.topic, **settings)
            self.desk.acts.tick()


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_ordered_every_version_of_all_models_can_be_made_again(tmp_path, seed):
    """Forty orders; in the end every version that ever stood is made again, bit for bit."""
    machine = Machine(tmp_path, seed)
    for _ in range(40):
        machine.step()

    assert len(machine.answered) > 1
    assert machine.bits == {
        key: digest(machine.desk._reach(key[1], lambda *_: None).state.parts())
        for key in machine.bits
    }
    machine.desk.close()
