"""Why a Kafka does not answer, for people: from librdkafka's last word to what can be done about it.

librdkafka tries again for ever and reports each failure as a line of text; what a caller sees is a
time-out. The line says which: nobody listens, another protocol is spoken there, the password is
wrong, or Kafka answered and named an address of itself that cannot be reached from here.
"""

from __future__ import annotations

import re

_LINE = re.compile(r"(?:\w+://)?(?P<at>[^/\s]+)/(?P<node>bootstrap|\d+): (?P<what>.*)", re.DOTALL)
_WHEN = re.compile(r" \(after \d+ms in state \w+(?:, \d+ identical error\(s\) suppressed)?\)")
_TLS_ENDED = "SSL connection closed by peer"
_ALL_DOWN = re.compile(r"\d+/\d+ brokers are down")
_REMEDIES = (
    (
        "Authentication failed",
        "The name or the password is wrong: sasl.username and sasl.password in kafka.client",
    ),
    (
        "Unsupported SASL mechanism",
        "Set sasl.mechanism in kafka.client to one of those that it has",
    ),
    (
        "not valid in current SASL state",
        "That listener asks for no password: set security.protocol in kafka.client to PLAINTEXT "
        "(or SSL), or name the port of the listener that does",
    ),
    (
        _TLS_ENDED,
        "That listener speaks no TLS: set security.protocol in kafka.client to PLAINTEXT or "
        "SASL_PLAINTEXT, or name the port of the listener that does",
    ),
    (
        "certificate verify failed",
        "Its certificate is not trusted here: name the authority's file in ssl.ca.location of "
        "kafka.client",
    ),
    (
        "Failed to resolve",
        "No machine of this name is known here: is kafka.bootstrap_servers right?",
    ),
    (
        "Connection refused",
        "Nobody listens there: is Kafka up, and are host and port right in "
        "kafka.bootstrap_servers?",
    ),
    (
        "Disconnected",
        "Something listens there and hangs up: if that listener asks for a password or TLS, say so "
        "with security.protocol in kafka.client",
    ),
    (
        "brokers are down",
        "Something listens there and does not answer as Kafka does: is the port right, and does the "
        "listener ask for a password or TLS (security.protocol in kafka.client)?",
    ),
)
_UNKNOWN = (
    "Is kafka.bootstrap_servers right, may this machine reach it, and does kafka.client fit the "
    "listener?"
)


def explained(servers: str, heard: str) -> str:
    """Return a sentence on why `servers` do not answer. heard: librdkafka's last line, or "".

    >>> explained("localhost:9", "localhost:9/bootstrap: Connect failed: Connection refused (after 1ms in state CONNECT)")
    'Kafka does not answer at localhost:9: Connect failed: Connection refused. Nobody listens there: is Kafka up, and are host and port right in kafka.bootstrap_servers?'
    """
    said = _LINE.fullmatch(heard)
    what = _WHEN.sub("", said["what"] if said else heard).strip(" .:?")
    if _TLS_ENDED in what:
        what = _TLS_ENDED  # what stands around it depends on who was faster
    if _ALL_DOWN.fullmatch(what):
        what = ""  # which says no more than the sentence itself
    elsewhere = (
        said is not None and said["node"] != "bootstrap" and said["at"] not in _places(servers)
    )
    if said and elsewhere and re.search(r"resolve|Connect|timed out", what):
        return (
            f"Kafka answers at {servers}, and says that it is to be reached at {said['at']}, which "
            f"does not work from here: {what}. Set advertised.listeners of the broker to an "
            "address that this machine reaches, or name the listener that is meant for it"
        )
    remedy = next((remedy for part, remedy in _REMEDIES if part in heard), _UNKNOWN)
    return f"Kafka does not answer at {servers}{': ' if what else ''}{what}. {remedy}"


def _places(servers: str) -> set[str]:
    """Return each host:port of a list of brokers, without its protocol."""
    return {one.rpartition("/")[2] for one in servers.split(",")}
