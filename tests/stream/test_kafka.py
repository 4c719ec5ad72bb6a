"""What only a real client shows: its settings, its errors, its logs, its log-ins."""

from __future__ import annotations

import logging
import socket

import pytest

from service.errors import BadSettings, BrokerAway
from service.stream.kafka import KafkaBroker
from service.stream.kafka_log import client_log, unheard
from tests.processes import until
from tests.stream.labs import KafkaLab, fetch_until, fresh_name, write


def why_away(broker: KafkaBroker) -> str:
    """Return what is said of a broker that cannot be asked."""
    with pytest.raises(BrokerAway) as caught:
        broker.partitions("t")
    return str(caught.value)


def test_an_unknown_setting_of_the_client_is_a_bad_setting() -> None:
    """
    The name is told, and that it belongs to kafka.client.
    """
    with pytest.raises(BadSettings, match=r"kafka\.client.*no\.such"):
        KafkaBroker("127.0.0.1:1", name="t", client={"no.such": "1"})


def test_an_absent_broker_is_told_with_the_reason() -> None:
    """
    Not only that it took too long: also what the client met.
    """
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        broker = KafkaBroker(f"127.0.0.1:{unused.getsockname()[1]}", name="t", timeout_s=1.0)

        until(lambda: "refused" in why_away(broker))  # or it has met nothing in that second
    broker.close()


def test_the_client_repeats_itself_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """
    The same complaint with other numbers is the same complaint.
    """
    log = client_log()

    with caplog.at_level(logging.ERROR, logger=log.name):
        for i in range(50):
            log.error("FAIL [x#consumer-%d] Connection refused after %dms", i, 10 * i)

    assert 1 == len(caplog.records)


def test_the_client_may_be_silenced_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """
    Unless somebody wants to hear it; afterwards it is as it was.
    """
    log = client_log()
    for at, unless in enumerate((False, True)):
        with unheard(unless=unless):
            log.error("FAIL [a%s]", "b" * at)
    log.error("FAIL [after]")

    assert ["FAIL [ab]", "FAIL [after]"] == [r.getMessage() for r in caplog.records]


def test_settings_for_the_other_kind_of_client_are_no_complaint(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    kafka.client is one list for readers and producers.
    """
    broker = KafkaBroker("127.0.0.1:1", name="t", client={"linger.ms": "3", "fetch.min.bytes": "1"})
    broker.producer().close()
    reader = broker.reader({})
    reader.fetch(1, 0.05)
    reader.close()
    broker.close()

    assert [] == [r.getMessage() for r in caplog.records if "CONFWARN" in r.getMessage()]


@pytest.mark.kafka
def test_how_a_topic_is_set_up_can_be_asked(kafka_lab: KafkaLab) -> None:
    """
    In Kafka's own names.
    """
    topic = fresh_name()
    kafka_lab.broker.create_topic(topic, 1, {"retention.ms": "86400000"})

    assert "86400000" == kafka_lab.broker.topic_settings(topic)["retention.ms"]


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
class TestLogIn:
    def client(self, mechanism: str, password: str) -> dict[str, str]:
        return {
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": mechanism,
            "sasl.username": "admin",
            "sasl.password": password,
        }

    def test_the_right_password_reads_and_writes(
        self, kafka_sasl_bootstrap: str, mechanism: str
    ) -> None:
        """
        Security settings reach every client: admin, producer and reader.
        """
        broker = KafkaBroker(
            kafka_sasl_bootstrap, name="t", client=self.client(mechanism, "admin-secret")
        )
        lab = KafkaLab("kafka", kafka_sasl_bootstrap, broker)
        topic = lab.topic()

        write(lab, (topic, 0), [b"x"])
        reader = broker.reader({(topic, 0): 0})
        found = fetch_until(lab, reader, bool)
        reader.close()

        assert found

    def test_a_wrong_password_is_told(self, kafka_sasl_bootstrap: str, mechanism: str) -> None:
        """
        The reason is in the message; the password is not.
        """
        broker = KafkaBroker(
            kafka_sasl_bootstrap, name="t", client=self.client(mechanism, "guess-1"), timeout_s=3.0
        )

        said = until(lambda: why if "authentication" in (why := why_away(broker)).lower() else None)

        assert "guess-1" not in said
