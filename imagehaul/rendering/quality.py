"""Measures of a picture's quality, off its thumbnail: what is blank, dark or blurred, and what looks the same.

All are of the brightness alone. Sizes differ little between thumbnails, so that the measures of a data set compare.
"""

from __future__ import annotations

import math
import operator

from PIL import Image, ImageMath

from imagehaul.records import Quality
from imagehaul.rendering.pixels import on_white

GRID = 9
_LEVELS = range(256)
_SQUARES = [level * level for level in _LEVELS]
_DIGITS = b"01".ljust(256, b"?")
_STEP = (2, 3)
"""Pixels to the right and down, from one at which sharpness is measured to the next. Odd, it sees what alternates."""


def measured(thumbnail: Image.Image) -> Quality:
    """`thumbnail`: L, LA, RGB, RGBA or YCbCr. What shines through is white, as on a page."""
    grey = on_white(thumbnail).convert("L")
    histogram = grey.histogram()
    mean, deviation = _moments(histogram)
    edges = _edges(grey)
    return Quality(
        phash=difference_hash(grey),
        brightness=round(mean / 255, 4),
        contrast=round(deviation / 255, 4),
        sharpness=round(edges, 2),
        entropy=round(_entropy(histogram), 3),
    )


def _edges(grey: Image.Image) -> float:
    """Standard deviation of the Laplacian, in levels, at one of six pixels: to look at each takes twice the time."""
    width, height = grey.size
    if width < 3 or height < 3:
        return 0.0
    right, down = _STEP
    size = ((width - 3) // right + 1, (height - 3) // down + 1)

    def plane(x: int, y: int) -> Image.Image:
        """The pixels that lie so far from the upper left corner, and all further steps."""
        left, top = x + (1 - right) / 2, y + (1 - down) / 2
        extent = (left, top, left + right * size[0], top + down * size[1])
        return grey.transform(size, Image.Transform.EXTENT, extent, Image.Resampling.NEAREST)

    laplacian = ImageMath.lambda_eval(
        lambda at: at["left"] + at["right"] + at["above"] + at["below"] - at["centre"] * 4 + 128,
        centre=plane(1, 1), left=plane(0, 1), right=plane(2, 1), above=plane(1, 0), below=plane(1, 2),
    )  # fmt: skip
    # Beyond -128 and 127 all is as sharp as it gets.
    return _moments(laplacian.convert("L").histogram())[1]


def difference_hash(grey: Image.Image) -> str:
    """32 hex digits: is each of 9 x 9 fields brighter than its neighbour to the right (64 bits), and below (64 bits).

    http://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html. Of the ninth row and column only
    the differences to the eighth count.
    """
    fields = grey.resize((GRID, GRID), Image.Resampling.BOX).tobytes()
    # All fields at once with those one and one row further; the ninth column wraps around and falls out.
    digits = b"".join(
        digits[start : start + GRID - 1]
        for digits in (bytes(map(operator.gt, fields, fields[step:])).translate(_DIGITS) for step in (1, GRID))
        for start in range(0, GRID * (GRID - 1), GRID)
    )
    return f"{int(digits, 2):032x}"


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
