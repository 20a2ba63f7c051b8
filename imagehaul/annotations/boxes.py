"""What the words of an annotation file become: coordinates, sizes, and the hull of a polygon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

_MOST_PIXELS = 2**31
NO_BOX = (math.nan, math.nan, math.nan, math.nan)


def coordinate(value: Any) -> float:
    """NaN where the value is no number: that box is then rejected with its code, and not the file."""
    # Python reads "1_000" as a number and True as 1; no annotation tool writes either.
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def pixels(value: Any) -> int:
    """A width or height of a picture; 0 where the file does not say it, or a number that no picture has."""
    number = coordinate(value)
    return int(number) if 0 < number < _MOST_PIXELS else 0


def hull(points: Sequence[float]) -> tuple[float, float, float, float]:
    """The upright box around x1, y1, x2, y2, …, as x, y, width, height; NaN where a point is no point."""
    if len(points) < 2 or len(points) % 2 or not all(map(math.isfinite, points)):
        return NO_BOX
    xs, ys = points[0::2], points[1::2]
    left, top = min(xs), min(ys)
    return left, top, max(xs) - left, max(ys) - top


def from_corners(xmin: Any, ymin: Any, xmax: Any, ymax: Any) -> tuple[float, float, float, float]:
    """Width and height may come out as zero or less: the box is passed on, and rejected with its code."""
    left, top = coordinate(xmin), coordinate(ymin)
    return left, top, coordinate(xmax) - left, coordinate(ymax) - top


def from_centre(cx: Any, cy: Any, width: Any, height: Any) -> tuple[float, float, float, float]:
    """As x, y, width, height, in the unit that they are given in."""
    wide, high = coordinate(width), coordinate(height)
    return coordinate(cx) - wide / 2, coordinate(cy) - high / 2, wide, high
