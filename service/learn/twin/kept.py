"""The twin's file: one copy of the weights on disk, written beside learning and read at the start.

In a folder of its own with the form of a snapshot (checksums, fsync, one rename), so that neither
the keep policy nor the journal, nor a list of snapshots, knows of it. Raises nothing for what a
disk does: without its file there is a twin until the process ends.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import structlog

from service.errors import LayoutChanged
from service.learn.changes import compare
from service.learn.twin.paired import Paired, fits
from service.metrics import Metrics
from service.model.layout import Layout
from service.model.recipe import Recipe
from service.model.state import State
from service.weights.digest import Part
from service.weights.snapshots import Keep, Snapshots

_log = structlog.get_logger(__name__)
FOLDER = "twin"
"""Where in the state directory it is."""
DAMAGED, OTHER_LAYOUT, NOT_WRITTEN = "damaged", "other_layout", "not_written"


class Kept:
    """The file of one model's twin."""

    def __init__(self, state_at: Path, metrics: Metrics) -> None:
        self._folder = state_at / FOLDER
        self._failures = metrics.counter("headwater_twin_failures_total")
        self._snapshots: Snapshots | None = None
        self._thread: threading.Thread | None = None
        self.written: Paired | None = None
        """What is on the disk."""

    def read(self, layout: Layout) -> Paired | None:
        """Return the twin that is there, if it fits the layout; None, and said, if it cannot be used."""
        try:
            if not self._folder.is_dir():
                return None
            found = self._open().newest_valid()
            if found is None:
                return None
            if not _fits(found.manifest.meta["recipe"], layout, found.parts["weights"]):
                _log.warning("twin_dropped", why="it was made for other fields or another model")
                self._failures.inc(1.0, OTHER_LAYOUT)
                return None
            weights = State(layout)
            for entry in layout.entries:
                if entry.part == "weights" and entry.name in found.parts["weights"]:
                    entry.view(weights.image)[...] = found.parts["weights"][entry.name].numpy()
            events = int(found.manifest.meta["events_learned"])
            read = found.manifest
            self.written = Paired(weights, read.version, read.lineage, events)
        except Exception as error:  # noqa: BLE001 - of another release, it may hold anything
            _log.error("twin_damaged", folder=str(self._folder), why=repr(error),
                       note="another is frozen in its place")  # fmt: skip
            self._failures.inc(1.0, DAMAGED)
            return None
        return self.written

    @property
    def busy(self) -> bool:
        """One is being written."""
        return self._thread is not None and self._thread.is_alive()

    def write(self, twin: Paired) -> None:
        """Begin to write, in a thread: `written` is the twin when it is durable. Not while busy."""
        assert not self.busy, "one is being written"
        self._thread = threading.Thread(target=self._write, args=(twin,), name="twin", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Finish what was begun."""
        if self._thread is not None:
            self._thread.join()

    def _write(self, twin: Paired) -> None:
        meta = {
            "version": twin.version,
            "lineage": twin.lineage,
            "events_learned": twin.events,
            "recipe": msgspec.json.decode(twin.layout.recipe.to_json()),
        }
        try:
            snapshots = self._open()
            snapshots.write(twin.weights, meta)
            snapshots.collect()
        except Exception as error:  # noqa: BLE001 - a thread that dies would end all tries
            _log.error("twin_not_written", version=twin.version, error=str(error),
                       note="learning goes on; tried again in a minute")  # fmt: skip
            self._failures.inc(1.0, NOT_WRITTEN)
            return
        self.written = twin
        _log.info("twin_written", version=twin.version, events=twin.events)

    def _open(self) -> Snapshots:
        if self._snapshots is None:
            self._snapshots = Snapshots(self._folder, Keep(last=1, hourly=0, daily=0))
        return self._snapshots


def _fits(recipe: object, layout: Layout, weights: Part) -> bool:
    """Whether a copy under one recipe says under the present one what it would have said."""
    try:
        compare(Recipe.from_json(msgspec.json.encode(recipe)), layout.recipe)
    except (LayoutChanged, ValueError, KeyError):
        return False
    return fits(layout, weights)
