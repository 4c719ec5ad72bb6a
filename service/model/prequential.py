"""Prequential scores: every labelled event is scored before it is learned (Dawid 1984; Gama,
Sebastiao, Rodrigues 2013), beside two baselines that cost nothing.

no_change repeats the last label; prior says the mean (or the class shares) so far. Two windows:
cumulative, and fading with factor 0.999 per scored event. All of it is one flat float64 vector
per target inside the state, so it survives crashes with the weights, and the API reads it.

Events that are held out (learning.holdout) count in it as all others do, and have a second vector
of their own: that one is of events that the weights never learn.

AUC and average precision come from 512 bins of the logit in [-10, 10]: the error is at most
half the share of pairs that fall into one bin. `evaluate` computes them exactly (exact.py).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.events.schema import Target

OUTCOMES: tuple[tuple[str, str], ...] = (
    ("learned", ""),
    ("held_out", "hash"),
    ("filtered", "tombstone"),
    ("filtered", "unlabelled"),
    ("quarantined", "not_finite"),
    *(
        ("dead_lettered", reason)
        for reason in (
            "bad_json", "not_an_object", "wrong_type", "not_finite", "out_of_range",
            "unknown_class", "bad_time",
        )
    ),
    ("skipped", "rollback"),
    ("quarantined", "kills_process"),
)  # fmt: skip
"""Every way an event can end: (outcome, reason). Stored by place: new ones go to the end, and a
new layout number goes with them."""

FADE = 0.999
PREDICTORS = ("model", "no_change", "prior")
WINDOWS = ("cumulative", "fading")
BINS = 512
_EDGE = 10.0
_HEAD = 4  # last label, labels seen, their sum, gain of the fading window
_BINARY = 8  # n, log loss, tp, fp, tn, fn, sum of p, sum of y
_NUMBER = 5  # n, absolute error, squared error, sum of y, sum of y^2
_ROUNDING = 1e-13  # what sums of squares differ by though all labels are one, relative to them
_TINY = 1e-7  # a probability is never scored as exactly 0 or 1


def size_of(target: Target) -> int:
    """Return the length of a target's vector."""
    return _head(target) + len(WINDOWS) * len(PREDICTORS) * _block(target)


def fresh(target: Target) -> NDArray[np.float64]:
    """Return the vector before the first event."""
    state = np.zeros(size_of(target))
    state[3] = 1.0
    return state


def update(
    target: Target, state: NDArray[np.float64], scores: NDArray[np.float64], y: NDArray[np.float64]
) -> None:
    """Take N scored events, in order. scores: [N, outputs]; y: [N], NaN is not scored."""
    blocks = state[_head(target) :].reshape(len(WINDOWS), len(PREDICTORS), _block(target))
    if target.kind == "binary":
        _update_binary(state, blocks, scores[:, 0], y)
    elif target.kind == "multiclass":
        _update_multiclass(state, state[_HEAD : _head(target)], blocks, scores, y)
    else:
        _update_number(state, blocks, scores[:, 0], y)


def report(
    target: Target, state: NDArray[np.float64], held: NDArray[np.float64] | None = None
) -> dict[str, Any]:
    """Return {"type", "scored", "metrics", "fading", "baselines", "held_out", ...}; a figure that
    is not defined yet is None. held: the vector of the events that were never learned."""
    result = _report(target, state)
    keys = ("scored", "metrics", "fading", "baselines")
    held_out = None if held is None else _report(target, held)
    result["held_out"] = held_out and {key: held_out[key] for key in keys}
    return result


def _report(target: Target, state: NDArray[np.float64]) -> dict[str, Any]:
    blocks = state[_head(target) :].reshape(len(WINDOWS), len(PREDICTORS), _block(target))
    figures = [[_figures(target, blocks[w, p]) for p in range(3)] for w in range(2)]
    for window in figures:
        for each in window:
            if target.kind == "binary":
                each["kappa_temporal"] = _ratio(
                    _minus(each["accuracy"], window[1]["accuracy"]),
                    _minus(1.0, window[1]["accuracy"]),
                )
    return {
        "type": target.kind,
        "scored": int(blocks[0, 0, 0]),
        "metrics": figures[0][0],
        "fading": figures[1][0],
        "baselines": {"no_change": figures[0][1], "prior": figures[0][2]},
        "fading_baselines": {"no_change": figures[1][1], "prior": figures[1][2]},
    }


def _head(target: Target) -> int:
    return _HEAD + (target.outputs if target.kind == "multiclass" else 0)


def _block(target: Target) -> int:
    if target.kind == "binary":
        return _BINARY + 2 * BINS
    return 2 + target.outputs**2 if target.kind == "multiclass" else _NUMBER


def _ratio(top: float | None, bottom: float | None) -> float | None:
    if top is None or bottom is None or bottom == 0:
        return None
    result = float(top / bottom)
    return result if math.isfinite(result) else None


def _minus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else float(left - right)


def _figures(target: Target, block: NDArray[np.float64]) -> dict[str, float | None]:
    n = block[0]
    if target.kind == "number":
        spread = block[4] - block[3] ** 2 / n if n else 0.0
        if spread <= _ROUNDING * block[4]:  # labels that are all one: what is left is rounding
            spread = 0.0
        return {
            "mae": _ratio(block[1], n),
            "rmse": math.sqrt(block[2] / n) if n else None,
            "r2": float(1.0 - block[2] / spread) if spread > 0 else None,
        }
    if target.kind == "multiclass":
        return _multiclass_figures(block[0], block[1], block[2:].reshape(2 * (target.outputs,)))
    _, loss, tp, fp, tn, fn, sum_p, sum_y = (float(v) for v in block[:_BINARY])
    histogram = block[_BINARY:].reshape(2, BINS)
    share = sum_y / n if n else 0.0
    entropy = -sum(q * math.log(q) for q in (share, 1.0 - share) if q > 0)
    chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / n**2 if n else 0.0
    accuracy = _ratio(tp + tn, n)
    return {
        "accuracy": accuracy,
        "log_loss": _ratio(loss, n),
        "auc": _auc(histogram),
        "average_precision": _average_precision(histogram),
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "kappa": _ratio(_minus(accuracy, chance), 1.0 - chance),
        "normalised_entropy": _ratio(_ratio(loss, n), entropy),
        "calibration_ratio": _ratio(sum_p, sum_y),
    }


def _multiclass_figures(
    n: float, loss: float, confusion: NDArray[np.float64]
) -> dict[str, float | None]:
    hits, truths, guesses = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    seen = truths + guesses > 0
    accuracy = _ratio(hits.sum(), n)
    chance = float(truths @ guesses) / n**2 if n else 0.0
    return {
        "accuracy": accuracy,
        "log_loss": _ratio(loss, n),
        "kappa": _ratio(_minus(accuracy, chance), 1.0 - chance),
        "f1_macro": float((2 * hits[seen] / (truths + guesses)[seen]).mean()) if n else None,
    }


def _auc(histogram: NDArray[np.float64]) -> float | None:
    negative, positive = histogram
    below = np.concatenate(([0.0], np.cumsum(negative)[:-1]))
    pairs = positive.sum() * negative.sum()
    return _ratio(float((positive * (below + negative / 2)).sum()), float(pairs))


def _average_precision(histogram: NDArray[np.float64]) -> float | None:
    negative, positive = histogram[:, ::-1]
    found, taken = np.cumsum(positive), np.cumsum(positive + negative)
    gained = positive > 0
    if not gained.any():
        return None
    return float((positive[gained] * found[gained] / taken[gained]).sum() / positive.sum())


@njit(nogil=True, cache=True)
def _tick(state, blocks):
    """One more scored event: what came before fades. Newer events get a growing gain instead,
    and the sums are divided by it when it becomes large."""
    state[3] /= FADE
    if state[3] > 1e9:
        for p in range(blocks.shape[1]):
            for i in range(blocks.shape[2]):
                blocks[1, p, i] /= state[3]
        state[3] = 1.0


@njit(nogil=True, cache=True)
def _update_binary(state, blocks, p_N, y_N):
    for r in range(y_N.shape[0]):
        y = y_N[r]
        if math.isnan(y) or not math.isfinite(p_N[r]):
            continue
        _tick(state, blocks)
        prior = (state[2] + 1.0) / (state[1] + 2.0)
        for k in range(3):
            p = p_N[r]
            if k == 1:
                p = state[0] if state[1] > 0.0 else prior
            elif k == 2:
                p = prior
            p = min(max(p, _TINY), 1.0 - _TINY)
            loss = -math.log(p) if y > 0.5 else -math.log1p(-p)
            place = (math.log(p / (1.0 - p)) + _EDGE) / (2.0 * _EDGE) * BINS
            b = _BINARY + int(min(max(place, 0.0), BINS - 1.0)) + (BINS if y > 0.5 else 0)
            cell = (2 if y > 0.5 else 3) if p >= 0.5 else (5 if y > 0.5 else 4)
            for w in range(2):
                gain = 1.0 if w == 0 else state[3]
                blocks[w, k, 0] += gain
                blocks[w, k, 1] += gain * loss
                blocks[w, k, cell] += gain
                blocks[w, k, 6] += gain * p
                blocks[w, k, 7] += gain * y
                blocks[w, k, b] += gain
        state[0] = y
        state[1] += 1.0
        state[2] += y


@njit(nogil=True, cache=True)
def _update_multiclass(state, seen, blocks, scores, y_N):
    classes = seen.shape[0]
    for r in range(y_N.shape[0]):
        if math.isnan(y_N[r]) or not math.isfinite(scores[r, 0]):
            continue
        y = int(y_N[r])
        _tick(state, blocks)
        for k in range(3):
            guess = 0
            p = 0.0
            if k == 1 and state[1] > 0.0:
                guess = int(state[0])
                p = 1.0 if guess == y else 0.0
            elif k == 0:
                for c in range(1, classes):
                    if scores[r, c] > scores[r, guess]:
                        guess = c
                p = scores[r, y]
            else:
                for c in range(1, classes):
                    if seen[c] > seen[guess]:
                        guess = c
                p = (seen[y] + 1.0) / (state[1] + classes)
            loss = -math.log(max(p, _TINY))
            for w in range(2):
                gain = 1.0 if w == 0 else state[3]
                blocks[w, k, 0] += gain
                blocks[w, k, 1] += gain * loss
                blocks[w, k, 2 + y * classes + guess] += gain
        state[0] = y
        state[1] += 1.0
        seen[y] += 1.0


@njit(nogil=True, cache=True)
def _update_number(state, blocks, p_N, y_N):
    for r in range(y_N.shape[0]):
        y = y_N[r]
        if math.isnan(y) or not math.isfinite(p_N[r]):
            continue
        _tick(state, blocks)
        prior = state[2] / state[1] if state[1] > 0.0 else 0.0
        for k in range(3):
            p = p_N[r]
            if k == 1:
                p = state[0]
            elif k == 2:
                p = prior
            error = p - y
            for w in range(2):
                gain = 1.0 if w == 0 else state[3]
                blocks[w, k, 0] += gain
                blocks[w, k, 1] += gain * abs(error)
                blocks[w, k, 2] += gain * error * error
                blocks[w, k, 3] += gain * y
                blocks[w, k, 4] += gain * y * y
        state[0] = y
        state[1] += 1.0
        state[2] += y
