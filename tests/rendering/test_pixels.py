"""From every kind of pixel to eight bits in sRGB."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageCms, TiffImagePlugin

from imagehaul.rendering.image_file import PictureError
from imagehaul.rendering.pixels import eight_bits, encoded, in_srgb, on_white
from imagehaul.rendering.resizing import shrunk
from tests.support.pictures import grey_png, grey_tiff, levels, quadrants, seen, swapped_profile, thumbnail_of


def reopened(image: Image.Image, kind: str, **options: object) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    opened = Image.open(buffer)
    opened.load()
    return opened


def ramp(mode: str, values: list[float]) -> Image.Image:
    image = Image.new(mode, (len(values), 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)
    return image


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L"])
def test_sixteen_bits_are_scaled_and_not_cut_off(mode: str) -> None:
    sixteen = ramp("I", [0, 257, 25_700, 40_000, 65_535]).convert(mode)
    assert levels(eight_bits(sixteen)) == [0, 1, 100, 156, 255]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG2000"])
def test_sixteen_bits_survive_their_formats(kind: str) -> None:
    values = [0, 257, 25_700, 40_000, 65_535] * 8
    picture = reopened(ramp("I", values).convert("I;16"), kind)
    assert levels(eight_bits(picture)) == [0, 1, 100, 156, 255] * 8


@pytest.mark.parametrize(
    ("bits", "values"), [(12, [0, 160, 1600, 4095]), (16, [0, 2570, 25_700, 65_535])], ids=["12 bits", "16 bits"]
)
def test_a_microscope_s_tiff_uses_its_whole_range(bits: int, values: list[int]) -> None:
    picture = Image.open(BytesIO(grey_tiff(values, bits)))
    assert levels(eight_bits(picture)) == [0, 10, 100, 255]


def test_a_tiff_in_which_white_is_zero_is_no_negative() -> None:
    picture = Image.open(BytesIO(grey_tiff([0, 2570, 25_700, 65_535], 16, photometric=0)))
    assert levels(eight_bits(picture)) == [255, 245, 155, 0]


def test_whole_numbers_and_floats_are_spread_over_their_own_range() -> None:
    assert levels(eight_bits(ramp("I", [-1000, 0, 1000]))) == [0, 128, 255]
    assert levels(eight_bits(ramp("I", [-(2**31), 0, 2**31 - 1]))) == [0, 128, 255]
    assert levels(eight_bits(ramp("F", [-0.5, 0.0, 0.5]))) == [0, 128, 255]
    assert levels(eight_bits(ramp("F", [7.0, 7.0]))) == [0, 0]


def ramp_with_corner(mode: str, values: list[float], corner: float) -> Image.Image:
    """A ramp from left to right, a tenth of which at its upper left is `corner`."""
    image = ramp(mode, values).resize((len(values), 100), Image.Resampling.NEAREST)
    image.paste(corner, (0, 0, len(values) // 2, 20))
    return image


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan, -3.4e38, -9999.0, 1e20])
def test_floats_that_measure_nothing_leave_the_others_visible(odd: float) -> None:
    values = [step * 40 / 199 for step in range(200)]
    plain = levels(eight_bits(ramp("F", values)))
    seen = levels(eight_bits(ramp_with_corner("F", values, odd)))
    assert max(abs(a - b) for a, b in zip(plain, seen, strict=True)) <= 2
    assert plain[0] == 0
    assert plain[-1] == 255


def test_what_a_tiff_calls_no_data_is_left_out(tmp_path: Path) -> None:
    """Also where it lies so near to the rest that nobody could tell."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[42113] = "-50 "
    values = [100.0 + step for step in range(200)]
    ramp_with_corner("F", values, -50).save(tmp_path / "a.tif", tiffinfo=tags)
    with Image.open(tmp_path / "a.tif") as picture:
        assert levels(eight_bits(picture))[:3] == [0, 0, 1]


def test_twelve_bits_in_sixteen_are_shown_as_the_same_numbers_in_floats() -> None:
    values = [float(step * 20) for step in range(200)]
    sixteen = ramp("I", [int(value) for value in values]).convert("I;16")
    assert levels(eight_bits(sixteen)) == levels(eight_bits(ramp("F", values)))
    assert levels(eight_bits(sixteen))[-1] == 255


def test_sixteen_bits_that_fill_their_range_stay_as_they_are() -> None:
    """A picture may be dim: half of the range is enough."""
    dim = ramp("I", [step * 150 for step in range(200)]).convert("I;16")
    assert levels(eight_bits(dim)) == [round(step * 150 / 257) for step in range(200)]


@pytest.mark.parametrize("values", [[0, 5, 6], [0, 1000], [0, 0, 0, 7], [3, 3]])
def test_the_few_numbers_of_a_mask_all_mean_something(values: list[float]) -> None:
    made = levels(eight_bits(ramp("I", values * 50)))
    assert len(set(made)) == len(set(values))


def test_a_few_bright_dots_on_a_plain_ground_are_seen() -> None:
    assert levels(eight_bits(ramp("F", [0.0] * 999 + [9.0])))[-1] == 255


@pytest.mark.parametrize(
    ("mode", "becomes"),
    [
        ("1", "L"),
        ("L", "L"),
        ("P", "RGB"),
        ("LA", "LA"),
        ("La", "LA"),
        ("PA", "RGBA"),
        ("RGBa", "RGBA"),
        ("RGBX", "RGB"),
        ("CMYK", "CMYK"),
        ("HSV", "RGB"),
    ],
)
def test_every_mode_becomes_one_that_can_be_made_smaller(mode: str, becomes: str) -> None:
    image = Image.new(mode, (8, 8))
    small = shrunk(eight_bits(image), (4, 4))
    assert (small.mode, small.size) == (becomes, (4, 4))


@pytest.mark.parametrize(("mode", "clear"), [("1", 0), ("L", 0), ("P", 0), ("RGB", (0, 0, 0))])
def test_a_colour_that_stands_for_transparent_becomes_white(mode: str, clear: object) -> None:
    picture = reopened(Image.new(mode, (8, 8)), "PNG", transparency=clear)
    assert on_white(in_srgb(eight_bits(picture), None)).convert("RGB").getpixel((4, 4)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("bits", "clear", "grey"), [(16, 1000, 30_000), (16, 0, 30_000), (4, 3, 7), (2, 1, 2), (8, 9, 99)]
)
def test_one_grey_of_a_png_may_stand_for_transparent(tmp_path: Path, bits: int, clear: int, grey: int) -> None:
    """A ground of that number, and a square of another."""
    (tmp_path / "a.png").write_bytes(
        grey_png(bits, [[grey if 8 <= x < 24 and 8 <= y < 24 else clear for x in range(32)] for y in range(32)], clear)
    )
    picture, thumbnail = thumbnail_of(tmp_path / "a.png")
    assert picture.code == ""
    row = levels(thumbnail)
    assert row[0] > 250
    assert abs(row[16] - round(grey * 255 / (2**bits - 1))) < 4


def test_transparency_is_white_by_its_share() -> None:
    assert on_white(Image.new("RGBA", (1, 1), (255, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)
    assert on_white(Image.new("RGBA", (1, 1), (255, 0, 0, 128))).getpixel((0, 0)) == (255, 127, 127)
    assert on_white(Image.new("LA", (1, 1), (0, 128))).getpixel((0, 0)) == 127


def test_hidden_colours_do_not_bleed_into_the_edges() -> None:
    image = Image.new("RGBA", (64, 64), (0, 255, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, 33, 64))
    small = on_white(shrunk(image, (8, 8)))
    _, green, blue = small.split()
    assert list(green.tobytes()) == list(blue.tobytes())


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "YCbCr"])
def test_the_profile_says_what_the_colours_are(mode: str) -> None:
    converted = in_srgb(quadrants(mode=mode), swapped_profile())
    assert seen(encoded(converted, "jpeg", 90)) == "green red / blue yellow"


def test_alpha_outlives_the_profile() -> None:
    image = quadrants(mode="RGBA")
    image.putalpha(77)
    assert in_srgb(image, swapped_profile()).getpixel((0, 0))[3] == 77  # type: ignore[index]


def test_srgb_by_any_spelling_changes_no_number() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image = quadrants()
    assert in_srgb(image, profile) is image


@pytest.mark.parametrize("profile", [b"no profile", b"x" * 200, swapped_profile()[:300]])
def test_a_broken_profile_is_passed_over(profile: bytes) -> None:
    assert seen(encoded(in_srgb(quadrants(), profile), "jpeg", 90)) == "red green / blue yellow"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_a_profile_of_another_kind_is_passed_over(mode: str) -> None:
    converted = in_srgb(quadrants(mode=mode), swapped_profile())
    assert converted.convert("RGB").getpixel((1, 1)) == quadrants(mode=mode).convert("RGB").getpixel((1, 1))


def test_lab_is_shown_in_its_colours() -> None:
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    stored = reopened(lab.apply(quadrants()), "TIFF")
    assert stored.mode == "LAB"
    assert seen(encoded(in_srgb(eight_bits(stored), None), "jpeg", 90)) == "red green / blue yellow"


def test_a_side_that_jpeg_cannot_hold_is_a_code() -> None:
    with pytest.raises(PictureError, match="65,500") as fault:
        encoded(Image.new("L", (65_501, 1)), "jpeg", 85)
    assert fault.value.code == "PIXEL_LIMIT"


@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_nothing_of_the_source_s_metadata_is_left(kind: str) -> None:
    image = quadrants()
    image.info = {"comment": b"secret", "icc_profile": b"secret", "exif": b"secret", "xmp": b"secret"}
    assert b"secret" not in encoded(image, kind, 85)  # type: ignore[arg-type]


@pytest.mark.parametrize("quality", [1, 85, 89, 90, 100])
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_a_jpeg_is_byte_for_byte_what_pillow_saves(mode: str, quality: int) -> None:
    image = Image.linear_gradient("L").resize((90, 71)).convert(mode)
    saved = BytesIO()
    image.save(saved, "JPEG", quality=quality, subsampling=0 if quality >= 90 else 2)
    assert encoded(image, "jpeg", quality) == saved.getvalue()


@pytest.mark.parametrize("size", [(4, 12), (60, 60), (300, 6)])
def test_a_small_crop_keeps_its_colours(size: tuple[int, int]) -> None:
    """A red lamp beside grey: at half the resolution of colours it would be pink."""
    image = Image.new("RGB", size, (90, 90, 90))
    image.paste((255, 0, 0), (1, 0, 3, size[1]))
    red, green, _ = Image.open(BytesIO(encoded(image, "jpeg", 85))).convert("RGB").getpixel((1, size[1] // 2))  # type: ignore[misc]
    assert red - green > 200


@pytest.mark.parametrize("region", [(0, 0, 1, 1), (17, 3, 60, 61), (73, 44, 90, 45), (0, 0, 90, 61)])
@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "RGBA"])
@pytest.mark.parametrize("kind", ["jpeg", "webp"])
def test_a_part_is_byte_for_byte_the_same_part_cut_out_first(
    kind: str, mode: str, region: tuple[int, int, int, int]
) -> None:
    image = Image.effect_mandelbrot((90, 61), (-2, -1.5, 1, 1.5), 90).convert("RGB").convert(mode)
    cut = encoded(image.crop(region), kind, 85)  # type: ignore[arg-type]
    assert encoded(image, kind, 85, region) == cut  # type: ignore[arg-type]


def test_webp_keeps_what_is_transparent() -> None:
    image = quadrants(mode="RGBA")
    image.putalpha(0)
    with Image.open(BytesIO(encoded(image, "webp", 85))) as made:
        assert made.mode == "RGBA"
        assert made.getchannel("A").getextrema() == (0, 0)
