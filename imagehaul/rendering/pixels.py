"""From what decoders give to what every screen shows: eight bits, upright, sRGB, and small where that is wanted.

Full-size work is avoided: pictures are made small, or cut, first, and turned and converted after.
"""

from __future__ import annotations

import math
import struct
from array import array
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

from PIL import Image, ImageChops, ImageCms, ImageFile, ImageOps, JpegImagePlugin, TiffImagePlugin
from PIL.Image import Resampling, Transpose

from imagehaul.errors import Code
from imagehaul.rendering.image_file import PictureError
from imagehaul.rendering.ranges import black_and_white

_TURNS = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""EXIF orientation to what makes it upright. https://www.cipa.jp/std/documents/e/DC-X008-Translation-2019-E.pdf"""

_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_SAMPLE_FORMAT = 339
_SIGNED = 2
_GDAL_NODATA = 42113
_SAMPLED = 256
"""Pixels a side of which a picture's range is found."""

_JPEG_LONGEST_SIDE = 65_500
_FINE = 90
"""From this quality up nobody wants to lose half of the colours' sharpness."""
_FEW_PIXELS = 64
"""In a picture that is narrower, half of that is next to nothing of the file, and all of what a box holds."""

_SRGB = ImageCms.createProfile("sRGB")
_PROBE = Image.frombytes(
    "RGB", (64, 64), bytes(v for r in range(16) for g in range(16) for b in range(16) for v in (r * 17, g * 17, b * 17))
)
"""4,096 colours from the whole of the cube."""


def eight_bits(image: Image.Image) -> Image.Image:
    """The same picture as L, LA, RGB, RGBA, CMYK, LAB or YCbCr: the modes that can be made smaller."""
    mode = image.mode
    if mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        return _with_transparency(image, _from_sixteen_bits(image))
    if mode in ("I", "F"):
        return _from_range(image)
    if mode in ("La", "RGBa"):
        return image.convert(mode.upper())
    if mode in ("1", "P", "PA", "L", "RGB") and image.has_transparency_data:
        return image.convert("LA" if mode == "L" else "RGBA")
    if mode == "1":
        return image.convert("L")
    if mode == "L" and _tiff_tag(image, _SAMPLE_FORMAT) == (_SIGNED,):
        return image.point([(value + 128) % 256 for value in range(256)])
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB", "YCbCr"):
        return image.convert("RGB")
    return image


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Scaled, and not cut off at 255 as `convert` does. Twelve bits are the other depth that TIFF has here."""
    brightest = 4095 if _tiff_tag(image, _BITS_PER_SAMPLE) == (12,) else 65535
    return _spread(image, brightest)


def _from_range(image: Image.Image) -> Image.Image:
    if len(image.getbands()) > 1:
        raise ValueError(f"a picture of mode {image.mode} with {len(image.getbands())} bands")
    return _spread(image, None)


def _spread(image: Image.Image, brightest: float | None) -> Image.Image:
    """As L, from black to white. What is no number is black."""
    numbers = image.convert("I").convert("F") if image.mode.startswith("I;16") else image.convert("F")
    low, high = black_and_white(sample_of(image), nodata_of(image), brightest)
    if low == high:  # perhaps a dot that the choice of pixels missed
        least, most = numbers.getextrema()
        if isinstance(least, float) and isinstance(most, float) and math.isfinite(least) and math.isfinite(most):
            low, high = least, most
    return _with_black_as_zero(image, spread_between(numbers, low, high))


def spread_between(numbers: Image.Image, low: float, high: float) -> Image.Image:
    """As L: `low` is black and `high` is white."""
    scale = 255 / (high - low) if high > low else 0.0
    # In floats also for whole numbers: `I` would overflow on its way.
    return numbers.convert("F").point(lambda value: value * scale + (0.5 - low * scale)).convert("L")


def sample_of(image: Image.Image) -> array[float] | array[int]:
    """The picture's numbers, or an even choice of them: enough for percentiles."""
    if max(image.size) > _SAMPLED:
        image = image.resize((min(image.width, _SAMPLED), min(image.height, _SAMPLED)), Resampling.NEAREST)
    image = image.convert("I") if image.mode.startswith("I;16") else image
    return array("f" if image.mode == "F" else "i", image.tobytes())


def nodata_of(image: Image.Image) -> float | None:
    """https://gdal.org/en/stable/drivers/raster/gtiff.html#nodata-value"""
    text = _tiff_tag(image, _GDAL_NODATA)
    try:
        value = float(str(text).strip(" \0"))
        return struct.unpack("f", struct.pack("f", value))[0] if image.mode == "F" else value
    except (ValueError, OverflowError):
        return None


def _with_transparency(image: Image.Image, levels: Image.Image) -> Image.Image:
    """A PNG may call one of its 65,536 numbers transparent."""
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return levels
    opaque = [255] * 65536
    opaque[clear & 0xFFFF] = 0
    levels.putalpha(image.convert("I").point(opaque, "L"))
    return levels


def _with_black_as_zero(image: Image.Image, levels: Image.Image) -> Image.Image:
    """Pillow turns white-is-zero TIFFs round, but those of more than eight bits it does not."""
    inverted = _tiff_tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO
    return ImageOps.invert(levels) if inverted else levels


def _tiff_tag(image: Image.Image, tag: int) -> object:
    """None where there is none."""
    return image.tag_v2.get(tag) if isinstance(image, TiffImagePlugin.TiffImageFile) else None


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """`orientation`: EXIF's, 1 to 8."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The colours as sRGB, in mode L, LA, RGB, RGBA or YCbCr. A broken or unfit profile is passed over."""
    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert(image.mode[:-1]) if alpha else image
    transform = _to_srgb(profile, "RGB" if colours.mode == "YCbCr" else colours.mode)
    if transform:
        colours = transform.apply(colours.convert("RGB") if colours.mode == "YCbCr" else colours)
    elif colours.mode in ("CMYK", "LAB"):
        colours = colours.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    return colours


@lru_cache(maxsize=4)
def _to_srgb(profile: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """None where the numbers can stay as they are. Cached, since the pictures of a data set share few profiles."""
    if mode != "LAB" and not profile:
        return None
    try:
        source = ImageCms.createProfile("LAB") if mode == "LAB" else ImageCms.getOpenProfile(BytesIO(profile or b""))
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB", ImageCms.Intent.PERCEPTUAL)
        if mode == "RGB" and _differ_little(transform.apply(_PROBE), _PROBE):
            return None
    except (ImageCms.PyCMSError, OSError, ValueError):
        return None
    return transform


def _differ_little(image: Image.Image, other: Image.Image) -> bool:
    """By two of 255 at most: the profile is one of the many spellings of sRGB."""
    return not any(sum(band.histogram()[3:]) for band in ImageChops.difference(image, other).split())


def encoded(
    image: Image.Image, kind: Literal["jpeg", "webp"], quality: int, region: tuple[int, int, int, int] | None = None
) -> bytes:
    """The file's bytes, with no metadata of the source in it: no EXIF, XMP, ICC profile or JPEG comment.

    `region`: the part of the image to encode, as left, top, right, bottom. The JPEG encoder takes it from where it
    lies, without a copy. In a JPEG, what shines through is white. Raises `PictureError` where a side is longer than
    JPEG allows.
    """
    left, top, right, bottom = region or (0, 0, *image.size)
    buffer = BytesIO()
    if kind == "jpeg":
        width, height = right - left, bottom - top
        if max(width, height) > _JPEG_LONGEST_SIDE:
            raise PictureError(
                Code.PIXEL_LIMIT,
                f"A JPEG has at most {_JPEG_LONGEST_SIDE:,} pixels a side; this is {width:,} x {height:,}.",
            )
        image = on_white(image)
        # Takes comment and profile from nowhere: these are the settings without any.
        whole_colours = quality >= _FINE or min(width, height) < _FEW_PIXELS
        image.encoderconfig = _jpeg_settings(image.mode, quality, whole_colours)
        tile = ImageFile._Tile("jpeg", (left, top, right, bottom), 0, JpegImagePlugin.RAWMODE[image.mode])
        ImageFile._save(image, buffer, [tile])
    else:
        image = image.crop(region) if region else image
        # The encoder takes comment and profile from here when it is not told otherwise.
        image.info = {}
        image.save(buffer, "WEBP", quality=quality)
    return buffer.getvalue()


@lru_cache(maxsize=16)
def _jpeg_settings(mode: str, quality: int, whole_colours: bool) -> tuple[Any, ...]:
    """What `Image.save` tells the encoder, by its own word. To work it out again for each crop takes a fifth of it."""
    sample = Image.new(mode, (1, 1))
    sample.save(BytesIO(), "JPEG", quality=quality, subsampling=0 if whole_colours else 2)
    return sample.encoderconfig


def on_white(image: Image.Image) -> Image.Image:
    if image.mode not in ("LA", "RGBA"):
        return image
    white = Image.new(image.mode[:-1], image.size, "white")
    white.paste(image.convert(white.mode), mask=image.getchannel("A"))
    return white
