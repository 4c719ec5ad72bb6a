"""From codes to rows of tables, compiled: crosses of fields, and bags of any number of entries.

Knows no model. A code c is row 1 + c % (rows - 1) of its table; row 0 is "missing".
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from service.model.scales import deviations, grow

DEVIATIONS, COLUMN, CODE = 0, 1, 2
"""What a member of a cross is: a column of z, of numbers (0 or 1), or of codes."""
_FIRST = np.uint64(0x9E3779B97F4A7C15)
_SECOND = np.uint64(0xBF58476D1CE4E5B9)
_THIRD = np.uint64(0x94D049BB133111EB)


@njit(nogil=True, cache=True)
def mixed(code):
    """Return a code with its bits well spread (SplitMix64)."""
    code = (code ^ (code >> np.uint64(30))) * _SECOND
    code = (code ^ (code >> np.uint64(27))) * _THIRD
    return code ^ (code >> np.uint64(31))


@njit(nogil=True, cache=True)
def spread(codes, sizes, ids):
    """Write ids [N, >= C], the row of each code [N, C]; sizes [C]: rows of each table, but one."""
    for r in range(codes.shape[0]):
        for c in range(codes.shape[1]):
            code = codes[r, c]
            ids[r, c] = 0 if code == np.uint64(0) else np.int64(np.uint64(1) + code % sizes[c])


@njit(nogil=True, cache=True)
def cross(numbers, codes, z, spans, members, rows, first, ids):
    """Write the row of each cross into ids [N, first + X], from column `first` on. Cross k has the
    members spans[k] .. spans[k + 1]; members [M, 2]: what it is, and its column; rows [X]: of each
    table.

    A number counts in steps of half a deviation. A missing member is a value of its own; where all
    are missing, so is the cross.
    """
    for r in range(ids.shape[0]):
        for k in range(rows.shape[0]):
            code = _FIRST
            known = False
            for m in range(spans[k], spans[k + 1]):
                what, at = members[m, 0], members[m, 1]
                value = np.uint64(0)
                if what == CODE:
                    value = codes[r, at]
                else:
                    number = z[r, at] if what == DEVIATIONS else numbers[r, at]
                    if not math.isnan(number):
                        value = np.uint64(64 + math.floor(2.0 * number))
                known = known or value != np.uint64(0)
                code = mixed((code ^ value) + _FIRST)
            row = np.int64(np.uint64(1) + code % np.uint64(rows[k] - 1))
            ids[r, first + k] = row if known else 0


@njit(nogil=True, cache=True)
def bags(given, firsts, codes, values, hashes, tables, rooms, names, learn, spans, entries, found):
    """Write the bags of N rows, row after row: spans [N, B + 1], entries [E], found [E]; return
    how many entries there are.

    Bag b has, in row r, the codes given[b, r] .. given[b, r + 1] after firsts[b]. tables [B]: rows
    of its table. A value whose name has a hash is brought to deviations by the figures of that
    name: one of rooms[b, 1] rows of `names` from rooms[b, 0] on; rows with `learn` set move them.
    Codes that meet in one row of the table become one entry with the sum of their values.
    """
    longest = 1
    for b in range(given.shape[0]):
        for r in range(given.shape[1] - 1):
            longest = max(longest, given[b, r + 1] - given[b, r])
    size = 2
    while size < 2 * longest:
        size *= 2
    seen = np.full(size, -1, dtype=np.int64)
    end = 0
    for r in range(spans.shape[0]):
        spans[r, 0] = end
        for b in range(given.shape[0]):
            start = end
            for i in range(firsts[b] + given[b, r], firsts[b] + given[b, r + 1]):
                value = values[i]
                if hashes[i] != np.uint64(0):
                    row = rooms[b, 0] + np.int64(hashes[i] % np.uint64(rooms[b, 1]))
                    number = value
                    value = deviations(number, names, row)
                    if learn[r]:
                        grow(number, names, row)
                entry = np.int64(np.uint64(1) + codes[i] % np.uint64(tables[b] - 1))
                slot = np.int64(mixed(np.uint64(entry))) & (size - 1)
                while seen[slot] >= start and entries[seen[slot]] != entry:
                    slot = (slot + 1) & (size - 1)
                if seen[slot] >= start:
                    found[seen[slot]] += np.float32(value)
                else:
                    seen[slot] = end
                    entries[end] = entry
                    found[end] = value
                    end += 1
            spans[r, b + 1] = end
    return end
