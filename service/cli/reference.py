"""docs/configuration.md, made from the settings themselves. Knows no file, no environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from service.settings import Settings

_HEAD = """# Settings

<!-- Made by `headwater config reference`. A test fails when this page is out of date. -->

For whoever writes the settings: all of them, with type, default and meaning. The settings file is the
one that `--config` names, else the one that `HEADWATER_CONFIG` names, else `./headwater.yaml`. It is YAML 1.2: `NO` and `on` are texts, `1e-3` is a number, and a key
may stand only once. `headwater config check` finds everything that is wrong with it at once;
`headwater config show` prints the settings in force; `headwater config schema` prints a JSON
Schema for editors ([how to use it](start.md#help-from-your-editor)), and `headwater config init`
guesses a settings file from a sample of events.

## From the environment

A variable speaks over the file: `HEADWATER_API__PORT=9000` sets `api.port`, two underscores for
each dot. Lists are separated by commas (`HEADWATER_KAFKA__TOPICS=payments,refunds`), `null` means
none where none is allowed. Below `HEADWATER_KAFKA__CLIENT__` one underscore is a dot:
`HEADWATER_KAFKA__CLIENT__SASL_USERNAME` sets `sasl.username`. With `_FILE` at its end a variable
names a file that holds the value: `HEADWATER_KAFKA__CLIENT__SASL_PASSWORD_FILE`. Every other name
that starts with `HEADWATER_` is an error, so that no misspelt one is lost; except
`HEADWATER_CONFIG`, and names that start with `HEADWATER_TEST_`, which the service does not read.

## A settings file

```yaml
name: payments-fraud
kafka:
  bootstrap_servers: localhost:9092
  topics: [payments]
  dead_letter_topic: payments.dead
event:
  time: {field: tx_time, format: iso}
  features:
    amount: {type: number}
    merchant: {type: category}
  targets:
    is_fraud: {type: binary}
```

## Every setting
"""

_BOUNDS = {
    "minimum": "at least",
    "exclusiveMinimum": "more than",
    "maximum": "at most",
    "exclusiveMaximum": "less than",
}


_SCALAR = [{"type": name} for name in ("string", "integer", "number", "boolean")]


def page() -> str:
    """Return the page."""
    schema = Settings.model_json_schema()
    return "\n".join([_HEAD, *_section(schema, schema, "", "")])


def _section(
    schema: dict[str, Any], section: dict[str, Any], title: str, prefix: str
) -> Iterator[str]:
    """A table of one section's settings, then the sections in it."""
    if title:
        yield f"### {title}\n"
        yield f"{section['description']}\n"
    yield "| setting | type | default | meaning |"
    yield "|---|---|---|---|"
    inner: list[tuple[dict[str, Any], str, str]] = []
    for name, field in section["properties"].items():
        path = f"{prefix}{name}"
        default = _default(field, required=name in section.get("required", []))
        inner += _sections(schema, field, path)
        described = field if "description" in field else _resolved(schema, field)
        meaning = described["description"].replace("|", "\\|")
        yield f"| `{path}` | {_kind(field)} | {default} | {meaning} |"
    yield ""
    for found, heading, below in inner:
        yield from _section(schema, found, heading, below)


def _sections(
    schema: dict[str, Any], field: dict[str, Any], path: str
) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Sections that a setting may hold, each with its title and how names in it begin."""
    if "$ref" in field:
        yield _resolved(schema, field), path, f"{path}."
    for option in field.get("anyOf", []):
        yield from _sections(schema, option, path)
    for option in field.get("items", {}).get("anyOf", []):
        if "$ref" in option:
            yield _resolved(schema, option), f"One of {path}", ""
    names = field.get("additionalProperties")
    for named in field.get("patternProperties", {}).values():
        yield _beside_model(schema, named), f"One of {path}, by its name", ""
    for option in names.get("oneOf", []) if isinstance(names, dict) else []:
        found = _resolved(schema, option)
        tag = found["properties"]["type"]["const"]
        yield found, f"One of {path}, with type: {tag}", ""


def _beside_model(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    """Return a section that has all settings of `model`, which stand there, and what it has more."""
    found, model = _resolved(schema, field), schema["$defs"]["ModelSettings"]
    more = {n: f for n, f in found["properties"].items() if n not in model["properties"]}
    for one in more.values():
        one["anyOf"] = [{"type": "object"}, {"type": "null"}]  # as the section of that name
    return {**found, "properties": more}


def _resolved(schema: dict[str, Any], field: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = schema["$defs"][field["$ref"].rsplit("/", 1)[1]]
    return found


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        return "section"
    if "anyOf" in field:
        options = [option for option in field["anyOf"] if option not in _SCALAR]
        kinds = ["text, number, true or false"] if field["anyOf"][:4] == _SCALAR else []
        if not kinds:
            options = field["anyOf"]
        return ", or ".join([*kinds, *map(_kind, options)])
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    match field["type"]:
        case "array":
            places = field.get("prefixItems")
            return f"list of: {_kind(places[0] if places else field['items'])}"
        case "object":
            if "patternProperties" in field:
                return "names, each a section"
            return "names, each with its type" if "minProperties" in field else "names and values"
        case "integer" | "number" as kind:
            noun = "whole number" if kind == "integer" else "number"
            bounds = [
                f"{word} {_short(field[key])}" for key, word in _BOUNDS.items() if key in field
            ]
            return ", ".join([noun, *bounds])
        case kind:
            return {"string": "text", "boolean": "true or false"}.get(kind, str(kind))


def _default(field: dict[str, Any], *, required: bool) -> str:
    if required:
        return "required"
    return f"`{json.dumps(field['default'])}`" if "default" in field else ""


def _short(bound: float) -> str:
    """Return 1 for 1.0: whether a bound is a float is no matter of the reader's."""
    return str(int(bound) if bound == int(bound) else bound)
