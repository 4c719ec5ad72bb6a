"""Texts: words, numbers, signs and pieces of words; the same codes for ever."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.events.text import MOST_ENTRIES, TextReader, _kind, _lower
from service.settings import TextFeature
from tests.events.kinds import decoder_of

WHOLE = TextReader("memo", 0, TextFeature())
WORDS = TextReader("memo", 0, TextFeature(words=1, characters=None))


def entries(text: str, words: int = 1, characters: tuple[int, int] | None = None) -> set[int]:
    """Return the codes of one text."""
    spec = TextFeature(words=words, characters=characters)
    return set(TextReader("memo", 0, spec).read([text])[0].codes.tolist())


STARTS = [0, 13, 53, 77, 109, 118]
FIRST = [339962738880420012, 292045859637581175, 294014909285660919, 123594035961041831,
         1686156259082254930]  # fmt: skip
ALL = 4738444908820631088


def test_codes_are_the_same_for_ever() -> None:
    """
    Fixed values: weights are addressed by them, so they may never change.
    """
    texts = ["Hello", "free ENTRY 2 win £1000!!", "Ça va, Élan?", "Привет, Ωmega", "日本語 👍👍"]
    bags, _ = WHOLE.read(texts)
    places = np.arange(1, 1 + len(bags.codes), dtype=np.uint64)

    assert (STARTS, FIRST) == (bags.spans.tolist(), bags.codes[bags.spans[:-1]].tolist())
    assert ALL == int(np.bitwise_xor.reduce(bags.codes * places))


FULL = 2**64 - 1


def mixed(h: int) -> int:
    h = (h ^ (h >> 30)) * 0xBF58476D1CE4E5B9 & FULL
    h = (h ^ (h >> 27)) * 0x94D049BB133111EB & FULL
    return h ^ (h >> 31)


def hashed(salt: int, kind: int, points: Sequence[int]) -> int:
    """Return the code of a run of characters, without a compiler."""
    h = (salt + 0x9E3779B97F4A7C15 * kind) & FULL
    for point in points:
        h = (h ^ point) * 0x100000001B3 & FULL
    return mixed(h)


def plainly(text: str, words: int, shortest: int, longest: int) -> set[int]:
    """Return the codes of one text of the field `memo` with seed 0, told without a compiler."""
    raw = hashlib.blake2b(b"0/memo", digest_size=8, person=b"text").digest()
    salt = int.from_bytes(raw, "little")
    runs = [
        list(run)
        for run in re.findall(r"[a-z]+|[0-9]+|[^a-z0-9\x00-\x20\x7f]+", text.lower(), re.ASCII)
    ]
    found, tokens = set(), []
    for run in runs:
        points = [ord(c) for c in run]
        kind = 1 if run[0].isalpha() else 2 if run[0].isdigit() else 3
        tokens.append(hashed(salt, kind, [len(run)] if kind == 2 else points))
        if kind == 1:
            edged = [0x110000, *points, 0x110000]
            found |= {
                hashed(salt, 0x110000, edged[at : at + n])
                for n in range(shortest, longest + 1)
                for at in range(len(edged) - n + 1)
            }
    for first in range(len(tokens)):
        code = tokens[first]
        for length in range(1, words + 1):
            if first + length > len(tokens):
                break
            if length > 1:
                token = tokens[first + length - 1]
                code = mixed((code + 0xD6E8FEB86659FD93 & FULL) * 0x100000001B3 & FULL ^ token)
            found.add(code)
    return found


@given(st.text(st.characters(max_codepoint=126), max_size=60))
def test_the_compiled_reader_does_what_a_plain_one_does(text: str) -> None:
    """
    Words and pieces, held against a few lines of Python.
    """
    assert plainly(text, 2, 3, 5) == set(WHOLE.read([text])[0].codes.tolist())


def test_a_text_is_words_numbers_and_signs() -> None:
    """
    Case means nothing, a number counts by its length, a run of signs is one.
    """
    assert 3 == len(entries("Win 1000 !!"))
    assert entries("Win 1000 !!") == entries("win\t9999  !!")
    assert 1 == len(entries("Win 1000 !!") - entries("win 100 !!"))
    assert 1 == len(entries("Win 1000 !!") - entries("win 1000 !"))
    assert entries("don't") == entries("don") | entries("'") | entries("t")
    assert entries("abc12") == entries("12 abc")


def test_runs_of_words_know_their_order() -> None:
    """
    Up to the longest that is asked for.
    """
    assert 3 == len(entries("a b", words=2))
    assert 1 == len(entries("a b", words=2) - entries("b a", words=2))
    assert 1 + 2 + 3 + 4 == len(entries("a b c d", words=4))
    assert entries("a b c", words=2) < entries("a b c", words=3)
    assert set() == entries("a b c", words=0)


def test_pieces_of_words_know_the_edges() -> None:
    """
    A word misspelt shares most of its pieces; those at its edges are of their own.
    """
    piece = entries("cat", 0, (3, 3))

    assert 3 == len(piece)  # ^ca, cat, at$
    assert 1 == len(piece & entries("xcatx", 0, (3, 3)))
    assert 2 == len(piece & entries("catx", 0, (3, 3)))
    assert set() == entries("cat", 1) & entries("cat", 0, (1, 5))
    assert set() == entries("123 !?", 0, (1, 5))
    assert len(entries("ab", 0, (1, 2))) == 4 + 3 - 1  # ^ a b $ are four, the edges are one


def test_a_piece_of_a_word_counts_half_as_much_as_the_word() -> None:
    """
    Whether runs of words or pieces come first in their order.
    """
    words = entries("free entry 2 win", words=2)
    bags, _ = WHOLE.read(["free entry 2 win"])
    whole = np.array([code in words for code in bags.codes.tolist()])

    assert len(words) == whole.sum() < len(whole)
    assert len(np.unique(bags.values)) == 2
    np.testing.assert_allclose(bags.values[whole], 2 * bags.values[~whole][0])


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0\u3000"])
def test_a_text_without_words_has_no_entries_and_is_not_missing(text: str) -> None:
    """
    Its figures are known.
    """
    bags, figures = WHOLE.read([text, None])

    assert [0, 0, 0] == bags.spans.tolist()
    assert not np.isnan(figures[0]).any()
    assert np.isnan(figures[1]).all()


def test_figures_are_of_the_whole_text() -> None:
    """
    Length, digits, capitals, words.
    """
    _, figures = WHOLE.read(["ÀB c 12 ."])

    np.testing.assert_allclose([np.log(10), 2 / 9, 2 / 9, np.log(4)], figures[0])


def test_lower_case_is_the_usual_one() -> None:
    """
    Of Latin, Greek, Cyrillic and Armenian letters, but for the few that become two.
    """
    ranges = [range(0x180), range(0x218, 0x21C), range(0x386, 0x3AC), range(0x400, 0x530),
              range(0x531, 0x557), range(0x1EA0, 0x1F00)]  # fmt: skip
    points = [point for each in ranges for point in each if len(chr(point).lower()) == 1]

    assert [] == [hex(c) for c in points if ord(chr(c).lower()) != _lower(c)]


def test_what_is_a_letter_is_the_usual_thing() -> None:
    """
    Letters, digits, spaces and signs of the first pages of Unicode, and of emoji.
    """

    def usual(c: str) -> int:
        return 1 if c.isalpha() else 2 if c.isdecimal() else 0 if c.isspace() else 3

    points = [*range(0x20, 0x7F), *range(0x80, 0x250), *range(0x391, 0x3A2), *range(0x410, 0x450)]

    assert [] == [hex(c) for c in points if _kind(_lower(c)) != usual(chr(c))]
    assert [3, 3, 0, 3, 1] == [_kind(ord(c)) for c in "👍…\u3000、日"]


@given(st.lists(st.text() | st.none(), max_size=6))
def test_a_text_gives_the_same_entries_alone_and_in_company(texts: Sequence[str | None]) -> None:
    """
    Sorted, each once, none of them 0; the squares of the values add up to 1.
    """
    bags, figures = WHOLE.read(texts)

    for at, text in enumerate(texts):
        alone, own = WHOLE.read([text])
        mine = slice(bags.spans[at], bags.spans[at + 1])
        np.testing.assert_array_equal(alone.codes, bags.codes[mine])
        np.testing.assert_array_equal(own[0], figures[at])
        assert (np.diff(bags.codes[mine].astype(object)) > 0).all()
        assert 0 not in alone.codes
        if len(alone.codes):
            np.testing.assert_allclose(1.0, (bags.values[mine] ** 2).sum())


def numbered(n: int) -> str:
    """Return a text of n words that all differ, in letters alone."""
    letters = "abcdefghij"
    return " ".join("".join(letters[int(d)] for d in str(i)) for i in range(n))


def test_a_long_text_counts_by_its_beginning() -> None:
    """
    So many entries and no more, counted; the next text is not touched by it.
    """
    reader = TextReader("memo", 0, TextFeature(words=1, characters=None))
    bags, figures = reader.read([numbered(5000), "a b"])

    assert ([0, MOST_ENTRIES, MOST_ENTRIES + 2], 1) == (bags.spans.tolist(), reader.cut_short)
    assert set(bags.codes[:MOST_ENTRIES].tolist()) == entries(numbered(MOST_ENTRIES))
    np.testing.assert_allclose(np.log(5001), figures[0, 3])


def test_a_decoder_tells_how_many_texts_were_cut_short() -> None:
    """
    Over all its fields.
    """
    decoder = decoder_of({"f": {"type": "text"}, "g": {"type": "text"}})
    decoder.features([{"f": numbered(5000), "g": numbered(6000)}, {"f": "short"}])

    assert 2 == decoder.cut_short


def test_a_core_reads_two_megabytes_in_a_second() -> None:
    """
    Words and pieces of words of short messages; so much at the least.
    """
    texts = [numbered(3000)[i : i + 120] for i in range(0, 12_000, 120)] * 30
    size = sum(map(len, texts))
    seconds = []
    for _ in range(3):
        began = time.thread_time()
        WHOLE.read(texts)
        seconds.append(time.thread_time() - began)

    assert size / min(seconds) > 2_000_000
