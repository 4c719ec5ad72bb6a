"""The kinds of values that settings hold, each with its rule and its remedy. Knows no file.

A value that breaks its rule raises an error with a sentence and a hint; nothing is guessed
or filled in.
"""

from __future__ import annotations

import difflib
import math
import re
from datetime import UTC, datetime
from typing import Annotated, NoReturn
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

SCALARS = str | int | float | bool
"""What may be written where a text is compared: 1, "1" and 1.0 are one."""


def refuse(msg: str, hint: str) -> NoReturn:
    """Raise the error that becomes a Problem with this sentence and this remedy."""
    raise PydanticCustomError("refused", "{msg}", {"msg": msg, "hint": hint})


def canonical_text(value: object) -> object:
    """Return the text of a scalar as events are compared: 17 and 17.0 are "17", true is "true".

    What is not a scalar is returned as it is.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() and abs(value) < 2**63 else repr(value)
    return value


def start_moment(start: str) -> datetime | None:
    """Return the moment that `kafka.start` names, None for earliest and latest. Naive is UTC."""
    if start in {"earliest", "latest"}:
        return None
    moment = datetime.fromisoformat(start)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def nearest(name: str, known: list[str]) -> str | None:
    """Return the known name that was probably meant."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)
    return close[0] if close else None


def _check_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        refuse(
            f"{name!r} cannot name a folder and an address",
            "Use 1 to 64 letters, digits, '.', '_' or '-', starting with a letter or digit.",
        )
    return name


def _check_topic(topic: str) -> str:
    if topic in {".", ".."} or not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
        refuse(
            f"{topic!r} is no topic name", "Kafka takes 1 to 249 letters, digits, '.', '_', '-'."
        )
    return topic


def _check_topics(topics: tuple[str, ...]) -> tuple[str, ...]:
    if not topics:
        refuse("no topic is named", "Name the topics to learn from: topics: [payments].")
    doubled = sorted({topic for topic in topics if topics.count(topic) > 1})
    if doubled:
        refuse(f"{', '.join(doubled)} is listed twice", "Name each topic once.")
    return topics


_SERVER = re.compile(
    r"(?:(?:SASL_)?(?:PLAINTEXT|SSL)://)?(?:\[[0-9a-fA-F:.%]+\]|[^\s,/:@\[\]]+)(?::[0-9]{1,5})?",
    re.IGNORECASE,
)


def _check_servers(servers: str) -> str:
    if "@" in servers:  # not shown: before it stands a password, most likely
        refuse(
            "holds an @, and an address of a broker has no user in it",
            "Write host:port; name and password are sasl.username and sasl.password in kafka.client.",
        )
    if not servers or any(not re.fullmatch(r"[^\s,]+", part) for part in servers.split(",")):
        refuse(
            f"{servers!r} is no list of brokers",
            "Write host:port, several separated by commas without spaces; or embedded.",
        )
    odd = next((part for part in servers.split(",") if not _SERVER.fullmatch(part)), None)
    if odd is not None:
        refuse(
            f"{odd!r} is no address of a broker",
            "Write host:port, as kafka-1.example.org:9092, without http:// and without a path.",
        )
    return servers


def _check_start(start: str) -> str:
    try:
        start_moment(start)
    except ValueError:
        refuse(
            f"{start!r} is neither earliest, latest nor an ISO time",
            "Write a time as 2026-01-31T12:00:00Z; without a zone it is UTC.",
        )
    return start


def _check_zone(zone: str) -> str:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError):
        zones = {known.lower(): known for known in available_timezones()}
        meant = nearest(zone, list(zones))
        example = zones[meant] if meant else "Europe/Paris"
        refuse(f"{zone!r} is no time zone", f"Use a name of the IANA database, as {example}.")
    return zone


def _check_power_of_two(value: int) -> int:
    if value & (value - 1):
        below = 1 << (value.bit_length() - 1)
        refuse(f"{value} is not a power of two", f"Use {below} or {below * 2}.")
    return value


_AS_TEXT = 'Labels compare as text, so 1, "1" and 1.0 are one.'


def _check_classes(classes: tuple[str, ...]) -> tuple[str, ...]:
    if len(classes) < 2:
        refuse("fewer than two classes", "Name every class that the target may take.")
    doubled = sorted({name for name in classes if classes.count(name) > 1})
    if doubled:
        refuse(
            f"{', '.join(map(repr, doubled))} is listed twice",
            _AS_TEXT,
        )
    return classes


def _labels(value: object) -> object:
    """Return the text of one label, or those of several in order; one in a list is that one."""
    several = value if isinstance(value, list | tuple) else (value,)
    texts = [canonical_text(each) for each in several]
    found = sorted(text for text in texts if isinstance(text, str))
    if not found or len(found) < len(texts):
        refuse("must be a label or a list of labels", "Write Yes, or [Yes, yes].")
    doubled = sorted({text for text in found if found.count(text) > 1})
    if doubled:
        refuse(f"{', '.join(map(repr, doubled))} is listed twice", _AS_TEXT)
    return found[0] if len(found) == 1 else tuple(found)


def _path_keys(path: object) -> object:
    if isinstance(path, list):  # read before, so no longer JSON, where a list may be a tuple
        return tuple(path)
    return tuple(path.split(".")) if isinstance(path, str) else path


def _check_path(path: tuple[str, ...]) -> tuple[str, ...]:
    if not path or not all(path):
        refuse("an empty key in the path", "Write device.os, or [device, os].")
    return path


_LONGEST_PIECE = 16


def _check_characters(pieces: tuple[int, int]) -> tuple[int, int]:
    shortest, longest = pieces
    if not 1 <= shortest <= longest <= _LONGEST_PIECE:
        refuse(
            f"no runs of {shortest} to {longest} characters",
            f"Write the shorter first, from 1 to {_LONGEST_PIECE}: [3, 5].",
        )
    return pieces


def _check_interaction(fields: tuple[str, ...]) -> tuple[str, ...]:
    if not 2 <= len(fields) <= 4:
        refuse("an interaction has two to four fields", "Write [user, item].")
    if len(set(fields)) < len(fields):
        refuse("a field with itself", "Name each field once.")
    starred = [field for field in fields if "*" in field]
    if starred:
        refuse(
            f"{starred[0]!r} holds a *, which stands between the names of an interaction",
            "Give the field another name, and say where it lies: path: [NAME].",
        )
    return fields


def _check_host(host: str) -> str:
    if not host or re.search(r"\s|/", host):
        refuse(f"{host!r} is no address", "Write an IP address or a host name, as 127.0.0.1.")
    return host


_SHORTEST_TOKEN = 16


def _check_token(token: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", token.get_secret_value()):
        refuse(
            "what is there cannot be sent as a token",
            "Use letters, digits and signs without spaces; `openssl rand -hex 32` makes one.",
        )
    if len(token.get_secret_value()) < _SHORTEST_TOKEN:
        refuse(
            f"a token of less than {_SHORTEST_TOKEN} characters can be guessed",
            "`openssl rand -hex 32` makes a good one.",
        )
    return token


Name = Annotated[str, AfterValidator(_check_name)]
FieldName = Annotated[str, Field(min_length=1)]
Topic = Annotated[str, AfterValidator(_check_topic)]
Topics = Annotated[tuple[Topic, ...], AfterValidator(_check_topics)]
Servers = Annotated[str, AfterValidator(_check_servers)]
Start = Annotated[str, AfterValidator(_check_start)]
Zone = Annotated[str, AfterValidator(_check_zone)]
Buckets = Annotated[int, Field(ge=2, le=2**26), AfterValidator(_check_power_of_two)]
Host = Annotated[str, AfterValidator(_check_host)]
Token = Annotated[SecretStr, AfterValidator(_check_token)]
ScalarText = Annotated[str, BeforeValidator(canonical_text, json_schema_input_type=SCALARS)]
FieldPath = Annotated[
    tuple[str, ...],
    AfterValidator(_check_path),
    BeforeValidator(_path_keys, json_schema_input_type=str | tuple[str, ...]),
]
Interaction = Annotated[tuple[FieldName, ...], AfterValidator(_check_interaction)]
Pieces = Annotated[tuple[int, int], AfterValidator(_check_characters)]
Labels = Annotated[
    str | tuple[str, ...],
    BeforeValidator(_labels, json_schema_input_type=SCALARS | list[SCALARS]),
]
ClassNames = Annotated[tuple[ScalarText, ...], AfterValidator(_check_classes)]
