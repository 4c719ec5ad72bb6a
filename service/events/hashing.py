"""Stable salted 64-bit hashes of texts. Knows nothing of fields or models.

The same text, field and seed give the same code in every process, on every machine, for ever:
snapshots and live weights are addressed by these codes.
"""

from __future__ import annotations

import hashlib

_CACHE_LIMIT = 200_000


class TextHasher:
    """Text -> code in 1 .. 2**64-1 (0 is kept for "missing"): keyed BLAKE2b (RFC 7693), 8 bytes.

    Recent texts are remembered, at most 200,000 of them, so that a skewed category costs a
    dictionary look-up.
    """

    def __init__(self, field: str, seed: int) -> None:
        self._key = hashlib.blake2b(f"{seed}/{field}".encode(), digest_size=32).digest()
        self._cache: dict[str | None, int] = {}
        self.known = self._cache.get
        """Returns the code of a text that is remembered, else None."""
        self.asked = 0
        """Codes that were asked for; whoever asks for many at once counts them."""
        self.computed = 0
        """Codes that were not remembered and had to be computed."""

    def __call__(self, text: str) -> int:
        """Return the code of one text."""
        code = self._cache.get(text)
        if code is None:
            self.computed += 1
            raw = text.encode("utf-8", "surrogatepass")
            digest = hashlib.blake2b(raw, digest_size=8, key=self._key).digest()
            code = int.from_bytes(digest, "little") or 1
            if len(self._cache) >= _CACHE_LIMIT:
                self._cache.clear()
            self._cache[text] = code
        return code
