"""The pass of moving averages and the median of the label, compiled; see prior.py."""

from __future__ import annotations

import math

from service.model.compiling import kernel
from service.model.experts.inputs_pass import keep


@kernel
def learn(y, weights, spans, means, seen, recent, ordered, sizes, into):
    """recent, ordered, sizes: of the last labels, as in inputs_pass.numbers; none where classes are
    learned."""
    outputs, middle = means.shape[1], spans.shape[0]
    for r in range(y.shape[0]):
        for s in range(spans.shape[0]):
            for c in range(outputs):
                into[r, s, c] = means[s, c]
        if recent.shape[0] > 0:
            into[r, middle, 0] = ordered[(sizes[1] - 1) // 2] if sizes[1] > 0 else 0.0
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        seen[0] += 1.0
        if recent.shape[0] > 0:
            keep(recent, ordered, sizes, y[r])
        for s in range(spans.shape[0]):
            rate = max(1.0 / (seen[0] + 1.0), 1.0 / spans[s])
            for c in range(outputs):
                truth = y[r] if outputs == 1 else (1.0 if int(y[r]) == c else 0.0)
                means[s, c] += rate * (truth - means[s, c])
