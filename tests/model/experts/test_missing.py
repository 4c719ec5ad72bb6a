"""A number that never came is not yet missing: to add a field moves nothing by that."""

from __future__ import annotations

import numpy as np

from tests.model.experts.rows import FEATURES, Seen, labels, rows


def test_a_number_is_missing_where_it_was_there_before() -> None:
    """Until it comes for the first time, its inputs are as if there were no such field."""
    seen = Seen("binary", FEATURES)
    given = rows(seen, 40)
    given.numbers[:, 0] = np.nan
    given.numbers[10:20, 0] = 1.0
    x = seen.inputs(given, labels(seen, given)).x
    flag = x[:, seen.fields.missing.start]
    assert not flag[:20].any()
    assert flag[20:].all()
    fields = seen.fields
    own = [fields.z.start, *fields.context[:3], *fields.pieces[:4]]
    assert not x[:10, own].any()
