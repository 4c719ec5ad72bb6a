"""THE LOOP: take a cut, score it, learn it, journal it, publish it; save now and then.

One thread, one order. Everything else (fetching, writing snapshots, answering commands) is a
thread of its own that hands things in here. A cut is journaled before its version is published;
its dead letters are acknowledged before it is journaled.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from service import crash
from service.learn import limit
from service.learn.acts import Acts
from service.learn.commands import Commands
from service.learn.inbox import Ready
from service.learn.orders import Orders
from service.learn.suspect import LEARNING
from service.stream.records import DataLoss, PartitionAdded

_TICK_S = 0.05


def run(acts: Acts, orders: Orders, commands: Commands, should_stop: Callable[[], bool]) -> None:
    """Learn until told to stop. Raises what cannot be acted upon; the process then ends."""
    commands.open()
    while not should_stop():
        commands.obey(orders.obey, wait_s=0.0 if acts.may_learn else _TICK_S)
        acts.tick()
        match acts.next_item(_TICK_S):
            case Ready() as ready:
                learn(acts, ready)
            case PartitionAdded() as added:
                acts.add_partition(added)
            case DataLoss() as loss:
                acts.lose(loss)


def learn(acts: Acts, ready: Ready) -> None:
    """One cut, from records to the version that answers."""
    began = time.monotonic()
    acts.in_hand.learn(acts.learner.standing.cursors, ready.cut.next_offsets)
    ready, over_limit = limit.within(ready, acts.learner, acts.limit)
    step = acts.learner.take(ready.cut.records, ready.decoded, ready.cut.next_offsets)
    acts.in_hand.release(LEARNING)
    crash.point("after_cursor")
    acts.learned(step, time.monotonic() - began)
    over_limit = limit.too_many_broken(step, acts.learner, acts.limit) or over_limit
    acts.bury(step)
    acts.journal_cut(step, ready.cut)
    crash.point("journaled_before_publish")
    acts.guard(step, ready.decoded)
    acts.finish(time.monotonic() - began, over_limit)
    acts.twin.compare(step, ready.decoded.columns)
