"""What is on the board: rows, panels, and a sentence on how to read each.

`@` stands for the choice of instances. An expression is followed by the legend of its series.
Kinds: "lines", "stack" (lines on top of each other), "stat" (the figure of now).
"""

from __future__ import annotations

from typing import NamedTuple

RATE = "[$__rate_interval]"


class Shown(NamedTuple):
    """One panel. `queries`: (expression, legend). `span`: of 24 columns."""

    title: str
    reading: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "lines"
    span: int = 8


def _quantiles(name: str, only: str = "", legend: str = "") -> tuple[tuple[str, str], ...]:
    """The median and the 99th percentile of a histogram."""
    selected = f"{name}_bucket{{@{only}}}{RATE}"
    inner = f"sum by (le) (rate({selected}))"
    return tuple(
        (f"histogram_quantile({q}, {inner})", f"{legend} {told}".strip())
        for q, told in ((0.5, "half below"), (0.99, "99 % below"))
    )


HEALTHY = (
    Shown("State of the learner",
          "learning and idle are the usual ones; halted and paused wait for a person.",
          (("headwater_learner_state{@} == 1", "{{state}}"),), kind="stat", span=6),
    Shown("Alarms that fire", "Each has a section in docs/operations.md that says what to do.",
          (('count by (alertname) (ALERTS{@, alertname=~"Headwater.*", alertstate="firing"})',
            "{{alertname}}"),), kind="stat", span=6),
    Shown("Learner up", "1 while the heartbeat is fresh. At 0 the API answers on from the last weights.",
          (("headwater_learner_up{@}", "up"),), kind="stat", span=4),
    Shown("Age of the heartbeat", "Below a second while the learner lives; a minute is a hang.",
          (("time() - headwater_learner_heartbeat_timestamp_seconds{@}", "heartbeat"),), "s", "stat", 4),
    Shown("Events learned", "Events in the weights of the newest version; it falls at a rollback.",
          (("headwater_events_learned{@}", "events"),), kind="stat", span=4),
    Shown("Versions", "Journaled, written live, answered from: three lines on top of each other. "
          "Where served stays behind, see the age of what is served.",
          (("headwater_version{@}", "journaled"), ("headwater_published_version{@}", "published"),
           ("max(headwater_served_version{@})", "served"), ("headwater_frozen_version{@}", "frozen"))),
    Shown("Starts of processes", "Each step is a start; steps nobody ordered have a reason in the log.",
          (('changes(process_start_time_seconds{@, process=~"learner|api-.*"}[1h])', "{{process}}, last hour"),
           ("increase(headwater_restarts_total{@}[1h])", "{{child}} {{reason}}, by the supervisor"))),
    Shown("What runs", "Versions of Headwater, Python and torch; the model and its lineage. Another "
          "lineage means that the same history could not be proven.",
          (("max by (version, python, torch) (headwater_build_info{@})",
            "headwater {{version}}, python {{python}}, torch {{torch}}"),
           ("max by (model, lineage, layout) (headwater_model_info{@})",
            "{{model}}, lineage {{lineage}}, layout {{layout}}")), kind="stat"),
)  # fmt: skip

FRESH = (
    Shown("From event to weights", "Time from a record's timestamp until a version that has learned it "
          "answers. The promise of the service in one figure.",
          _quantiles("headwater_freshness_seconds"), "s"),
    Shown("Age of what is served", "Grows whenever nothing new is published, whatever the cause; on a "
          "quiet topic that is no fault.", (("headwater_served_age_seconds{@}", "{{process}}"),), "s"),
    Shown("Lag in time", "Age of the last learned record while others wait; 0 at the end of the topic, "
          "nothing where Kafka does not answer.", (("headwater_lag_seconds{@}", "lag"),), "s"),
    Shown("Lag in records", "Records on the topic that are not learned yet, by partition. One line that "
          "stays up while others fall is a partition that is stuck.",
          (("headwater_lag_records{@}", "{{topic}}/{{partition}}"),)),
    Shown("Events by outcome", "Every event ends in exactly one of these; learned should be nearly all.",
          ((f"sum by (outcome, reason) (rate(headwater_events_total{{@}}{RATE}))",
            "{{outcome}} {{reason}}"),), "eps", "stack"),
    Shown("Where the learner's time goes", "Seconds per second. Much idle is room to grow; much journal "
          "is a slow disk. poll and decode are another thread's.",
          ((f"sum by (phase) (rate(headwater_learner_time_seconds_total{{@}}{RATE}))", "{{phase}}"),),
          "percentunit", "stack"),
    Shown("One cut", "From taken to journaled and applied, and the learning alone. What lies between "
          "is the journal.",
          (*_quantiles("headwater_cut_duration_seconds", legend="cut"),
           *_quantiles("headwater_step_duration_seconds", legend="learning")), "s"),
    Shown("Writing a version live", "A copy of what was touched into shared memory; long ones mean large "
          "tables or a machine that is full.", _quantiles("headwater_publish_seconds"), "s"),
    Shown("Cuts by trigger", "size: a backlog is worked off. time: the stream is followed as it comes.",
          ((f"sum by (trigger) (rate(headwater_cuts_total{{@}}{RATE}))", "{{trigger}}"),), "ops"),
)  # fmt: skip

RIGHT = (
    Shown("Loss of recent events", "Each event is scored before it is learned; fading weighs recent "
          "ones. held_out are events that are never learned. Lower is better.",
          (('headwater_score{@, window="fading", metric=~"log_loss|mae", model=~"live|held_out"}',
            "{{target}} {{metric}} {{model}}"),)),
    Shown("What learning is worth", "frozen is a copy of the model that stopped learning early, live_paired the "
          "model as it is, both on the same recent events before they are learned. The gap is what learning is "
          "worth: lower is better.",
          (('headwater_score{@, window="fading", metric=~"log_loss|mae", model=~"frozen|live_paired"}',
            "{{target}} {{metric}} {{model}}"),)),
    Shown("Learned since the copy was frozen", "Events in the live model that the frozen copy has not learned. "
          "Back to 0: another copy was frozen.",
          (("headwater_events_learned{@} - headwater_twin_events_learned{@}", "events"),)),
    Shown("Loss beside its baselines", "Over all events so far, beside predictors that learn nothing: the "
          "last label again, the mean so far. A model above these lines is not worth asking.",
          (('headwater_score{@, window="cumulative", metric=~"log_loss|mae", model=~"live|held_out"}',
            "{{target}} {{metric}} {{model}}"),
           ('headwater_baseline_score{@, metric=~"log_loss|mae"}',
            "{{target}} {{metric}} {{baseline}}"))),
    Shown("Rank and share of recent events", "auc, accuracy and r2: higher is better. A fall while the loss "
          "stays means that calibration hides it, or the other way round.",
          (('headwater_score{@, window="fading", metric=~"auc|accuracy|r2", model=~"live|held_out"}',
            "{{target}} {{metric}} {{model}}"),)),
    Shown("Calibration", "Mean prediction over mean label of recent events: 1 is right, 2 promises twice "
          "as much as comes.",
          (('headwater_score{@, window="fading", metric="calibration_ratio", model=~"live|held_out"}',
            "{{target}} {{model}}"),)),
    Shown("Are intervals as wide as they should be", "Share of recent labels of number targets inside the "
          "interval told before each, by level: 0.9 is to hold 0.9 of them.",
          (('headwater_interval_coverage{@, level=~"0.5|0.9|0.99"}', "{{target}} {{level}}"),)),
    Shown("Drift of losses", "Alarms of each detector in an hour, and how much the loss rose at them. "
          "always fires every so often: an alarm that finds no more than it says nothing.",
          (("increase(headwater_drift_alarms_total{@}[1h])", "{{target}} {{detector}}, alarms"),
           ("headwater_drift_alarm_rise{@}", "{{target}} {{detector}}, rise"))),
    Shown("Drift of inputs", "How far each field is from its reference window, before any label comes: "
          "share missing, share never seen, population stability index.",
          (("headwater_input_drift{@}", "{{field}} {{measure}}"),
           ("increase(headwater_input_drift_alarms_total{@}[1h])", "{{field}} {{measure}}, alarms"))),
    Shown("Learning rate", "Moves only with learning.adapt; its factor is above 1 after an alarm of drift "
          "that raises rates.",
          (("headwater_learning_rate{@}", "rate"), ("headwater_learning_rate_factor{@}", "factor"))),
    Shown("Models side by side", "Recent loss of each model that learns the stream, scored before it learned, and of what "
          "was answered (live); nothing beside live where there are no challengers. Lower is better.",
          (('headwater_score{@, window="fading", metric=~"log_loss|mae", model!~"held_out|frozen|live_paired"}',
            "{{target}} {{metric}} {{model}}"),)),
    Shown("Who answers", "The model that clients are answered by, changes in an hour by who decided, and challengers "
          "that failed and began again.",
          (("headwater_answering{@} == 1", "{{model}} answers"),
           ("increase(headwater_promotions_total{@}[1h])", "changed by {{by}}"),
           ("increase(headwater_challenger_failures_total{@}[1h])", "{{challenger}} failed: {{reason}}"),
           ("headwater_challenger_rest_events{@} > 0", "{{challenger}} sits out, events"),
           ("headwater_challenger_events_learned{@}", "{{challenger}} learned"))),
    Shown("Weights of experts", "What each member counts in a mixture; nothing where the model is one. "
          "The largest change hands when the stream changes.",
          (("topk(8, headwater_expert_weight{@})", "{{target}} {{expert}}"),), "percentunit"),
    Shown("Experts", "Recent loss of the best members of a mixture, each by itself. The mixture above "
          "should be at or below the lowest.",
          (('bottomk(8, headwater_expert_score{@, metric=~"log_loss|mae"})', "{{target}} {{expert}}"),)),
    Shown("Experts that fail", "Events on which a module of your own failed as an expert, and whether it "
          "rests. The mixture goes on without it.",
          ((f"rate(headwater_expert_failures_total{{@}}{RATE})", "{{expert}}"),
           ("headwater_expert_resting{@}", "{{expert}} rests"))),
    Shown("Work left out", "What a mixture does without while learning is behind: how many works, how long "
          "what waits would take, and events learned without each. Short after a restart; if it stays, see "
          "HeadwaterShedding.",
          (("headwater_shed_level{@}", "works left out"), ("headwater_behind_seconds{@}", "seconds behind"),
           (f"rate(headwater_shed_rows_total{{@}}{RATE})", "events/s without {{work}}"))),
    Shown("Experts asleep", "Members that earn nothing are neither learned nor scored, and are woken now and "
          "then. All are awake at the beginning, and when the loss jumps.",
          (("count by (target) (headwater_expert_awake{@} == 0)", "{{target}} asleep"),
           ("count by (target) (headwater_expert_awake{@} == 1)", "{{target}} awake"))),
    Shown("Experts that started anew", "In an hour, by member. They had predicted what is no number, or the "
          "unit of a number target became another by far.",
          (("increase(headwater_expert_restarts_total{@}[1h]) > 0", "{{target}} {{expert}}"),)),
    Shown("Strategies", "Those in force, how full their memories are, and the share of blocks that "
          "contradicted the memory of A-GEM.",
          (("headwater_strategy{@}", "{{name}}"), ("headwater_memory_events{@}", "events in {{memory}}"),
           ("headwater_gradient_conflict_ratio{@}", "share of conflicts"))),
    Shown("Work of the strategies", "Old events learned again, blocks judged and found in conflict, "
          "updates that hit the cap, matrices of rls that started anew.",
          ((f"rate(headwater_replayed_events_total{{@}}{RATE})", "replayed"),
           (f"rate(headwater_agem_blocks_total{{@}}{RATE})", "judged"),
           (f"rate(headwater_agem_conflicts_total{{@}}{RATE})", "in conflict"),
           (f"rate(headwater_capped_updates_total{{@}}{RATE})", "capped"),
           (f"rate(headwater_covariance_restarts_total{{@}}{RATE})", "rls anew")), "ops"),
)  # fmt: skip

SAFE = (
    Shown("Behind the last snapshot", "Offsets that a restart would learn again from the journal. It saws: "
          "up while learning, down at each snapshot.",
          (("headwater_cursor_offset{@} - headwater_snapshot_offset{@}", "{{topic}}/{{partition}}"),)),
    Shown("Retention headroom", "Records between what the topic still has and what the last snapshot "
          "needs. Below 0 they are lost.",
          (("headwater_retention_headroom_records{@}", "{{topic}}/{{partition}}"),)),
    Shown("Snapshots", "Written, failed, and damaged ones that a start refused, in a quarter of an hour.",
          (("increase(headwater_snapshots_total{@}[15m])", "{{result}}"),)),
    Shown("What a snapshot takes", "From start to durable, and each pause of learning for its copy.",
          (*_quantiles("headwater_snapshot_duration_seconds", legend="durable"),
           *_quantiles("headwater_snapshot_pause_seconds", legend="pause")), "s"),
    Shown("Dead letters", "Events that cannot be used, by reason. Too many halt learning.",
          ((f"sum by (reason) (rate(headwater_dead_letters_total{{@}}{RATE}))", "{{reason}}"),), "eps", "stack"),
    Shown("The guard", "The watch's sum (12 is an alarm), the loss it takes for usual, and its alarms in "
          "an hour.",
          (("headwater_guard_suspicion{@}", "suspicion"), ("headwater_guard_usual_loss{@}", "usual loss"),
           ("increase(headwater_guard_alarms_total{@}[1h])", "alarms by {{by}}"))),
    Shown("Losses and ways back", "Losses of records, offsets passed over, rollbacks, replays that gave "
          "other bits: each is for a person to read up on.",
          (("increase(headwater_data_loss_total{@}[1h])", "lost: {{reason}}"),
           ("increase(headwater_skipped_offsets_total{@}[1h])", "offsets skipped: {{reason}}"),
           ("increase(headwater_rollbacks_total{@}[1h])", "rollback by {{by}}"),
           ("headwater_replay_divergence_total{@}", "replay diverged"))),
    Shown("Suspects", "Deaths of the learner with the same records in hand; at three they are tried one "
          "by one.", (("headwater_crash_suspect_deaths{@}", "deaths"),)),
    Shown("Reactions and what was not told", "Reactions to drift, posts to the webhook, lines lost to the "
          "audit log, frozen copies that were lost or not written, in an hour.",
          (("increase(headwater_drift_reactions_total{@}[1h])", "{{reaction}}"),
           ("increase(headwater_drift_webhook_posts_total{@}[1h])", "webhook: {{result}}"),
           ("increase(headwater_audit_failures_total{@}[1h])", "audit lines lost"),
           ("increase(headwater_twin_failures_total{@}[1h])", "frozen copy: {{reason}}"))),
)  # fmt: skip

SERVING = (
    Shown("Requests", "By route and status. 422 is the client's event, 503 the service's state.",
          ((f"sum by (route, method, code) (rate(headwater_http_requests_total{{@}}{RATE}))",
            "{{method}} {{route}} {{code}}"),), "reqps"),
    Shown("A prediction", "From a request's headers to the last byte of its reply, all workers.",
          _quantiles("headwater_http_request_duration_seconds", only=', route=~"/v1/predict|/v2/.*infer"'), "s"),
    Shown("The model's part", "From events to scores, without HTTP. What is left of a slow request is "
          "waiting.", _quantiles("headwater_forward_seconds"), "s"),
    Shown("Computed again", "Predictions whose slot was overwritten meanwhile. Often: publish less often "
          "(runtime.publish_ms).", ((f"sum(rate(headwater_read_retries_total{{@}}{RATE}))", "retries"),), "ops"),
    Shown("Fields missing", "Events asked about without a field that the model knows: clients that send "
          "less than they learn from.",
          ((f"sum by (field) (rate(headwater_field_missing_total{{@}}{RATE}))", "{{field}}"),), "eps"),
    Shown("Fields unknown", "Fields that the model does not know: a misspelling, or an event for another "
          "model.", ((f"sum by (field) (rate(headwater_field_unknown_total{{@}}{RATE}))", "{{field}}"),), "eps"),
)  # fmt: skip

KAFKA = (
    Shown("Records taken", "By topic. Beside the producers' own figures it tells what is missing.",
          ((f"sum by (topic) (rate(headwater_records_total{{@}}{RATE}))", "{{topic}}"),), "eps"),
    Shown("Cursor of each partition", "Offsets a second. One that stands still while others move is stuck "
          "or empty.", ((f"rate(headwater_cursor_offset{{@}}{RATE})", "{{topic}}/{{partition}}"),), "ops"),
    Shown("Deaf readers and refused commits", "Readers that heard nothing although records were there, and "
          "were made anew; commits matter to lag tools only.",
          (("increase(headwater_partition_silent_total{@}[1h])", "deaf: {{topic}}/{{partition}}"),
           ("increase(headwater_commit_failures_total{@}[1h])", "commits refused"))),
    Shown("Decoding", "Codes of categories a second: remembered ones are cheap. Texts that were cut short "
          "had more than 4,096 entries.",
          ((f"rate(headwater_category_codes_total{{@}}{RATE})", "{{result}}"),
           (f"rate(headwater_texts_cut_short_total{{@}}{RATE})", "texts cut short")), "ops"),
)  # fmt: skip

MACHINE = (
    Shown("Memory", "Resident, by process. The live weights are shared: each process counts what it has "
          "touched of them.", (("process_resident_memory_bytes{@}", "{{process}}"),), "bytes"),
    Shown("Processor", "Cores in use, by process. A learner far above 1 reads ahead and writes snapshots meanwhile.",
          ((f"rate(process_cpu_seconds_total{{@}}{RATE})", "{{process}}"),)),
    Shown("Open files", "Against the limit of each process: a line near 1 is a leak.",
          (("process_open_fds{@} / process_max_fds{@}", "{{process}}"),), "percentunit"),
)  # fmt: skip

ROWS: dict[str, tuple[Shown, ...]] = {
    "Healthy": HEALTHY,
    "Fresh": FRESH,
    "Right": RIGHT,
    "Safe": SAFE,
    "Serving": SERVING,
    "Kafka": KAFKA,
    "Machine": MACHINE,
}
