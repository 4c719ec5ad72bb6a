"""The streams of `accuracy`: which fields they have, and their rows as JSON lines in a file.

Fields are named and nothing else: no kind of model, no rate, no scale. Those of data files are the
`event` of the settings in config/; of River's, what its own data sets call them.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from service import settings
from service.settings import Settings
from service.stream.files import read_files, to_json

CHECKOUT = Path(__file__).parent.parent
RIVER = Path(__file__).parent / "accuracy_river.py"
CLASSIFIERS = (
    *("ARFClassifier", "SRPClassifier", "LeveragingBagging", "AMFClassifier"),
    *("ALMAClassifier", "LogisticRegression", "KNNClassifier"),
)
REGRESSORS = (
    *("ARFRegressor", "AMFRegressor", "LinearRegression", "KNNRegressor"),
    "HoeffdingAdaptiveTree",
)
DEEP = "DeepMLP"
"""Of deep-river, which needs another torch than the service: an interpreter of its own."""
MODELS = (*CLASSIFIERS, *REGRESSORS, "MultinomialNB", "BiasedMF", DEEP)


class Missing(Exception):
    """A stream cannot be had here; says why."""


@dataclass(frozen=True)
class Stream:
    """One stream. `file`: among the data sets, else it comes from River."""

    name: str
    figure: str
    """accuracy, F1 or MAE."""
    file: str | None = None
    config: str | None = None
    event: dict[str, Any] = field(default_factory=dict)
    key: str | None = None
    """Whose last value is a baseline of its own."""
    pair: dict[str, str] | None = None
    """What a recommender of River is given: {"user": field, "item": field}."""
    unseen: bool = False
    """No default was ever chosen by looking at it."""

    @property
    def target(self) -> str:
        """Name of the field that is predicted."""
        return "y" if self.file is None else next(iter(self.event["targets"]))

    @property
    def competitors(self) -> tuple[str, ...]:
        """Models of River and deep-river that can learn it."""
        if "text" in (one["type"] for one in self.event["features"].values()):
            return (*CLASSIFIERS, "MultinomialNB")
        if self.figure != "MAE":
            return (*CLASSIFIERS, DEEP)
        return (*REGRESSORS, "BiasedMF", DEEP) if self.pair else (*REGRESSORS, DEEP)


def _numbers(*names: str) -> dict[str, Any]:
    return {name: {"type": "number"} for name in names}


def _categories(*names: str) -> dict[str, Any]:
    return {name: {"type": "category"} for name in names}


def _made(features: dict[str, Any], *classes: object, number: bool = False) -> dict[str, Any]:
    kind: dict[str, Any] = {"type": "number" if number else "binary"}
    if classes:
        kind = {"type": "multiclass", "classes": [str(c) for c in classes]}
    return {"features": features, "targets": {"y": kind}}


def _of_config(name: str) -> dict[str, Any]:
    found = settings.load(CHECKOUT / "config" / f"{name}.yaml", environment={})
    return found.event.model_dump(mode="json", exclude_unset=True, by_alias=True)


_PIXELS = (
    *("region-centroid-col", "region-centroid-row"),
    *("short-line-density-5", "short-line-density-2"),
    *("vedge-mean", "vegde-sd", "hedge-mean", "hedge-sd", "intensity-mean"),
    *("rawred-mean", "rawblue-mean", "rawgreen-mean"),
    *("exred-mean", "exblue-mean", "exgreen-mean"),
    *("value-mean", "saturation-mean", "hue-mean"),
)
_PLACES = ("brickface", "cement", "foliage", "grass", "path", "sky", "window")
_SITE = (
    *("empty_server_form_handler", "popup_window", "https", "request_from_other_domain"),
    *("anchor_from_other_domain", "is_popular", "long_url", "age_of_domain", "ip_in_url"),
)
_POLLS = ("ordinal_date", "gallup", "ipsos", "morning_consult", "rasmussen", "you_gov")
_LOAN = ("salary", "commission", "age", "hvalue", "hyears", "loan")
_SMS = {
    "features": {"text": {"type": "text"}},
    "targets": {"label": {"type": "binary", "positive": "spam"}},
}

_REGION = ("zurich-class", "largest-spot-size", "spot-distribution")
_SPOTS = (
    *("activity", "evolution", "previous-24h-flare-activity", "hist-complex"),
    *("hist-complex-this-pass", "area", "largest-spot-area"),
)


def _unseen() -> tuple[Stream, ...]:
    """Return streams that were chosen before anything was learned from them, and never tuned on."""
    nine, pixels, atts = range(1, 10), range(64), range(1, 104)
    flares = _made(_numbers(*_SPOTS) | _categories(*_REGION), number=True)
    made: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("shuttle", "F1", _made(_numbers(*(f"f{i}" for i in nine)))),
        ("yeast", "accuracy", _made(_numbers(*(f"Att{i}" for i in atts)))),
        ("solar_flare", "MAE", flares),
        ("water_flow", "MAE", _made(_numbers("hour", "weekday"), number=True)),
        ("digits", "accuracy", _made(_numbers(*(f"x{i}" for i in pixels)), *range(10))),
        ("breast_cancer", "accuracy", _made(_numbers(*(f"x{i}" for i in range(30))))),
        ("diabetes", "MAE", _made(_numbers(*(f"x{i}" for i in range(10))), number=True)),
    )
    return tuple(Stream(name, figure, event=event, unseen=True) for name, figure, event in made)


STREAMS = {
    one.name: one
    for one in (
        Stream("electricity", "accuracy", "electricity.csv.gz", event=_of_config("electricity")),
        Stream("phishing", "accuracy", event=_made(_numbers(*_SITE))),
        Stream("bananas", "accuracy", event=_made(_numbers("1", "2"))),
        Stream("image_segments", "accuracy", event=_made(_numbers(*_PIXELS), *_PLACES)),
        Stream(
            "chick_weights",
            "MAE",
            event=_made(_numbers("time") | _categories("chick", "diet"), number=True),
            key="chick",
        ),
        Stream("trump_approval", "MAE", event=_made(_numbers(*_POLLS), number=True)),
        Stream("sea", "accuracy", event=_made(_numbers("x0", "x1", "x2"))),
        Stream(
            "agrawal",
            "accuracy",
            event=_made(_numbers(*_LOAN) | _categories("elevel", "car", "zipcode")),
        ),
        Stream("led", "accuracy", event=_made(_numbers(*(f"x{i}" for i in range(24))), *range(10))),
        Stream("rbf", "accuracy", event=_made(_numbers(*(f"x{i}" for i in range(10))), *range(5))),
        Stream(
            "movielens_100k",
            "MAE",
            "movielens_100k.csv.gz",
            event=_of_config("movielens_100k"),
            key="item",
            pair={"user": "user", "item": "item"},
        ),
        Stream("sms_spam", "F1", "sms_spam.csv.gz", event=_SMS),
        Stream(
            "toulouse_bikes",
            "MAE",
            "toulouse_bikes.csv.gz",
            event=_of_config("toulouse_bikes"),
            key="station",
        ),
        *_unseen(),
    )
}


def settings_of(stream: Stream, folder: Path, seed: int) -> Settings:
    """Return settings that name the fields, a mixture, and nothing else but a seed. Raises
    BadSettings."""
    written = folder / f"{stream.name}.yaml"
    text = {
        "name": stream.name, "kafka": {"topics": ["none"]}, "event": stream.event,
        "model": {"kind": "mixture"},
    }  # fmt: skip
    written.write_text(json.dumps(text))
    return settings.load(written, {"learning.seed": seed}, environment={})


def fields_of(stream: Stream) -> dict[str, Any]:
    """Return what River's side has to know of the fields."""
    by_type: dict[str, list[str]] = {"number": [], "category": [], "text": []}
    for name, one in stream.event["features"].items():
        by_type["category" if one["type"] == "categories" else one["type"]].append(name)
    target = stream.event["targets"][stream.target]
    return {
        "numbers": by_type["number"],
        "categories": by_type["category"],
        "text": by_type["text"],
        "target": stream.target,
        "type": target["type"],
        "positive": target.get("positive", "1"),
        "pair": stream.pair,
    }


def write(stream: Stream, into: Path, data: Path, river: str, rows: int, seed: int) -> None:
    """Write its events, oldest first; `rows` of one that is made up. Raises Missing."""
    if stream.file is None:
        command = [river, str(RIVER), "make", stream.name, str(rows), str(seed)]
        with into.open("wb") as file:
            done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, check=False)
        if done.returncode != 0:
            raise Missing(f"it is River's, and {river} has none: {_last(done.stderr)}")
        return
    path = data / stream.file
    if not path.is_file():
        raise Missing(f"there is no {path}; --data names the folder of the data sets")
    with into.open("wb") as file:
        file.writelines(to_json(row) + b"\n" for row in islice(read_files([path]), None))


def _last(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
