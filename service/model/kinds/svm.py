"""The linear support vector machine: the linear model, learned by the hinge instead of log loss.

Two classes: max(0, 1 - y f) with y in -1, +1; more: max(0, 1 + best other f - f of the label)
(Crammer, Singer 2001). A row whose margin is wide enough moves no weight. What is served, and what
losses and metrics speak of, are probabilities: the map from margins to them is learned online and
lies in frame/<target> (margins.py). Weights lie and are named as those of linear, and the passes
are the very same kernels. A number target has no margin.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from service.events.schema import TargetKind
from service.model.kinds.linear import Linear, Tables
from service.model.losses import BINARY, HINGE, HINGES


class Svm(Linear):
    """The linear support vector machine."""

    name: ClassVar[str] = "svm"
    learns: ClassVar[tuple[TargetKind, ...]] = ("binary", "multiclass")

    def tables_of(self) -> Tables:
        """Return where the weights lie, each target under the code of its hinge."""
        tables = super().tables_of()
        kinds = tables.targets[:, 0]
        kinds[:] = np.where(kinds == BINARY, HINGE, HINGES)
        return tables
