"""Whether the labels of a number stand on a grid (whole numbers, halves), compiled.

The step of the grid is the greatest common divisor of how far labels lie from one of them, found
by Euclid's algorithm. It is found anew for every stretch of labels, so that a label that lies
beside the grid does not spoil it for ever.

grid: [6] the step in use (0: there is none), a label on the grid, the step of this stretch so far
(0: none yet, below 0: labels lie too close for one), how far its labels reach from that one, how
many there were, how many there will be.
"""

from __future__ import annotations

import math

from service.model.compiling import piece

SIZE = 6
UNITS = ("slope", "value", "slope", "slope", "", "")
"""See seam.Tensor."""
FINEST = 0.02
"""A finer grid, in units of the target's frame, is none."""
SLACK = 1e-6
"""What counts as nothing, in the same units."""
SHORTEST, LONGEST = 32.0, 1024.0
"""Labels of the first stretch, and of the longest: each is twice the one before."""
REACH = 1.5
"""Steps that labels must reach: between two values only, as yes and no, lie shares of both."""


@piece
def follow(grid, y):
    """Take a label into the grid."""
    if grid[5] == 0.0:
        grid[1], grid[5] = y, SHORTEST
    far = abs(y - grid[1])
    grid[3] = max(grid[3], far)
    if grid[2] >= 0.0 and far > SLACK:
        grid[2] = _divisor(far, grid[2])
    grid[4] += 1.0
    if grid[4] >= grid[5]:
        grid[0] = grid[2] if grid[2] > 0.0 and grid[3] > REACH * grid[2] else 0.0
        if grid[2] < 0.0:
            grid[1] = y
        grid[2], grid[3], grid[4], grid[5] = 0.0, 0.0, 0.0, min(2.0 * grid[5], LONGEST)


@piece
def _divisor(a, b):
    """Return the greatest common divisor of two lengths, -1 where it is finer than a grid."""
    while b > SLACK:
        if b < FINEST:
            return -1.0
        rest = a - b * math.floor(a / b)
        a, b = b, 0.0 if b - rest < SLACK else rest
    return a if a >= FINEST else -1.0


@piece
def steps(grid, value):
    """Return how many steps a value lies above the label that the grid goes by, to the nearest."""
    return math.floor((value - grid[1]) / grid[0] + 0.5)


@piece
def nearest(grid, value):
    """Return the value on the grid that is nearest; where there is no grid the value itself."""
    return grid[1] + grid[0] * steps(grid, value) if grid[0] > 0.0 else value
