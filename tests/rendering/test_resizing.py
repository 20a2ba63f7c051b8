"""Pictures made small, by either library."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image, ImageChops, ImageStat

from imagehaul.rendering import resizing
from imagehaul.rendering.pixels import encoded
from imagehaul.rendering.resizing import fitted, shrunk
from tests.support.pictures import quadrants


@pytest.fixture(params=["cykooz_resizer", "Pillow"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "Pillow":
        monkeypatch.setitem(sys.modules, "cykooz_resizer", None)
    resizing._resizer.cache_clear()
    yield request.param
    resizing._resizer.cache_clear()


def psnr(one: Image.Image, other: Image.Image) -> float:
    """In dB."""
    difference = ImageStat.Stat(ImageChops.difference(one, other))
    error = sum(difference.sum2) / sum(difference.count)
    return 10 * math.log10(255**2 / error) if error else math.inf


def rings(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    """Of every width, in which a cheap filter shows moiré."""
    one = Image.radial_gradient("L").resize(size).point(lambda value: value * 7 % 256)
    bands = (one, one.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Image.linear_gradient("L").resize(size))
    return Image.merge("RGB", bands).convert(mode)


@pytest.mark.parametrize(
    ("size", "result"),
    [
        ((4000, 3000), (256, 192)),
        ((3000, 4000), (192, 256)),
        ((256, 10), (256, 10)),
        ((100, 50), (100, 50)),
        ((10_000, 1), (256, 1)),
        ((1, 60_000), (1, 256)),
        ((257, 256), (256, 255)),
    ],
)
def test_the_longer_side_decides_and_nothing_is_enlarged(size: tuple[int, int], result: tuple[int, int]) -> None:
    assert fitted(size, 256) == result


def test_the_library_is_found_or_done_without(library: str) -> None:
    assert (resizing._resizer() is None) == (library == "Pillow")


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
@pytest.mark.parametrize("size", [(640, 480), (257, 200), (1021, 767), (2500, 600)])
def test_a_small_picture_is_what_the_best_filter_makes_of_all_pixels(
    library: str, mode: str, size: tuple[int, int]
) -> None:
    picture = rings(size, mode)
    wanted = fitted(size, 256)
    made = shrunk(picture, wanted)
    assert (made.mode, made.size) == (mode, wanted)
    assert psnr(made, picture.resize(wanted, Image.Resampling.LANCZOS)) > 40


@pytest.mark.parametrize("size", [(640, 480), (1021, 767), (5000, 3), (257, 1), (2, 700)])
def test_both_libraries_make_the_same_picture(size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As near to each other as rounding allows, and as files equally near to the best."""
    picture, wanted = rings(size), fitted(size, 256)
    made = shrunk(picture, wanted)
    with monkeypatch.context() as without:
        without.setattr(resizing, "_resizer", lambda: None)
        plain = shrunk(picture, wanted)
    assert psnr(made, plain) > 48
    if min(wanted) > 8:
        best = picture.resize(wanted, Image.Resampling.LANCZOS)
        assert abs(psnr(as_file(made), best) - psnr(as_file(plain), best)) < 0.05


def as_file(image: Image.Image) -> Image.Image:
    return Image.open(BytesIO(encoded(image, "jpeg", 85)))


def test_what_lies_beyond_the_part_is_not_seen(library: str) -> None:
    """A JPEG that is decoded at a quarter of its size has a last column of which only a part is the picture's."""
    picture = Image.new("RGB", (1001, 1000), "white")
    picture.paste((255, 0, 0), (750, 0, 1001, 1000))
    made = shrunk(picture, (100, 100), (0, 0, 750, 1000))
    assert made.crop((0, 0, 97, 100)).getextrema() == ((255, 255),) * 3  # the filter looks three columns ahead


@pytest.mark.parametrize("colour", [("LA", (40, 255)), ("RGBA", (40, 41, 42, 255)), ("CMYK", (40, 41, 42, 43))])
def test_the_other_modes_are_left_to_pillow(library: str, colour: tuple[str, tuple[int, ...]]) -> None:
    made = shrunk(Image.new(colour[0], (640, 480), colour[1]), (256, 192))
    assert (made.mode, made.size) == (colour[0], (256, 192))
    assert made.getextrema() == tuple((value, value) for value in colour[1])


@pytest.mark.parametrize("mode", ["RGB", "YCbCr"])
def test_brightness_and_colours_shrink_to_the_same_picture(library: str, mode: str) -> None:
    made = shrunk(quadrants(mode=mode), (64, 48)).convert("RGB")
    for corner in ((5, 5), (58, 5), (5, 42), (58, 42)):
        expected = quadrants((64, 48)).getpixel(corner)
        assert all(abs(a - b) <= 3 for a, b in zip(made.getpixel(corner), expected, strict=True))  # type: ignore[arg-type]
