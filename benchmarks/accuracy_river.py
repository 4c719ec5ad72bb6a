"""River's side of `accuracy`: its streams, and its models on rows of a file. Run by an interpreter
that has River (for DeepMLP deep-river); imports nothing of the house.

    python accuracy_river.py make STREAM ROWS SEED            events as JSON lines on stdout
    python accuracy_river.py compete MODEL ROWS.jsonl FIELDS.json SECONDS SEED     one JSON object

FIELDS.json: {"numbers", "categories", "text": names; "target", "type", "positive", "pair"}. A model
is stopped after SECONDS of processor time, and says how many rows it got through. All have River's
own defaults. Linear models and neighbours get scaled numbers and an input for each value of a
category; trees get numbers as they are, scaled where their leaves are linear, and the value itself, or
its number where they cannot have texts; all get counts of words. DeepMLP: deep-river's perceptron with
one hidden layer of 64 and Adam, as its own defaults (five layers of 5, plain steps of .001) learn next
to nothing in one pass.
"""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]
WIDTH = 50
"""Rows over which one concept gives way to the next."""
REAL = {
    "phishing": "Phishing",
    "bananas": "Bananas",
    "image_segments": "ImageSegments",
    "chick_weights": "ChickWeights",
    "trump_approval": "TrumpApproval",
    "shuttle": "Shuttle",
    "yeast": "Yeast",
    "solar_flare": "SolarFlare",
    "water_flow": "WaterFlow",
}
SHUFFLED = ("digits", "breast_cancer", "diabetes")
"""Of scikit-learn; their rows have no order, so they are put in one by chance, always the same."""


# --- streams -----------------------------------------------------------------------------------


def make(name: str, rows: int, seed: int) -> Iterator[Event]:
    """Yield the events of one stream; `rows` and `seed` are for those that are made up."""
    from river import datasets

    found: Iterable[tuple[Event, Any]]
    if name in REAL:
        found = map(told, getattr(datasets, REAL[name])())
    elif name in SHUFFLED:
        found = shuffled(name)
    else:
        found = drifting(concepts(name, seed), rows, random.Random(seed))
    for x, y in itertools.islice(found, None if name in (*REAL, *SHUFFLED) else rows):
        event = {f"x{k}" if isinstance(k, int) else k: v for k, v in x.items()}
        yield {**event, "y": y}


def told(row: tuple[Event, Any]) -> tuple[Event, Any]:
    """Return a row with its time as numbers and one of its labels, where it has several."""
    x, y = row
    if "Time" in x:
        x = {"hour": x["Time"].hour, "weekday": x["Time"].weekday()}
    if isinstance(y, dict):
        y = y["Class1"] if "Class1" in y else y["c-class-flares"]
    return x, y


def shuffled(name: str) -> Iterator[tuple[Event, Any]]:
    """Yield the rows of a data set of scikit-learn in an order by chance."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    at = list(range(len(found.target)))
    random.Random(0).shuffle(at)
    for row in at:
        yield {f"x{i}": float(v) for i, v in enumerate(found.data[row])}, found.target[row].item()


def concepts(name: str, seed: int) -> list[Any]:
    """Return the concepts of a made-up stream, as in Gomes et al., Adaptive random forests (2017)."""
    from river.datasets import synth

    s = 10 * seed + 1
    if name == "sea":
        return [synth.SEA(variant=v, noise=0.1, seed=s + i) for i, v in enumerate((3, 1, 2, 0))]
    if name == "agrawal":
        chosen = enumerate((0, 2, 5, 3))
        return [synth.Agrawal(classification_function=f, seed=s + i) for i, f in chosen]
    if name == "led":
        # it flips where 0.01 + random() <= noise: .11 makes that one in ten
        given = {"noise_percentage": 0.11, "irrelevant_features": True}
        drifts = enumerate((1, 3, 5, 7))
        return [synth.LEDDrift(seed=s + i, n_drift_features=n, **given) for i, n in drifts]
    shape = {"n_classes": 5, "n_features": 10, "n_centroids": 50, "n_drift_centroids": 50}
    return [synth.RandomRBFDrift(seed_model=s, seed_sample=s, change_speed=1e-4, **shape)]


def drifting(parts: list[Any], rows: int, draw: random.Random) -> Iterator[tuple[Event, Any]]:
    """Yield from one part after the other, each for as many rows; changes are WIDTH rows wide."""
    sources = [iter(part) for part in parts]
    every = max(1, rows // len(parts))
    for t in range(rows):
        border = round(t / every)
        at = min(t // every, len(parts) - 1)
        away = t - border * every
        if 0 < border < len(parts) and abs(away) < 5 * WIDTH:
            later = draw.random() < 1 / (1 + math.exp(-4 * away / WIDTH))
            at = border if later else border - 1
        yield next(sources[at])


# --- models ------------------------------------------------------------------------------------


def scaled(model: Any, fields: Event) -> Any:
    """Return the model behind scaled numbers and one input for each value of a category; counts of
    words are not scaled."""
    from river import compose, preprocessing

    if fields["text"]:
        return model

    numbers = compose.SelectType((int, float)) | preprocessing.StandardScaler()
    if not fields["categories"]:
        return numbers | model
    return (numbers + (compose.SelectType(str) | preprocessing.OneHotEncoder())) | model


def numbered(model: Any, fields: Event, *, scale: bool = False) -> Any:
    """Return the model behind numbers, as they are or scaled, and categories numbered as they come."""
    from river import compose, preprocessing

    if scale and not fields["categories"]:
        return preprocessing.StandardScaler() | model
    if not fields["categories"]:
        return model
    numbers: Any = compose.SelectType((int, float))
    if scale:
        numbers |= preprocessing.StandardScaler()
    categories = compose.SelectType(str) | preprocessing.OrdinalEncoder()
    return (numbers + categories) | model


def classifier(name: str, fields: Event, seed: int) -> Any:
    """Return a model for classes."""
    from river import ensemble, forest, linear_model, multiclass, naive_bayes, neighbors, tree

    def linear(model: Any) -> Any:
        many = fields["type"] == "multiclass"
        return scaled(multiclass.OneVsRestClassifier(model) if many else model, fields)

    inside = tree.HoeffdingTreeClassifier
    made: dict[str, Callable[[], Any]] = {
        "ARFClassifier": lambda: forest.ARFClassifier(seed=seed),
        "SRPClassifier": lambda: ensemble.SRPClassifier(inside(), seed=seed),
        "LeveragingBagging": lambda: ensemble.LeveragingBaggingClassifier(inside(), seed=seed),
        "ALMAClassifier": lambda: linear(linear_model.ALMAClassifier()),
        "AMFClassifier": lambda: numbered(forest.AMFClassifier(seed=seed), fields),
        "LogisticRegression": lambda: linear(linear_model.LogisticRegression()),
        "MultinomialNB": naive_bayes.MultinomialNB,
        "KNNClassifier": lambda: scaled(neighbors.KNNClassifier(), fields),
        "DeepMLP": lambda: scaled(deep(fields, seed), fields),
    }
    return made[name]()


def regressor(name: str, fields: Event, seed: int) -> Any:
    """Return a model for numbers."""
    from river import forest, linear_model, neighbors, optim, reco, tree

    made: dict[str, Callable[[], Any]] = {
        "ARFRegressor": lambda: numbered(forest.ARFRegressor(seed=seed), fields, scale=True),
        "AMFRegressor": lambda: numbered(forest.AMFRegressor(seed=seed), fields),
        "LinearRegression": lambda: scaled(linear_model.LinearRegression(), fields),
        "KNNRegressor": lambda: scaled(neighbors.KNNRegressor(), fields),
        "DeepMLP": lambda: scaled(deep(fields, seed), fields),
        "HoeffdingAdaptiveTree": lambda: numbered(
            tree.HoeffdingAdaptiveTreeRegressor(seed=seed), fields, scale=True
        ),
        "BiasedMF": lambda: reco.BiasedMF(  # the rates of River's documentation
            n_factors=10,
            bias_optimizer=optim.SGD(0.025),
            latent_optimizer=optim.SGD(0.05),
            weight_initializer=optim.initializers.Zeros(),
            latent_initializer=optim.initializers.Normal(mu=0.0, sigma=0.1, seed=seed),
        ),
    }
    return made[name]()


def deep(fields: Event, seed: int) -> Any:
    """Return deep-river's perceptron, which grows with the inputs and classes that it meets."""
    import torch

    torch.set_num_threads(1)
    if fields["type"] == "number":
        from deep_river.regression.zoo import MultiLayerPerceptron
    else:
        from deep_river.classification.zoo import MultiLayerPerceptron
    return MultiLayerPerceptron(
        n_features=1, n_width=64, n_layers=1, is_feature_incremental=True,
        optimizer_fn="adam", lr=0.01, seed=seed,
    )  # fmt: skip


def row_of(event: Event, fields: Event) -> tuple[Event, Any]:
    """Return inputs and label as River has them: numbers, texts for categories, counts of words."""
    if fields["pair"]:
        x: Event = {name: str(event[at]) for name, at in fields["pair"].items()}
    else:
        x = {k: float(event[k]) for k in fields["numbers"] if event.get(k) not in (None, "")}
        x.update((k, str(event.get(k))) for k in fields["categories"])
        for name in fields["text"]:
            for word in "".join(c if c.isalnum() else " " for c in event[name].lower()).split():
                x[f"{name}:{word}"] = x.get(f"{name}:{word}", 0) + 1
    y = event[fields["target"]]
    if fields["type"] == "binary":
        return x, y in (fields["positive"], True, 1)
    return x, float(y) if fields["type"] == "number" else str(y)


def compete(name: str, rows: str, fields: Event, seconds: float, seed: int) -> Event:
    """Predict, then learn, row after row; return the counts that figures are made of."""
    made = regressor if fields["type"] == "number" else classifier
    model = made(name, fields, seed)
    told: Event = {"model": name, "rows": 0, "error": 0.0, "right": 0, "hits": 0, "yes": 0}
    began = time.process_time()
    if name != "BiasedMF":
        fields = {**fields, "pair": None}
    with Path(rows).open(encoding="utf-8") as file:
        for line in file:
            x, y = row_of(json.loads(line), fields)
            guess = model.predict_one(**x) if fields["pair"] else model.predict_one(x)
            told["rows"] += 1
            if fields["type"] == "number":
                told["error"] += abs(y - (0.0 if guess is None else guess))
            else:
                guess = bool(guess) if fields["type"] == "binary" else guess
                told["right"] += guess == y
                told["hits"] += guess is True and y is True
                told["yes"] += (guess is True) + (y is True)
            if fields["pair"]:
                model.learn_one(**x, y=y)
            else:
                model.learn_one(x, y)
            if time.process_time() - began > seconds:
                break
    return {**told, "cpu_seconds": round(time.process_time() - began, 2)}


def main() -> int:
    """Do what is asked for."""
    what, *rest = sys.argv[1:]
    if what == "version":
        from importlib.metadata import version

        print(version(rest[0] if rest else "river"))
    elif what == "make":
        for event in make(rest[0], int(rest[1]), int(rest[2])):
            print(json.dumps(event))
    else:
        with Path(rest[2]).open(encoding="utf-8") as file:
            fields = json.load(file)
        print(json.dumps(compete(rest[0], rest[1], fields, float(rest[3]), int(rest[4]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
