"""What kinds have in common that are one model, not a mixture of several; see seam.Kind."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from numpy.typing import NDArray

from service.model.featurizer import Rows
from service.model.kinds.seam import Effort, Extras, Reader, Served, Standing


class Single:
    """One model, of whose work nothing can be left out."""

    sheds: tuple[str, ...] = ()

    @abstractmethod
    def score(self, served: Served, rows: Rows) -> NDArray[np.float64]:
        """Return the scores [N, O]; see seam.Kind."""

    def reader(self, theta: NDArray[np.float32], extras: tuple[NDArray[np.generic], ...]) -> Reader:
        """Return what scores rows on these weights; see seam.Kind."""

        def read(frames: NDArray[np.float64], rows: Rows) -> NDArray[np.float64]:
            return self.score(Served(theta, frames, extras), rows)

        return read

    def standings(self, extras: Extras) -> dict[str, list[Standing]]:
        """Return nothing: it is one model; see seam.Kind."""
        return {}

    def shed(self, extras: Extras, level: int) -> None:
        """Leave nothing out: there is nothing to leave; see seam.Kind."""
        del extras, level

    def effort(self, extras: Extras) -> Effort:
        """Return that nothing is left out; see seam.Kind."""
        del extras
        return Effort()
