"""What comes instead of a cut: losses until somebody decides about them, new partitions once.

Belongs to the source's thread. Asks the broker what is there when a partition was refused.
"""

from __future__ import annotations

from service.errors import BrokerAway, TopicMissing
from service.stream.broker import Broker, Trouble
from service.stream.cutter import Cutter
from service.stream.lanes import Lane
from service.stream.records import TP, DataLoss, Offsets, PartitionAdded
from service.stream.troubles import Troubles
from service.stream.watch import Watch, loss


class News:
    """Collects what the watch and the lanes have to tell."""

    def __init__(self, broker: Broker, watch: Watch, cutter: Cutter, troubles: Troubles) -> None:
        self._broker = broker
        self._watch = watch
        self._cutter = cutter
        self._troubles = troubles
        self._losses: dict[TP, DataLoss] = {}
        self._found: list[PartitionAdded] = []

    def next(self, now_s: float, cursors: Offsets) -> DataLoss | PartitionAdded | None:
        """Return what must be told before any cut. A partition without a cursor is told once."""
        for event in self._watch.poll(now_s, cursors):
            if isinstance(event, DataLoss):
                self._losses.setdefault((event.topic, event.partition), event)
            else:
                self._found.append(event)
        for lane in self._cutter.lanes:
            if lane.lost and not len(lane) and lane.partition not in self._losses:
                self._look_up(lane, now_s)
        if self._losses:
            return next(iter(self._losses.values()))
        while self._found:
            added = self._found.pop(0)
            if (added.topic, added.partition) not in cursors:
                return added
        return None

    def decided(self, partition: TP) -> None:
        """Tell of this loss no more."""
        told = self._losses.pop(partition, None)
        if told is not None and told.reason in ("recreated", "topic_missing"):
            self._watch.accept(partition[0])

    def loss_of(self, lane: Lane) -> DataLoss:
        """Return why what the lane wants cannot be read. Raises BrokerAway."""
        partition, wanted = lane.partition, lane.next_offset
        try:
            low, high = self._broker.watermarks(partition)
        except TopicMissing:
            return DataLoss(*partition, "topic_missing", wanted, 0, 0)
        if lane.cut_off_at is not None:
            return DataLoss(*partition, "truncated", wanted, low, lane.cut_off_at)
        return loss(partition, wanted, (low, high))

    def _look_up(self, lane: Lane, now_s: float) -> None:
        try:
            self._losses[lane.partition] = self.loss_of(lane)
        except BrokerAway as error:
            self._troubles.note(Trouble("BROKER_AWAY", str(error)), now_s)
