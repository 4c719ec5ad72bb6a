"""The settings that say what an event is; and Section, the shape of every part of the settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from service._settings.values import (
    Buckets,
    ClassNames,
    FieldName,
    FieldPath,
    Interaction,
    Labels,
    Pieces,
    Zone,
)


class Section(BaseModel):
    """A part of the settings: cannot be changed, and knows every key it may hold."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # an input may be a secret
        protected_namespaces=(),
    )


TimeFormat = Literal["iso", "s", "ms", "us", "ns", "auto"]


class EventTime(Section):
    """Which field says when an event happened, and how it is written."""

    field: FieldName = Field(description="Name of the field.")
    format: TimeFormat = Field(
        "iso",
        description="iso: a text as 2026-01-31T12:00:00Z; s, ms, us, ns: a number of seconds, "
        "milliseconds, microseconds or nanoseconds since 1970 UTC; auto: either, a number's unit "
        "by its size.",
    )
    zone: Zone = Field(
        "UTC", description="Zone of ISO times that name none, by its name in the IANA database."
    )


class _Feature(Section):
    """What every field to learn from may say."""

    path: FieldPath | None = Field(
        None,
        description="Where the field lies in the event, as keys from the outside in: device.os, or "
        "[device, os] where a key holds a dot; null: at the top, under its own name.",
    )


class NumberFeature(_Feature):
    """A quantity."""

    type: Literal["number"] = Field("number", description="A number, or a text that holds one.")
    scale: Literal["auto", "none", "log", "quantile", "fit"] = Field(
        "auto",
        description="auto: brought to mean 0 and variance 1 as they are seen so far; none: taken "
        "as it is; log: as auto, of sign(x) log(1 + |x|); quantile: by its rank among those seen; "
        "fit: auto, log or quantile, whichever suits the first 512 values, then kept.",
    )


class BooleanFeature(_Feature):
    """Yes or no."""

    type: Literal["boolean"] = Field(
        "boolean", description="true or false; also 1, 0, and the texts yes, no, on, off, t, f."
    )


class CategoryFeature(_Feature):
    """One of many names; new ones need nothing."""

    type: Literal["category"] = Field(
        "category", description="A name. Compared as text: 17, `17` and 17.0 are one."
    )
    buckets: Buckets = Field(
        65_536,
        description="Rows of weights that the names are hashed into, a power of two. Take ten "
        "times the number of names.",
    )


class CategoriesFeature(_Feature):
    """Several names at once."""

    type: Literal["categories"] = Field(
        "categories",
        description="A list of names, or one text with `separator` between them; order and doubles "
        "mean nothing.",
    )
    buckets: Buckets = Field(
        65_536, description="Rows of weights that the names are hashed into, a power of two."
    )
    separator: str | None = Field(
        None, min_length=1, description="What stands between names in one text; null: lists only."
    )


class TextFeature(_Feature):
    """Words that people wrote."""

    type: Literal["text"] = Field("text", description="A text; words and pieces of words count.")
    words: int = Field(2, ge=0, le=4, description="Longest run of words taken as one, in words.")
    characters: Pieces | None = Field(
        (3, 5),
        description="Shortest and longest run of characters inside a word, in characters; null: "
        "none.",
    )
    buckets: Buckets = Field(
        262_144, description="Rows of weights that words and pieces are hashed into."
    )


class VectorFeature(_Feature):
    """Numbers that belong together, as an embedding."""

    type: Literal["vector"] = Field("vector", description="A list of `size` numbers.")
    size: int = Field(ge=1, le=4096, description="How many numbers, in numbers.")
    scale: Literal["auto", "none", "unit"] = Field(
        "auto",
        description="auto: each number brought to mean 0 and variance 1; none: taken as it is; unit: "
        "divided by the vector's length.",
    )


class MapFeature(_Feature):
    """An open set of names, each with a number or a text; new names need no restart."""

    type: Literal["map"] = Field(
        "map", description="An object of name -> number, text, boolean, or a list of texts."
    )
    rest: bool = Field(
        False,
        description="true: this map holds every field of the event that no other setting names.",
    )
    buckets: Buckets = Field(
        65_536, description="Rows of weights that names and their values are hashed into."
    )
    names: Buckets = Field(
        1024,
        le=65_536,
        description="Room for the scale of numbers, by their hashed names, in names.",
    )


class TimeFeature(_Feature):
    """A moment: its hour and its day of the week."""

    type: Literal["time"] = Field("time", description="A time to learn the hour and weekday from.")
    format: TimeFormat = Field("iso", description="How it is written, as for event.time.")
    zone: Zone = Field("UTC", description="Zone whose clock counts, by its IANA name.")


class _Target(Section):
    """What every field to predict may say."""

    weight: float = Field(
        1.0,
        gt=0,
        description="How much it counts beside other targets: its gradient is multiplied with "
        "this; losses are reported without it.",
    )


class _ClassTarget(_Target):
    """What every target of classes may say."""

    class_weights: dict[str, Annotated[float, Field(gt=0, le=1e6)]] = Field(
        default_factory=dict,
        description="What an event of a class counts, by the class; of a binary target 1 is yes "
        "and 0 is no. A class that is not named counts 1.",
    )
    balance: bool = Field(
        False,
        description="true: rarer classes count more: the root of how much rarer than the most "
        "frequent they are, at most 20. Probabilities are then those of the balanced world.",
    )


class BinaryTarget(_ClassTarget):
    """A question answered by yes or no; the prediction is a probability."""

    type: Literal["binary"] = Field("binary", description="Yes or no.")
    positive: Labels | None = Field(
        None,
        description="The label that means yes, or a list of its spellings, as [Yes, yes]; every "
        "other means no. null: 1 and true mean yes, 0 and false mean no, anything else is a bad "
        "event.",
    )


class MulticlassTarget(_ClassTarget):
    """A question answered by one of a few names; the prediction is a probability for each."""

    type: Literal["multiclass"] = Field("multiclass", description="One of several classes.")
    classes: ClassNames = Field(
        description="Every class, two or more. A label that is none of them is a bad event."
    )


class NumberTarget(_Target):
    """A quantity to predict."""

    type: Literal["number"] = Field("number", description="A number.")
    scale: Literal["auto", "none"] | None = Field(
        None,
        description="auto: brought to mean 0 and variance 1 while learning; none: taken as it is; "
        "null: none where every number feature says `scale: none`, else auto.",
    )


def _time_from_text(value: object) -> object:
    return {"field": value} if isinstance(value, str) else value


Feature = Annotated[
    NumberFeature
    | BooleanFeature
    | CategoryFeature
    | CategoriesFeature
    | TextFeature
    | VectorFeature
    | MapFeature
    | TimeFeature,
    Field(discriminator="type"),
]
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
    interactions: tuple[Interaction, ...] = Field(
        (),
        description="Fields that mean more together, as [[user, item]]: each combination of their "
        "values is learned as one category. Numbers count in steps of half a deviation.",
    )
    targets: dict[FieldName, Target] = Field(
        min_length=1,
        description="Fields to predict: name, then type. One or more; each may be missing in an "
        "event.",
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """The members that an event may have at its top; empty where it may have any."""
        features = self.features.items()
        if any(isinstance(one, MapFeature) and one.rest for _, one in features):
            return ()
        own = (self.id, self.time.field if self.time else None)
        inner = (one.path[0] if one.path else name for name, one in features)
        return tuple(dict.fromkeys([*inner, *self.targets, *(name for name in own if name)]))
