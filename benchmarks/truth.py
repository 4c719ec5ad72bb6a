"""Whether what was said of versions is true: held against the topic, the journal, and each other.

Everything raises Failed with the first untruth found. Nothing here knows how it was measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import Failed
from benchmarks.stream import Sent
from benchmarks.watch import Sight


def check_sights(sights: Sequence[Sight]) -> None:
    """Versions never fall, keep their lineage, mean one thing, and count every record below."""
    said: dict[int, Sight] = {}
    last = sights[0]
    for sight in sights:
        if sight.version < last.version or sight.lineage != last.lineage:
            raise Failed(f"after {last} came {sight}")
        if sight.events_learned != sum(sight.through):
            raise Failed(f"events learned are not the records below trained_through: {sight}")
        first = said.setdefault(sight.version, sight)
        if (first.through, first.lineage) != (sight.through, sight.lineage):
            raise Failed(f"one version, two meanings: {first} and {sight}")
        last = sight


def check_ends(sight: Sight, ends: Sequence[int]) -> None:
    """No version has learned what was not in the topic: `ends` were asked for after `sight`."""
    if any(through > end for through, end in zip(sight.through, ends, strict=True)):
        raise Failed(f"learned beyond the end of the topic, {ends}: {sight}")


def check_journal(sights: Iterable[Sight], cursors: Mapping[int, tuple[int, ...]]) -> int:
    """Each version seen stood where the journal says; return how many could be compared."""
    versions = {sight.version: sight for sight in sights if sight.version in cursors}
    for version, sight in versions.items():
        if cursors[version] != sight.through:
            raise Failed(f"the journal says {cursors[version]} of this version: {sight}")
    if not versions:
        raise Failed("the journal knows none of the versions that were seen")
    return len(versions)


def freshness_ns(
    sent: Sent, seen_ns: NDArray[np.int64], through: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return for each record how long after sending it was first covered by what was said.

    seen_ns: [K], ascending. through: [K, partitions]. A record covered before it was sent, or
    never, is an untruth.
    """
    first = np.empty(len(sent.offset), dtype=np.int64)
    for partition in range(through.shape[1]):
        rows = np.flatnonzero(sent.partition == partition)
        first[rows] = np.searchsorted(through[:, partition], sent.offset[rows], side="right")
    if (first == len(seen_ns)).any():
        raise Failed(f"{int((first == len(seen_ns)).sum())} records were never learned")
    waited = seen_ns[first] - sent.sent_ns
    if (waited <= 0).any():
        raise Failed(f"{int((waited <= 0).sum())} records were learned before they were sent")
    return waited
