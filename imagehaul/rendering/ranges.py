"""From numbers with no known limits to black and white: floats, 32 bits, and 16 bits of which a few are used."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

OUTLIERS = 0.005
"""The share of the numbers, at either end, that may be brighter than white or darker than black."""
LITTLE_USED = 1 / 4
"""Numbers that stay below this share of their range have no known limits: twelve bits in sixteen, for instance."""
_DISTINCT = 16
"""A picture of fewer numbers than these is a mask, and each of them means something."""


def black_and_white(
    numbers: Iterable[float], nodata: float | None = None, brightest: float | None = None
) -> tuple[float, float]:
    """The numbers that become black and white: the percentiles at `OUTLIERS` of those that are finite and measured.

    `nodata`: stands for "not measured" (`GDAL_NODATA`). `brightest`: the upper end where the format sets one: then it
    is 0 and that, unless the numbers use little of it.
    """
    known = sorted(number for number in numbers if math.isfinite(number) and number != nodata)
    if not known:
        return 0.0, brightest or 1.0
    known = _without_marks(known)
    last = len(known) - 1
    low, high = known[round(last * OUTLIERS)], known[round(last * (1 - OUTLIERS))]
    if brightest is not None and high >= brightest * LITTLE_USED:
        return 0.0, brightest
    if low == high:  # a few bright dots on a plain ground
        low, high = known[0], known[-1]
    return float(low), float(high)


def _without_marks(known: list[float]) -> list[float]:
    """Without the number at an end that many pixels have and that lies farther off than all others are wide.

    Programs write -9999, -3.4e38, 0 or 65535 for "not measured" and seldom say so.
    """
    for start, end in ((bisect_right(known, known[0]), len(known)), (0, bisect_left(known, known[-1]))):
        rest = known[start:end]
        marks = len(known) - len(rest)
        if marks <= len(known) * OUTLIERS or len(set(rest[:: max(1, len(rest) // 4096)])) < _DISTINCT:
            continue
        gap = rest[0] - known[0] if start else known[-1] - rest[-1]
        if gap > rest[-1] - rest[0]:
            known = rest
            break
    return known
