"""The settings that say what an event is; and Section, the shape of every part of the settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service._settings.values import Buckets, ClassNames, FieldName, ScalarText, Zone


class Section(BaseModel):
    """A part of the settings: cannot be changed, and knows every key it may hold."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # an input may be a secret
        protected_namespaces=(),
    )


class EventTime(Section):
    """Which field says when an event happened, and how it is written."""

    field: FieldName = Field(description="Name of the field.")
    format: Literal["iso", "s", "ms", "us", "ns"] = Field(
        "iso",
        description="iso: a text as 2026-01-31T12:00:00Z; s, ms, us, ns: a number of seconds, "
        "milliseconds, microseconds or nanoseconds since 1970 UTC.",
    )
    zone: Zone = Field(
        "UTC", description="Zone of ISO times that name none, by its name in the IANA database."
    )


class NumberFeature(Section):
    """A quantity."""

    type: Literal["number"] = Field("number", description="A number, or a text that holds one.")
    scale: Literal["auto", "none"] = Field(
        "auto",
        description="auto: brought to mean 0 and variance 1 as they are seen so far; none: taken "
        "as it is.",
    )


class CategoryFeature(Section):
    """One of many names; new ones need nothing."""

    type: Literal["category"] = Field(
        "category", description="A name. Compared as text: 17, `17` and 17.0 are one."
    )
    buckets: Buckets = Field(
        65_536,
        description="Rows of weights that the names are hashed into, a power of two. Take ten "
        "times the number of names.",
    )


class BinaryTarget(Section):
    """A question answered by yes or no; the prediction is a probability."""

    type: Literal["binary"] = Field("binary", description="Yes or no.")
    positive: ScalarText | None = Field(
        None,
        description="The label that means yes, every other means no. null: 1 and true mean yes, "
        "0 and false mean no, anything else is a bad event.",
    )


class MulticlassTarget(Section):
    """A question answered by one of a few names; the prediction is a probability for each."""

    type: Literal["multiclass"] = Field("multiclass", description="One of several classes.")
    classes: ClassNames = Field(
        description="Every class, two or more. A label that is none of them is a bad event."
    )


class NumberTarget(Section):
    """A quantity to predict."""

    type: Literal["number"] = Field("number", description="A number.")
    scale: Literal["auto", "none"] | None = Field(
        None,
        description="auto: brought to mean 0 and variance 1 while learning; none: taken as it is; "
        "null: none where every number feature says `scale: none`, else auto.",
    )


def _time_from_text(value: object) -> object:
    return {"field": value} if isinstance(value, str) else value


Feature = Annotated[NumberFeature | CategoryFeature, Field(discriminator="type")]
Target = Annotated[BinaryTarget | MulticlassTarget | NumberTarget, Field(discriminator="type")]
TimeField = Annotated[
    EventTime, BeforeValidator(_time_from_text, json_schema_input_type=EventTime | str)
]


class EventSettings(Section):
    """What an event is: which fields are learned from, and which are learned."""

    format: Literal["json"] = Field(
        "json", description="How a record's value is written: a JSON object, or an array of them."
    )
    id: FieldName | None = Field(
        None, description="Field that tells one event from another; null: none."
    )
    time: TimeField | None = Field(
        None,
        description="When the event happened. `time: name` means {field: name, format: iso, zone: "
        "UTC}; null: the record's timestamp.",
    )
    features: dict[FieldName, Feature] = Field(
        min_length=1, description="Fields to learn from: name, then type. One or more."
    )
    targets: dict[FieldName, Target] = Field(
        min_length=1,
        description="Fields to predict: name, then type. One or more; each may be missing in an "
        "event.",
    )
