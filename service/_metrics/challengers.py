"""The metrics of challengers; their scores are in headwater_score, as those of all models."""

from __future__ import annotations

from service._metrics.series import Declared

CHALLENGERS: tuple[Declared, ...] = (
    Declared(
        "headwater_answering",
        "gauge",
        "1 for the model that answers, 0 for the others; nothing where there are no challengers.",
        ("model",),
    ),
    Declared(
        "headwater_promotions_total",
        "counter",
        "Times another model began to answer, by who decided: operator, rule, guard.",
        ("by",),
    ),
    Declared(
        "headwater_challenger_events_learned",
        "gauge",
        "Events that each challenger has learned since it began.",
        ("challenger",),
    ),
    Declared(
        "headwater_challenger_failures_total",
        "counter",
        "Times a challenger forgot everything: it raised, or was not finite any more.",
        ("challenger", "reason"),
    ),
    Declared(
        "headwater_challenger_rest_events",
        "gauge",
        "Events for which a challenger that failed still sits out; 0: it learns.",
        ("challenger",),
    ),
)
