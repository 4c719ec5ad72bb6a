"""Rules that concern more than one setting, and short spellings. Works on the plain tree.

So every rule is told even where another setting is broken; what has the wrong shape is left
to the model, which says so itself.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from pydantic import BaseModel

from service._settings import fields, kinds, placeholders, rivals, strategies
from service._settings.adapt import MOST_TIMES, AdaptSettings
from service._settings.kafka import refusal
from service._settings.problems import Found
from service._settings.tree import Where, default_at
from service._settings.values import canonical_text

Tree = dict[str, object]


def spell_out(tree: Tree, lines: dict[Where, int]) -> Iterator[Found]:
    """Write short spellings in full: `topic: x` as topics, `time: x` as {field: x}."""
    kafka = _section(tree, "kafka")
    if "topic" in kafka:
        if "topics" in kafka:
            yield Found(("kafka", "topic"), "stands beside topics", "Keep topics, drop topic.")
            del kafka["topic"]
        else:
            kafka["topics"] = [kafka.pop("topic")]
            lines["kafka", "topics"] = lines["kafka", "topic"]
    event = _section(tree, "event")
    if isinstance(event.get("time"), str):
        event["time"] = {"field": event["time"]}


def broken(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    """Tell which rules the tree breaks."""
    yield from placeholders.broken(tree)
    yield from fields.broken(_section(tree, "event"))
    yield from _dead_letters_learned(tree)
    yield from _client(tree)
    yield from _drift(tree)
    yield from _of_a_model(model, tree)
    yield from _open_to_the_world(tree)
    yield from rivals.broken(model, tree, _of_a_model)


def _of_a_model(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    """Tell which rules about a model, and how it learns, the tree breaks."""
    yield from _idle_settings(model, tree)
    yield from kinds.broken(model, tree)
    yield from _modules(tree)
    yield from _adapt(model, tree)
    yield from strategies.broken(model, tree)


def _dead_letters_learned(tree: Tree) -> Iterator[Found]:
    kafka = _section(tree, "kafka")
    topic, topics = kafka.get("dead_letter_topic"), kafka.get("topics")
    if topic is not None and isinstance(topics, list) and topic in topics:
        where = ("kafka", "dead_letter_topic")
        yield Found(where, "is one of the topics learned from", "Choose a topic of its own.")


def _client(tree: Tree) -> Iterator[Found]:
    for name, value in _section(tree, "kafka", "client").items():
        text = canonical_text(value)
        where = ("kafka", "client", name)
        if isinstance(value, dict):
            hint = f"Write names in full, with dots, as {name}.{next(iter(value), 'x')}."
            yield Found(where, "holds a section", hint)
        elif (why := refusal(name, text if isinstance(text, str) else "")) is not None:
            yield Found(where, f"cannot be set: {why[0]}", why[1])


def _idle_settings(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    """A setting without effect is told, not ignored."""
    learning = _section(tree, "learning")
    optimizer = learning.get("optimizer", default_at(model, ("learning", "optimizer")))
    for name, needs in (("momentum", "sgd"), ("beta1", "adam"), ("beta2", "adam")):
        where = ("learning", name)
        if name in learning and optimizer != needs and learning[name] != default_at(model, where):
            msg = f"has no effect: it belongs to {needs}, the optimizer is {optimizer}"
            yield Found(where, msg, f"Set learning.optimizer: {needs}, or leave it out.")


def _drift(tree: Tree) -> Iterator[Found]:
    drift = _section(tree, "drift")
    react, address = drift.get("react", ["log"]), drift.get("webhook")
    chosen = set(map(str, react)) if isinstance(react, list) else {str(react)}
    if "webhook" in chosen and address is None:
        where = ("drift", "react")
        yield Found(where, "has webhook, but there is no address", "Set drift.webhook.")
    if "webhook" not in chosen and address is not None:
        where = ("drift", "webhook")
        yield Found(where, "has no effect: drift.react lacks webhook", "Add it, or leave this out.")
    if drift.get("losses") is False and chosen & {"raise_rates", "reset_head"}:
        where = ("drift", "losses")
        msg = "must be on: raise_rates and reset_head follow alarms on losses"
        yield Found(where, msg, "Set it to true, or take them out of drift.react.")


def _modules(tree: Tree) -> Iterator[Found]:
    model, react = _section(tree, "model"), _section(tree, "drift").get("react", [])
    own = ":" in str(model.get("kind", ""))
    if model.get("arguments") and not own:
        msg = "has no effect: it belongs to a module of your own"
        yield Found(("model", "arguments"), msg, "Set model.kind: package.module:Class.")
    if own and "reset_head" in (react if isinstance(react, list) else [react]):
        msg = "reset_head has no effect: which weights are a target's own is not known of a module"
        yield Found(("drift", "react"), msg, "Take it out; raise_rates works.")


def _adapt(model: type[BaseModel], tree: Tree) -> Iterator[Found]:
    learning, adapt = _section(tree, "learning"), _section(tree, "learning", "adapt")
    if not adapt:
        return
    where = ("learning", "adapt")
    if adapt.get("by") == "held_out" and not learning.get("holdout"):
        msg = "goes by events that are set aside, and none are"
        yield Found((*where, "by"), msg, "Set learning.holdout, to 0.1 or so.")
    rate = learning.get("learning_rate", default_at(model, ("learning", "learning_rate")))
    fields = AdaptSettings.model_fields
    lowest, highest = (adapt.get(n, fields[n].default) for n in ("lowest", "highest"))
    if highest is None and isinstance(rate, int | float):
        highest = MOST_TIMES * rate
    numbers = [n for n in (lowest, rate, highest) if isinstance(n, int | float)]
    if len(numbers) == 3 and numbers != sorted(numbers):
        msg = f"learning.learning_rate is {rate}, which is not between lowest and highest"
        yield Found(where, msg, "Begin between the bounds, or move them.")


def _open_to_the_world(tree: Tree) -> Iterator[Found]:
    api = _section(tree, "api")
    host = api.get("host")
    if isinstance(host, str) and not _is_loopback(host) and not api.get("allow_unauthenticated"):
        yield Found(
            ("api", "host"),
            f"{host} can be reached from other machines, and there are no keys",
            "Use 127.0.0.1, or say --allow-unauthenticated (api.allow_unauthenticated: true).",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _section(tree: Tree, *where: str) -> Tree:
    section: object = tree
    for key in where:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, dict) else {}
