"""Words that the names of columns are made of, and what they hint at."""

from __future__ import annotations

IDENTIFIERS = frozenset((
    "id", "uuid", "guid", "key", "code", "zip", "zipcode", "postcode", "postal", "user",
    "customer", "client", "account", "item", "product", "sku", "article", "merchant", "terminal",
    "shop", "store", "station", "device", "session", "order", "card", "phone", "ip", "campaign",
    "ad", "site", "movie", "film", "artist", "author", "channel", "region", "zone", "type", "kind",
    "group", "category", "status", "cluster", "segment",
))  # fmt: skip
"""Last words of names whose numbers name something rather than count it."""

UNIQUE = frozenset(("id", "uuid", "guid", "key"))
"""Last words of what tells one event from another."""

CYCLES = frozenset(("day", "weekday", "dow", "month", "hour", "quarter", "season"))
"""Last words of names whose few numbers come round again."""

FLAGS = frozenset(("is", "has", "was", "flag"))
"""First words of a name that is a question."""

MISSING = frozenset((
    "na", "n/a", "nan", "null", "none", "nil", "missing", "unknown", "-", "--", "?", "inf", "-inf",
))  # fmt: skip
"""Texts that stand where a number is not known, in small letters."""

CLASSES = frozenset(("class", "label", "category", "kind", "type", "species", "segment"))
"""Words of a target whose small whole numbers are classes."""

TIMES = frozenset((
    "time", "timestamp", "date", "datetime", "ts", "moment", "when", "at", "created", "updated",
    "day", "seen", "since", "start", "end", "stamp",
))  # fmt: skip
"""Words of times."""

YES = frozenset((
    "1", "1.0", "true", "yes", "y", "t", "on", "positive", "pos", "fraud", "spam", "click",
    "clicked", "churn", "churned", "won", "win", "up", "bad", "default", "buy", "bought", "sold",
    "accepted", "anomaly", "attack", "malicious", "phishing", "sick", "alarm",
))  # fmt: skip
"""Labels that say yes, in small letters."""

PLAIN_YES = frozenset(("1", "1.0", "true", "yes", "y", "t", "on"))
"""Those of them that say nothing else."""

NO = frozenset(("0", "0.0", "false", "no", "n", "f", "off", "negative", "neg", "-1", "-1.0"))
"""Labels that say no."""
