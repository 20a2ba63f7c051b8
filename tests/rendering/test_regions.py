"""From a box to pixels: rounding, clipping, and the way the camera was held."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imagehaul.records import Box
from imagehaul.rendering.image_file import PictureError
from imagehaul.rendering.pixels import upright
from imagehaul.rendering.regions import region_of, turned, turned_back
from tests.support.pictures import as_held


@pytest.mark.parametrize(
    ("box", "region"),
    [
        (Box(10, 20, 30, 40), (10, 20, 40, 60)),
        (Box(10.2, 20.9, 30, 40), (10, 20, 41, 61)),
        (Box(-5, -5, 10, 10), (0, 0, 5, 5)),
        (Box(90, 190, 100, 100), (90, 190, 100, 200)),
        (Box(-1000, -1000, 5000, 5000), (0, 0, 100, 200)),
        (Box(0.5, 0.25, 0.5, 0.5, fraction=True), (50, 50, 100, 150)),
        (Box(0.07, 0, 0.5, 1, fraction=True), (7, 0, 57, 200)),
        (Box(99.9999999, 0, 5, 5), (99, 0, 100, 5)),
        (Box(50, 50, 1e-12, 1e-12), (50, 50, 51, 51)),
    ],
)
def test_a_box_is_rounded_outwards_and_clipped(box: Box, region: tuple[int, int, int, int]) -> None:
    assert region_of(box, (100, 200), margin=0) == region


def test_the_margin_is_added_after_rounding_and_clipped_too() -> None:
    assert region_of(Box(10.5, 2, 10, 10), (100, 200), margin=5) == (5, 0, 26, 17)
    assert region_of(Box(0, 0, 100, 200), (100, 200), margin=5) == (0, 0, 100, 200)


@pytest.mark.parametrize(
    ("box", "code"),
    [
        (Box(10, 10, 0, 5), "BOX_EMPTY"),
        (Box(10, 10, 5, -5), "BOX_EMPTY"),
        (Box(100, 0, 5, 5), "BOX_OUTSIDE"),
        (Box(0, 200, 5, 5), "BOX_OUTSIDE"),
        (Box(-5, 0, 5, 5), "BOX_OUTSIDE"),
        (Box(1.2, 0.5, 0.1, 0.1, fraction=True), "BOX_OUTSIDE"),
        (Box(math.nan, 0, 5, 5), "BOX_NOT_A_NUMBER"),
        (Box(0, 0, 5, math.nan), "BOX_NOT_A_NUMBER"),
        (Box(0, math.inf, 5, 5), "BOX_NOT_A_NUMBER"),
        (Box(1e308, 0, 1e308, 5), "BOX_NOT_A_NUMBER"),
    ],
)
def test_a_box_that_cuts_nothing_has_a_code_and_names_its_numbers(box: Box, code: str) -> None:
    with pytest.raises(PictureError, match=r"x .*, y .*, width .*, height") as fault:
        region_of(box, (100, 200), margin=3)
    assert fault.value.code == code


finite = st.floats(-1e6, 1e6)


@given(box=st.builds(Box, finite, finite, finite, finite, fraction=st.booleans()), margin=st.integers(0, 50))
def test_a_region_lies_in_the_picture_and_has_area(box: Box, margin: int) -> None:
    try:
        left, top, right, bottom = region_of(box, (64, 48), margin)
    except PictureError:
        return
    assert 0 <= left < right <= 64
    assert 0 <= top < bottom <= 48


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_turns_with_the_picture(orientation: int) -> None:
    shown = Image.linear_gradient("L").resize((30, 20)).rotate(17)
    stored = as_held(shown, orientation)
    region = (3, 5, 11, 9)

    in_upright = turned(region, orientation, stored.size)

    assert shown.crop(in_upright).tobytes() == upright(stored.crop(region), orientation).tobytes()
    assert turned_back(in_upright, orientation, shown.size) == region
