"""F33: a prediction while the weights change is of exactly one published version.

`python -m benchmarks torn` does the same with a million predictions.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import torn

CHAOS = os.environ.get("HEADWATER_TEST_CHAOS") == "1"  # noqa: TID251 - the suite's own name


def seen(predictions: int, folder: Path) -> torn.Seen:
    """What two processes see of a learner at full speed."""
    return torn.measure(folder, predictions, readers=2)


def test_f33_no_prediction_is_torn_while_every_cut_is_published(tmp_path: Path) -> None:
    """Two targets that mirror each other do in every reply, and the scores are those that the
    learner has for the version that the reply names; versions never fall."""
    found = seen(20_000, tmp_path)

    assert (20_000, 0, 0) == (found.predictions, found.torn, found.fell)
    assert found.versions > 20


@pytest.mark.slow
@pytest.mark.skipif(not CHAOS, reason="a million predictions take minutes: HEADWATER_TEST_CHAOS=1")
@pytest.mark.timeout(1800)
def test_f33_no_prediction_of_a_million_is_torn(tmp_path: Path) -> None:
    """The same at full size."""
    found = seen(torn.PREDICTIONS, tmp_path)

    assert (torn.PREDICTIONS, 0, 0) == (found.predictions, found.torn, found.fell)


def test_f33_scores_of_two_versions_mixed_are_not_symmetric() -> None:
    """What the tests above look for can be seen."""
    whole = np.array([[1.5, -1.5], [0.25, -0.25]])
    mixed = np.array([[1.5, -1.5], [0.25, -0.2500000001]])

    assert [True, False] == [torn.symmetric(whole), torn.symmetric(mixed)]
