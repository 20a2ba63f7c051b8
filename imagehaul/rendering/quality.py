"""Measures of a picture's quality, off its thumbnail: what is blank, dark or blurred, and what looks the same.

All are of the brightness alone. Sizes differ little between thumbnails, so that the measures of a data set compare.
"""

from __future__ import annotations

import math
import operator

from PIL import Image, ImageChops
from PIL.Image import Resampling

from imagehaul.records import Quality
from imagehaul.rendering.pixels import on_white

GRID = 9
_LEVELS = range(256)
_SQUARES = [level * level for level in _LEVELS]
_DIGITS = b"01".ljust(256, b"?")
_BLOCK = 3
"""Pixels a side of what sharpness looks at. Odd, so that from block to block it sees what alternates."""


def measured(thumbnail: Image.Image) -> Quality:
    """`thumbnail`: L, LA, RGB, RGBA or YCbCr. What shines through is white, as on a page."""
    grey = on_white(thumbnail).convert("L")
    blocks = grey.reduce(_BLOCK)
    histogram = grey.histogram()
    mean, deviation = _moments(histogram)
    return Quality(
        phash=_difference_hash(grey, blocks),
        brightness=round(mean / 255, 4),
        contrast=round(deviation / 255, 4),
        sharpness=round(_sharpness(grey, blocks), 2),
        entropy=round(_entropy(histogram), 3),
    )


def _sharpness(grey: Image.Image, blocks: Image.Image) -> float:
    """Standard deviation of the Laplacian, in levels, at the centres of the whole blocks: one of nine pixels.

    The mean of a block less its centre is a third of the Laplacian of nine points:
    https://en.wikipedia.org/wiki/Discrete_Laplace_operator#Implementation_via_operator_discretization. Beyond -128 and
    127 levels of that all is as sharp as it gets.
    """
    width, height = whole = grey.width // _BLOCK, grey.height // _BLOCK
    if not width or not height:
        return 0.0
    centres = grey.resize(whole, Resampling.NEAREST, (0, 0, width * _BLOCK, height * _BLOCK))
    means = blocks if blocks.size == whole else blocks.crop((0, 0, *whole))
    return _BLOCK * _moments(ImageChops.subtract(means, centres, offset=128).histogram())[1]


def _difference_hash(grey: Image.Image, blocks: Image.Image) -> str:
    """32 hex digits: is each of 9 x 9 fields brighter than its neighbour to the right (64 bits), and below (64 bits).

    http://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html. Of the ninth row and column only
    the differences to the eighth count. Fields overlap, so that a picture that is cut a little keeps most of its bits.
    """
    # Blocks at the right and at the bottom may lie in the picture in part.
    extent = (0.0, 0.0, grey.width / _BLOCK, grey.height / _BLOCK)
    if min(blocks.size) < GRID:
        grid = grey.resize((GRID, GRID), Resampling.BILINEAR)
    else:
        grid = blocks.resize((GRID, GRID), Resampling.BILINEAR, extent)
    fields = grid.tobytes()
    across, below = (bytearray(map(operator.gt, fields, fields[step:])) for step in (1, GRID))
    for bits in (across, below):
        # To the right of the ninth column would be the first one of the next row.
        del bits[GRID - 1 :: GRID]
    return f"{int((across[: len(below)] + below).translate(_DIGITS), 2):032x}"


def _entropy(histogram: list[int]) -> float:
    """Of the levels, in bits. Pillow's own would count them once more."""
    count = sum(histogram)
    return math.log2(count) - sum(some * math.log2(some) for some in histogram if some) / count


def _moments(histogram: list[int]) -> tuple[float, float]:
    """Mean and standard deviation of the levels."""
    count = sum(histogram)
    mean = sum(map(operator.mul, _LEVELS, histogram)) / count
    squares = sum(map(operator.mul, _SQUARES, histogram)) / count
    return mean, max(squares - mean * mean, 0.0) ** 0.5
