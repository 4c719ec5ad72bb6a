"""What is said of a Kafka that does not answer."""

from __future__ import annotations

import pytest

from service.stream.kafka_silence import explained

_REFUSED = "Connect to ipv4#10.0.0.7:9092 failed: Connection refused (after 1ms in state CONNECT)"


@pytest.mark.parametrize(
    ("servers", "at", "elsewhere"),
    [
        ("kafka:9092", "kafka:9092", False),
        ("kafka-1:9092,SASL_SSL://kafka-2:9092", "kafka-2:9092", False),
        ("my-kafka:9092", "kafka:9092", True),
        ("kafka:90921", "kafka:9092", True),
        ("kafka:9092", "broker.internal:9092", True),
    ],
)
def test_a_broker_that_names_another_address_is_told_by_it(
    servers: str, at: str, *, elsewhere: bool
) -> None:
    """
    Also where that address is a part of the one in the settings.
    """
    said = explained(servers, f"{at}/1: {_REFUSED}")

    assert elsewhere == (f"to be reached at {at}" in said)
    assert elsewhere == ("advertised.listeners" in said)
    assert "(after" not in said
