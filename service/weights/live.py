"""The live weights: one memory-mapped file, one writer, many readers. The names to import.

The file is described in `live_format`, writing in `live_writer`, reading in `live_reader`.
"""

from service.weights.live_reader import LiveReader
from service.weights.live_view import Heartbeat, Slot
from service.weights.live_writer import LiveWriter

__all__ = ["Heartbeat", "LiveReader", "LiveWriter", "Slot"]
