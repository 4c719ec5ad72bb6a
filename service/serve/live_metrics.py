"""Metrics that are read from the live file when somebody asks: what is served, who learns.

Knows which metric shows what. Does not know files or HTTP.
"""

from __future__ import annotations

import hashlib
import platform
import time
from importlib.metadata import version

from service import __version__
from service.metrics import STATES, Metrics
from service.serve.live_model import LiveModel


def show_live(live: LiveModel, metrics: Metrics) -> None:
    """Let `metrics` show the served version and the learner's state, fresh at each reading."""
    served_version = metrics.gauge("headwater_served_version")
    served_age = metrics.gauge("headwater_served_age_seconds")
    model = metrics.gauge("headwater_model_info")
    up = metrics.gauge("headwater_learner_up")
    state = metrics.gauge("headwater_learner_state")
    heartbeat = metrics.gauge("headwater_learner_heartbeat_timestamp_seconds")
    build = metrics.gauge("headwater_build_info")
    build.set(1, __version__, platform.python_version(), version("torch"))

    def refresh() -> None:
        learner = live.learner
        up.set(float(learner.up))
        for name in STATES:
            state.set(float(name == learner.state), name)
        if learner.heartbeat_age_seconds is not None:
            heartbeat.set(time.time_ns() / 1e9 - learner.heartbeat_age_seconds)
        served = live.served
        if served is not None:
            served_version.set(served.version)
            served_age.set(served.age_s(time.time_ns()))
            layout = hashlib.sha256(live.layout).hexdigest()[:12]
            model.set_only(1, str(served.meta["name"]), served.lineage, layout)

    metrics.before_reading(refresh)
