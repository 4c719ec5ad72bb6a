"""From texts to bags of hashed words and pieces of words: one compiled pass over UTF-8 bytes.

The same text, field and seed give the same codes in every process, on every machine, for ever:
what is a letter and what is its lower case stands here and not in a library's tables.

A text is cut into words (runs of letters), numbers (runs of digits, which count by their length
alone) and signs (runs of anything else that is no space). Entries are runs of 1 .. `words` of
these, and runs of characters inside a word with a mark at either end: its pieces. An entry counts
once, and a piece half as much as the others: it says again what its word says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from service.events.columns import Bags
from service.settings import TextFeature

MOST_ENTRIES = 4096
"""Entries of one text; reading stops at the first that finds no room."""
FIGURES = 4
"""log(1 + characters), share of digits, share of capitals, log(1 + words and numbers)."""
PIECE = 0.5
"""Value of a piece, where that of a word is 1."""

_SLOTS = 16_384  # of the table that tells what was met: twice MOST_ENTRIES and more, never full
_FEWEST_SLOTS = 1024  # a short text has a small table, which stays in the nearest cache
_SPACE, _LETTER, _DIGIT, _SIGN = 0, 1, 2, 3
_EDGE = 0x110000  # no character: the mark at either end of a word
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_PRIME = np.uint64(0x100000001B3)
_RUN = np.uint64(0xD6E8FEB86659FD93)


class TextReader:
    """Texts of one field -> bags and figures. Compiles its pass when it is made."""

    def __init__(self, field: str, seed: int, spec: TextFeature) -> None:
        raw = hashlib.blake2b(f"{seed}/{field}".encode(), digest_size=8, person=b"text").digest()
        self._salt = np.uint64(int.from_bytes(raw, "little"))
        self._words = spec.words
        self._shortest, self._longest = spec.characters or (1, 0)
        self.cut_short = 0
        """Texts so far that had more entries than are counted."""
        self.read([""])

    def read(self, texts: Sequence[str | None]) -> tuple[Bags, NDArray[np.float64]]:
        """Return the bags of N texts and their figures [N, FIGURES]; None: no entry, NaN.

        The sum of the squares of a text's values is 1.
        """
        raw = [b"" if text is None else text.encode("utf-8", "surrogatepass") for text in texts]
        ends = np.cumsum([len(one) for one in raw], dtype=np.int64)
        spans = np.zeros(len(raw) + 1, dtype=np.int64)
        figures = np.empty((len(raw), FIGURES))
        codes, values, cut = _read(
            np.frombuffer(b"".join(raw) + b"\0", dtype=np.uint8), ends, self._salt,
            self._words, self._shortest, self._longest, spans, figures,
        )  # fmt: skip
        self.cut_short += int(cut)
        if None in texts:
            figures[[text is None for text in texts]] = np.nan
        return Bags(spans, codes, values, np.zeros(len(codes), dtype=np.uint64)), figures


@njit(nogil=True, cache=True)
def _read(raw, ends, salt, words, shortest, longest, spans, figures):
    """Read all texts. Fills spans [N + 1], figures [N, 4]; returns codes, values, texts cut short."""
    longest_text = 0
    begin = 0
    for end in ends:
        longest_text = max(longest_text, end - begin)
        begin = end
    points = np.empty(longest_text, np.int64)
    kinds = np.empty(longest_text, np.int64)
    met = np.zeros(_SLOTS, np.uint64)
    worth = np.zeros(_SLOTS)
    places = np.empty(MOST_ENTRIES, np.int64)
    runs = np.zeros(words, np.uint64)
    out = np.empty(max(MOST_ENTRIES, 2 * raw.size), np.uint64)
    values = np.empty(out.size)
    used = 0
    cut = 0
    begin = 0
    for r in range(ends.size):
        count, digits, capitals = _characters(raw, begin, ends[r], points, kinds)
        begin = ends[r]
        if out.size < used + MOST_ENTRIES:
            out = np.concatenate((out[:used], np.empty(out.size + MOST_ENTRIES, np.uint64)))
            values = np.concatenate((values[:used], np.empty(out.size - used)))
        most = min(MOST_ENTRIES, 2 * count * (words + max(0, longest - shortest + 1)))
        mask = _FEWEST_SLOTS - 1
        while mask + 1 < 2 * most:
            mask = 2 * mask + 1
        n = 0
        tokens = 0
        counted = 0
        at = 0
        while at < count and n >= 0:
            kind = kinds[at]
            stop = at + 1
            while stop < count and kinds[stop] == kind:
                stop += 1
            if kind != _SPACE:
                counted += kind != _SIGN
                token = _token(points, at, stop, kind, salt)
                n = _add_runs(token, tokens, words, runs, met, worth, mask, places, out[used:], n)
                if kind == _LETTER and n >= 0 and longest > 0:
                    n = _add_pieces(
                        points, at, stop, shortest, longest, salt, met, worth, mask, places,
                        out[used:], n,
                    )  # fmt: skip
                tokens += 1
            at = stop
        if n < 0:
            n = MOST_ENTRIES
            cut += 1
            while at < count:  # the figures are of the whole text
                stop = at + 1
                while stop < count and kinds[stop] == kinds[at]:
                    stop += 1
                counted += kinds[at] == _LETTER or kinds[at] == _DIGIT
                at = stop
        out[used : used + n].sort()
        _value(out[used : used + n], met, worth, mask, values[used : used + n])
        for i in range(n):
            met[places[i]] = 0
        used += n
        spans[r + 1] = used
        figures[r, 0] = np.log1p(count)
        figures[r, 1] = digits / max(count, 1)
        figures[r, 2] = capitals / max(count, 1)
        figures[r, 3] = np.log1p(counted)
    return out[:used].copy(), values[:used].copy(), cut


@njit(nogil=True, cache=True)
def _value(codes, met, worth, mask, values):
    """Write the values of one text's codes."""
    squares = 0.0
    for i in range(codes.size):
        place = np.int64(codes[i] & np.uint64(mask))
        while met[place] != codes[i]:
            place = (place + 1) & mask
        values[i] = worth[place]
        squares += worth[place] * worth[place]
    for i in range(codes.size):
        values[i] /= np.sqrt(squares)


@njit(nogil=True, cache=True)
def _characters(raw, begin, end, points, kinds):
    """Decode one text to lower-case code points and their kinds; returns how many characters,
    digits and capitals there are. Bytes are well-formed UTF-8, surrogates allowed."""
    n = digits = capitals = 0
    at = begin
    while at < end:
        lead = np.int64(raw[at])
        if lead < 0x80:
            point, more = lead, 0
        elif lead < 0xE0:
            point, more = lead & 0x1F, 1
        elif lead < 0xF0:
            point, more = lead & 0x0F, 2
        else:
            point, more = lead & 0x07, 3
        for k in range(more):
            point = (point << 6) | (np.int64(raw[at + 1 + k]) & 0x3F)
        at += 1 + more
        small = _lower(point)
        kind = _kind(small)
        capitals += small != point
        digits += kind == _DIGIT
        points[n] = small
        kinds[n] = kind
        n += 1
    return n, digits, capitals


@njit(nogil=True, cache=True)
def _kind(c):
    if c < 0x80:
        if 0x61 <= c <= 0x7A:
            return _LETTER
        if 0x30 <= c <= 0x39:
            return _DIGIT
        return _SPACE if c <= 0x20 or c == 0x7F else _SIGN
    if c < 0xC0:
        if c == 0xAA or c == 0xB5 or c == 0xBA:
            return _LETTER
        return _SPACE if c == 0x85 or c == 0xA0 else _SIGN
    if c == 0xD7 or c == 0xF7:
        return _SIGN
    if 0x2000 <= c <= 0x2BFF:
        spaces = c <= 0x200A or c == 0x2028 or c == 0x2029 or c == 0x202F or c == 0x205F
        return _SPACE if spaces else _SIGN
    if c == 0x3000 or c == 0xFEFF:
        return _SPACE
    if 0x3001 <= c <= 0x303F or 0xFE00 <= c <= 0xFE6F or 0x1F000 <= c <= 0x1FAFF:
        return _SIGN
    if 0xFF10 <= c <= 0xFF19:
        return _DIGIT
    if 0xFF01 <= c <= 0xFF20 or 0xFF3B <= c <= 0xFF40 or 0xFF5B <= c <= 0xFF65:
        return _SIGN
    return _LETTER


@njit(nogil=True, cache=True)
def _lower(c):
    """Lower case of Latin, Greek, Cyrillic and Armenian letters; of others the letter itself."""
    if c < 0x80:
        return c + 32 if 0x41 <= c <= 0x5A else c
    if c < 0x100:
        return c + 32 if 0xC0 <= c <= 0xDE and c != 0xD7 else c
    if c < 0x180:  # pairs, but for the stretches where the odd ones are the capitals
        if c == 0x130 or c == 0x131 or c == 0x138 or c == 0x149 or c == 0x17F:
            return c
        if c == 0x178:
            return 0xFF
        odd = 0x139 <= c <= 0x148 or 0x179 <= c <= 0x17E
        return c + 1 if (c & 1) == odd else c
    if c < 0x234:
        if 0x1CD <= c <= 0x1DC or c == 0x1AF:
            return c + (c & 1)
        pairs = c == 0x1A0 or 0x1DE <= c <= 0x1EF or 0x1F8 <= c <= 0x21F or c >= 0x222
        return c | 1 if pairs else c
    if 0x386 <= c <= 0x3AB:
        if c == 0x386:
            return 0x3AC
        if 0x388 <= c <= 0x38A:
            return c + 37
        if c == 0x38C:
            return 0x3CC
        if c == 0x38E or c == 0x38F:
            return c + 63
        return c + 32 if c >= 0x391 and c != 0x3A2 else c
    if 0x400 <= c <= 0x42F:
        return c + 80 if c < 0x410 else c + 32
    if 0x460 <= c <= 0x481 or 0x48A <= c <= 0x4BF or 0x4D0 <= c <= 0x52F:
        return c | 1
    if c == 0x4C0:
        return 0x4CF
    if 0x4C1 <= c <= 0x4CE:
        return c + (c & 1)
    if 0x531 <= c <= 0x556:
        return c + 48
    if 0x1E00 <= c <= 0x1E95 or 0x1EA0 <= c <= 0x1EFF:
        return c | 1
    return c + 32 if 0xFF21 <= c <= 0xFF3A else c


@njit(nogil=True, cache=True)
def _mixed(h):
    """Spread every bit over all others; never 0."""
    h = (h ^ (h >> np.uint64(30))) * _MIX_1
    h = (h ^ (h >> np.uint64(27))) * _MIX_2
    h = h ^ (h >> np.uint64(31))
    return h if h != np.uint64(0) else np.uint64(1)


@njit(nogil=True, cache=True)
def _token(points, at, stop, kind, salt):
    h = salt + _STEP * np.uint64(kind)
    if kind == _DIGIT:
        return _mixed((h ^ np.uint64(stop - at)) * _PRIME)
    for i in range(at, stop):
        h = (h ^ np.uint64(points[i])) * _PRIME
    return _mixed(h)


@njit(nogil=True, cache=True)
def _add(code, value, met, worth, mask, places, out, n):
    """Note a code unless it was met; returns how many there are now, -1 where one has no room."""
    place = np.int64(code & np.uint64(mask))
    while met[place] != 0:
        if met[place] == code:
            return n
        place = (place + 1) & mask
    if n == MOST_ENTRIES:
        return -1
    met[place] = code
    worth[place] = value
    places[n] = place
    out[n] = code
    return n + 1


@njit(nogil=True, cache=True)
def _add_runs(token, tokens, words, runs, met, worth, mask, places, out, n):
    """Add the runs that end with this token. runs [words]: those of each length that ended with
    the token before, moved on here."""
    for length in range(min(words, tokens + 1), 0, -1):
        code = token if length == 1 else _mixed((runs[length - 2] + _RUN) * _PRIME ^ token)
        runs[length - 1] = code
        if n >= 0:
            n = _add(code, 1.0, met, worth, mask, places, out, n)
    return n


@njit(nogil=True, cache=True)
def _add_pieces(points, at, stop, shortest, longest, salt, met, worth, mask, places, out, n):
    """Add runs of characters of the word at .. stop, its edges counted as characters."""
    for first in range(at - 1, stop):
        h = salt + _STEP * np.uint64(_EDGE)
        last = min(first + longest, stop + 1)
        for i in range(first, last):
            c = points[i] if at <= i < stop else _EDGE
            h = (h ^ np.uint64(c)) * _PRIME
            if i - first + 1 >= shortest:
                n = _add(_mixed(h), PIECE, met, worth, mask, places, out, n)
                if n < 0:
                    return n
    return n
