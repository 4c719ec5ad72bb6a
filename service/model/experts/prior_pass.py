"""The pass of moving averages of the label, compiled; see prior.py."""

from __future__ import annotations

import math

from service.model.compiling import kernel


@kernel
def learn(y, weights, spans, means, seen, into):
    outputs = means.shape[1]
    for r in range(y.shape[0]):
        for s in range(spans.shape[0]):
            for c in range(outputs):
                into[r, s, c] = means[s, c]
        if weights[r] <= 0.0 or math.isnan(y[r]):
            continue
        seen[0] += 1.0
        for s in range(spans.shape[0]):
            rate = max(1.0 / (seen[0] + 1.0), 1.0 / spans[s])
            for c in range(outputs):
                truth = y[r] if outputs == 1 else (1.0 if int(y[r]) == c else 0.0)
                means[s, c] += rate * (truth - means[s, c])
