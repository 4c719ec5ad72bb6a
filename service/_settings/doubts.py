"""Settings that can be used, and that seldom do what is wanted: warnings of `config check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from service._settings.challengers import ChallengerSettings
from service._settings.event import EventSettings, NumberFeature, NumberTarget
from service._settings.kinds import IDLE
from service._settings.learning import LearningSettings
from service._settings.model import ModelSettings
from service._settings.module import MIXTURES
from service._settings.problems import Found

_UNKNOWN = {"number": 1, "boolean": 1, "category": 1, "text": 1, "vector": 1, "time": 3}
"""Inputs that are 1 where a field of the type is missing: of a time also its hour and weekday."""
_IN_ONE_STEP = frozenset(("linear", "fm"))
"""Kinds of which the bottom of a row's squared error can be told beforehand."""
_LONG = 1.0
_BOUNDS = ("clip", "cap", "step_rows")
"""Settings of learning that are about gradients, which members of a mixture bound themselves."""


def doubts(
    event: EventSettings, model: ModelSettings, learning: LearningSettings
) -> Iterator[Found]:
    """Tell of steps that overshoot, and of rates that nothing follows. safe_steps cannot overshoot,
    and the other optimizers measure their steps."""
    if model.kind in MIXTURES:
        yield from _idle(event, model, learning)
        return
    if learning.optimizer != "sgd" or learning.safe_steps or model.kind == "rls":
        return
    where, rate = ("learning", "learning_rate"), learning.learning_rate
    if model.kind in _IN_ONE_STEP and learning.clip is None:
        inputs = 1 + sum(_UNKNOWN.get(feature.type, 0) for feature in event.features.values())
        for name, target in event.targets.items():
            most = 1 / (inputs * target.weight)  # goes twice as far as the label
            if isinstance(target, NumberTarget) and rate >= most:
                msg = (
                    f"sgd at {rate:g} goes {2 * rate / most:.3g} times as far as the label of "
                    f"{name} where all fields are missing, or usual: errors grow with every event, "
                    "until no score is finite and nothing is learned or served any more"
                )
                hint = f"Take much less than {most:.2g}, or adagrad, or safe_steps: true (linear)."
                yield Found(where, msg, hint)
                return
    if rate >= _LONG:
        yield Found(
            where,
            f"sgd at {rate:g} goes far past what it corrects: predictions jump, and may grow until "
            "no score is finite",
            "Take a tenth of it, or adagrad, or safe_steps: true (linear).",
        )


def of_challengers(
    event: EventSettings, challengers: Mapping[str, ChallengerSettings], usual: LearningSettings
) -> Iterator[Found]:
    """Tell the same of each challenger, where it says so itself or overshoots as the model would."""
    for name, one in challengers.items():
        own = set() if one.learning is None else one.learning.model_fields_set
        for found in doubts(event, one.model, one.learns(usual)):
            key = found.where[-1]
            if key in own:
                where: tuple[str, ...] = ("challengers", name, *found.where)
            elif one.kind in MIXTURES:
                continue  # meant for others
            else:
                where = ("challengers", name)
            yield Found(where, found.msg, found.hint)


def _idle(
    event: EventSettings, model: ModelSettings, learning: LearningSettings
) -> Iterator[Found]:
    """Tell of settings that a mixture has no use for: its members have rates and bounds of their own.
    None of them where a module of the user's own is among these, which does as they say."""
    if model.modules:
        return
    usual = LearningSettings()
    for name in (*IDLE, *_BOUNDS):
        if getattr(learning, name) != getattr(usual, name):
            yield Found(
                ("learning", name),
                f"has no effect: the members of a model of kind {model.kind} take steps of their own",
                "Leave it out, or choose model.kind: linear, mlp or fm.",
            )
    numbers = {n: f.scale for n, f in event.features.items() if isinstance(f, NumberFeature)}
    follows = any(isinstance(t, NumberTarget) and t.scale is None for t in event.targets.values())
    if follows and all(scale == "none" for scale in numbers.values()):
        numbers = {}  # it says how that target is scaled
    for name, scale in numbers.items():
        if scale != "auto":
            yield Found(
                ("event", "features", name, "scale"),
                f"has no effect: the members of a model of kind {model.kind} look at a number as it "
                "is, and at its rank",
                "Leave it out.",
            )
    for name, target in event.targets.items():
        if target.weight != 1.0:
            yield Found(
                ("event", "targets", name, "weight"),
                f"has no effect: a model of kind {model.kind} learns each target by itself",
                "Leave it out; class_weights say what the events of a class count.",
            )
    if event.interactions:
        yield Found(
            ("event", "interactions"),
            f"has no effect: {_combined(model.kind)}",
            "Leave it out, or choose model.kind: linear, mlp or fm.",
        )


def _combined(kind: str) -> str:
    """Tell how a mixture comes by combinations of fields."""
    if kind in ("auto", "mixture", "cross"):
        return f"a model of kind {kind} draws combinations of fields by itself"
    return f"a model of kind {kind} takes no combinations of fields; auto draws them by itself"
