"""Rules about the fields of an event and what they have to do with each other.

Works on the plain tree, as rules.py does; what has the wrong shape is left to the model.
"""

from __future__ import annotations

from collections.abc import Iterator

from service._settings.problems import Found

Tree = dict[str, object]
Path = tuple[str, ...]

_CROSSED = ("number", "boolean", "category", "time")
_FEATURES = ("event", "features")
_INTERACTIONS = ("event", "interactions")


def broken(event: Tree) -> Iterator[Found]:
    """Tell which rules the section `event` breaks."""
    features = _tree(event, "features")
    specs = {name: spec for name, spec in features.items() if isinstance(spec, dict)}
    labels = _labels(event)
    paths = {name: _path(name, spec) for name, spec in specs.items() if not spec.get("rest")}
    for name in features:
        if name not in paths and name in labels["target"]:
            yield _answer(name)
    for name, path in paths.items():
        if path and path[0] in labels["target"]:
            yield _answer(name)
        elif (through := _through(path, specs, paths, labels)) is not None:
            hint = "Give the path of a value, or make that field a map."
            yield Found((*_FEATURES, name, "path"), f"goes through {through}", hint)
    yield from _rest(specs)
    yield from _interactions(event, features)


def _labels(event: Tree) -> dict[str, set[str]]:
    """Return names of fields at the top that hold one value, by their role."""
    time = event.get("time")
    field = time.get("field") if isinstance(time, dict) else time
    return {
        "target": set(_tree(event, "targets")),
        "id": {name for name in [event.get("id")] if isinstance(name, str)},
        "time": {field} if isinstance(field, str) else set(),
    }


def _answer(name: str) -> Found:
    msg = "is a target too; the model would see the answer"
    return Found((*_FEATURES, name), msg, "Keep one.")


def _through(
    path: Path, specs: dict[str, Tree], paths: dict[str, Path], labels: dict[str, set[str]]
) -> str | None:
    """Return the field that holds one value and lies on the way to the end of a path."""
    way = [path[:length] for length in range(1, len(path))]
    for name, other in paths.items():
        if other in way and specs[name].get("type") != "map":
            return f"{name}, which is a {specs[name].get('type')}"
    for role, names in labels.items():
        if path[:1] in way and path[0] in names:
            return f"{path[0]}, which is the {role}"
    return None


def _rest(specs: dict[str, Tree]) -> Iterator[Found]:
    maps = [name for name, spec in specs.items() if spec.get("rest") is True]
    for name in maps:
        if specs[name].get("path") is not None:
            msg = "has no effect: the rest lies at the top of the event"
            yield Found((*_FEATURES, name, "path"), msg, "Leave out path, or rest.")
    for name in maps[1:]:
        msg = f"is a second map of the rest; {maps[0]} is one"
        yield Found((*_FEATURES, name, "rest"), msg, "Keep one of them.")


def _interactions(event: Tree, features: Tree) -> Iterator[Found]:
    listed = event.get("interactions")
    met: list[set[str]] = []
    for at, each in enumerate(listed if isinstance(listed, list) else []):
        where = (*_INTERACTIONS, str(at))
        names = [name for name in each if isinstance(name, str)] if isinstance(each, list) else []
        for name in names:
            spec = features.get(name)
            kind = spec.get("type") if isinstance(spec, dict) else None
            if name not in features:
                hint = f"Name fields of event.features: {', '.join(features)}."
                yield Found(where, f"there is no feature {name!r}", hint)
            elif isinstance(kind, str) and kind not in _CROSSED:
                hint = f"Take fields of type {' | '.join(_CROSSED)}."
                yield Found(where, f"{name} is a {kind}, which cannot be combined", hint)
        if names and set(names) in met:
            yield Found(where, "is listed twice; the order of names means nothing", "Keep one.")
        met.append(set(names))


def _path(name: str, spec: Tree) -> Path:
    """Return where a field lies; empty where that cannot be told."""
    path = spec.get("path")
    if path is None:
        return (name,)
    if isinstance(path, str):
        return tuple(path.split("."))
    keys = path if isinstance(path, list) else []
    return tuple(key for key in keys if isinstance(key, str))


def _tree(section: Tree, key: str) -> Tree:
    found = section.get(key)
    return found if isinstance(found, dict) else {}
