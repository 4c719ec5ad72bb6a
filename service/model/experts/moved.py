"""Bringing an expert's tensors to other fields: what stays keeps what it learned, by name."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.model.experts.seam import Axis, Tensor


def mark(tensor: Tensor) -> str:
    """Return what tells a tensor from the same one of other fields: "" where it depends on none."""
    axes = [axis for axis in (*tensor.axes, tensor.points) if axis is not None]
    if not axes:
        return ""
    text = "\0".join(f"{name}\1{size}" for axis in axes for name, size in (*axis, ("", 0)))
    return "/" + hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def move(old: Tensor, new: Tensor, held: NDArray[Any], into: NDArray[Any]) -> None:
    """Take over from `held`, the tensor `old`, what `into`, the tensor `new`, has a place for.
    `into` is as it starts."""
    pairs = []
    for d, (before, after) in enumerate(zip(held.shape, into.shape, strict=True)):
        axis = new.axes[d] if d < len(new.axes) else None
        if axis is None:
            n = min(before, after)
            pairs.append((np.arange(n), np.arange(n)))
            continue
        former = old.axes[d] if d < len(old.axes) else None
        pairs.append(_matches(former or (), axis))
        if new.added is not None:
            fresh = np.setdiff1d(np.arange(sum(size for _, size in axis)), pairs[-1][1])
            index: list[Any] = [slice(None)] * into.ndim
            index[d] = fresh
            into[tuple(index)] = new.added
    source, place = (np.ix_(*(pair[i] for pair in pairs)) for i in (0, 1))
    values = held[source]
    if new.points is not None and old.points is not None:
        at = slice(None) if new.points_at is None else new.points_at
        values = values.copy()
        values[..., at] = _translated(old.points, new.points, values[..., at], new.gone)
    into[place] = values


def _matches(old: Axis, new: Axis) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return places along the old axis and, in the same order, along the new one."""
    starts, at = {}, 0
    for name, size in old:
        starts[name] = (at, size)
        at += size
    source, place, at = [np.empty(0, np.int64)], [np.empty(0, np.int64)], 0
    for name, size in new:
        first, before = starts.get(name, (0, 0))
        if before == size:
            source.append(np.arange(first, first + size))
            place.append(np.arange(at, at + size))
        at += size
    return np.concatenate(source), np.concatenate(place)


def _translated(old: Axis, new: Axis, values: NDArray[Any], gone: int) -> NDArray[Any]:
    """Return values that are places along the old axis as places along the new one."""
    source, place = _matches(old, new)
    table = np.full(max(sum(size for _, size in old), 1), gone, dtype=np.int64)
    table[source] = place
    values = values.astype(np.int64)
    return np.where(values < 0, values, table[np.maximum(values, 0)])
