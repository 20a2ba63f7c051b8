"""Colours of sixteen bits of which few are used, as cameras and scanners write them: twelve bits in sixteen.

Pillow keeps the upper byte of each number, and such a picture is nearly black in it. Where that is so the file is
decoded once more, for the lower bytes.
"""

from __future__ import annotations

import re
import sys
from array import array
from typing import BinaryIO

from PIL import Image, ImageFile, ImageMath

from imagehaul.rendering.pixels import nodata_of, sample_of, spread_between
from imagehaul.rendering.ranges import black_and_white

_SIXTEEN_BITS = re.compile(r"(?:LA|RGB[AX]?);16[LBN]")
"""Pillow's names of such numbers: https://pillow.readthedocs.io/en/stable/handbook/concepts.html#concept-modes"""
_OTHER_BYTE = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_UPPER, _WHOLE = 255, 65535

Tiles = list[ImageFile._Tile]


def lower_bytes(image: ImageFile.ImageFile) -> Tiles | None:
    """How to read the lower bytes of a picture that is not loaded yet. None: it has no such colours."""
    tiles = [_of_lower_bytes(tile) for tile in image.tile]
    return [tile for tile in tiles if tile] if tiles and all(tiles) else None


def _of_lower_bytes(tile: ImageFile._Tile) -> ImageFile._Tile | None:
    """The same, with the bytes of each number taken in the other order."""
    raw, *others = (tile.args,) if isinstance(tile.args, str) else tile.args or (None,)
    if not isinstance(raw, str) or not _SIXTEEN_BITS.fullmatch(raw):
        return None
    other = raw[:-1] + _OTHER_BYTE[raw[-1]]
    return tile._replace(args=(other, *others) if others else other)


def with_all_bits(image: Image.Image, tiles: Tiles, stream: BinaryIO) -> Image.Image:
    """The loaded picture with its numbers spread from black to white, all colours alike; itself where they use their
    range. `stream`: the file. Raises what the decoder raises."""
    colours = [band for band in image.getbands() if band != "A"]
    upper = [image.getchannel(band) for band in colours]
    if black_and_white(_sampled(upper), brightest=_UPPER) == (0, _UPPER):
        return image
    stream.seek(0)
    again = Image.open(stream, formats=[image.format or ""])
    assert isinstance(again, ImageFile.ImageFile)
    again.tile = tiles
    again.load()
    numbers = [_whole(high, again.getchannel(band)) for high, band in zip(upper, colours, strict=True)]
    low, high = black_and_white(_sampled(numbers), nodata_of(image), _WHOLE)
    bands = [spread_between(band, low, high) for band in numbers]
    alpha = [image.getchannel("A")] if "A" in image.getbands() else []
    return Image.merge(image.mode, [*bands, *alpha])


def _whole(high: Image.Image, low: Image.Image) -> Image.Image:
    made = ImageMath.lambda_eval(lambda bytes_of: bytes_of["high"] * 256 + bytes_of["low"], high=high, low=low)
    assert isinstance(made, Image.Image)
    return made


def _sampled(bands: list[Image.Image]) -> array[float]:
    """Numbers of all bands together: a colour that a picture hardly has must not be made bright."""
    together = array("f")
    for band in bands:
        together.extend(sample_of(band.convert("F")))
    return together
