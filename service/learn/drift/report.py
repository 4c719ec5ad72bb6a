"""What is known of drift, as plain values: for `evaluate`, for metrics."""

from __future__ import annotations

from typing import Any

from service.learn.drift import inputs, rises
from service.learn.drift.watch import Watch
from service.metrics import Metrics
from service.model.state import State


def report(watch: Watch, state: State) -> dict[str, Any]:
    """Return {"losses": {target: {detector: {...}}}, "inputs": {field: {measure: {...}}},
    "rates_raised", "heads_reset", "rate_factor"}; a figure that is not known yet is None."""
    settings = watch.settings
    losses = _losses(watch, state) if settings.losses else {}
    resets = 0.0
    if settings.losses:
        resets = float(watch.tensors(state, "rise")[:, rises.RESETS].sum())
    return {
        "losses": losses,
        "inputs": _inputs(watch, state) if settings.inputs else {},
        "rates_raised": watch.times_raised(state),
        "heads_reset": int(resets),
        "rate_factor": watch.factor(state),
    }


def show(metrics: Metrics, found: dict[str, Any]) -> None:
    """Set the metrics that say what `report` returned."""
    rise = metrics.gauge("headwater_drift_alarm_rise")
    for target, detectors in found["losses"].items():
        for name, figures in detectors.items():
            labels = {"detector": name, "target": target}
            alarms = float(figures["alarms"])
            metrics.set_counter("headwater_drift_alarms_total", labels, alarms)
            if figures["rise"] is not None:
                rise.set(figures["rise"], name, target)
    moved = metrics.gauge("headwater_input_drift")
    for field, measures in found["inputs"].items():
        for name, figures in measures.items():
            labels = {"field": field, "measure": name}
            alarms = float(figures["alarms"])
            metrics.set_counter("headwater_input_drift_alarms_total", labels, alarms)
            if figures["now"] is not None:
                moved.set(figures["now"], field, name)
    for name, key in (("raise_rates", "rates_raised"), ("reset_head", "heads_reset")):
        labels = {"reaction": name}
        metrics.set_counter("headwater_drift_reactions_total", labels, float(found[key]))
    metrics.gauge("headwater_learning_rate_factor").set(found["rate_factor"])


def _losses(watch: Watch, state: State) -> dict[str, Any]:
    """Return by target and detector: alarms, the mean rise of the loss at them, and the share of
    them that found one."""
    found: dict[str, Any] = {}
    for target, vector in zip(watch.targets, watch.tensors(state, "rise"), strict=True):
        found[target.name] = {}
        for d, name in enumerate(rises.DETECTORS):
            at = rises.FIRST + rises.FIGURES * d
            alarms, known, total, hits, _ = vector[at : at + rises.FIGURES].tolist()
            found[target.name][name] = {
                "alarms": int(alarms),
                "rise": total / known if known else None,
                "found": hits / known if known else None,
            }
    return found


def _inputs(watch: Watch, state: State) -> dict[str, Any]:
    """Return by field and measure: alarms, and what it stands at."""
    found: dict[str, Any] = {}
    for coded, names in enumerate((watch.numbers, watch.categories)):
        if not names:
            continue
        for name, vector in zip(
            names, watch.tensors(state, ("number", "category")[coded]), strict=True
        ):
            now = inputs.measured(vector, coded=bool(coded))
            measures = inputs.MEASURES if coded else inputs.MEASURES[:2]
            found[name] = {
                measure: {
                    "alarms": int(vector[inputs.ALARMS + 2 * m]),
                    "now": None if now is None else now[measure],
                }
                for m, measure in enumerate(measures)
            }
    return found
