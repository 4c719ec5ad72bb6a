"""Makes a user's module from a recipe, and refuses what cannot be learned. Knows no weights.

BadSettings names the rule that is broken, and what to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from service.errors import BadSettings, LayoutChanged, Problem
from service.events.schema import Schema
from service.model.featurizer import Rows
from service.model.kinds import module_code
from service.model.kinds.module_batch import inputs_of, outputs_of

if TYPE_CHECKING:
    from service.model.recipe import Recipe

DTYPES = {
    torch.float32: "float32", torch.float64: "float64", torch.int64: "int64",
    torch.uint8: "uint8", torch.bool: "uint8",
}  # fmt: skip
"""Types of buffers that a state can hold, and how it holds them."""
Shapes = dict[str, list[int]]
_WORDS = 600
"""Letters that an error may say."""


class Killed(RuntimeError):
    """What forward did with these events would end the process, as if its settings were bad: they
    kept the rules when they were tried, so it is an event that is looked for."""


def one_thread() -> None:
    """Have torch compute as replays need it: with one thread, and deterministically."""
    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    if not torch.are_deterministic_algorithms_enabled():
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Have torch's chance on the CPU be a function of `seed`, and go on as before afterwards."""
    chance = torch.default_generator
    before = chance.get_state()
    chance.manual_seed(seed & (2**63 - 1))
    try:
        yield
    finally:
        chance.set_state(before)


def construct(recipe: Recipe) -> nn.Module:
    """Return the module, fresh; its first weights are a function of the seed."""
    made = module_code.load(recipe.kind)
    if not issubclass(made, nn.Module):
        refuse(f"{recipe.kind} is no torch.nn.Module", "Derive the class from torch.nn.Module.")
    inputs, outputs = inputs_of(recipe.schema), outputs_of(recipe.schema)
    with seeded(recipe.learning.seed):
        try:
            module: nn.Module = made(inputs, outputs, **recipe.model.arguments)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's code raises is said to the user
            refuse(
                f"{recipe.kind} cannot be made: {said(error)}",
                "Its constructor is called as Class(inputs, outputs, **model.arguments).",
            )
    _check_tensors(module)
    return module


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """Return the buffers that belong to the state, by name."""
    kept = module.state_dict(keep_vars=True)
    return {name: b for name, b in module.named_buffers() if name in kept}


def joined(outs: object, outputs: dict[str, int], n: int) -> Tensor:
    """Return what forward gave as one tensor [N, O]; BadSettings where it is something else."""
    if isinstance(outs, dict):
        if outs.keys() != outputs.keys():
            refuse(
                f"forward returned outputs for {sorted(map(str, outs))}, not for {list(outputs)}",
                "Return one tensor [N, outputs] for each target.",
            )
        for name, width in outputs.items():
            _check_output(outs[name], (n, width), f"forward's output for {name}")
        return torch.cat([outs[name] for name in outputs], dim=1)
    _check_output(outs, (n, sum(outputs.values())), "what forward returned")
    assert isinstance(outs, Tensor), "it was checked"
    return outs


def check_shapes(kind: str, recorded: Shapes, found: Shapes) -> None:
    """Raise LayoutChanged where weights that have learned would not fit the module as it is now."""
    changed = [
        f"{name}: the state has {shape}, the module {found.get(name, 'none')}"
        for name, shape in recorded.items()
        if found.get(name) != shape
    ]
    if changed:
        raise LayoutChanged(
            f"the weights in the state do not fit {kind} as its code is now:\n  "
            + "\n  ".join(changed)
            + "\nUndo the change of its code or of model.arguments, or give the model another name "
            "or state directory to start anew."
        )


def nothing(schema: Schema, n: int = 1) -> Rows:
    """Return n rows in which every field is missing."""
    x = np.zeros((n, schema.inputs), dtype=np.float32)
    for block in schema.dense:
        x[:, block.start + block.width] = 1.0
    return Rows(
        x,
        np.zeros((n, len(schema.tables)), dtype=np.int64),
        np.zeros((n, len(schema.bags) + 1), dtype=np.int64),
        np.empty(0, dtype=np.int64),
        np.empty(0, dtype=np.float32),
        np.full((n, len(schema.targets)), np.nan),
    )


def said(error: BaseException) -> str:
    """Return what kind of error it is, and what it says, in a few lines at most."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - how a user's error speaks is a user's code too
        words = "(it cannot say what)"
    if len(words) > _WORDS:
        words = f"{words[:_WORDS]} ..."
    return f"{type(error).__name__}: {words}"


def refuse(msg: str, hint: str) -> NoReturn:
    """Raise BadSettings about the module."""
    raise BadSettings([Problem("model.kind", None, msg, hint)])


def _check_tensors(module: nn.Module) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in tensors:
        if tensor.device.type != "cpu":
            refuse(f"{name} lies on {tensor.device}", "Make every tensor on the CPU.")
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            refuse(f"parameter {name} has no shape yet", "Use no lazy layers: say their sizes.")
        if parameter.dtype != torch.float32:
            refuse(f"parameter {name} is {parameter.dtype}", "Make every parameter float32.")
        if not bool(torch.isfinite(parameter).all()):
            refuse(f"parameter {name} is not finite", "Give every weight a finite first value.")
    for name, buffer in persistent_buffers(module).items():
        if buffer.dtype not in DTYPES:
            refuse(
                f"buffer {name} is {buffer.dtype}",
                "Make it float32, float64, int64, uint8 or bool; or persistent=False.",
            )
    if not any(p.requires_grad for p in module.parameters()):
        refuse("no parameter of the module can be learned", "Leave requires_grad as it is.")


def _check_output(out: object, shape: tuple[int, int], what: str) -> None:
    if not isinstance(out, Tensor):
        refuse(f"{what} is a {type(out).__name__}", "Return a tensor [rows, outputs].")
    if tuple(out.shape) != shape:
        refuse(
            f"{what} has shape {list(out.shape)}, not {list(shape)}",
            f"{shape[0]} rows were given: return a tensor of shape {list(shape)}.",
        )
    if out.dtype != torch.float32:
        refuse(f"{what} is {out.dtype}", "Return float32.")
