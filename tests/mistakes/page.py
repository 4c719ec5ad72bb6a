"""docs/mistakes.md: made of the tables, and of the messages that the tests have seen.

The page is where the messages are kept: a test fails where a command says something else than the
page. After a message was changed, HEADWATER_TEST_MISTAKES=write pytest tests/mistakes writes it anew.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.mistakes.commands import FILES, NOBODY, SETTINGS_FILE
from tests.mistakes.mistake import SETTINGS, Mistake, Request
from tests.mistakes.requests import REQUESTS
from tests.mistakes.running import KAFKA, SASL, STARTING

PAGE = Path(__file__).parent.parent.parent / "docs" / "mistakes.md"
SECTIONS: dict[str, tuple[Mistake | Request, ...]] = {
    "Settings": SETTINGS_FILE,
    "Files of events": FILES,
    "Nothing runs yet": NOBODY,
    "At the start": STARTING,
    "Kafka": KAFKA,
    "Kafka with passwords": SASL,
    "Requests": REQUESTS,
}
ALL = [one for section in SECTIONS.values() for one in section]

_HEAD = f"""\
# Mistakes, and what they get

What goes wrong in the first hour, each with the message it gets, as a test has seen it: the tests of
`tests/mistakes` make every one of these mistakes and compare. (Made by them too: change a message,
then `HEADWATER_TEST_MISTAKES=write pytest tests/mistakes`.) All commands are given in `/srv/pay`, with
these settings but for what is shown:

```
{SETTINGS.rstrip()}
```

Exit codes are those of [operations](operations.md#exit-codes). A setting that is wrong is told before
anything begins, all of them at once; what the world lacks is waited for by a learner that runs, and
told by `headwater doctor`, which is the command to begin with when something does not go. A service
that was killed leaves nothing to clean up: the next start goes on where its journal ends
([reliability](reliability.md)).
"""


def render(said: dict[str, str]) -> str:
    """Return the page; said: the message that each mistake gets."""
    parts = [_HEAD]
    for title, mistakes in SECTIONS.items():
        parts.append(f"\n## {title}\n")
        parts += [_one(mistake, said.get(mistake.what, "")) for mistake in mistakes]
    return "".join(parts)


def messages() -> dict[str, str]:
    """Return the messages that the page holds."""
    found = {}
    for part in re.split(r"^### ", PAGE.read_text() if PAGE.exists() else "", flags=re.MULTILINE)[
        1:
    ]:
        what = part.partition("\n")[0]
        if shown := re.search(r"^```\n\$ [^\n]*\n(.*?)^```$", part, re.MULTILINE | re.DOTALL):
            found[what] = shown[1].rstrip("\n")
    return found


def _one(mistake: Mistake | Request, said: str) -> str:
    lines = ["", f"### {mistake.what}", ""]
    if isinstance(mistake, Mistake) and mistake.shows:
        lines += [f"{mistake.place}:", "", "```", mistake.shows, "```", ""]
    lines += ["```", f"$ {mistake.asked}", said, "```", ""]
    ends = "Exit code" if isinstance(mistake, Mistake) else "Status"
    lines += [f"{ends} {mistake.code}.{' ' if mistake.note else ''}{mistake.note}", ""]
    return "\n".join(lines)
