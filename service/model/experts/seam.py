"""What an expert is: a few members that predict one target, and two passes over rows. No torch.

An expert holds no state. What it remembers are tensors of the learner's image, found by name; both
passes get views of them. Members of an expert differ in a rate, a width, a memory; each predicts by
itself, and the mixture weighs them event by event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.model.experts.together import Work

KEY_INPUTS = 5
"""Columns of what earlier labels of a category's value say: the last, a drawn mean, how seldom it came,
moving averages over 3 and 10 of its own events."""
BLOCK = 64
"""Floats per flag of a large tensor."""

Axis = tuple[tuple[str, int], ...]
"""What lies along a dimension: names, and how many places each takes, one after another. Under other
fields a tensor keeps what has the same name and size; what is new starts fresh."""


class Tensor(msgspec.Struct, frozen=True):
    """A named tensor that an expert remembers.

    large: float32; it counts as changed only where the expert sets its flags, one per 64 floats.
    What is not large counts as changed with every event, and may be of any dtype.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Literal["float32", "float64", "int64", "uint8"] = "float32"
    initial: NDArray[np.generic] | float = 0.0
    large: bool = False
    units: tuple[str, ...] = ("",)
    """What becomes of it where the frame of a number target changes its unit: of each column of its
    last dimension, or of all of them. See `rescale`."""
    axes: tuple[Axis | None, ...] = ()
    """Of each dimension, in order: what lies along it, where that depends on fields or members. A
    dimension may be longer than its axis: the rest is padding."""
    points: Axis | None = None
    """Where its values are places along an axis (below 0: none): that axis."""
    points_at: int | None = None
    """Which column of the last dimension holds them; None: all."""
    gone: int = -1
    """What such a value becomes whose place is no more."""
    added: float | None = None
    """What new places along its axes start from; None: from `initial`."""


class Held(msgspec.Struct, frozen=True):
    """The tensors of one expert of one target, as views."""

    at: Mapping[str, NDArray[Any]]
    """By name. Read only where rows are scored for the API."""
    flags: Mapping[str, NDArray[np.uint8]]
    """Of large tensors, by name: [ceil(floats / 64)]; set where something changed."""
    made: dict[str, Any] = {}
    """What an expert has put together of the views, by a name of its own, so as to do it once."""


class Task(msgspec.Struct, frozen=True):
    """The target that an expert learns."""

    kind: Literal["binary", "multiclass", "number"]
    outputs: int
    """O: 1 for binary (probability of yes) and number (in units of the target's frame: about mean 0
    and deviation 1), else a probability for each class."""
    seed: int
    """For whatever an expert draws; with its own name, see state._normal."""

    @property
    def classes(self) -> int:
        """C: 2 for binary, outputs for multiclass, 0 for a number."""
        return 2 if self.kind == "binary" else self.outputs if self.kind == "multiclass" else 0


class Fields(msgspec.Struct, frozen=True):
    """Which columns of Inputs.x are what. Each is a range of columns.

    Legend: F numbers, S = 3 spans, V categories, P plain.
    """

    numbers: int
    """F"""
    categories: tuple[int, ...]
    """[V] rows of each category's table: ids are below that."""
    z: range
    """[F] deviation from the running mean, in standard deviations, within -8 .. 8; 0: missing."""
    missing: range
    """[F] 1: missing, of a number that was there before."""
    plain: range
    """[P] booleans, sines of times, figures of texts, vectors: scaled."""
    one_hot: range
    """[V * 32] 1 for the value of a category, where it is among the first 32 seen."""
    context: range
    """[F * S] number minus its own moving averages over 1, 8, 64 rows, number by number."""
    pieces: range
    """[F * 4] piecewise-linear code of the rank."""
    keys: range
    """[V * 5] what earlier labels of the same category's value say; none for more than two classes."""
    lags: range
    """[S * (classes or 1)] moving averages of earlier labels."""
    width: int
    """D, columns of Inputs.x."""
    names: tuple[str, ...]
    """[F + V] of the numbers, then of the categories: what does not change when fields are added."""
    columns: tuple[str, ...]
    """[D] of each column."""
    bags: tuple[str, ...]
    """[B] of the bags."""
    in_pieces: tuple[bool, ...] = ()
    """[B] whether some of a bag's entries are pieces of words, of half the value of others."""

    def axis(self, columns: Sequence[int]) -> Axis:
        """Return the axis of some columns."""
        return tuple((self.columns[c], 1) for c in columns)


class Inputs(msgspec.Struct):
    """N rows of one target, as every expert sees them."""

    x: NDArray[np.float32]
    """[N, D], C-contiguous; see Fields."""
    ranks: NDArray[np.float32]
    """[N, F] in (0, 1): the middle rank among recent values; -1: missing."""
    ids: NDArray[np.int64]
    """[N, V] row of each category's table; 0: missing."""
    spans: NDArray[np.int64]
    """[N, B + 1], entries, values: the bags (texts, lists, maps), see featurizer.Rows."""
    entries: NDArray[np.int64]
    values: NDArray[np.float32]
    y: NDArray[np.float64]
    """[N] class index (binary: 0 or 1), or the number in the frame's units; NaN: no label."""
    weights: NDArray[np.float64]
    """[N] importance; 0: score only. A row is learned where this is > 0 and y is no NaN."""
    rest: frozenset[str] = frozenset()
    """What is left out of the work on these rows, see rota.py: an expert leaves out what it knows.
    Of members that rest, predictions are not looked at."""

    def __len__(self) -> int:
        return len(self.x)

    def learned(self) -> NDArray[np.bool_]:
        """Return [N]: which rows are learned."""
        return np.logical_and(self.weights > 0, ~np.isnan(self.y))


def unweighted(rows: Inputs) -> Inputs:
    """Return the same rows, none with a weight: a pass that learns predicts them and writes nothing."""
    return msgspec.structs.replace(rows, weights=np.zeros(len(rows)))


def label_keys(fields: Fields) -> list[int]:
    """Return the columns of keys that are labels, or means of labels: all but how often they came."""
    return [c for c in fields.keys if (c - fields.keys.start) % KEY_INPUTS != 2]


class Expert(Protocol):
    """A few members that predict one target."""

    name: ClassVar[str]
    fits: ClassVar[tuple[str, ...]]
    """Kinds of targets that it can learn."""

    @property
    def members(self) -> tuple[str, ...]:
        """What each is called in metrics: the expert's name and what it differs in."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """What it remembers."""

    def __init__(self, fields: Fields, task: Task) -> None: ...

    def score(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """Write the predictions [N, K, O] of the members as they are; change nothing, whatever the
        rows weigh."""

    def learn(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> None:
        """Write the predictions [N, K, O] of each row by what was learned of the rows before it,
        then learn it, row after row. How rows are cut into calls changes no bit."""

    def rescale(self, held: Held, ratio: float, shift: float) -> None:
        """A number target's unit changes: what was y is ratio * y + shift from now on. Predict as
        before, in the new unit. Called between rows; see `rescale`."""

    def added(self, held: Held) -> None:
        """Fields or members changed, and what stays was taken over: see to what is new."""


@runtime_checkable
class Halved(Protocol):
    """An expert of which half may rest."""

    @property
    def halves(self) -> tuple[str, str]:
        """What the first half of its members is called in Inputs.rest, and the second."""


@runtime_checkable
class Divided(Protocol):
    """An expert whose learning is several pieces of work that do not depend on each other."""

    def works(self, held: Held, rows: Inputs, into: NDArray[np.float32]) -> list[Work]:
        """Return what `learn` does, in pieces."""


def rescale(tensors: tuple[Tensor, ...], held: Held, ratio: float, shift: float) -> None:
    """Bring tensors to another unit of the label by their `units`: value (x becomes ratio * x +
    shift), slope (ratio * x), square (ratio^2 * x), root (of the ratio, times x), "" (stays)."""
    for one in tensors:
        if not any(one.units):
            continue
        array = held.at[one.name]
        width = array.shape[-1] if array.ndim else 1
        units = one.units * width if len(one.units) == 1 else one.units
        factor = {"value": ratio, "slope": ratio, "square": ratio**2, "root": ratio**0.5, "": 1.0}
        array *= np.array([factor[u] for u in units], dtype=array.dtype)
        array += np.array([shift if u == "value" else 0.0 for u in units], dtype=array.dtype)
        if one.large:
            held.flags[one.name][:] = 1
