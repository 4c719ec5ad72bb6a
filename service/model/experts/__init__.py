"""Experts: small learners that all see the same inputs of a row, and the mixture that weighs them."""

from __future__ import annotations

from service.model.experts.bayes import Bayes
from service.model.experts.cross import Cross
from service.model.experts.factors import Factors
from service.model.experts.forest import Forest
from service.model.experts.habits import Habits
from service.model.experts.kernel import Kernel
from service.model.experts.nets import Nets
from service.model.experts.newton import Newton
from service.model.experts.prior import Prior
from service.model.experts.quantiles import Quantiles
from service.model.experts.seam import Expert
from service.model.experts.squares import Squares
from service.model.experts.steps import Steps
from service.model.experts.words import Words

EXPERTS: dict[str, type[Expert]] = {
    one.name: one
    for one in (
        Prior,
        Cross,
        Bayes,
        Newton,
        Squares,
        Quantiles,
        Steps,
        Habits,
        Nets,
        Kernel,
        Forest,
        Factors,
        Words,
    )
}
"""By name, in the order in which they are asked."""
