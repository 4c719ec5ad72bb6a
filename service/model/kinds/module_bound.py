"""A user's module on the weights of one image, where they lie: no copy, and no lasting hold.

The memory is named by its address. Whoever scores or learns holds the image meanwhile; an image
that is gone may be unmapped, and one that takes its place is read where it lies.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from service.model.kinds.module_batch import Batch

Head = tuple[nn.Linear, int]
"""The layer that gives an output, and which of its rows."""


class Placed(NamedTuple):
    """A parameter of the module, and the index of its first weight in theta."""

    first: int
    parameter: nn.Parameter


class Bound(NamedTuple):
    """A module whose parameters are views of one image's weights."""

    module: nn.Module
    weights: tuple[nn.Parameter, ...]
    """Those that are learned."""
    places: tuple[Placed, ...]
    """Of each of them."""

    @classmethod
    def of(
        cls,
        module: nn.Module,
        theta: NDArray[np.float32],
        places: Sequence[Placed],
        kept: Sequence[tuple[Tensor, NDArray[Any]]],
    ) -> Bound:
        """Return a copy of the module on theta [P]; kept: its buffers, and where each lies."""
        flat = _alias(theta)
        memo: dict[int, Any] = {}
        learned: list[tuple[nn.Parameter, Placed]] = []
        for place in places:
            original = place.parameter
            view = flat[place.first : place.first + original.numel()].view(original.shape)
            memo[id(original)] = bound = nn.Parameter(view, requires_grad=original.requires_grad)
            if bound.requires_grad:
                learned.append((bound, place))
        for buffer, array in kept:
            # nothing changes buffers, so a copy says the same: a module that writes there after all, for
            # some event that its trial did not have, would end the process of whoever only reads
            held = _alias(array) if array.flags.writeable else torch.from_numpy(array.copy())
            memo[id(buffer)] = held.view(torch.bool) if buffer.dtype == torch.bool else held
        made = copy.deepcopy(module, memo)
        lazy = {id(memo[id(weight)]) for weight in embeddings_of(module)}
        for part in made.modules():
            if isinstance(part, nn.Embedding | nn.EmbeddingBag) and id(part.weight) in lazy:
                part.sparse = True
        return cls(made, tuple(p for p, _ in learned), tuple(place for _, place in learned))


def embeddings_of(module: nn.Module) -> list[Tensor]:
    """Return the tables whose rows can be learned lazily: used by one embedding and nothing else."""
    uses = Counter(id(p) for part in module.modules() for p in part.parameters(recurse=False))
    return [
        part.weight
        for part in module.modules()
        if (
            isinstance(part, nn.Embedding)
            or (isinstance(part, nn.EmbeddingBag) and part.mode in {"sum", "mean"})
        )
        and uses[id(part.weight)] == 1
        and not part.scale_grad_by_freq
    ]


def leaves_of(outs: Tensor) -> list[Tensor]:
    """Return the tensors at which a gradient of outputs ends."""
    found: list[Tensor] = []
    left, seen = [outs.grad_fn], set()
    while left:
        step = left.pop()
        if step is None or step in seen:
            continue
        seen.add(step)
        left += [before for before, _ in step.next_functions]
        if hasattr(step, "variable"):
            found.append(step.variable)
    return found


def heads_of(module: nn.Module, batch: Batch, outputs: dict[str, int]) -> list[Head | None]:
    """Return for each output the linear layer that it leaves unchanged, None where there is none.

    An output that has a layer of its own doubles when its weights do, and no other changes.
    """
    seen: dict[int, str] = {}
    held: list[Tensor] = []
    originals = dict(module.named_modules())
    tried = copy.deepcopy(module).eval()  # whatever it may do to itself

    def noting(name: str) -> Callable[..., None]:
        def note(_: nn.Module, __: object, out: Tensor) -> None:
            seen[id(out)] = name
            held.append(out)  # or another tensor would get its id

        return note

    uses = Counter(id(p) for one in originals.values() for p in one.parameters(recurse=False))
    for name, part in tried.named_modules():
        original = originals[name]
        if (
            isinstance(original, nn.Linear)
            and uses[id(original.weight)] == 1 == uses[id(original.bias)]
        ):
            part.register_forward_hook(noting(name))
    with torch.no_grad():
        outs = tried(batch)
        parts = dict(tried.named_modules())
        found: list[Head | None] = []
        at = 0
        for target, width in outputs.items():
            name = target if isinstance(outs, dict) else ""
            layer = seen.get(id(outs.get(target) if isinstance(outs, dict) else outs))
            first = 0 if isinstance(outs, dict) else at
            if layer is None or (
                width == 1 and not _apart(tried, batch, parts[layer], name, first)
            ):
                found += [None] * width
            else:
                found += [(originals[layer], first + o) for o in range(width)]
            at += width
    return found


def _apart(tried: nn.Module, batch: Batch, layer: Any, name: str, row: int) -> bool:
    """Return whether one output of a linear layer, `row` of what is returned under this name,
    doubles with its weights, and no other output changes: they are used for nothing else."""

    def outputs() -> dict[str, Tensor]:
        outs = tried(batch)
        held = outs if isinstance(outs, dict) else {"": outs}
        return {key: out for key, out in held.items() if isinstance(out, Tensor)}

    layer.bias[row] = 1.0  # or all may be 0, and doubled nothing to see
    expected = {key: out.clone() for key, out in outputs().items()}
    expected[name][:, row] *= 2.0
    layer.weight[row] *= 2.0
    layer.bias[row] *= 2.0
    after = outputs()
    return all(torch.equal(out, after[key]) for key, out in expected.items())


def _alias(array: NDArray[Any]) -> Tensor:
    """Return the memory of an array as a tensor, even where it may only be read: nobody writes
    there but the steps of learning, and a module that did was refused when it was probed."""
    kind = np.ctypeslib.as_ctypes_type(array.dtype)
    address = array.__array_interface__["data"][0]
    held = (kind * array.size).from_address(address)
    return torch.from_numpy(np.ctypeslib.as_array(held).reshape(array.shape))
