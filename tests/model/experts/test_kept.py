"""What is put together for a state's weights lives as long as these."""

from __future__ import annotations

import gc

import numpy as np

from service.model.kinds.mixture_views import Kept


def test_it_is_made_once_for_the_same_weights():
    kept, theta = Kept[object](), np.zeros(4, np.float32)

    first = kept.of(theta, object)

    assert kept.of(theta, object) is first
    assert kept.of(np.zeros(4, np.float32), object) is not first


def test_it_goes_with_the_weights():
    kept, image = Kept[object](), np.zeros(8, np.float32)
    held = [image[:4]]
    kept.of(held[0], lambda: held[0][1:3])

    held.clear()
    gc.collect()

    assert not kept._kept
