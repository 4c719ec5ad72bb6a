"""The settings of models that are not built in: whose class it is, and what a model starts from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, WithJsonSchema

from service._settings.event import Section
from service._settings.values import nearest, refuse

EXPERTS = (
    "prior", "cross", "bayes", "newton", "squares", "quantiles", "steps", "habits", "nets", "kernel", "forest", "factors",
    "words",
)  # fmt: skip
"""The experts of a mixture, by the names that service/model/experts gives them."""
MIXTURES = ("auto", "mixture", *EXPERTS)
"""Kinds that are a mixture: of all experts, or of the members of one."""
ALL = ("auto", "mixture")
"""What asks for all built-in experts."""
KINDS = ("auto", "linear", "svm", "mlp", "fm", "rls", "mixture", *EXPERTS)
"""The kinds that are built in."""
REFERENCE = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*"
"""How a class is named."""
_OURS = "service"


def _check_kind(kind: str) -> str:
    if kind not in KINDS and not is_class(kind):
        choices = f"Use {' | '.join(KINDS)}, or package.module:Class for a module of your own."
        meant = nearest(kind, list(KINDS))
        refuse(
            f"there is no kind of model {kind!r}; there are {', '.join(KINDS)}",
            dotted(kind) or (f"Did you mean {meant}?" if meant else choices),
        )
    return kind


def dotted(kind: str) -> str | None:
    """Return what to write where a class may be meant, with a dot before its name; else None."""
    package, _, name = kind.rpartition(".")
    if not package or not re.fullmatch(REFERENCE, f"{package}:{name}"):
        return None
    return f"Write {package}:{name} for a module of your own."


def is_class(kind: str) -> bool:
    """Return whether this names a class of the user's own; refuse what tries to and cannot."""
    if ":" in kind and not re.fullmatch(REFERENCE, kind):
        refuse(f"{kind!r} names no class", "Write package.module:Class, as shop.nets:TwoTower.")
    if ":" in kind and re.split(r"[.:]", kind)[0] == _OURS:
        refuse(
            f"{kind!r} lies in a package named {_OURS}, which is Headwater's own",
            "Give your package another name.",
        )
    return ":" in kind


ModelKind = Annotated[
    str,
    AfterValidator(_check_kind),
    WithJsonSchema({"anyOf": [{"enum": list(KINDS)}, {"type": "string", "pattern": REFERENCE}]}),
]
_Plain = bool | int | float | str | None
Argument = _Plain | list[_Plain] | dict[str, _Plain]
"""What the constructor of a module may be given."""


class PretrainedSettings(Section):
    """Weights that a new model starts from."""

    file: Path = Field(
        description="A safetensors file; a relative path is relative to the working directory."
    )
    names: dict[str, str] = Field(
        default_factory=dict,
        description="Our name of a tensor -> its name in the file, where they differ. Both may end "
        "with `*`: one pair for all names that begin so.",
    )
    strict: bool = Field(
        False,
        description="true: refuse to start unless every weight of the model comes from the file "
        "and every tensor of the file is used.",
    )
