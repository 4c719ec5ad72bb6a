"""How passes are compiled: kernels, which Python calls, and their pieces.

Compiling takes long, so there is little of it. A pass that learns also scores: rows of weight 0 are
predicted and nothing is written, so there is no second pass for scoring. Whatever a kernel is given
has one type: see `lent`. And a piece is made into machine code as a part of its kernels alone.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import _dynfunc, njit, types  # type: ignore[attr-defined]
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numpy.typing import NDArray


@functools.cache
def _refusal() -> tuple[int, Any]:
    """Return the address of what raises TypeError for any arguments, and what keeps it alive."""

    def a_piece_of_kernels_called_from_python() -> None:
        return None

    refusal: Any = njit(a_piece_of_kernels_called_from_python)
    refusal.compile(())
    made = refusal.overloads[()]
    address = made.library.get_pointer_to_function(made.fndesc.llvm_cpython_wrapper_name)
    return address, made.library


class _Part(JITCodeLibrary):
    """Code that is only ever a part of other code: it is put together, and no more."""

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._reload_init.update(library._reload_init)
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


def _see_that_none_leaves(returned: Any, name: str) -> None:
    """Raise TypeError where a piece that counts no references would return an array."""
    parts = getattr(returned, "types", [returned])
    if any(isinstance(part, types.Array) for part in parts):
        msg = f"{name} returns an array: make it a making_piece"
        raise TypeError(msg)


@register_pass(mutates_CFG=True, analysis_only=False)  # type: ignore[no-untyped-call]
class _PartLowering(NativeLowering):
    _name = "lower_part"

    def run_pass(self, state: Any) -> bool:
        context = state.targetctx
        state.library = _Part(context.codegen(), state.func_id.func_qualname)  # type: ignore[no-untyped-call]
        state.flags.no_compile = True
        if not state.flags.nrt:
            _see_that_none_leaves(state.return_type, state.func_id.func_qualname)
        super().run_pass(state)  # type: ignore[no-untyped-call]
        made, module = state["cr"], state["cr"].fndesc.lookup_module()
        address, library = _refusal()
        entry = _dynfunc.make_function(module, "piece", "", address, made.env, (library,))
        context.insert_user_function(entry, made.fndesc, [state.library])
        state["cr"] = made._replace(cfunc=entry)
        return True


class _PartCompiler(CompilerBase):
    def define_pipelines(self) -> list[Any]:
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)  # type: ignore[no-untyped-call]
        swapped = [
            (_PartLowering if one is NativeLowering else one, why) for one, why in passes.passes
        ]
        passes.passes[:] = swapped
        passes._finalized = False
        passes.finalize()
        return [passes]


_INFINITE: dict[str, Any] = {"error_model": "numpy"}
_PART: dict[str, Any] = {
    "nogil": True, "pipeline_class": _PartCompiler, "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}  # fmt: skip
_KERNEL: dict[str, Any] = {"nogil": True, "cache": True, "_nrt": True}
kernel = njit(**_KERNEL, **_INFINITE)
"""What Python calls. It is kept on disk, with all of its pieces in it."""
_MAKING: dict[str, Any] = {**_PART, "_nrt": True}
_LENT: dict[str, Any] = {**_PART, "_nrt": False}
_FUSED: dict[str, Any] = {"fastmath": {"contract", "reassoc"}}
piece = njit(**_LENT, **_INFINITE)
"""What only kernels and other pieces call. Python has no way in: a call from there raises
TypeError. Arrays are lent to it: whoever calls keeps them, so it counts no references (two locked
instructions for each array of each call, which for short pieces take longer than the work). It
makes no arrays and returns none."""
making_piece = njit(**_MAKING, **_INFINITE)
"""The same, but it may make arrays."""
fused_piece = njit(**_LENT, **_INFINITE, **_FUSED)
"""The same for long sums: products are added without being rounded first, and in the order that
suits the processor. Bits of the same kernels are the same on processors of one kind; see
learn/environment.py for others."""
fused_making_piece = njit(**_MAKING, **_INFINITE, **_FUSED)
"""Such a one that may make arrays."""
strict_piece = njit(**_MAKING)
"""A piece of a kernel that raises where it divides by 0; it may make arrays."""


class _Lent:
    def __init__(self, array: NDArray[Any]) -> None:
        told = dict(array.__array_interface__)
        told["data"] = (told["data"][0], False)
        self.__array_interface__ = told
        self.array = array


def lent(array: NDArray[Any]) -> NDArray[Any]:
    """Return a view that says that it may be written, for kernels that do not write.

    For numba an array that may not be written is of another type, and every kernel would be
    compiled again for it. Rows of weight 0 make no kernel write. Should one do so by mistake, then
    where the API maps the live weights read only the system ends the process: they stay as they are.
    """
    if array.flags.writeable:
        return array
    return np.asarray(_Lent(array))
