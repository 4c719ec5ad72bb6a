"""The fingerprint of a state."""

from __future__ import annotations

import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from service.weights.digest import digest, part_digest


def test_the_digest_is_what_it_says() -> None:
    """
    Name, type, shape and bytes, in the order of names: anybody can compute it.
    """
    part = {
        "b": torch.tensor([[1.0, 2.0]]),
        "a": torch.tensor(7, dtype=torch.int64),
    }
    written = (
        b"a\0int64\0[]\0"
        + (7).to_bytes(8, "little")
        + b"b\0float32\0[1, 2]\0\x00\x00\x80\x3f\x00\x00\x00\x40"
    )

    assert hashlib.sha256(written).hexdigest() == part_digest(part)


def test_each_part_has_its_own() -> None:
    """
    An empty part has one as well.
    """
    found = digest({"weights": {"w": torch.ones(2)}, "metrics": {}})

    assert {"weights", "metrics"} == found.keys()
    assert hashlib.sha256(b"").hexdigest() == found["metrics"]


def test_a_view_and_its_copy_have_the_same_digest() -> None:
    """
    How a tensor lies in memory does not matter.
    """
    table = torch.arange(12, dtype=torch.float64).reshape(3, 4)

    assert part_digest({"t": table.T}) == part_digest({"t": table.T.contiguous()})


@given(
    shape=st.sampled_from([(6,), (2, 3), (3, 2), (1, 6)]),
    name=st.sampled_from(["a", "b"]),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.int64, torch.uint8]),
    changed=st.integers(-1, 5),
)
def test_any_difference_shows(
    shape: tuple[int, ...], name: str, dtype: torch.dtype, changed: int
) -> None:
    """
    Another name, type, shape or number is another digest; the same is the same.
    """
    values = torch.zeros(6, dtype=dtype)
    if changed >= 0:
        values[changed] = 1
    plain = part_digest({"a": torch.zeros((2, 3))})
    equal = (shape, name, dtype, changed) == ((2, 3), "a", torch.float32, -1)

    assert equal == (part_digest({name: values.reshape(shape)}) == plain)


def test_order_of_insertion_does_not_matter() -> None:
    """
    A digest names a state, not the way it was put together.
    """
    one, two = torch.ones(1), torch.zeros(1)

    assert part_digest({"x": one, "y": two}) == part_digest({"y": two, "x": one})
