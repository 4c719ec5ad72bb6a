"""Which settings of librdkafka are refused, and why. Knows nothing else.

Everything else that librdkafka knows may be set. Refused is what would break a promise of the
service, and what would make the process load or run something.
"""

from __future__ import annotations

import re

_LEAVE = "Leave it out."
_OFFSETS = "Headwater keeps its own offsets, with the weights that have learned them"
_ALONE = "one learner reads every partition; there is no consumer group to balance"
_LOADS = "it would load code into the process"
_ACKS = "a dead letter could be lost unseen"

_REFUSED: dict[str, tuple[str, str]] = {
    "bootstrap.servers": ("it has a setting of its own", "Use kafka.bootstrap_servers."),
    "metadata.broker.list": ("it has a setting of its own", "Use kafka.bootstrap_servers."),
    "enable.auto.commit": (_OFFSETS, _LEAVE),
    "enable.auto.offset.store": (_OFFSETS, _LEAVE),
    "auto.offset.reset": (
        f"{_OFFSETS}; a reset would skip or repeat events in silence",
        "Use kafka.start for the first start, kafka.on_data_loss after it.",
    ),
    "enable.partition.eof": ("records are put in order by knowing where a partition ends", _LEAVE),
    "group.protocol": (_ALONE, _LEAVE),
    "group.instance.id": (_ALONE, _LEAVE),
    "group.remote.assignor": (_ALONE, _LEAVE),
    "partition.assignment.strategy": (_ALONE, _LEAVE),
    "transactional.id": ("dead letters are written at least once, not in transactions", _LEAVE),
    "plugin.library.paths": (_LOADS, _LEAVE),
    "ssl.engine.location": (_LOADS, _LEAVE),
    "ssl.engine.id": (_LOADS, _LEAVE),
    "ssl.providers": (_LOADS, _LEAVE),
    "sasl.kerberos.kinit.cmd": (
        "it would run a command",
        "Use sasl.kerberos.keytab and sasl.kerberos.principal.",
    ),
    "enable.sasl.oauthbearer.unsecure.jwt": ("such a token proves nothing", _LEAVE),
}

_ALLOWED: dict[str, tuple[str, str, str]] = {
    "isolation.level": (
        "read_committed",
        "records of aborted transactions would be learned",
        "Leave it out: read_committed is in force.",
    ),
    "enable.ssl.certificate.verification": (
        "true|t|1",
        "anyone could pass for the broker",
        "Leave it out; name a private authority in ssl.ca.location.",
    ),
    "acks": ("all|-1|[1-9][0-9]*", _ACKS, "Use all."),
    "request.required.acks": ("all|-1|[1-9][0-9]*", _ACKS, "Use -1."),
}

_FUNCTIONS = re.compile(
    r".*[._]cb|on_commit|on_delivery|logger|opaque|(key|value)\.(de)?serializer"
)


def refusal(name: str, value: str) -> tuple[str, str] | None:
    """Return why this setting of librdkafka is refused and what to do; None where it is not."""
    if name in _REFUSED:
        return _REFUSED[name]
    if _FUNCTIONS.fullmatch(name):
        return "it is a function, and settings hold no code", _LEAVE
    if name in _ALLOWED:
        allowed, why, hint = _ALLOWED[name]
        if re.fullmatch(allowed, value.strip().lower()) is None:
            return why, hint
    return None
