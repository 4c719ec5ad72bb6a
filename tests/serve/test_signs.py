"""Counting what a JSON text holds, held against the decoder."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.serve import signs

values = st.recursive(
    st.none() | st.integers() | st.text() | st.sampled_from(['"', "\\", '\\"', "{[,", "]}"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


def boxes(value: Any) -> int:
    """Objects and lists in a decoded value, itself included."""
    if isinstance(value, dict):
        return 1 + sum(map(boxes, value.values()))
    return 1 + sum(map(boxes, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize("block", [1, 2, 3, 7, 262_144])
@given(events=st.lists(values, min_size=1, max_size=6), ascii=st.booleans())
def test_signs_are_those_of_the_value(block: int, events: list[Any], ascii: bool) -> None:
    """
    Whatever the strings hold, and wherever the blocks are cut.
    """
    text = json.dumps({"events": events}, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(signs, "_BLOCK", block)
        found = signs.count(text)

    assert (boxes({"events": events}), len(events)) == found


@given(text=st.binary(max_size=300) | st.text(alphabet='"\\{}[],', max_size=100).map(str.encode))
def test_any_bytes_are_counted(text: bytes) -> None:
    """
    What is not JSON gives some number, and the decoder refuses it.
    """
    assert signs.count(text).boxes <= len(text)
