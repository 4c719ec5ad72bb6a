"""One mistake, and the settings that all of them begin with."""

from __future__ import annotations

from dataclasses import dataclass, field

SETTINGS = """\
name: pay
kafka:
  bootstrap_servers: localhost:9092
  topics: [payments]
  dead_letter_topic: payments.dead
event:
  features:
    amount: {type: number}
    merchant: {type: category}
  targets:
    is_fraud: {type: binary}
state: {directory: ./state}
runtime: {directory: ./run}
model: {kind: linear}
"""


@dataclass(frozen=True)
class Mistake:
    """A command that does not do what was meant, in a folder with these settings and files.

    only: of what it prints, the line that begins so and those that are indented below it; empty is
    all of it. note: what there is to say beside the message.
    """

    what: str
    command: str
    code: int
    settings: str | None = SETTINGS
    shows: str = ""
    """The lines of the settings, of a file or of the environment that are wrong."""
    files: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    only: str = ""
    note: str = ""

    @property
    def place(self) -> str:
        """Where `shows` stands."""
        if self.environment:
            return "In the environment"
        named = next((name for name in self.files if self.shows in self.files[name]), None)
        return f"In `{named or 'headwater.yaml'}`"

    @property
    def asked(self) -> str:
        """The command as it is typed."""
        return self.command


@dataclass(frozen=True)
class Request:
    """A request that does not ask what was meant; `code` is the status of the problem it gets."""

    what: str
    path: str
    code: int
    body: str | None = None
    method: str = ""
    admin: bool = False
    """The service has a token for /v1/admin."""
    shows: str = ""
    note: str = ""

    @property
    def asked(self) -> str:
        """The request as curl makes it."""
        method = f" -X {self.method}" if self.method else ""
        body = "" if self.body is None else f" -d '{self.body}'"
        address = f"localhost:8080{self.path}"
        return f"curl -s{method} {address!r}{body}" if "?" in address else (
            f"curl -s{method} {address}{body}"
        )  # fmt: skip


def changed(old: str, new: str) -> str:
    """Return the settings with one thing changed."""
    assert old in SETTINGS, old
    return SETTINGS.replace(old, new)
