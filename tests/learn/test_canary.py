"""The canary set keeps events with fields of every kind."""

from __future__ import annotations

import json
from typing import cast

import numpy as np

from service.events.decode import Columns, take
from service.learn.guard.canary import LEAST, MOST, Canary
from service.learn.learner import Learner
from tests.events.kinds import EVENT, GOOD, decoder_of, same

DECODER = decoder_of(**EVENT)


class Recipe:
    schema = DECODER.schema


class Looker:
    """Stands for the learner: keeps what it is asked to score."""

    recipe = Recipe()
    asked: Columns

    def score(self, columns: Columns) -> np.ndarray:
        self.asked = columns
        return columns.targets


def stream(n: int) -> Columns:
    """Return n events; each tenth has no label."""
    events = [
        GOOD | {"amount": at, "memo": "word " * (at % 5), "y": None if at % 10 == 9 else at % 2}
        for at in range(n)
    ]
    return DECODER.decode_records([json.dumps(event).encode() for event in events]).columns


def test_one_of_twenty_labelled_events_is_kept_whole_and_the_oldest_go() -> None:
    """
    However they are cut; words and names of an event stay with it.
    """
    looker = Looker()
    canary = Canary(cast(Learner, looker))
    whole = stream(8000)
    for at in range(0, 8000, 100):
        canary.take(take(whole, np.arange(at, at + 100)))

    assert canary.scores(cast(Learner, looker)) is not None
    labelled = np.flatnonzero(~np.isnan(whole.targets[:, 0]))
    same(take(whole, labelled[::20][-MOST:]), looker.asked)


def test_too_few_events_prove_nothing() -> None:
    """
    Neither at the beginning nor after a fresh one.
    """
    looker = Looker()
    canary = Canary(cast(Learner, looker))
    canary.take(stream(LEAST * 20))
    assert canary.scores(cast(Learner, looker)) is None
    canary.take(stream(LEAST * 20))
    assert canary.scores(cast(Learner, looker)) is not None

    canary.clear()

    assert canary.scores(cast(Learner, looker)) is None
