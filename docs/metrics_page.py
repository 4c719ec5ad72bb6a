"""docs/metrics.md, made from the metrics themselves: `python docs/metrics_page.py > docs/metrics.md`.

Knows service/metrics.py and what the labels may hold. Writes to stdout; opens no file.
"""

from __future__ import annotations

import sys

from service.metrics import METRICS, STATES
from service.model.prequential import OUTCOMES

_HEAD = """# Metrics

<!-- Made by `python docs/metrics_page.py`. A test fails when this page is out of date. -->

For whoever builds a board or an alert, or asks what a figure means. `GET /metrics` of any API
worker answers with the samples of every process of the model: its own as they are now, those of the
learner and of the other workers as they wrote them last (once a second) into the runtime directory.
Each series has the label `process`: `learner`, `api-0`, `api-1`, and so on. One scrape of one
worker is therefore enough; scraping each worker would count everything several times. The format is
Prometheus' text exposition 0.0.4. Prometheus' own multiprocess mode is not used;
`PROMETHEUS_MULTIPROC_DIR` is ignored, with a warning.

```yaml
scrape_configs:
  - job_name: headwater
    static_configs:
      - targets: ["localhost:8080"]
```

Counters of events, records and dead letters are part of the learner's state: they go on after a
restart where the last version left off, and never count an event twice. Every other counter and
every histogram is the process's own and begins at zero with it.

What is not known is not shown: a score before the first event, an offset before the first snapshot.
The samples of a learner that is gone stay as it wrote them last; `headwater_learner_up` tells.

## Every metric

`by` says which process gives it: the learner, the API workers, the supervisor that starts them, or
`reader`, which is a fact about the learner that the worker asked reads from the live weights, so it
is there also when the learner is gone.
"""

_VALUES = """
Beside these each process gives the usual `process_` metrics where the system has them (Linux):
memory, CPU seconds, open files, start time.

## What the labels hold

| label | values |
|---|---|
| `outcome` and `reason` of `headwater_events_total` | {outcomes} |
| `reason` of `headwater_dead_letters_total` | as above, for `dead_lettered` and `quarantined` |
| `reason` of `headwater_data_loss_total` and `headwater_skipped_offsets_total` | `retention`, \
`truncated`, `recreated`, `topic_missing`; of the latter also `rollback` |
| `reason` of `headwater_twin_failures_total` | `not_written`, `damaged`, `other_layout`: other fields or \
another model; `other_history`: a rollback to before the copy; `not_scored`: it raised an error, or memory \
is short, and there is none until the next start |
| `trigger` | `size`: enough records; `time`: waited `linger_ms` |
| `result` | `success`, `failure`; of snapshots also `refused`, of the webhook `dropped`; of category codes \
`remembered`, `computed` |
| `state` | {states} |
| `window` | `cumulative`: since version 0; `fading`: factor 0.999 per scored event |
| `model` of `headwater_score` | `live`: the one that answers; `held_out`: the same on the \
events that `learning.holdout` sets aside; `frozen`: a copy that stopped learning, on a sample of \
events; `live_paired`: the live model on those same events (their `cumulative` window begins with the \
copy, and with each start of the learner) |
| `level` | the promised share; each label is compared with the interval told before it was learned |
| `baseline` | `no_change`: the last label again; `prior`: the mean, or the share of each class |
| `phase` of `headwater_learner_time_seconds_total` | of the loop: `idle`, `learn`, `journal`, \
`publish`, `snapshot` (the pause for its copy), `twin` (the frozen copy); of the thread that reads ahead: `poll`, `decode` |
| `route` | the path as declared, as `/v1/predict`; `<unmatched>` for any other |
| `code` | HTTP status; 499: the client left before the reply |
| `field` | name of a field; `<other>` beyond the first 50 unknown names of a worker |

`frozen`, as a state, is learning beside frozen weights: after `headwater freeze`, or when the guard froze
them. `headwater_frozen_version` says which version answers meanwhile.

`frozen` and `live_paired` are there to be compared with each other: see [what learning is
worth](concepts.md#what-learning-is-worth).

A dead letter is counted also where `kafka.dead_letter_topic` is null and it goes nowhere.
`headwater_score` of `auc` and `average_precision` comes from 512 bins of the logit between -10 and
10; the error is at most half the share of pairs that fall into one bin. `headwater evaluate`
computes both exactly.

## What to alert on

- `headwater_learner_up == 0`: no heartbeat for 3 seconds. The API goes on answering.
- `headwater_learner_state{{state="halted"}} == 1`: somebody must decide; see
  [operations](operations.md#halts-and-what-to-do).
- `headwater_served_age_seconds`, where the topic is never quiet: the one figure that grows
  whatever the cause, Kafka away included. On a quiet topic it grows too.
- `headwater_retention_headroom_records` getting small: the topic is about to lose records that the
  last snapshot still needs for a replay.
- `increase(headwater_snapshots_total{{result="failure"}}[10m]) > 0`.
- `rate(headwater_events_total{{outcome="dead_lettered"}}[5m])` against the rate of all events.
- `increase(headwater_replay_divergence_total[1h]) > 0`: a restart gave other bits than the journal
  says; a new lineage began.
- `headwater_score{{window="cumulative"}}` against `headwater_baseline_score`, which is cumulative
  too: a model that is worse than repeating the last label is not worth asking.
"""


def page() -> str:
    """Return the page."""
    lines = [_HEAD, "| metric | kind | by | labels | meaning |", "|---|---|---|---|---|"]
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(
            f"| `{metric.name}` | {metric.kind} | {metric.by} | {labels} | {metric.help} |"
        )
    outcomes = "; ".join(_outcomes())
    states = ", ".join(f"`{state}`" for state in STATES)
    return "\n".join(lines) + "\n" + _VALUES.format(outcomes=outcomes, states=states)


def _outcomes() -> list[str]:
    """Each outcome with its reasons, as one phrase."""
    reasons: dict[str, list[str]] = {}
    for outcome, reason in OUTCOMES:
        reasons.setdefault(outcome, []).append(f"`{reason}`" if reason else "no reason")
    return [f"`{outcome}`: {', '.join(which)}" for outcome, which in reasons.items()]


if __name__ == "__main__":
    sys.stdout.write(page())
