"""The model as one thread of an API process sees it: follows the live file, never writes it.

Knows the live file's reader and the scorer. Does not know HTTP. Guarantees: what `read` returns
was computed from exactly one version, and it says which. A new layout (the fields changed, a new
model) is picked up by `follow`, at most every FOLLOW_S; a file that this version of the service
cannot read is "not ready", with the reason. Each thread has a LiveModel of its own: pins and
scratch memory are not shared.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from service.errors import HeadwaterError
from service.logs import logger
from service.metrics import Counter
from service.model.kinds import module_code
from service.model.recipe import Recipe
from service.model.scorer import Attached, Scorer
from service.serve.problems import Refused
from service.serve.served import Learner, Served, learner_seen
from service.weights.live import LiveReader, Slot
from service.weights.live_directory import POINTER

FOLLOW_S = 0.05
READ_TRIES = 5
COPY_TRIES = 20

Result = TypeVar("Result")

_log = logger(__name__)


def scorer_from(layout: bytes) -> Scorer:
    """Build the scorer of a live file's layout, with the code that its learner has."""
    recipe = Recipe.from_json(layout)
    codes = {module: code for one in recipe.models for module, code in one.codes.items()}
    for module, code in codes.items():
        if not module_code.follow(module, code.source):
            _log.error("module_code_differs", module=module, learner=code.source,
                       what_to_do="restart the API where the learner's code is")  # fmt: skip
    return Scorer(recipe)


def warm(recipe: Recipe) -> None:
    """Compile the kernels of this kind of model, or load them, so that no request waits for it."""
    scorer = Scorer(recipe)
    blank, _ = scorer.decoder.features([{}])
    scorer.attach(np.zeros(scorer.nbytes, dtype=np.uint8)).score_each(blank)


class LiveModel:
    """The version being served, its scorer, and what is known of the learner."""

    def __init__(
        self,
        directory: Path,
        retries: Counter,
        make_scorer: Callable[[bytes], Scorer] = scorer_from,
    ) -> None:
        self._reader = LiveReader(directory)
        self._retries = retries
        self._make_scorer = make_scorer
        self._scorer: Scorer | None = None
        self._layout = b""
        self._unreadable: str | None = None
        self._trouble = ""
        self._attached: dict[tuple[int, int], Attached] = {}
        self._served: Served | None = None
        self._heartbeat: dict[str, Any] | None = None
        self._followed_s = float("-inf")

    def follow(self) -> None:
        """See whether the file, the layout or the learner's state changed; cheap to call often."""
        now_s = time.monotonic()
        if now_s - self._followed_s < FOLLOW_S and not self._reader.superseded:
            return
        self._followed_s = now_s
        if self._reader.refresh():
            self._attached.clear()  # they are views of a file that is not served any more
        if self._reader.trouble != self._trouble:
            self._trouble = self._reader.trouble
            self._say()
        self._heartbeat = self._reader.heartbeat()
        layout = self._reader.layout
        if layout != self._layout:
            self._layout = layout
            self._build(layout)
        with self._reader.pinned() as slot:
            if slot is not None and self._scorer is not None:
                self._tell(slot)

    def _say(self) -> None:
        directory = self._reader.directory
        if self._trouble and not self._layout and not (directory / POINTER).exists():
            _log.info("waiting", why=f"no learner has written live weights in {directory} yet")
        else:
            _log.info("live_file", trouble=self._trouble or None)

    def _build(self, layout: bytes) -> None:
        self._scorer, self._served, self._unreadable = None, None, None
        self._attached.clear()
        try:
            self._scorer = self._make_scorer(layout)
        except (ValueError, KeyError, TypeError, HeadwaterError) as error:
            told = isinstance(error, HeadwaterError)  # else where it comes from is told too
            _log.error("layout_not_understood", why=str(error), exc_info=not told)
            self._unreadable = f"the live weights have a layout this version cannot read: {error}"

    @property
    def learner(self) -> Learner:
        return learner_seen(self._heartbeat, time.time_ns())

    @property
    def served(self) -> Served | None:
        """The version last seen published; None before there is one. Any thread may look."""
        return self._served

    @property
    def recipe(self) -> Recipe | None:
        return None if self._scorer is None else self._scorer.recipe

    @property
    def layout(self) -> bytes:
        """The recipe of the weights as JSON; empty before there are any."""
        return self._layout

    def scorer(self) -> Scorer:
        """Return the scorer of the present layout; Refused (NOT_READY) without one."""
        if self._scorer is None:
            raise self.not_ready()
        return self._scorer

    def read(self, compute: Callable[[Attached], Result]) -> tuple[Result, Served]:
        """Compute something from exactly one version; Refused (NOT_READY) when there is none."""
        for _ in range(READ_TRIES):
            with self._reader.pinned() as slot:
                if slot is None:
                    raise self.not_ready()
                try:
                    served = self._tell(slot)
                    result = compute(self._attach(slot))
                except Exception:
                    if slot.intact():
                        raise
                else:
                    if slot.intact():
                        return result, served
            self._retries.inc()
        return self.read_copy(compute)

    def read_copy(self, compute: Callable[[Attached], Result]) -> tuple[Result, Served]:
        """As `read`, on a private copy: for what takes longer than a pin is respected."""
        for _ in range(COPY_TRIES):
            with self._reader.pinned() as slot:
                if slot is None:
                    raise self.not_ready()
                image, meta = np.array(slot.image), slot.meta
                intact = slot.intact()
            if intact:
                return compute(self._fitting(image.nbytes).attach(image)), Served(meta)
            self._retries.inc()
        raise Refused("OVERLOADED", "the weights change faster than they are read", retry_after_s=1)

    def _tell(self, slot: Slot) -> Served:
        meta, served = slot.meta, self._served
        if served is None or served.meta is not meta:
            served = self._served = Served(meta)
        return served

    def _attach(self, slot: Slot) -> Attached:
        attached = self._attached.get(slot.key)
        if attached is None:
            scorer = self._fitting(slot.image.nbytes)
            attached = self._attached[slot.key] = scorer.attach(slot.image)
        return attached

    def _fitting(self, nbytes: int) -> Scorer:
        """Return the scorer, if images of this size are its own."""
        scorer = self.scorer()
        if scorer.nbytes != nbytes:
            self._unreadable = (
                f"the live weights take {nbytes} bytes, this version of the service lays them out "
                f"in {scorer.nbytes}; run the API and the learner from one version"
            )
            raise self.not_ready()
        return scorer

    def close(self) -> None:
        self._reader.close()

    def not_ready(self) -> Refused:
        learner = self.learner
        detail = self._unreadable or f"no weights are published yet; {learner.sentence()}"
        return Refused("NOT_READY", detail, retry_after_s=1, extra={"learner": learner})
