"""Every metric of the service, declared once: its name, kind, sentence, labels and buckets."""

from __future__ import annotations

from service._metrics.series import Declared

STATES = ("restoring", "replaying", "learning", "idle", "paused", "frozen", "halted", "down")

_SHORT = (1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5)
_HTTP = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5)
_STEP = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 5.0)
_FRESH = (
    *(1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 3e-2, 5e-2, 7.5e-2),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0),
)
_DISK = (1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

_TP = ("topic", "partition")

METRICS: tuple[Declared, ...] = (
    Declared("headwater_records_total", "counter", "Kafka records taken into a cut.", ("topic",)),
    Declared(
        "headwater_events_total",
        "counter",
        "Events by the one outcome each ended in, and why.",
        ("outcome", "reason"),
    ),
    Declared("headwater_cuts_total", "counter", "Cuts by what closed them.", ("trigger",)),
    Declared(
        "headwater_dead_letters_total",
        "counter",
        "Events for the dead-letter topic, there or not.",
        ("reason",),
    ),
    Declared(
        "headwater_data_loss_total",
        "counter",
        "Losses of records that had not been learned, by cause.",
        ("reason",),
    ),
    Declared(
        "headwater_skipped_offsets_total",
        "counter",
        "Offsets passed over without learning their records.",
        ("reason",),
    ),
    Declared("headwater_partition_silent_total", "counter", "Times a reader went deaf.", _TP),
    Declared("headwater_commit_failures_total", "counter", "Commits that Kafka refused."),
    Declared(
        "headwater_crash_suspect_deaths",
        "gauge",
        "Deaths in a row with the same records in hand; 0 when they got through.",
    ),
    Declared(
        "headwater_snapshots_total",
        "counter",
        "Snapshots written (success, failure), and damaged ones found at the start (refused).",
        ("result",),
    ),
    Declared(
        "headwater_http_requests_total",
        "counter",
        "HTTP requests by route template and status.",
        ("method", "route", "code"),
        by="api",
    ),
    Declared("headwater_replay_divergence_total", "counter", "Replays that gave other bits."),
    Declared(
        "headwater_read_retries_total",
        "counter",
        "Predictions computed again because their slot was overwritten meanwhile.",
        by="api",
    ),
    Declared(
        "headwater_field_unknown_total",
        "counter",
        "Events asked about with a field the model does not know.",
        ("field",),
        by="api",
    ),
    Declared(
        "headwater_field_missing_total",
        "counter",
        "Events asked about without a field the model knows.",
        ("field",),
        by="api",
    ),
    Declared(
        "headwater_category_codes_total",
        "counter",
        "Codes of categories that were remembered, and that had to be computed; since the start.",
        ("result",),
    ),
    Declared(
        "headwater_texts_cut_short_total",
        "counter",
        "Texts that had more entries than are counted (4,096 a field); the first were kept.",
    ),
    Declared(
        "headwater_learner_time_seconds_total",
        "counter",
        "Where the learner's time goes.",
        ("phase",),
    ),
    Declared("headwater_guard_alarms_total", "counter", "Alarms of the guard.", ("by",)),
    Declared("headwater_rollbacks_total", "counter", "Rollbacks, by who ordered them.", ("by",)),
    Declared("headwater_capped_updates_total", "counter", "Events whose update hit the cap."),
    Declared("headwater_memory_events", "gauge", "Events in a strategy's memory.", ("memory",)),
    Declared("headwater_replayed_events_total", "counter", "Old events learned again by replay."),
    Declared("headwater_agem_blocks_total", "counter", "Blocks of rows judged by the memory."),
    Declared("headwater_agem_conflicts_total", "counter", "Blocks that contradicted the memory."),
    Declared("headwater_gradient_conflict_ratio", "gauge", "Share of blocks that contradicted it."),
    Declared(
        "headwater_covariance_restarts_total",
        "counter",
        "Matrices of rls that rounding made useless, so that they started anew.",
    ),
    Declared("headwater_strategy", "gauge", "1 for each strategy of learning in force.", ("name",)),
    Declared("headwater_guard_usual_loss", "gauge", "Mean loss of a block that is not special."),
    Declared("headwater_guard_suspicion", "gauge", "Height of the watch's sum; 12 is an alarm."),
    Declared(
        "headwater_drift_alarms_total",
        "counter",
        "Alarms of drift on losses; `always` fires every so many events.",
        ("detector", "target"),
    ),
    Declared(
        "headwater_drift_alarm_rise",
        "gauge",
        "Mean rise of the loss at a detector's alarms: last 200 over the 2,000 before.",
        ("detector", "target"),
    ),
    Declared(
        "headwater_input_drift",
        "gauge",
        "How far a field is from its reference: share missing, share unseen, psi.",
        ("field", "measure"),
    ),
    Declared(
        "headwater_input_drift_alarms_total",
        "counter",
        "Times a field went beyond the limit of a measure.",
        ("field", "measure"),
    ),
    Declared(
        "headwater_drift_reactions_total",
        "counter",
        "Times an alarm of drift changed rates or weights.",
        ("reaction",),
    ),
    Declared(
        "headwater_drift_webhook_posts_total",
        "counter",
        "Alarms for the webhook: success, failure, or dropped (too many waited).",
        ("result",),
    ),
    Declared(
        "headwater_learning_rate_factor",
        "gauge",
        "What the learning rate is multiplied by; above 1 after an alarm of drift.",
    ),
    Declared("headwater_frozen_version", "gauge", "Version that is served while frozen."),
    Declared("headwater_audit_failures_total", "counter", "Lines lost to the audit log."),
    Declared(
        "headwater_restarts_total",
        "counter",
        "Processes started again, by why: ended, or hung (no sign of life).",
        ("child", "reason"),
        by="supervisor",
    ),
    Declared("headwater_version", "gauge", "Last version the learner journaled."),
    Declared("headwater_published_version", "gauge", "Last version written to the live file."),
    Declared("headwater_served_version", "gauge", "Version this process answers from.", by="api"),
    Declared(
        "headwater_served_age_seconds", "gauge", "Age of the version answered from.", by="api"
    ),
    Declared("headwater_events_learned", "gauge", "Events in the weights of the last version."),
    Declared("headwater_lag_records", "gauge", "Records on the topic not yet learned.", _TP),
    Declared("headwater_lag_seconds", "gauge", "Age of the last learned record; 0 at the end."),
    Declared("headwater_cursor_offset", "gauge", "Next offset to learn.", _TP),
    Declared("headwater_snapshot_offset", "gauge", "Next offset in the last snapshot.", _TP),
    Declared(
        "headwater_retention_headroom_records",
        "gauge",
        "Records between the topic's low end and the last snapshot; below 0: lost.",
        _TP,
    ),
    Declared(
        "headwater_learner_up",
        "gauge",
        "1 while the learner's heartbeat is fresh.",
        by="reader",
    ),
    Declared(
        "headwater_learner_state",
        "gauge",
        "1 for the state the learner is in, 0 for the others.",
        ("state",),
        by="reader",
    ),
    Declared(
        "headwater_learner_heartbeat_timestamp_seconds",
        "gauge",
        "When the learner last gave a sign of life, seconds since the epoch.",
        by="reader",
    ),
    Declared(
        "headwater_learning_rate",
        "gauge",
        "The learning rate in force; it moves with learning.adapt.",
    ),
    Declared(
        "headwater_score",
        "gauge",
        "Prequential metrics: every event scored before it is learned; model=held_out: of the events "
        "that learning.holdout sets aside, which are never learned; model=frozen: of a copy that stopped "
        "learning at learning.frozen_after; model=live_paired: the live model on the events of frozen.",
        ("target", "metric", "window", "model"),
    ),
    Declared(
        "headwater_expert_weight",
        "gauge",
        "Share of each member in a mixture of experts; they sum to 1.",
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
        "headwater_expert_score",
        "gauge",
        "Fading metrics of each member of a mixture, scored before it learned.",
        ("target", "expert", "metric"),
    ),
    Declared(
        "headwater_twin_events_learned",
        "gauge",
        "Events that the frozen copy of the model had learned; nothing while there is none.",
    ),
    Declared(
        "headwater_twin_failures_total",
        "counter",
        "Times the frozen copy could not be written or was dropped, by why.",
        ("reason",),
    ),
    Declared(
        "headwater_baseline_score",
        "gauge",
        "The same metrics for baselines that learn nothing from features.",
        ("target", "metric", "baseline"),
    ),
    Declared(
        "headwater_interval_coverage",
        "gauge",
        "Share of the last labels inside the interval told before each; it should be the level.",
        ("target", "level"),
    ),
    Declared(
        "headwater_build_info",
        "gauge",
        "Always 1; the labels say what runs.",
        ("version", "python", "torch"),
        by="both",
    ),
    Declared(
        "headwater_model_info",
        "gauge",
        "Always 1; the labels say which model is served.",
        ("model", "lineage", "layout"),
        by="api",
    ),
    Declared(
        "headwater_freshness_seconds",
        "histogram",
        "From the record's timestamp to the published version that has learned it.",
        buckets=_FRESH,
    ),
    Declared("headwater_step_duration_seconds", "histogram", "Learning one cut.", buckets=_STEP),
    Declared(
        "headwater_cut_duration_seconds",
        "histogram",
        "One cut from taken to journaled and applied.",
        buckets=_STEP,
    ),
    Declared("headwater_publish_seconds", "histogram", "Writing one version live.", buckets=_SHORT),
    Declared(
        "headwater_snapshot_pause_seconds",
        "histogram",
        "Learning held up to copy a piece of a snapshot; many pieces to one.",
        buckets=_STEP,
    ),
    Declared(
        "headwater_snapshot_duration_seconds",
        "histogram",
        "A snapshot from start to durable.",
        buckets=_DISK,
    ),
    Declared(
        "headwater_http_request_duration_seconds",
        "histogram",
        "From a request's headers to the last byte of its reply.",
        ("route",),
        buckets=_HTTP,
        by="api",
    ),
    Declared(
        "headwater_forward_seconds",
        "histogram",
        "Events to scores for one request, without HTTP.",
        buckets=_SHORT,
        by="api",
    ),
)
