"""Which pixels an annotated box cuts out of a picture, however the camera was held.

A region is left, top, right, bottom in whole pixels; the right column and the bottom row are not in it.
"""

from __future__ import annotations

from math import ceil, floor, isfinite

from imagehaul.errors import Code
from imagehaul.records import Box
from imagehaul.rendering.image_file import PictureError

Region = tuple[int, int, int, int]
Size = tuple[int, int]


def region_of(box: Box, size: Size, margin: int) -> Region:
    """Rounded outwards, widened by `margin` on each side, and clipped to a picture of `size`.

    Raises `PictureError` with one of the `BOX_` codes.
    """
    width, height = size
    pixels = box.in_pixels(width, height)
    left, top, right, bottom = pixels.x, pixels.y, pixels.x + pixels.width, pixels.y + pixels.height
    if not (isfinite(left) and isfinite(top) and isfinite(right) and isfinite(bottom)):
        raise PictureError(
            Code.BOX_NOT_A_NUMBER, f"The box has a coordinate that is not a finite number: {_shown(box)}."
        )
    if pixels.width <= 0 or pixels.height <= 0:
        raise PictureError(Code.BOX_EMPTY, f"The box has no area: {_shown(box)}.")
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        raise PictureError(
            Code.BOX_OUTSIDE, f"The box lies outside the picture of {width} x {height} pixels: {_shown(box)}."
        )
    across = _rounded(left, right, width, margin)
    down = _rounded(top, bottom, height, margin)
    return across[0], down[0], across[1], down[1]


def _rounded(start: float, end: float, length: int, margin: int) -> tuple[int, int]:
    """At least one pixel, also where two edges are too near to each other for a float to tell."""
    # 0.07 of 100 pixels is 7.000000000000001 of them, and rounded outwards one too many.
    first = min(max(0, floor(round(start, 6))), length - 1)
    last = max(first + 1, ceil(round(end, 6)))
    return max(0, first - margin), min(length, last + margin)


def turned(region: Region, orientation: int, size: Size) -> Region:
    """Where a region of a stored picture of `size` lies after the turn that its EXIF orientation asks for."""
    left, top, right, bottom = region
    width, height = size
    match orientation:
        case 2:
            return width - right, top, width - left, bottom
        case 3:
            return width - right, height - bottom, width - left, height - top
        case 4:
            return left, height - bottom, right, height - top
        case 5:
            return top, left, bottom, right
        case 6:
            return height - bottom, left, height - top, right
        case 7:
            return height - bottom, width - right, height - top, width - left
        case 8:
            return top, width - right, bottom, width - left
        case _:
            return region


def turned_back(region: Region, orientation: int, upright: Size) -> Region:
    """Where a region of the upright picture lies in the stored one. The turns are their own inverse but for two."""
    return turned(region, {6: 8, 8: 6}.get(orientation, orientation), upright)


def _shown(box: Box) -> str:
    unit = " of the picture's size" if box.fraction else ""
    return f"x {box.x:g}, y {box.y:g}, width {box.width:g}, height {box.height:g}{unit}"
