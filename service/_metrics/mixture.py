"""The metrics of a mixture of experts."""

from __future__ import annotations

from service._metrics.series import Declared

MIXTURE: tuple[Declared, ...] = (
    Declared(
        "headwater_expert_weight",
        "gauge",
        "Share of each member in a mixture of experts; they sum to 1.",
        ("target", "expert"),
    ),
    Declared(
        "headwater_expert_awake",
        "gauge",
        "1: the member of a mixture is learned and scored; 0: it sleeps, for want of worth.",
        ("target", "expert"),
    ),
    Declared(
        "headwater_expert_restarts_total",
        "counter",
        "Times the expert of a member of a mixture started anew: it predicted what is no number, or the "
        "unit of a number target changed by more than 10,000 times.",
        ("target", "expert"),
    ),
    Declared(
        "headwater_shed_level",
        "gauge",
        "How many works a mixture leaves out while learning is behind; 0: none.",
    ),
    Declared(
        "headwater_shed_rows_total",
        "counter",
        "Events that were learned while this work was left out.",
        ("work",),
    ),
    Declared(
        "headwater_behind_seconds",
        "gauge",
        "How long what waits would take to learn, at the pace of the last seconds.",
    ),
    Declared(
        "headwater_expert_score",
        "gauge",
        "Fading metrics of each member of a mixture, scored before it learned.",
        ("target", "expert", "metric"),
    ),
)
