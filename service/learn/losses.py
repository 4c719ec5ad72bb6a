"""How a loss of records is said to people: what is gone, and where."""

from __future__ import annotations

from service.stream.records import DataLoss


def said(loss: DataLoss, wanted: int) -> str:
    """Return the sentence for a data loss: what is gone, and where."""
    where = f"{loss.topic}, partition {loss.partition}"
    match loss.reason:
        case "recreated":
            return f"{where}: the topic was made anew; offset {wanted} was of the one before"
        case "topic_missing":
            return f"{where}: the topic is gone, with everything from offset {wanted} on"
        case "truncated":
            return f"{where}: the log ends at {loss.available_high}, offset {wanted} comes next"
        case _:
            gone = f"offsets {wanted} to {loss.available_low - 1} are gone from the topic"
            return f"{where}: {gone} and were not learned"
