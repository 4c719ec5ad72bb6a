"""What `headwater evaluate` is asked to compare: sets of overrides, each with a name.

`--set` of one key, twice: a variant for each value, and one for each combination where several
keys repeat. `--variant NAME:key=value,key=value`: one variant each; with a grid beside it, each
of them over the whole grid.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product

import typer

from service.cli.options import pair

MOST = 64
_NEXT_KEY = re.compile(r",(?=[A-Za-z_][\w.]*=)")  # a value may hold commas: topics=a,b


@dataclass(frozen=True, slots=True)
class Variant:
    """Overrides for `settings.load`, under a name; the name of a lone one may be empty."""

    name: str
    overrides: dict[str, str]


def variants_of(sets: list[str] | None, named: list[str] | None) -> list[Variant]:
    """Return the variants, one at least; a usage error where they are too many or contradict."""
    values: dict[str, list[str]] = {}
    for text in sets or []:
        key, value = pair(text)
        if value not in values.setdefault(key, []):
            values[key].append(value)
    shared = {key: found[0] for key, found in values.items() if len(found) == 1}
    repeated = {key: found for key, found in values.items() if len(found) > 1}
    chosen = [_named(text, repeated) for text in named or []] or [Variant("", {})]
    count = len(chosen)
    for found in repeated.values():
        count *= len(found)
    if count > MOST:
        raise typer.BadParameter(
            f"{count:,} variants; at most {MOST} are compared at once. Give fewer values",
            param_hint="--set",
        )
    short = _short(list(repeated))
    made = []
    for one, cell in product(chosen, product(*repeated.values())):
        own = dict(zip(repeated, cell, strict=True))
        grid = [f"{short[key]}={value}" for key, value in own.items()]
        name = ", ".join([*([one.name] if one.name else []), *grid])
        made.append(Variant(name, {**shared, **own, **one.overrides}))
    doubled = sorted({each.name for each in made if [m.name for m in made].count(each.name) > 1})
    if doubled:
        raise typer.BadParameter(f"{doubled[0]!r} names two variants", param_hint="--variant")
    return made


def _named(text: str, repeated: dict[str, list[str]]) -> Variant:
    name, colon, rest = text.partition(":")
    if not colon or not name.strip() or "=" in name:
        raise typer.BadParameter(
            f"{text!r} is not NAME:KEY=VALUE,KEY=VALUE (NAME: alone is the settings as they are)",
            param_hint="--variant",
        )
    pairs = [pair(each, "--variant") for each in _NEXT_KEY.split(rest) if each]
    own: dict[str, str] = {}
    for key, value in pairs:
        if key in own or key in repeated:
            where = "twice" if key in own else "here and repeatedly with --set"
            raise typer.BadParameter(f"{key} is set {where}", param_hint="--variant")
        own[key] = value
    return Variant(name.strip(), own)


def _short(keys: list[str]) -> dict[str, str]:
    """Return the last word of each key, the whole key where two end alike."""
    ends = [key.rsplit(".", 1)[-1] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}
