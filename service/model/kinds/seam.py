"""What a kind of model is: which weights it has, and three passes over rows. Needs no torch.

Weights are one float32 vector `theta` [P] in a learner's image; a Parameter is a named tensor
inside it. Whatever else a kind (or a strategy of learning) has to remember is an Extra: a small
named tensor of the image. Both are found by name when a state is read under other settings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from service.events.schema import Bag, Schema, Table, TargetKind
from service.model.featurizer import Rows
from service.model.strategies.view import Strategy

if TYPE_CHECKING:
    from service.model.recipe import Recipe

BLOCK = 64
"""Weights per touched-flag: 64 float32 are one 256-byte block of the image."""


class Parameter(msgspec.Struct, frozen=True):
    """A named tensor of weights."""

    name: str
    shape: tuple[int, ...]
    target: str | None = None
    """The target that it belongs to; None: all of them share it."""
    deviation: float = 0.0
    """It starts as a normal of this deviation (drawn from seed and name) around `constant`."""
    added: float = 0.0
    """The deviation where its field is added to a state that has learned already."""
    constant: float = 0.0
    initial: NDArray[np.float32] | None = None
    """Its first values, where they are no constant and not drawn."""
    sparse: bool = False
    """A table of which a row touches few rows: it lies behind all that are not."""
    unit: float = 1.0
    """Power of the ratio by which it is multiplied where its target changes its unit."""

    @property
    def size(self) -> int:
        """Weights in it."""
        return math.prod(self.shape)


class Extra(msgspec.Struct, frozen=True):
    """A named tensor of the image beside theta."""

    part: Literal["weights", "optimizer"]
    """`weights` where a prediction reads it."""
    name: str
    dtype: Literal["float32", "float64", "int64", "uint8"]
    shape: tuple[int, ...]
    initial: NDArray[np.generic] | float = 0.0
    target: str | None = None
    """The target that it belongs to; None: it is of all of them."""
    quiet: bool = False
    """False: counts as changed whenever anything was learned. True, for what is large and changes
    in few places: it counts as changed only where State.touch says so."""


Extras = Mapping[str, NDArray[Any]]
"""Views of extras, by name."""


class Flat(msgspec.Struct, frozen=True):
    """An array of theta's shape beside theta; its tensors are named `<name>/<parameter>`.

    Its blocks count as changed where theta's do: who changes it elsewhere sets `touched`.
    """

    part: Literal["weights", "optimizer"]
    name: str
    starts: Literal["zero", "initial", "weights"] = "zero"
    """What it is where it is new: zeros, the weights before the first event, the weights as they
    are."""


class Remembers(Protocol):
    """Whoever has something in the image beside theta: a kind of model, a strategy of learning."""

    @property
    def extras(self) -> tuple[Extra, ...]:
        """Small tensors."""

    @property
    def flats(self) -> tuple[Flat, ...]:
        """Arrays of theta's shape."""


class Served(NamedTuple):
    """What a prediction reads. Memory that may be read only, in the API."""

    theta: NDArray[np.float32]
    """[P]"""
    frames: NDArray[np.float64]
    """[T, 5], see losses.py."""
    extras: tuple[NDArray[np.generic], ...]
    """Those of the kind, in its order."""


Reader = Callable[[NDArray[np.float64], Rows], NDArray[np.float64]]
"""Takes frames [T, 5] and N rows, returns the scores [N, O] by the weights that it was made for."""


class Moving(NamedTuple):
    """What learning changes: the views of one state. The rule and its numbers are read only."""

    rule: int
    """One of steps.RULES."""
    hyper: NDArray[np.float64]
    """[7], see steps.py."""
    theta: NDArray[np.float32]
    slot0: NDArray[np.float32]
    """[P], or [0] where the rule has none; slot1 too."""
    slot1: NDArray[np.float32]
    steps: NDArray[np.int64]
    """[T], or [T + 1] where there are shared weights: steps taken by each target, by the shared."""
    touched: NDArray[np.uint8]
    """[P / 64]: set where theta changed."""
    frames: NDArray[np.float64]
    usual: NDArray[np.float64]
    """[4], usual lengths of inputs and slopes, see steps.py."""
    strategy: Strategy | None
    """What steps and labels are bent by, see strategies/view.py; None: nothing, for which kernels
    are compiled of their own."""
    extras: tuple[NDArray[np.generic], ...]


class Learned(msgspec.Struct):
    """What one pass over N rows did."""

    scores: NDArray[np.float64]
    """[N, O], each row scored before it was learned."""
    losses: NDArray[np.float64]
    """[N, T] in the target's units; NaN where the target is missing."""
    norms: NDArray[np.float64]
    """[N] length of the gradient that was applied; 0 where none was."""
    applied: NDArray[np.uint8]
    """[N] 1 learned, 0 only scored, 2 not finite: that row changed nothing; 3 learned with a
    gradient that was shortened to the cap."""

    def between(self, first: int, last: int) -> Learned:
        """Return the part of the rows from `first` up to `last`, as views."""
        part = slice(first, last)
        return Learned(self.scores[part], self.losses[part], self.norms[part], self.applied[part])


class Standing(NamedTuple):
    """How a member did. Loss: log loss, or for a number the squared error in units of the frame;
    mark: share of right classes, or the absolute error in units of the frame."""

    member: str
    weight: float
    """Its share in the mixture, 0 .. 1."""
    rows: float
    loss: float
    mark: float
    recent_loss: float
    """Fading, as recent_mark."""
    recent_mark: float
    failures: int = 0
    """Of a module of the user's own: rows of which it could say or learn nothing."""
    resting: bool = False
    """Whether it failed so often that it is not asked for now."""
    error: str | None = None
    """What it failed with last in this process."""
    restarts: int = 0
    """How often its expert started anew."""
    awake: bool = True
    """False: it is neither learned nor scored for now."""


class Effort(NamedTuple):
    """How much work is left out while learning is behind."""

    level: int = 0
    """How many of Kind.sheds."""
    rows: tuple[int, ...] = ()
    """Of each of them, how many rows were learned without it."""


class Gradient(msgspec.Struct):
    """A gradient in hand."""

    values: NDArray[np.float32]
    """[P]"""
    moved: NDArray[np.uint8]
    """[P] weights that a step would move."""
    targets: NDArray[np.bool_]
    """[T] targets that were labelled in at least one row."""


class Kind(Remembers, Protocol):
    """A kind of model, made from a recipe. Holds no state: all of it is passed in."""

    name: ClassVar[str]
    learns: ClassVar[tuple[TargetKind, ...]]
    """The kinds of targets that it can learn; the settings refuse others."""
    sheds: tuple[str, ...]
    """Works that can be left out where learning is behind, in that order."""
    differentiable: ClassVar[bool]
    """Whether `gradient` has one to give; the settings refuse what needs one where it has not."""
    parameters: tuple[Parameter, ...]
    places: dict[str, int]
    """Index in theta of each parameter's first weight; see `placed`."""
    size: int
    """Weights in theta."""
    lacks: str | None
    """Why it is not all there: a state names code that is gone. It can be laid out, and not served."""

    def __init__(self, recipe: Recipe) -> None: ...

    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Return the scores [N, O]: probabilities for binary and multiclass, values for numbers.
        Writes nothing into what is served, and imports no torch unless the kind is made of it."""

    def reader(self, theta: NDArray[np.float32], extras: tuple[NDArray[np.generic], ...]) -> Reader:
        """Return what scores rows as `score` does, on these weights, as often as is asked: whatever
        it takes to find its way in them is done once. Valid while their memory is."""

    def learn(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Learned
    ) -> None:
        """Score, then learn, row after row; fill `into`. weights: [N], 0: score only.

        How rows are cut into calls changes no bit. A row whose gradient is not finite changes
        nothing; clip and cap hold for each row.
        """

    @classmethod
    def misfits(cls, old: Recipe, new: Recipe) -> list[str]:
        """Return why weights that learned under one recipe cannot go on under another: sentences
        that begin with the setting. Fields are compared by others."""

    def inherit(self, old: Kind, held: Extras, into: Extras) -> None:
        """Take over of the old kind's weights and extras what no name tells: both by name, `into` as
        it starts."""

    def standings(self, extras: Extras) -> dict[str, list[Standing]]:
        """Return how each member of a mixture did, by target; nothing where there is no mixture."""

    def shed(self, extras: Extras, level: int) -> None:
        """Leave the first `level` works of `sheds` out, from the next row on."""

    def effort(self, extras: Extras) -> Effort:
        """Return how much is left out."""

    def gradient(
        self, moving: Moving, rows: Rows, weights: NDArray[np.float64], into: Gradient
    ) -> None:
        """Add the sum of the rows' gradients to into.values, set into.moved; change no weight."""


def reshaped(names: Sequence[str], old: Recipe, new: Recipe) -> list[str]:
    """Return which settings of `model` that shape the weights are not as they were."""
    pairs = [(name, getattr(old.model, name), getattr(new.model, name)) for name in names]
    return [
        f"model.{name}: the state has {before}, the settings say {after}"
        for name, before, after in pairs
        if before != after
    ]


def placed(parameters: Sequence[Parameter]) -> tuple[dict[str, int], int]:
    """Return where each parameter begins in theta, and how many weights there are: in the order
    given, those that are sparse last and from a new block on."""
    places: dict[str, int] = {}
    at = 0
    for sparse in (False, True):
        for one in parameters:
            if one.sparse == sparse:
                places[one.name] = at
                at += one.size
        at = -(-at // BLOCK) * BLOCK
    return places, at


def counters(kind: Kind, targets: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the step counters of a kind: its targets, then "" for shared weights."""
    shared = any(one.target is None for one in kind.parameters)
    return tuple(targets) + (("",) if shared else ())


def sparse_of(schema: Schema) -> tuple[Table | Bag, ...]:
    """Return every field that has a table of weights: tables, then bags."""
    return (*schema.tables, *schema.bags)
