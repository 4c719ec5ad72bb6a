"""A learner's state: one image of bytes and its named tensors. Knows no files, no Kafka.

Everything that weights, predictions and snapshotted metrics depend on is in here. Fresh state
is a pure function of the recipe: initial weights are drawn from the seed and their own name.
"""

from __future__ import annotations

import hashlib
import math
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from service.model import prequential, rivals, steps
from service.model.layout import BLOCK_BYTES, Entry, Layout
from service.model.names import escape
from service.settings import MAIN

Parts = dict[str, dict[str, torch.Tensor]]
OUTCOMES = ("metrics", "outcomes")
"""Part and name of the counts by outcome: earlier layouts have fewer of them."""


class State:
    """The image [nbytes] of one layout, with views by meaning.

    theta, slot0, slot1: float32 [P] (slots may be empty); counts: int64 [T or T+1];
    usual: float64 [4], usual lengths of inputs and slopes (steps.py);
    scales: what rows are scaled by, normaliser among it: float64 [W, 3]; frames: float64 [T, 5];
    outcomes: int64; scores: one float64 vector per target, held_out: likewise, or none at all;
    intervals: one float64 vector per number target (intervals.py);
    touched: uint8, one flag per 64 weights. Whoever keeps a copy of the image
    learns from a follower of its own what changed.
    rivals: the state of each challenger, whose image is a part of this one.
    """

    def __init__(self, layout: Layout, image: NDArray[np.uint8] | None = None) -> None:
        """image: the memory to use, zeros; None: its own."""
        self.layout = layout
        self.image = _aligned(layout.nbytes) if image is None else image
        schema = layout.schema
        n_targets = len(schema.targets)
        self.theta = self._flat(layout.theta)
        self.slots = [self._flat(start) for start in layout.slots]
        self.counts = self._at(layout.counts, np.int64, (len(layout.counters),))
        self.usual = self._at(layout.usual.offset, np.float64, (4,))
        self.scales = layout.scales(self.image)
        self.normaliser = self.scales.normaliser
        self.frames = self._at(layout.frames, np.float64, (n_targets, 5))
        outcomes = layout.outcomes
        self.outcomes: NDArray[np.int64] = self._at(outcomes.offset, np.int64, outcomes.shape)
        self.scores, self.held_out = (
            {name: self._at(entry.offset, np.float64, entry.shape) for name, entry in each.items()}
            for each in (layout.scores, layout.held_out)
        )
        self.intervals = {
            name: entry.view(self.image).view(np.float64)
            for name, entry in layout.intervals.items()
        }
        self.flats = {name: self._flat(start) for name, start in layout.flats.items()}
        self.extras = {
            name: layout.by_name[one.part, name].view(self.image)
            for name, one in layout.extras.items()
        }
        self.touched = np.zeros(layout.theta_size // 64, dtype=np.uint8)
        self._followers: list[NDArray[np.uint8]] = []
        self._published = self.follow()
        self._published[:] = 0
        self.rivals = {
            n: State(one.layout, one.part(self.image)) for n, one in layout.rivals.items()
        }

    def _flat(self, start: int) -> NDArray[np.float32]:
        return self._at(start, np.float32, (self.layout.theta_size,))

    def _at(self, start: int, dtype: type, shape: tuple[int, ...]) -> NDArray:  # type: ignore[type-arg]
        nbytes = math.prod(shape) * np.dtype(dtype).itemsize
        return self.image[start : start + nbytes].view(dtype).reshape(shape)

    @classmethod
    def fresh(cls, layout: Layout) -> State:
        """Return the state before the first event."""
        state = cls(layout)
        state.begin()
        return state

    def begin(self) -> None:
        """Be as before the first event; called on zeros."""
        for entry in self.layout.own:
            self._start(entry, added=False)
        for rival in self.rivals.values():
            rival.begin()

    def begin_again(self) -> None:
        """Forget everything."""
        self.image[:] = 0
        self.begin()
        self.touch_all()

    @classmethod
    def of(cls, layout: Layout, parts: Parts) -> tuple[State, list[str]]:
        """Return the state with every tensor of `parts` that fits, by name; the rest starts fresh.

        Also returns what did not fit or is no longer there, as "part/name".
        """
        state = cls(layout)
        state._take_over(parts)
        lost = [
            f"{part}/{name}"
            for part, tensors in parts.items()
            for name, tensor in tensors.items()
            if (fitting := layout.by_name.get((part, name))) is None
            or (fitting.shape != tuple(tensor.shape) and (part, name) != OUTCOMES)
        ]
        return state, lost

    def _take_over(self, parts: Parts) -> None:
        """Take every tensor of `parts` that fits; a challenger of which there is none begins."""
        for entry in self.layout.own:
            held = parts.get(entry.part, {}).get(entry.name)
            if held is not None and tuple(held.shape) == entry.shape:
                entry.view(self.image)[...] = held.numpy()
                continue
            if held is not None and (entry.part, entry.name) == OUTCOMES:
                entry.view(self.image)[: len(held)] = held.numpy()  # the list only grows
                continue
            self._start(entry, added=True)
        for name, rival in self.rivals.items():
            start = rivals.prefix(name)
            own = {
                part: {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
                for part, tensors in parts.items()
            }
            if own.get("weights"):
                rival._take_over(own)
            else:
                rival.begin()

    @property
    def serves(self) -> str:
        """Name of the model that answers."""
        if not self.rivals:
            return MAIN
        return rivals.named_in(self.tensor("weights", rivals.SERVES).astype(np.uint8))

    def serve(self, name: str) -> None:
        """Have another model answer."""
        rivals.write_name(cast("NDArray[np.uint8]", self.tensor("weights", rivals.SERVES)), name)

    @property
    def answering(self) -> State:
        """The state of the model that answers: this one, or a challenger's."""
        return self.rivals.get(self.serves, self)

    def tensor(self, part: str, name: str) -> NDArray[np.generic]:
        """Return the view of a named tensor."""
        return self.layout.by_name[part, name].view(self.image)

    def _start(self, entry: Entry, *, added: bool) -> None:
        """Give a tensor what it starts from. The weights come before what starts as they are."""
        name, as_is = self.layout.copied.get((entry.part, entry.name), (None, False))
        initial: NDArray[np.generic] | float | None
        if name is None:
            initial = _initial(self.layout, entry.part, entry.name, entry.shape, added=added)
        elif as_is:
            initial = self.layout.by_name["weights", name].view(self.image)
        else:
            initial = _initial(self.layout, "weights", name, entry.shape, added=False)
        if initial is not None:
            entry.view(self.image)[...] = initial

    def parts(self) -> Parts:
        """Return every named tensor, as views: {"weights": {name: tensor}, ...}."""
        return parts_of(self.layout, self.image)

    def named(self) -> dict[str, NDArray[np.generic]]:
        """Return views of all weights and extras by name."""
        layout = self.layout
        weights = {n: layout.by_name["weights", n].view(self.image) for n in layout.parameters}
        return weights | self.extras

    def copy(self) -> State:
        """Return one with memory of its own; everything in it counts as changed."""
        other = State(self.layout)
        other.image[:] = self.image
        other.touch_all()
        return other

    def is_finite(self) -> bool:
        """Whether the weights that changed since they were last published are finite, and all that
        scales them."""
        self.gather()
        return bool(
            all(map(self._is_finite_at, {self.layout.theta, self.layout.served}))
            and np.isfinite(self.image[: self.layout.scales_bytes].view(np.float64)).all()
            and np.isfinite(self.frames).all()
        )

    def _is_finite_at(self, start: int) -> bool:
        """Whether what changed of theta, or of its average, is finite."""
        first = start // BLOCK_BYTES
        flags = self._published[first : first + len(self.touched)]
        return bool(steps.touched_are_finite(self._flat(start), flags))

    def follow(self) -> NDArray[np.uint8]:
        """Return a new follower: one flag per 256-byte block of the image, all of them set.

        `gather` sets the flags of what changed since; whoever asked for it clears them.
        """
        pending = np.ones(self.layout.nbytes // BLOCK_BYTES, dtype=np.uint8)
        self._followers.append(pending)
        return pending

    def unfollow(self, pending: NDArray[np.uint8]) -> None:
        """Set the flags of this follower no more; nothing happens where it is none."""
        self._followers = [one for one in self._followers if one is not pending]

    def gather(self) -> None:
        """Tell every follower what may have changed. All small tensors count as changed."""
        small = self.layout.small_bytes // BLOCK_BYTES
        shared, after = (at // BLOCK_BYTES for at in self.layout.shared)
        moved = {n: rival.take_touched() for n, rival in self.rivals.items()}
        for pending in self._followers:
            pending[:small] = 1
            pending[shared:after] = 1
            for name, flags in moved.items():
                first = self.layout.rivals[name].start // BLOCK_BYTES
                pending[first : first + len(flags)] |= flags
            for start in self.layout.arrays:
                first = start // BLOCK_BYTES
                pending[first : first + len(self.touched)] |= self.touched
        self.touched[:] = 0

    def touch(self, name: str, first: int = 0, rows: int | None = None) -> None:
        """Count a quiet extra as changed: `rows` rows of its first dimension from `first` on, or
        all of them."""
        one = self.layout.extras[name]
        entry = self.layout.by_name[one.part, name]
        row = entry.nbytes // max(entry.shape[0], 1)
        start = entry.offset + first * row
        end = entry.offset + entry.nbytes if rows is None else start + rows * row
        for pending in self._followers:
            pending[start // BLOCK_BYTES : -(-end // BLOCK_BYTES)] = 1

    def take_touched(self) -> NDArray[np.uint8]:
        """Return one flag per 256-byte block of the image that may have changed since the last
        call, and forget. All small tensors count as changed."""
        self.gather()
        flags = self._published.copy()
        self._published[:] = 0
        return flags

    def touch_all(self) -> None:
        """Count everything as changed, quiet extras too."""
        self.touched[:] = 1
        for rival in self.rivals.values():
            rival.touch_all()
        for pending in self._followers:
            pending[:] = 1


def parts_of(layout: Layout, image: NDArray[np.uint8]) -> Parts:
    """Return the named tensors inside an image that may be written, as views."""
    parts: Parts = {"weights": {}, "optimizer": {}, "metrics": {}}
    for entry in layout.entries:
        parts[entry.part][entry.name] = torch.from_numpy(entry.view(image))
    return parts


def _initial(
    layout: Layout, part: str, name: str, shape: tuple[int, ...], *, added: bool
) -> NDArray[np.generic] | float | None:
    """Return what a tensor starts from; None is zeros. added: other tensors are there already."""
    kind, _, rest = name.partition("/")
    if name.startswith(rivals.SCORES):
        kind, rest = "prequential", name.removeprefix(rivals.SCORES)
    if part == "metrics" and kind in {"prequential", "held_out"}:
        return next(prequential.fresh(t) for t in layout.schema.targets if escape(t.name) == rest)
    extra = layout.extras.get(name)
    if extra is not None and extra.part == part:
        return extra.initial
    if part != "weights":
        return None
    if kind == "frame":
        scaled = {escape(t.name): t.scaled for t in layout.schema.targets}[rest]
        return np.array([0.0, 0.0, 0.0, 0.0, 0.0 if scaled else 1.0])
    one = layout.parameters.get(name)
    if one is None:
        return None
    if one.initial is not None:
        return one.initial
    deviation = one.added if added else one.deviation
    if deviation == 0.0:
        return one.constant or None
    return one.constant + _normal(layout, name, shape, deviation)


def _normal(
    layout: Layout, name: str, shape: tuple[int, ...], deviation: float
) -> NDArray[np.float32]:
    seed = hashlib.sha256(f"{layout.recipe.learning.seed}/{name}".encode()).digest()
    bits = np.random.Philox(key=np.frombuffer(seed[:16], dtype=np.uint64))
    return (np.random.Generator(bits).standard_normal(shape) * deviation).astype(np.float32)


def _aligned(nbytes: int) -> NDArray[np.uint8]:
    """Return zeros that begin at a block's border: the last bits of a library's product may depend
    on where its factors lie."""
    room = np.zeros(nbytes + BLOCK_BYTES, dtype=np.uint8)
    first = -room.__array_interface__["data"][0] % BLOCK_BYTES
    return room[first : first + nbytes]
