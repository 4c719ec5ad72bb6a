"""Addresses of brokers, and placeholders that came through as they stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from service.errors import Problem
from service.settings import Settings

TEXT = """
name: pay
kafka:
  bootstrap_servers: "{servers}"
  topics: [payments]
event:
  features: {{amount: {{type: number}}}}
  targets: {{kind: {{type: multiclass, classes: ["${{gift}}", own]}}}}
"""
Refused = Callable[..., dict[str, Problem]]


@pytest.mark.parametrize(
    "servers",
    ["embedded", "localhost", "kafka-1:9092,kafka-2.example.org:9093", "10.0.0.7:9092", "[::1]:9092",
     "SASL_SSL://kafka:9093", "broker_1:9092"],
)  # fmt: skip
def test_addresses_that_kafka_clients_know(
    load_settings: Callable[..., Settings], servers: str
) -> None:
    """
    As librdkafka takes them; and a label of an event may look like a placeholder.
    """
    found = load_settings(TEXT.format(servers=servers))

    assert servers == found.kafka.bootstrap_servers


@pytest.mark.parametrize(
    "servers",
    ["http://localhost:9092", "kafka:9092/topic", "kafka:port", "kafka:9092;other:9092 ", "tcp://k:1",
     "me@kafka:9092", "kafka:9092,"],
)  # fmt: skip
def test_addresses_that_are_none_are_refused(refused_settings: Refused, servers: str) -> None:
    """
    Before a client tries for ever to find them.
    """
    found = refused_settings(TEXT.format(servers=servers))

    assert ["kafka.bootstrap_servers"] == list(found)
    assert "host:port" in found["kafka.bootstrap_servers"].hint


@pytest.mark.parametrize(
    "text", ["${KAFKA}", "${KAFKA:-kafka}:9092", "$(KAFKA)", "{{ kafka.servers }}"]
)
def test_a_placeholder_is_no_value(refused_settings: Refused, text: str) -> None:
    """
    Of a shell, of compose, of Kubernetes, of a template; whoever says it.
    """
    for found in (
        refused_settings(TEXT.format(servers=text)),
        refused_settings(TEXT.format(servers="k:1"), {"kafka.bootstrap_servers": text}),
        refused_settings(
            TEXT.format(servers="k:1"), HEADWATER_KAFKA__CLIENT__SASL_PASSWORD=f"{text}"
        ),
    ):
        [problem] = found.values()
        assert "which nothing fills in" in problem.msg
        assert "HEADWATER_KAFKA__" in problem.hint


def test_a_dollar_alone_may_be_part_of_a_secret(load_settings: Callable[..., Settings]) -> None:
    """
    Only what has the shape of a placeholder is taken for one.
    """
    found = load_settings(
        TEXT.format(servers="k:1"), HEADWATER_KAFKA__CLIENT__SASL_PASSWORD="pa$$w{o}rd$"
    )

    assert "pa$$w{o}rd$" == found.kafka.client["sasl.password"]


@pytest.mark.parametrize("secret", ["a{{b}}c", "x${y}z", "x$(y)", "x${Y:-z}"])
def test_a_secret_may_hold_within_what_looks_like_a_placeholder(
    load_settings: Callable[..., Settings], secret: str
) -> None:
    """
    Or such a password could not be given at all, by the environment neither.
    """
    found = load_settings(TEXT.format(servers="k:1"), HEADWATER_KAFKA__CLIENT__SASL_PASSWORD=secret)

    assert secret == found.kafka.client["sasl.password"]


def test_no_problem_shows_a_password(refused_settings: Refused) -> None:
    """
    One in place of a placeholder's default, nor one before the host.
    """
    for found in (
        refused_settings(
            TEXT.format(servers="k:1"), HEADWATER_KAFKA__CLIENT__SASL_PASSWORD="${A:-hunter2}"
        ),
        refused_settings(TEXT.format(servers="me:hunter2@kafka:9092")),
        refused_settings(TEXT.format(servers="kafka:9092,SASL_SSL://me:hunter2@kafka:9093")),
    ):
        [problem] = found.values()
        assert "hunter2" not in problem.msg + problem.hint
