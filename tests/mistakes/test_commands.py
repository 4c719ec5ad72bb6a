"""Mistakes that need no Kafka: each is made, and gets the message of docs/mistakes.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mistakes.commands import FILES, NOBODY, SETTINGS_FILE
from tests.mistakes.conftest import Do, Page, make, picked
from tests.mistakes.mistake import Mistake
from tests.mistakes.page import ALL, PAGE, messages, render

CHEAP = [*SETTINGS_FILE, *FILES, *NOBODY]


@pytest.mark.parametrize("mistake", CHEAP, ids=[one.what for one in CHEAP])
def test_the_message_is_the_one_of_the_page(
    mistake: Mistake, headwater: Do, page: Page, tmp_path: Path
) -> None:
    """
    Exit code and every line; never a traceback.
    """
    make(mistake, tmp_path)
    code, said = headwater(mistake.command, **mistake.environment)

    page.holds(mistake, (code, picked(said, mistake.only)))


def test_the_page_is_made_of_the_tables() -> None:
    """
    Every mistake of the tables is there with its message, and no other; what is shown of settings is in
    the settings.
    """
    assert PAGE.read_text() == render(messages())
    assert {one.what for one in ALL} == {what for what, said in messages().items() if said}
    assert len(ALL) == len({one.what for one in ALL}) >= 20
    for one in ALL:
        if isinstance(one, Mistake) and one.shows and not one.environment:
            texts = [one.settings or "", *one.files.values()]
            shown = one.shows.splitlines()
            assert any(all(f"{line}\n" in text for line in shown) for text in texts), one.what
