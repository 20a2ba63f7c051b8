"""Measures tell a picture that was made worse from the one it was made of, and know it again."""

from __future__ import annotations

import io
import statistics

import pytest
from PIL import Image, ImageEnhance, ImageFilter

from imagehaul.local.scenes import Thing, draw_scene
from imagehaul.rendering.quality import measured


def scene(step: int = 0) -> Image.Image:
    things = [Thing("boat", 60 + 40 * step, 170, 150), Thing("sun", 330 - 70 * step, 30, 70)]
    return draw_scene("coast", things).resize((256, 192))


def bits_apart(one: Image.Image, other: Image.Image) -> int:
    return (int(measured(one).phash, 16) ^ int(measured(other).phash, 16)).bit_count()


def encoded_again(picture: Image.Image) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return Image.open(file)


@pytest.mark.parametrize(
    "change", [encoded_again, lambda it: it.resize((128, 96)), lambda it: ImageEnhance.Brightness(it).enhance(1.1)]
)
def test_a_copy_has_nearly_the_same_hash(change) -> None:  # type: ignore[no-untyped-def]
    assert bits_apart(scene(), change(scene())) <= 10


def test_a_copy_that_is_cut_a_little_keeps_most_of_its_bits() -> None:
    """2.5 % off each side."""
    assert bits_apart(scene(), scene().crop((6, 5, 250, 187))) <= 10


def test_the_hash_of_a_small_picture_is_of_its_pixels() -> None:
    """Blocks of three by three would miss every third stripe."""
    stripes = Image.frombytes("L", (18, 18), bytes(255 * (x // 2 % 2) for _ in range(18) for x in range(18)))
    assert bits_apart(stripes, stripes.transpose(Image.Transpose.ROTATE_90)) > 60


@pytest.mark.parametrize("turn", [Image.Transpose.ROTATE_90, Image.Transpose.FLIP_LEFT_RIGHT])
def test_a_turned_or_mirrored_copy_is_not_known_again(turn: Image.Transpose) -> None:
    """A limit that docs/quality.md names."""
    assert bits_apart(scene(), scene().transpose(turn)) > 20


def test_another_picture_has_another_hash() -> None:
    assert bits_apart(scene(), draw_scene("town", [Thing("house", 40, 110, 160)]).resize((256, 192))) > 20


def test_what_is_worse_has_lower_measures() -> None:
    sound, blurred = measured(scene()), measured(scene().filter(ImageFilter.GaussianBlur(6)))
    dark = measured(ImageEnhance.Brightness(scene()).enhance(0.1))
    assert blurred.sharpness < sound.sharpness / 2
    assert dark.brightness == pytest.approx(sound.brightness / 10, abs=0.01)
    assert dark.contrast < sound.contrast
    assert dark.entropy < sound.entropy


@pytest.mark.parametrize("size", [(3, 3), (4, 5), (64, 48), (65, 49)])
def test_sharpness_is_the_deviation_of_the_laplacian(size: tuple[int, int]) -> None:
    """Of that of nine points, in the middle of each block of three by three."""
    picture = Image.frombytes(
        "L", size, bytes((x * x + 7 * y * y) % 23 * 9 for y in range(size[1]) for x in range(size[0]))
    )
    at = picture.load()
    assert at
    around = [(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)]
    levels = [
        (sum(at[x + i, y + j] for i, j in around) - 9 * at[x, y]) / 3  # type: ignore[misc, operator]
        for y in range(1, size[1] - 1, 3)
        for x in range(1, size[0] - 1, 3)
    ]
    # A mean is rounded to a level, and three times as far off.
    assert measured(picture).sharpness == pytest.approx(statistics.pstdev(levels), abs=0.1)


@pytest.mark.parametrize("rows", [True, False], ids=["rows", "chequers"])
def test_what_alternates_from_pixel_to_pixel_is_sharp(rows: bool) -> None:
    levels = bytes(255 * (y + (0 if rows else x)) % 510 for y in range(64) for x in range(64))
    assert measured(Image.frombytes("L", (64, 64), levels)).sharpness > 100


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "YCbCr"])
@pytest.mark.parametrize("size", [(1, 1), (2, 300), (256, 3)])
def test_every_mode_and_the_smallest_pictures_are_measured(mode: str, size: tuple[int, int]) -> None:
    blank = measured(Image.new(mode, size))
    assert (len(blank.phash), blank.contrast, blank.sharpness, blank.entropy) == (32, 0, 0, 0)


def test_what_shines_through_is_white() -> None:
    assert measured(Image.new("RGBA", (9, 9))).brightness == 1
