"""Measures of a picture's quality, off its thumbnail: what is blank, dark or blurred, and what looks the same.

All are of the brightness alone. Sizes differ little between thumbnails, so that the measures of a data set compare.
"""

from __future__ import annotations

import itertools
import operator

from PIL import Image, ImageFilter

from imagehaul.records import Quality
from imagehaul.rendering.pixels import on_white

GRID = 9
_LEVELS = range(256)
_SQUARES = [level * level for level in _LEVELS]
_LAPLACIAN = ImageFilter.Kernel((3, 3), (0, 1, 0, 1, -4, 1, 0, 1, 0), scale=1, offset=128)


def measured(thumbnail: Image.Image) -> Quality:
    """`thumbnail`: L, LA, RGB, RGBA or YCbCr. What shines through is white, as on a page."""
    grey = on_white(thumbnail).convert("L")
    mean, deviation = _moments(grey.histogram())
    edges = _edges(grey)
    return Quality(
        phash=difference_hash(grey),
        brightness=round(mean / 255, 4),
        contrast=round(deviation / 255, 4),
        sharpness=round(edges, 2),
        entropy=round(grey.entropy(), 3),
    )


def _edges(grey: Image.Image) -> float:
    """Standard deviation of the Laplacian. The filter leaves the outermost pixels as they were: they do not count."""
    width, height = grey.size
    if width < 3 or height < 3:
        return 0.0
    return _moments(grey.filter(_LAPLACIAN).crop((1, 1, width - 1, height - 1)).histogram())[1]


def difference_hash(grey: Image.Image) -> str:
    """32 hex digits: is each of 9 x 9 fields brighter than its neighbour to the right (64 bits), and below (64 bits).

    http://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html. Of the ninth row and column only
    the differences to the eighth count.
    """
    fields = grey.resize((GRID, GRID), Image.Resampling.BOX).tobytes()
    rows = [fields[start : start + GRID] for start in range(0, GRID * GRID, GRID)]
    left, right = b"".join(row[:-1] for row in rows[:-1]), b"".join(row[1:] for row in rows[:-1])
    below = b"".join(row[:-1] for row in rows[1:])
    brighter = itertools.chain(map(operator.gt, left, right), map(operator.gt, left, below))
    return f"{int(''.join(map('01'.__getitem__, brighter)), 2):032x}"


def _moments(histogram: list[int]) -> tuple[float, float]:
    """Mean and standard deviation of the levels."""
    count = sum(histogram)
    mean = sum(map(operator.mul, _LEVELS, histogram)) / count
    squares = sum(map(operator.mul, _SQUARES, histogram)) / count
    return mean, max(squares - mean * mean, 0.0) ** 0.5
