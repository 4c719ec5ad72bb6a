"""For tests only: events that kill the process that touches them.

The built-in models do not die of any event, so tests need some that do. Where the environment
says HEADWATER_TEST_KILLER, a list like `decode:AAA,learn:BBB`, the process ends with SIGSEGV when
it decodes, or learns, a record whose value holds that text; `live:CCC` kills while decoding in a
learner, and not in a trial of one. Nothing is changed, and nothing costs, where it is not set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence

from service.events.decode import Decoded, Decoder
from service.learn.learner import Learner, Step
from service.stream.records import Offsets, Record

NAME = "HEADWATER_TEST_KILLER"


def install(*, trial: bool) -> None:
    """Make decoding and learning lethal, as the environment says."""
    said = os.environ.get(NAME)  # noqa: TID251 - no setting: a name of the test suite
    if not said:
        return
    pairs = [one.rpartition(":")[::2] for one in said.split(",")]
    phases = {"", "decode"} if trial else {"", "decode", "live"}
    decoding = [text.encode() for phase, text in pairs if phase in phases]
    learning = [text.encode() for phase, text in pairs if phase == "learn"]
    decode, take = Decoder.decode_records, Learner.take

    def lethal_decode(self: Decoder, payloads: Sequence[bytes | None]) -> Decoded:
        _die_of(payloads, decoding)
        return decode(self, payloads)

    def lethal_take(
        self: Learner, records: Sequence[Record], decoded: Decoded, next_offsets: Offsets
    ) -> Step:
        _die_of([records[at].value for at in decoded.record], learning)
        return take(self, records, decoded, next_offsets)

    Decoder.decode_records = lethal_decode  # type: ignore[method-assign]
    Learner.take = lethal_take  # type: ignore[method-assign]


def _die_of(values: Iterable[bytes | None], texts: Sequence[bytes]) -> None:
    if any(text in value for value in values if value is not None for text in texts):
        signal.raise_signal(signal.SIGSEGV)  # to this thread: nothing more runs in it
