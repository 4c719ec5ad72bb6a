"""A memory of learned events in a state's image: which are kept, and which are drawn.

Events are kept as they were decoded, so that later scales and weights see them anew. What is kept
and what is drawn follows from counters in the state and a hash (SplitMix64): a replay repeats it.

reservoir: Vitter, "Random Sampling with a Reservoir", 1985. balanced: one reservoir per class.
recent: each new event takes the place of a random one, so that ages fade geometrically.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from service.events.columns import Bags, Columns
from service.events.schema import Schema
from service.model.kinds.seam import Extra

if TYPE_CHECKING:
    from service.model.state import State

MOST_ENTRIES = 64
"""Entries of one bag that are kept with an event: those with the largest values."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
Kept = Literal["reservoir", "balanced", "recent"]


class Memory:
    """Where and how events are kept. Holds no state; `name` begins the names of its tensors.

    A mark in those names tells of which fields the events are, and how many there is room for: under
    other fields or another size a memory starts empty, instead of taking one field for another.
    """

    def __init__(self, name: str, size: int, schema: Schema, seed: int, kind: Kept) -> None:
        self.name = name
        self._schema = schema
        self._kind = kind
        self._seed = np.uint64(seed)
        self._target = 0
        n_classes = 1
        if kind == "balanced":
            self._target = next(t for t, x in enumerate(schema.targets) if x.kind != "number")
            chosen = schema.targets[self._target]
            n_classes = 2 if chosen.kind == "binary" else chosen.outputs
        self._room = max(size // n_classes, 1)
        """Events in the memory of each class."""
        size = self._room * n_classes
        bags = len(schema.bags)
        part: Literal["optimizer"] = "optimizer"
        self._inside = inside = f"{name}/{_mark(schema, kind, size, n_classes)}"
        self._tensors = [
            # the bits of floats: what is missing is NaN, which no snapshot takes for a number
            Extra(part, f"{inside}/numbers", "int64", (size, schema.values), quiet=True),
            Extra(part, f"{inside}/codes", "int64", (size, schema.coded), quiet=True),
            Extra(part, f"{inside}/targets", "int64", (size, len(schema.targets)), quiet=True),
        ]
        if bags:
            shape = (size, bags, MOST_ENTRIES)
            self._tensors += [
                Extra(part, f"{inside}/lengths", "int64", (size, bags), quiet=True),
                Extra(part, f"{inside}/entries", "int64", shape, quiet=True),
                Extra(part, f"{inside}/values", "float64", shape, quiet=True),
                Extra(part, f"{inside}/names", "int64", shape, quiet=True),
            ]
        self.extras = (
            Extra(part, f"{inside}/seen", "int64", (n_classes,)),
            Extra(part, f"{name}/draws", "int64", (1,)),
            *self._tensors,
        )

    def held(self, state: State) -> int:
        """Return how many events are in the memory."""
        return int(np.minimum(self._at(state, "seen"), self._room).sum())

    def drawn(self, state: State) -> int:
        """Return how many events were drawn from the memory so far."""
        return int(state.extras[f"{self.name}/draws"][0])

    def keep(self, state: State, columns: Columns) -> None:
        """Offer learned events to the memory, in their order."""
        seen = self._at(state, "seen")
        rows, slots = self._slots(seen, columns)
        if not len(rows):
            return
        self._at(state, "numbers")[slots] = columns.numbers[rows].view(np.int64)
        self._at(state, "codes")[slots] = columns.codes[rows].view(np.int64)
        self._at(state, "targets")[slots] = columns.targets[rows].view(np.int64)
        for b, bag in enumerate(columns.bags):
            self._keep_bag(state, b, bag, rows, slots)
        first, n = (int(slots.min()), int(slots.max() - slots.min()) + 1)
        for one in self._tensors:
            state.touch(one.name, first, n)

    def draw(self, state: State, n: int) -> Columns:
        """Return n events drawn from the memory, with repetition; none where it is empty."""
        seen, draws = self._at(state, "seen"), state.extras[f"{self.name}/draws"]
        full = np.minimum(seen, self._room)
        classes = np.flatnonzero(full)
        if not len(classes):
            return self._events(state, np.empty(0, dtype=np.int64))
        at = np.arange(2 * n, dtype=np.uint64) + np.uint64(2 * draws[0])
        draws[0] += n
        dice = self._dice(at, np.uint64(1))
        chosen = classes[(dice[:n] % np.uint64(len(classes))).astype(np.int64)]
        inside = (dice[n:] % full[chosen].astype(np.uint64)).astype(np.int64)
        return self._events(state, chosen * self._room + inside)

    def _slots(
        self, seen: NDArray[np.int64], columns: Columns
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return which events are kept and where, and count all of them in `seen`."""
        rows = np.arange(len(columns))
        kinds = np.zeros(len(columns), dtype=np.int64)
        if self._kind == "balanced":
            labels = columns.targets[:, self._target]
            rows = rows[~np.isnan(labels)]
            kinds = labels[rows].astype(np.int64)
        slots = np.full(len(rows), -1, dtype=np.int64)
        for c in np.unique(kinds):
            mine = np.flatnonzero(kinds == c)
            number = seen[c] + np.arange(len(mine))
            seen[c] += len(mine)
            dice = self._dice(number.astype(np.uint64), np.uint64(2 + c))
            among = self._room if self._kind == "recent" else number + 1
            later = (dice % np.asarray(among, dtype=np.uint64)).astype(np.int64)
            slot = np.where(number < self._room, number, later)
            slots[mine] = np.where(slot < self._room, slot + c * self._room, -1)
        rows, slots = rows[slots >= 0], slots[slots >= 0]
        # of two events for one slot the later stays
        _, last = np.unique(slots[::-1], return_index=True)
        keep = np.sort(len(slots) - 1 - last)
        return rows[keep], slots[keep]

    def _keep_bag(
        self,
        state: State,
        b: int,
        bag: Bags,
        rows: NDArray[np.int64],
        slots: NDArray[np.int64],
    ) -> None:
        arrays = [self._at(state, name) for name in ("entries", "values", "names")]
        lengths = self._at(state, "lengths")
        for row, slot in zip(rows.tolist(), slots.tolist(), strict=True):
            where = np.arange(bag.spans[row], bag.spans[row + 1])
            if len(where) > MOST_ENTRIES:
                largest = np.argsort(-np.abs(bag.values[where]), kind="stable")[:MOST_ENTRIES]
                where = np.sort(where[largest])
            n = len(where)
            lengths[slot, b] = n
            given = (bag.codes.view(np.int64), bag.values, bag.names.view(np.int64))
            for array, values in zip(arrays, given, strict=True):
                array[slot, b, :n] = values[where]
                array[slot, b, n:] = 0

    def _events(self, state: State, slots: NDArray[np.int64]) -> Columns:
        bags = []
        for b in range(len(self._schema.bags)):
            lengths = self._at(state, "lengths")[slots, b]
            inside = np.arange(MOST_ENTRIES)[None] < lengths[:, None]
            spans = np.concatenate(([0], np.cumsum(lengths)))
            codes, values, names = (
                self._at(state, name)[slots, b][inside] for name in ("entries", "values", "names")
            )
            bags.append(Bags(spans, codes.view(np.uint64), values, names.view(np.uint64)))
        n = len(slots)
        return Columns(
            self._at(state, "numbers")[slots].view(np.float64),
            self._at(state, "codes")[slots].view(np.uint64),
            tuple(bags),
            self._at(state, "targets")[slots].view(np.float64),
            np.full(n, -1, dtype=np.int64),
            np.zeros(n, dtype=np.uint64),
        )

    def _dice(self, at: NDArray[np.uint64], salt: np.uint64) -> NDArray[np.uint64]:
        with np.errstate(over="ignore"):
            code = at * _GOLDEN + mixed(np.array([self._seed + salt * _GOLDEN]))
            return mixed(code)

    def _at(self, state: State, name: str) -> NDArray:  # type: ignore[type-arg]
        return state.extras[f"{self._inside}/{name}"]


def _mark(schema: Schema, kind: Kept, size: int, n_classes: int) -> str:
    """Return what tells a memory from one of other fields, sizes or ways of keeping: under those it
    starts empty, for its columns would mean something else."""
    fields = [f"{d.kind} {d.name} {d.width}" for d in schema.dense]
    fields += [f"{t.kind} {t.name}" for t in schema.tables[: schema.coded]]
    fields += [f"{b.kind} {b.name}" for b in schema.bags]
    fields += [f"{t.kind} {t.name} {t.classes}" for t in schema.targets]
    text = "\0".join(["bits", *fields, kind, str(size), str(n_classes)])
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def mixed(code: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return codes with their bits well spread (SplitMix64)."""
    with np.errstate(over="ignore"):
        code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return code ^ (code >> np.uint64(31))
