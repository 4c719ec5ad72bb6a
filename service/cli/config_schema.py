"""The JSON Schema of the settings file, for editors. Knows the settings, no file."""

from __future__ import annotations

from typing import Any

from service.settings import Settings

ID = "urn:headwater:settings"


def schema() -> dict[str, Any]:
    """Return the schema; short spellings (`topic: x`, `time: name`) are part of it."""
    made = Settings.model_json_schema()
    kafka = made["$defs"]["KafkaSettings"]  # `topic: x` is the short spelling of one topic
    kafka["properties"]["topic"] = {"type": "string", "description": "One topic to learn from."}
    kafka["required"].remove("topics")
    kafka["oneOf"] = [{"required": ["topics"]}, {"required": ["topic"]}]
    for section in [made, *made["$defs"].values()]:
        for field in section.get("properties", {}).values():
            field.pop("title", None)  # an editor would show it above the description
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ID,
        "title": "Settings of Headwater",
    }
    return {**head, **{key: value for key, value in made.items() if key != "title"}}
