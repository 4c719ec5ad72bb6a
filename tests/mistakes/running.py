"""Mistakes that are met when a learner starts, and those that Kafka tells of.

The fixtures of tests/mistakes/test_running.py make each of these places; ports that were free there
stand as 9092 and 9093.
"""

from __future__ import annotations

from tests.mistakes.mistake import Mistake, changed

_DOCTOR = "headwater doctor"
_SASL = """\
  client:
    security.protocol: {protocol}
    sasl.mechanism: {mechanism}
    sasl.username: headwater
    sasl.password: {password}
"""


def _with_client(client: str) -> str:
    return changed("  topics:", client + "  topics:")


def _sasl(what: str, protocol: str, mechanism: str, password: str) -> Mistake:
    client = _SASL.format(protocol=protocol, mechanism=mechanism, password=password)
    settings = _with_client(client)
    return Mistake(what, _DOCTOR, 1, settings, shows=client.rstrip("\n"), only="FAIL  kafka")


PORT_TAKEN = Mistake("The port of the API is taken", "headwater run", 3)
RUNTIME_FOLDER = Mistake(
    "The runtime directory cannot be made", "headwater run", 3,
    changed("./run", "./headwater.yaml/run"), shows="runtime: {directory: ./headwater.yaml/run}",
)  # fmt: skip
STATE_FOLDER = Mistake(
    "The state directory cannot be made, or not written to", "headwater learner", 3,
    changed("./state", "./headwater.yaml/state"), shows="state: {directory: ./headwater.yaml/state}",
)  # fmt: skip
SECOND_LEARNER = Mistake("A second learner on the same state", "headwater learner", 5)
SMALL_TMPFS = Mistake(
    "The tmpfs of the runtime directory is too small", "headwater learner", 1,
    note="In a container that is `/dev/shm`, of 64 MiB unless somebody says otherwise.",
)  # fmt: skip
FULL_DISK = Mistake("The disk of the state directory is full", "headwater learner", 1)
OTHER_MODEL = Mistake(
    "The state is that of another model", "headwater learner", 7,
    note="A field that is new is no mistake: it starts from nothing, and all else is kept.",
)  # fmt: skip
STARTING = (
    PORT_TAKEN, RUNTIME_FOLDER, STATE_FOLDER, SECOND_LEARNER, SMALL_TMPFS, FULL_DISK, OTHER_MODEL,
)  # fmt: skip
"""On the machine."""

BROKER_DOWN = Mistake(
    "Kafka is down, or its port is another", _DOCTOR, 1, only="FAIL  kafka",
    note="`headwater run` says the same, as what it waits for, and goes on when Kafka is there.",
)  # fmt: skip
NO_SUCH_HOST = Mistake(
    "The host of Kafka is misspelt", _DOCTOR, 1, changed("localhost:9092", "kafak:9092"),
    shows="  bootstrap_servers: kafak:9092", only="FAIL  kafka",
)  # fmt: skip
TLS_TO_PLAIN = Mistake(
    "TLS to a listener that has none", _DOCTOR, 1,
    _with_client("  client: {security.protocol: SSL}\n"),
    shows="  client: {security.protocol: SSL}", only="FAIL  kafka",
)  # fmt: skip
ADVERTISED = Mistake(
    "Kafka names an address that is not to be reached from here", _DOCTOR, 1, only="FAIL  kafka",
    note="The classic of Docker: the broker is told to advertise its address inside of the network of "
    "the containers, and is asked from outside.",
)  # fmt: skip
TOPIC_MISSING = Mistake(
    "The topic does not exist", _DOCTOR, 1, changed("[payments]", "[paymints]"),
    shows="  topics: [paymints]", only="FAIL  topic",
    note="`headwater run` waits for it; `headwater publish` creates it.",
)  # fmt: skip
NO_LABEL = Mistake(
    "The label has another name in the events", _DOCTOR, 1, only="FAIL  labels",
    note="`headwater status` of a learner that has learned nothing says so as well.",
)  # fmt: skip
SECONDS = Mistake(
    "Times in seconds, read as milliseconds", _DOCTOR, 0,
    changed("event:\n", "event:\n  time: {field: at, format: ms}\n"),
    shows="  time: {field: at, format: ms}", only="WARN  times",
    note="`headwater publish` warns too, before the first event is sent.",
)  # fmt: skip
KAFKA = (
    BROKER_DOWN, NO_SUCH_HOST, TLS_TO_PLAIN, ADVERTISED, TOPIC_MISSING, NO_LABEL, SECONDS,
)  # fmt: skip
"""Found by asking Kafka."""

WRONG_PASSWORD = _sasl("A wrong password", "SASL_PLAINTEXT", "PLAIN", "hunter2")
WRONG_MECHANISM = _sasl(
    "A mechanism that the broker does not have", "SASL_PLAINTEXT", "SCRAM-SHA-256",
    "headwater-secret",
)  # fmt: skip
NO_PASSWORD = Mistake("No password, where one is asked for", _DOCTOR, 1, only="FAIL  kafka")
SASL = (WRONG_PASSWORD, WRONG_MECHANISM, NO_PASSWORD)
"""Found by asking a Kafka with names and passwords."""
