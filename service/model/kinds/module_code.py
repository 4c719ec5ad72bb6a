"""Finds the class that model.kind names as package.module:Class, and says which code it is.

Only a class that the operator's settings name is ever imported (`trust`): what a state says about
its model is compared with it, and never leads to code. Knows no torch.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any, NoReturn

from service.errors import BadSettings, LayoutChanged, Problem

_trusted: set[str] = set()
_imported: dict[str, str] = {}
"""Modules that were imported here: name -> sha256 of the source at that time."""
_WHERE = "It is looked for as Python does, then in the working directory."


def trust(reference: str) -> None:
    """Remember that the operator's settings name this class."""
    _trusted.add(reference)


def source_of(reference: str) -> str:
    """Return the sha256 of the file that holds the class; BadSettings when there is none."""
    name = reference.partition(":")[0]
    spec = _spec(reference)
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        _refuse(f"there is no module {name}", f"{_WHERE} Both were looked through: {_places()}.")
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def load(reference: str) -> type[Any]:
    """Return the class, imported once in the life of a process, whatever happens to its file.

    Raises BadSettings with the reason; LayoutChanged for a class that the settings do not name.
    """
    if reference not in _trusted:
        raise LayoutChanged(
            f"the state is of a model of the class {reference}, which the settings do not name: "
            "code is loaded only where model.kind names it. Set model.kind to it, or give this "
            "model another name or state directory to start anew"
        )
    name, _, attribute = reference.partition(":")
    if name not in _imported:
        source = source_of(reference)
        _import(name)
        _imported[name] = source
    module = sys.modules[name]
    found = getattr(module, attribute, None)
    if not isinstance(found, type):
        what = "no class of that name" if found is None else "no class, but something else"
        _refuse(f"{module.__file__} holds {what}: {attribute}", "Name the class after the colon.")
    return found


def follow(reference: str, source: str) -> bool:
    """Have `load` return the class of the code with this sha256, imported anew where another was
    imported; False where the file holds other code."""
    name = reference.partition(":")[0]
    if _imported.get(name, source) != source:
        if source_of(reference) != source:
            return False
        _import(name)
        _imported[name] = source
    return True


def _import(name: str) -> None:
    """Import a module; anew if it was imported before."""
    try:
        if name in _imported:
            importlib.reload(sys.modules[name])
        else:
            importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a user's code raises is said to the user
        _refuse(
            f"importing {name} failed: {type(error).__name__}: {error}",
            f"`python -c 'import {name}'` shows where.",
        )


def _spec(reference: str) -> ModuleSpec | None:
    here = os.getcwd()  # noqa: PTH109 - an entry of sys.path is a text
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last: a file here never stands in for a library
        importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(reference.partition(":")[0])
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it runs the code of the package
        what = f"{type(error).__name__}: {error}"
        _refuse(f"importing {reference.partition(':')[0]} failed: {what}", _WHERE)


def _places() -> str:
    return ", ".join(path or "." for path in sys.path if path == "" or Path(path).is_dir())


def _refuse(msg: str, hint: str) -> NoReturn:
    raise BadSettings([Problem("model.kind", None, msg, hint)])
