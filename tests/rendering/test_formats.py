"""Pictures that Pillow does not read: by a second decoder, without a part of the file, or told as our limit."""

from __future__ import annotations

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import pytest
import tifffile
from PIL import Image, ImageChops, ImageFilter

from imagehaul.records import Box
from imagehaul.rendering import second_tiff
from imagehaul.rendering.wholeness import ended_jpeg
from tests.support.pictures import UPRIGHT, as_held, levels, png_chunk, quadrants, rendered, saved, seen, thumbnail_of

COLOURS = numpy.asarray(quadrants((64, 48)))


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_tiff, "register", lambda: False)


def tiff(file: Path, pixels: Any, **options: Any) -> Path:
    tifffile.imwrite(file, pixels, **options)
    return file


KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "32-bit floats": (COLOURS.astype("f4") / 255, {}),
    "16-bit floats": ((COLOURS / 255).astype("f2"), {}),
    "64-bit floats": (COLOURS / 255, {}),
    "floats in planes": (numpy.moveaxis(COLOURS, -1, 0).astype("f4"), {"planarconfig": "separate"}),
    "32-bit numbers": (COLOURS.astype("u4") * 2**24, {}),
    "BigTIFF of the other byte order": (COLOURS, {"bigtiff": True, "byteorder": ">"}),
    "five bands of 16 bits": (numpy.dstack([COLOURS, COLOURS[..., :2]]).astype("u2") * 257, {"planarconfig": "contig"}),
    "LERC": (COLOURS, {"compression": "lerc"}),
    "WebP": (COLOURS, {"compression": "webp"}),
    "JPEG 2000": (COLOURS, {"compression": "jpeg2000"}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_tiff_of_another_kind_has_a_thumbnail(tmp_path: Path, kind: str) -> None:
    pixels, options = KINDS[kind]
    picture, thumbnail = thumbnail_of(tiff(tmp_path / "a.tif", pixels, photometric="rgb", **options))
    assert (picture.code, picture.message) == ("", "")
    assert seen(thumbnail) == UPRIGHT
    assert picture.info is not None
    assert (picture.info.format, picture.info.width, picture.info.height) == ("TIFF", 64, 48)


def test_eight_bits_with_a_sign_go_from_dark_to_bright(tmp_path: Path) -> None:
    row = levels(thumbnail_of(tiff(tmp_path / "a.tif", numpy.tile(numpy.arange(-128, 128, dtype="i1"), (9, 1))))[1])
    assert row[0] <= 2
    assert row[-1] >= 253
    assert abs(row[128] - 128) < 4


@pytest.mark.parametrize("kind", ["32-bit floats", "WebP", "BigTIFF of the other byte order"])
def test_without_the_second_decoder_the_file_is_told_to_be_whole(
    tmp_path: Path, kind: str, without_extra: None
) -> None:
    pixels, options = KINDS[kind]
    file = tiff(tmp_path / "a.tif", pixels, photometric="rgb", **options)
    picture, _ = thumbnail_of(file)
    assert (picture.code, picture.renditions) == ("FORMAT_UNSUPPORTED", ())
    assert "imagehaul[tiff]" in picture.message
    assert picture.info is not None
    assert (picture.info.format, picture.info.content_type) == ("TIFF", "image/tiff")
    assert picture.info.sha256


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_tiff_that_breaks_off_is_broken_with_either_decoder(
    tmp_path: Path, tenth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tiff(tmp_path / "a.tif", COLOURS.astype("f4"), photometric="rgb")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * tenth // 10])
    assert thumbnail_of(file)[0].code == "UNDECODABLE"
    monkeypatch.setattr(second_tiff, "register", lambda: False)
    assert thumbnail_of(file)[0].code == "UNDECODABLE"


def test_kinds_that_neither_decoder_shows_are_delivered_without_renditions(tmp_path: Path) -> None:
    picture = rendered(tiff(tmp_path / "a.tif", COLOURS[..., 0].astype("c8")), Box(0, 0, 5, 5), thumbnail=True)
    assert (picture.code, picture.renditions) == ("FORMAT_UNSUPPORTED", ())


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_second_decoder_s_pictures_are_upright(tmp_path: Path, orientation: int) -> None:
    stored = numpy.asarray(as_held(quadrants((64, 48)), orientation)).astype("f4")
    file = tiff(tmp_path / "a.tif", stored, photometric="rgb", extratags=[(274, 3, 1, orientation, True)])
    picture, thumbnail = thumbnail_of(file)
    assert seen(thumbnail) == UPRIGHT
    assert (picture.renditions[0].width, picture.renditions[0].height) == (64, 48)


def test_the_second_decoder_leaves_out_what_is_not_measured(tmp_path: Path) -> None:
    ramp = numpy.tile(numpy.linspace(0, 40, 200), (100, 1))
    ramp[:20, :100] = numpy.nan
    row = levels(thumbnail_of(tiff(tmp_path / "a.tif", ramp))[1])
    assert row[0] <= 2
    assert row[-1] >= 253
    assert abs(row[100] - 128) < 4


@pytest.mark.parametrize(
    ("bits", "masks"), [(16, (0xF00, 0xF0, 0xF)), (32, (0x3FF00000, 0xFFC00, 0x3FF))], ids=["4444", "10 bits"]
)
def test_a_bmp_of_odd_fields_is_told_as_our_limit(tmp_path: Path, bits: int, masks: tuple[int, ...]) -> None:
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, bits, 3, 0, 0, 0, 0, 0) + struct.pack("<III", *masks)
    pixels = bytes(8 * 8 * bits // 8)
    data = b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header + pixels
    (tmp_path / "a.bmp").write_bytes(data)
    (tmp_path / "b.bmp").write_bytes(data[:-9])
    assert thumbnail_of(tmp_path / "a.bmp")[0].code == "FORMAT_UNSUPPORTED"
    assert thumbnail_of(tmp_path / "b.bmp")[0].code == "UNDECODABLE"


def test_an_avif_whose_colours_cannot_be_converted_is_told_as_our_limit(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.avif", quadrants())
    data = bytearray(file.read_bytes())
    matrix = data.index(b"nclx") + 9
    data[matrix] = 11  # SMPTE ST 2085
    file.write_bytes(data)
    picture, _ = thumbnail_of(file)
    assert (picture.code, picture.renditions) == ("FORMAT_UNSUPPORTED", ())
    assert picture.info is not None
    assert (picture.info.format, picture.info.width) == ("AVIF", 320)


def test_a_jpeg_of_twelve_bits_is_told_as_our_limit(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.jpg", quadrants())
    data = bytearray(file.read_bytes())
    data[data.index(b"\xff\xc0") + 4] = 12
    file.write_bytes(data)
    assert thumbnail_of(file)[0].code == "FORMAT_UNSUPPORTED"
    file.write_bytes(data[:-300])
    assert thumbnail_of(file)[0].code == "UNDECODABLE"


# --- What a picture can do without


@pytest.mark.parametrize(
    ("name", "data", "good"),
    [
        (b"gAMA", struct.pack(">I", 45455), False),
        (b"pHYs", b"\0\0", True),
        (b"cHRM", b"\0\0", True),
        (b"acTL", b"\0", True),
        (b"tRNS", bytes(6), False),
        (b"iCCP", b"x\0\0notzlib", True),
    ],
)
def test_a_png_whose_ancillary_chunk_is_bad_is_shown_all_the_same(
    tmp_path: Path, name: bytes, data: bytes, good: bool
) -> None:
    made = BytesIO()
    quadrants().save(made, "PNG")
    file = tmp_path / "a.png"
    file.write_bytes(made.getvalue()[:33] + png_chunk(name, data, good) + made.getvalue()[33:])
    picture, thumbnail = thumbnail_of(file)
    assert (picture.code, picture.message) == ("", "")
    assert seen(thumbnail) == UPRIGHT


def test_a_png_whose_pixels_are_bad_is_broken(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    data = bytearray(file.read_bytes())
    data[data.index(b"IDAT") + 9] ^= 0xFF
    file.write_bytes(data)
    assert thumbnail_of(file)[0].code == "UNDECODABLE"


@pytest.mark.parametrize("cut", [1, 2])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
def test_a_jpeg_that_lacks_its_end_marker_alone_is_delivered_with_a_remark(
    tmp_path: Path, cut: int, options: dict[str, Any]
) -> None:
    file = saved(tmp_path / "a.jpg", quadrants((640, 480)), **options)
    file.write_bytes(file.read_bytes()[:-cut])
    picture, thumbnail = thumbnail_of(file)
    assert picture.code == "END_MISSING"
    assert "end marker" in picture.message
    assert picture.info is not None
    assert (picture.info.width, picture.info.size) == (640, file.stat().st_size)
    assert seen(thumbnail) == UPRIGHT
    assert rendered(file, full_check=True).code == "END_MISSING"


@pytest.mark.parametrize("cut", [20, 200, 2000])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_lacks_more_is_broken(tmp_path: Path, cut: int, progressive: bool) -> None:
    grain = Image.effect_noise((200, 150), 90).convert("RGB")
    file = saved(tmp_path / "a.jpg", grain, progressive=progressive)
    file.write_bytes(file.read_bytes()[:-cut])
    assert thumbnail_of(file)[0].code == "UNDECODABLE"


def noise(size: tuple[int, int]) -> Image.Image:
    return Image.effect_noise(size, 60).filter(ImageFilter.GaussianBlur(2))


def test_a_jpeg_is_ended_only_where_no_pixel_was_lost(tmp_path: Path) -> None:
    """Half of the last blocks lies outside of these pictures, and few bits are behind what is cut off."""
    ended = 0
    for number in range(30):
        gradient = Image.linear_gradient("L").resize((114 + number % 13, 120))
        bands = [ImageChops.add(gradient.rotate(number * turn), noise(gradient.size), 2) for turn in (5, 12, 17)]
        buffer = BytesIO()
        Image.merge("RGB", bands).save(buffer, "JPEG", quality=75)
        whole = Image.open(buffer).convert("RGB")
        for cut in range(1, 13):
            if found := ended_jpeg(BytesIO(buffer.getvalue()[:-cut])):
                ended += 1
                difference = ImageChops.difference(Image.open(found).convert("RGB"), whole)
                assert difference.getbbox() is None, f"picture {number} without its last {cut} bytes"
    assert ended >= 60, "without the last byte, and without the last two"


@pytest.mark.parametrize(
    ("name", "mode"), [("a.ico", "RGBA"), ("a.pbm", "1"), ("a.pgm", "L"), ("a.ppm", "RGB"), ("a.tga", "RGB")]
)
def test_the_older_formats_are_read_too(tmp_path: Path, name: str, mode: str) -> None:
    picture, thumbnail = thumbnail_of(saved(tmp_path / name, quadrants((64, 48), mode)))
    assert (picture.code, picture.message) == ("", "")
    if mode in ("RGB", "RGBA"):
        assert seen(thumbnail) == UPRIGHT


# --- Which way is up


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_an_orientation_in_xmp_alone_is_obeyed_by_nobody(tmp_path: Path, kind: str) -> None:
    note = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    picture, thumbnail = thumbnail_of(saved(tmp_path / "a", quadrants(), format=kind, **with_xmp(kind, note)))
    assert seen(thumbnail) == UPRIGHT
    assert picture.info is not None
    assert (picture.info.orientation, picture.info.width, picture.info.height) == (1, 320, 240)


def with_xmp(kind: str, note: bytes) -> dict[str, Any]:
    if kind == "PNG":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", note.decode())
        return {"pnginfo": info}
    if kind == "TIFF":
        return {"tiffinfo": {700: note}}
    return {"xmp": note}


def test_a_broken_heif_is_told_as_that(tmp_path: Path) -> None:
    file = tmp_path / "a.heif"
    file.write_bytes(struct.pack(">I", 24) + b"ftypmif1" + bytes(4) + b"mif1heic" + b"broken" * 50)
    picture, _ = thumbnail_of(file)
    assert picture.code == "UNDECODABLE"
    assert "HEIF" in picture.message
    assert "AVIF" not in picture.message
