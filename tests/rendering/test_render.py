"""From one image file to info, thumbnail, crops and the normalized picture."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image, JpegImagePlugin

from imagehaul.records import Box, Rendition
from tests.support.pictures import (
    UPRIGHT,
    as_held,
    exif,
    levels,
    quadrants,
    rendered,
    saved,
    seen,
    swapped_profile,
    thumbnail_of,
)

pillow_heif.register_heif_opener()


# --- Thumbnails


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("GIF", "P", {}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "jpeg"}),
        ("TIFF", "RGB", {"compression": "tiff_deflate"}),
        ("TIFF", "YCbCr", {}),
        ("TIFF", "CMYK", {}),
        ("TIFF", "P", {}),
        ("BMP", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("AVIF", "RGB", {}),
        ("JPEG2000", "RGB", {}),
        ("HEIF", "RGB", {}),
        ("MPO", "RGB", {"save_all": True, "append_images": [Image.new("RGB", (320, 240))]}),
    ],
)
def test_every_format_has_a_thumbnail(tmp_path: Path, kind: str, mode: str, options: dict[str, Any]) -> None:
    file = saved(tmp_path / "picture", quadrants((640, 480), mode), format=kind, **options)
    picture, thumbnail = thumbnail_of(file)
    assert (picture.code, picture.message) == ("", "")
    assert seen(thumbnail) == UPRIGHT
    assert (picture.renditions[0].width, picture.renditions[0].height) == (256, 192)
    assert picture.info is not None
    assert picture.info.checked == "decoded"


def test_a_rendition_is_told_as_it_lies_in_its_file(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", quadrants((640, 480)))
    picture, thumbnail = thumbnail_of(file)
    data = thumbnail.read_bytes()
    md5 = hashlib.md5(data).hexdigest()
    (rendition,) = picture.renditions
    assert rendition.quality is not None
    assert (replace(rendition, quality=None),) == (
        Rendition(
            "thumbnail", str(thumbnail), "image/jpeg", 256, 192, len(data), md5, hashlib.sha256(data).hexdigest(), md5
        ),
    )
    with Image.open(thumbnail) as made:
        assert (made.format, made.size) == ("JPEG", (256, 192))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_thumbnails_are_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    stored = as_held(quadrants((640, 480)), orientation)
    # A HEIF is turned by a property of its own, which its encoder makes of what the picture carries.
    stored.info["exif"] = exif(orientation).tobytes()
    options = {} if kind == "HEIF" else {"exif": exif(orientation)}
    picture, thumbnail = thumbnail_of(saved(tmp_path / "a", stored, format=kind, **options))
    assert seen(thumbnail) == UPRIGHT
    assert (picture.renditions[0].width, picture.renditions[0].height) == (256, 192)
    assert picture.info is not None
    assert (picture.info.width, picture.info.height) == (640, 480)


def test_a_small_picture_is_not_enlarged(tmp_path: Path) -> None:
    picture, thumbnail = thumbnail_of(saved(tmp_path / "a.png", quadrants((40, 30))))
    assert (picture.renditions[0].width, picture.renditions[0].height) == (40, 30)
    assert seen(thumbnail) == UPRIGHT


@pytest.mark.parametrize("size", [(10_000, 1), (1, 10_000), (1, 1)])
def test_a_line_keeps_a_pixel_of_width(tmp_path: Path, size: tuple[int, int]) -> None:
    picture, _ = thumbnail_of(saved(tmp_path / "a.png", Image.new("RGB", size)))
    assert picture.code == ""
    assert min(picture.renditions[0].width, picture.renditions[0].height) == 1


def test_size_format_and_quality_are_the_user_s(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants((640, 480)))
    picture, thumbnail = thumbnail_of(file, thumbnail_size=100, thumbnail_format="webp", thumbnail_quality=80)
    assert picture.renditions[0].content_type == "image/webp"
    with Image.open(thumbnail) as made:
        assert (made.format, made.size) == ("WEBP", (100, 75))
    noise = saved(tmp_path / "noise.png", Image.effect_noise((300, 300), 80))
    fine = thumbnail_of(noise, thumbnail_quality=95)[0].renditions[0].size
    assert fine > 2 * thumbnail_of(noise, thumbnail_quality=40)[0].renditions[0].size


def test_what_is_transparent_is_white_in_a_jpeg_and_kept_in_a_webp(tmp_path: Path) -> None:
    image = quadrants(mode="RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 160, 120))
    file = saved(tmp_path / "a.png", image)
    assert seen(thumbnail_of(file)[1]) == "white green / blue yellow"
    with Image.open(thumbnail_of(file, thumbnail_format="webp")[1]) as made:
        assert made.getchannel("A").getpixel((20, 20)) == 0
        assert made.getchannel("A").getpixel((220, 20)) == 255


def test_a_palette_with_transparency_is_white_there(tmp_path: Path) -> None:
    image = quadrants(mode="P")
    file = saved(tmp_path / "a.gif", image, transparency=image.getpixel((0, 0)))
    assert seen(thumbnail_of(file)[1]) == "white green / blue yellow"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_sixteen_bit_gradient_stays_a_gradient(tmp_path: Path, kind: str) -> None:
    gradient = Image.linear_gradient("L").rotate(90).convert("I").point(lambda value: value * 257).convert("I;16")
    row = levels(thumbnail_of(saved(tmp_path / "a", gradient, format=kind))[1])
    assert sorted(row) in (row, row[::-1])
    assert min(row) <= 2
    assert max(row) >= 253
    assert abs(sorted(row)[128] - 128) <= 2


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    image = Image.new("1", (320, 240))
    image.paste(1, (160, 0, 320, 240))
    assert seen(thumbnail_of(saved(tmp_path / "a.tif", image, compression="group4"))[1]) == "black white / black white"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_first_frame_or_page_is_shown(tmp_path: Path, kind: str) -> None:
    others = [Image.new("RGB", (320, 240), "black"), Image.new("RGB", (320, 240), "white")]
    file = saved(tmp_path / "a", quadrants(), format=kind, save_all=True, append_images=others)
    picture, thumbnail = thumbnail_of(file)
    assert seen(thumbnail) == UPRIGHT
    assert picture.info is not None
    assert picture.info.frames == 3


def test_colours_are_those_of_the_profile(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", quadrants((640, 480)), icc_profile=swapped_profile())
    assert seen(thumbnail_of(file)[1]) == "green red / blue yellow"


def test_no_metadata_is_left_in_what_is_made(tmp_path: Path) -> None:
    tags = exif(1)
    tags[0x010E] = "secret description"
    file = saved(
        tmp_path / "a.jpg", quadrants(), exif=tags, comment=b"secret comment", icc_profile=swapped_profile(),
        xmp=b"<x:xmpmeta>secret</x:xmpmeta>",
    )  # fmt: skip
    picture = rendered(file, Box(0, 0, 50, 50), thumbnail=True, normalized=True)
    for rendition in picture.renditions:
        data = Path(rendition.file).read_bytes()
        assert b"secret" not in data
        assert b"Exif" not in data
        assert b"ICC_PROFILE" not in data


def test_the_thumbnail_is_the_same_picture_by_both_ways_of_decoding(tmp_path: Path) -> None:
    """Alone it is decoded small; beside crops it is made of the full picture."""
    file = saved(tmp_path / "a.jpg", quadrants((2000, 1501)), quality=90)
    alone = Image.open(thumbnail_of(file)[1])
    beside = Image.open(rendered(file, Box(0, 0, 5, 5), thumbnail=True).renditions[0].file)
    assert alone.size == beside.size
    for spot in ((30, 30), (200, 30), (30, 150), (200, 150)):
        assert all(abs(a - b) <= 4 for a, b in zip(alone.getpixel(spot), beside.getpixel(spot), strict=True))


def test_the_same_picture_gives_the_same_bytes(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", quadrants((640, 480)))
    boxes = (Box(0, 0, 100, 100), Box(30, 30, 200, 200))
    first = rendered(file, *boxes, thumbnail=True, normalized=True)
    assert rendered(file, *boxes, thumbnail=True, normalized=True) == first


# --- Crops


def test_crops_are_cut_from_the_full_picture(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants((640, 480)))
    picture = rendered(file, Box(310.4, 230.4, 19.2, 19.2), Box(0.5, 0.5, 0.5, 0.5, fraction=True))
    first, second = picture.renditions
    assert (first.kind, first.box, first.width, first.height) == ("crop", (310, 230, 20, 20), 20, 20)
    assert seen(Path(first.file)) == UPRIGHT
    assert (second.box, second.content_type) == ((320, 240, 320, 240), "image/jpeg")
    assert seen(Path(second.file)) == "yellow yellow / yellow yellow"


def test_a_bad_box_costs_its_own_crop_and_no_other(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    picture = rendered(file, Box(10, 10, 0, 5), Box(900, 0, 5, 5), Box(float("nan"), 0, 1, 1), Box(0, 0, 9, 9))
    assert picture.code == ""
    assert [crop.code for crop in picture.renditions] == ["BOX_EMPTY", "BOX_OUTSIDE", "BOX_NOT_A_NUMBER", ""]
    assert [Path(crop.file).exists() for crop in picture.renditions] == [False, False, False, True]


def test_the_margin_shows_what_is_around_the_box(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    crop = rendered(file, Box(0, 0, 160, 120), crop_margin=160).renditions[0]
    assert crop.box == (0, 0, 320, 240)
    assert seen(Path(crop.file)) == UPRIGHT


@pytest.mark.parametrize("many", [False, True], ids=["one crop", "more crops than picture"])
@pytest.mark.parametrize("space", ["upright", "stored"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_crops_are_upright_in_either_box_space(
    tmp_path: Path, kind: str, orientation: int, space: Any, many: bool
) -> None:
    """The box is around the middle of the upright picture, off centre, so that a wrong turn cuts other colours."""
    stored = as_held(quadrants((320, 240)), orientation)
    file = saved(tmp_path / "a", stored, format=kind, exif=exif(orientation))
    shown = Image.new("L", (320, 240))
    shown.paste(255, (120, 110, 200, 130))
    left, top, right, bottom = (as_held(shown, orientation) if space == "stored" else shown).getbbox() or (0, 0, 0, 0)
    whole = [Box(0, 0, 400, 400)] * (2 if many else 0)

    picture = rendered(file, Box(left, top, right - left, bottom - top), *whole, box_space=space)

    assert picture.renditions[0].box == (120, 110, 80, 20)
    assert seen(Path(picture.renditions[0].file)) == UPRIGHT


def test_a_crop_has_srgb_colours_and_no_transparency(tmp_path: Path) -> None:
    image = quadrants(mode="RGBA")
    image.paste((0, 0, 0, 0), (160, 120, 320, 240))
    file = saved(tmp_path / "a.png", image, icc_profile=swapped_profile())
    crop = rendered(file, Box(0, 0, 320, 240), thumbnail_format="webp").renditions[0]
    assert crop.content_type == "image/jpeg"
    assert seen(Path(crop.file)) == "green red / blue white"


def test_crops_of_floats_share_the_picture_s_range(tmp_path: Path) -> None:
    image = Image.new("F", (300, 100), -5.0)
    image.paste(0.0, (100, 0, 200, 100))
    image.paste(5.0, (200, 0, 300, 100))
    file = saved(tmp_path / "a.tif", image)
    crop = rendered(file, Box(100, 0, 100, 100)).renditions[0]
    assert set(levels(Path(crop.file))) == {128}


# --- The normalized picture


def test_the_normalized_picture_is_full_size_and_upright(tmp_path: Path) -> None:
    stored = as_held(quadrants((640, 480), "RGBA"), 6)
    file = saved(tmp_path / "a.png", stored, exif=exif(6), icc_profile=swapped_profile())
    normalized = rendered(file, normalized=True).renditions[0]
    assert (normalized.kind, normalized.content_type) == ("image", "image/jpeg")
    assert (normalized.width, normalized.height) == (640, 480)
    assert seen(Path(normalized.file)) == "green red / blue yellow"
    with Image.open(normalized.file) as made:
        assert (made.format, made.mode, made.size) == ("JPEG", "RGB", (640, 480))
        assert JpegImagePlugin.get_sampling(made) == 0  # 4:4:4


def test_renditions_come_in_a_fixed_order(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    picture = rendered(file, Box(0, 0, 5, 5), Box(5, 5, 5, 5), thumbnail=True, normalized=True)
    assert [rendition.kind for rendition in picture.renditions] == ["thumbnail", "image", "crop", "crop"]


def test_a_picture_too_long_for_jpeg_loses_its_normalized_picture_alone(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", Image.new("L", (70_000, 2)))
    thumbnail, normalized = rendered(file, thumbnail=True, normalized=True).renditions
    assert thumbnail.code == ""
    assert normalized.code == "PIXEL_LIMIT"
