"""docs/events.md shows settings and events that work."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.events.decode import Decoder
from service.events.schema import Schema
from service.settings import EventSettings, load

PAGE = Path(__file__).parents[2] / "docs/events.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
SETTINGS: list[dict[str, Any]] = [
    YAML(typ="safe", pure=True).load(StringIO(settings)) for settings, _ in EXAMPLES
]


@pytest.mark.parametrize("at", range(len(EXAMPLES)))
def test_an_example_can_stand_in_a_file(at: int, tmp_path: Path) -> None:
    """
    Read as `headwater` reads a file of settings, which takes less than Python does.
    """
    said = "".join(f"  {line}\n" for line in EXAMPLES[at][0].splitlines())
    path = tmp_path / "headwater.yaml"
    path.write_text(
        f"name: page\nkafka: {{topics: [page]}}\nevent:\n{said}"
        "  targets: {answer: {type: binary}}\n"
    )

    assert SETTINGS[at]["features"].keys() == load(path, environment={}).event.features.keys()


@pytest.mark.parametrize("at", range(len(EXAMPLES)))
def test_an_example_is_an_event_of_its_settings(at: int) -> None:
    """
    With every field in it, and nothing that the settings do not know.
    """
    tree = SETTINGS[at] | {"targets": {"answer": {"type": "binary"}}}
    decoder = Decoder(Schema(EventSettings.model_validate(tree)), 0)
    event = json.loads(EXAMPLES[at][1])

    assert [] == decoder.decode_records([EXAMPLES[at][1].encode()]).faults
    assert [] == decoder.features([event])[1]
    assert ([], []) == decoder.presence(event)


def test_every_kind_has_an_example() -> None:
    """
    All types of fields, paths, interactions, the rest.
    """
    fields = [field for tree in SETTINGS for field in tree["features"].values()]
    known = EventSettings.model_json_schema()["properties"]["features"]
    kinds = known["additionalProperties"]["discriminator"]["mapping"]

    assert set(kinds) == {field["type"] for field in fields}
    assert any("path" in field for field in fields)
    assert any(field.get("rest") for field in fields)
    assert any("interactions" in tree for tree in SETTINGS)
