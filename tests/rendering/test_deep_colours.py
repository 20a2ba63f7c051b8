"""Colours of sixteen bits: the same thumbnail as the same numbers in floats, where few of the bits are used."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy
import pytest
import tifffile
from PIL import Image

from imagehaul.rendering.deep_colours import lower_bytes
from tests.support.pictures import thumbnail_of

TWELVE_BITS, ALL_BITS = 4095, 65535


def colours(brightest: int, dtype: Any = numpy.uint16) -> numpy.ndarray:
    """Red grows from left to right, blue falls from the top, and green is a quarter all over. 150 x 200."""
    pixels = numpy.zeros((150, 200, 3), dtype)
    pixels[..., 0] = numpy.linspace(0, brightest, 200)[None, :]
    pixels[..., 1] = brightest / 4
    pixels[..., 2] = numpy.linspace(brightest, 0, 150)[:, None]
    return pixels


def png(file: Path, pixels: numpy.ndarray) -> Path:
    file.write_bytes(imagecodecs.png_encode(pixels))
    return file


def tiff(file: Path, pixels: numpy.ndarray, **options: Any) -> Path:
    tifffile.imwrite(file, pixels, photometric="rgb", **options)
    return file


def thumbnail(file: Path, kind: str = "webp") -> numpy.ndarray:
    outcome, made = thumbnail_of(file, thumbnail_format=kind, thumbnail_quality=100)
    assert outcome.code == ""
    with Image.open(made) as picture:
        return numpy.asarray(picture.convert("RGB")).astype(int)


TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "the other byte order": {"byteorder": ">"},
    "LZW": {"compression": "lzw", "predictor": True},
    "tiles": {"tile": (64, 64)},
}


@pytest.mark.parametrize("options", TIFFS.values(), ids=TIFFS.keys())
def test_twelve_bits_of_a_tiff_are_shown_as_the_same_numbers_in_floats(tmp_path: Path, options: dict[str, Any]) -> None:
    few = thumbnail(tiff(tmp_path / "few.tif", colours(TWELVE_BITS), **options))
    floats = thumbnail(tiff(tmp_path / "floats.tif", colours(TWELVE_BITS, numpy.float32)))
    assert numpy.abs(few - floats).max() <= 6
    assert few.max() > 245


def test_twelve_bits_of_a_png_keep_their_steps_and_their_transparency(tmp_path: Path) -> None:
    pixels = colours(TWELVE_BITS)
    few = thumbnail(png(tmp_path / "few.png", pixels))
    assert len(numpy.unique(few[75, :, 0])) > 100, "more steps than the sixteen of the upper byte"
    clear = numpy.full((150, 200, 1), ALL_BITS, numpy.uint16)
    clear[:, :100] = 0
    half = thumbnail(png(tmp_path / "half.png", numpy.concatenate([pixels, clear], axis=2)), "jpeg")
    assert half[75, 20].min() > 245, "white, where it is transparent"
    assert numpy.abs(half[75, 150] - few[75, 150]).max() <= 6


def test_sixteen_bits_that_fill_their_range_stay_as_they_are(tmp_path: Path) -> None:
    for brightest in (ALL_BITS, ALL_BITS // 2):
        file = png(tmp_path / f"{brightest}.png", colours(brightest))
        shown = thumbnail(file)
        with Image.open(file) as picture:
            assert numpy.abs(shown - numpy.asarray(picture).astype(int)).max() <= 6


def test_a_colour_that_is_hardly_there_is_not_made_bright(tmp_path: Path) -> None:
    pixels = colours(TWELVE_BITS)
    pixels[..., 1] = 100
    shown = thumbnail(png(tmp_path / "a.png", pixels))
    assert shown[75, 199, 0] > 245
    assert shown[..., 1].max() < 20


def test_a_broken_file_is_broken_for_the_lower_bytes_too(tmp_path: Path) -> None:
    file = png(tmp_path / "a.png", colours(TWELVE_BITS))
    file.write_bytes(file.read_bytes()[:-200])
    outcome, _ = thumbnail_of(file)
    assert outcome.code == "UNDECODABLE"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16"])
def test_other_pictures_are_decoded_once(mode: str) -> None:
    buffer = BytesIO()
    Image.new(mode, (4, 4)).save(buffer, "PNG")
    picture = Image.open(buffer)
    assert lower_bytes(picture) is None
