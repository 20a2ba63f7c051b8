"""What the header of a picture says, or the beginning of it."""

from __future__ import annotations

import struct
import sys
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pillow_heif
import pytest
from PIL import Image, features

from imagehaul.records import ImageInfo, Picture, RenderOptions
from imagehaul.rendering import formats
from imagehaul.rendering.render import render
from tests.support.pictures import exif, job, quadrants, saved

pillow_heif.register_heif_opener()
OPTIONS = RenderOptions()

pytestmark = pytest.mark.filterwarnings("ignore:Corrupt EXIF data")


def looked_at(file: Path, **options: Any) -> Picture:
    return render(job(file), RenderOptions(**options))


def facts_of(file: Path) -> ImageInfo:
    picture = looked_at(file)
    assert picture.info is not None
    assert (picture.code, picture.message) == ("", "")
    return picture.info


def header_of(file: Path, length: int) -> Picture:
    """What the first bytes tell, as after a range read."""
    part = file.with_name("part")
    part.write_bytes(file.read_bytes()[:length])
    return render(replace(job(part), size=file.stat().st_size, partial=True), OPTIONS)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.parametrize(
    ("kind", "options", "name", "content_type"),
    [
        ("JPEG", {}, "JPEG", "image/jpeg"),
        ("MPO", {"save_all": True, "append_images": [quadrants()]}, "MPO", "image/jpeg"),
        ("PNG", {}, "PNG", "image/png"),
        ("GIF", {}, "GIF", "image/gif"),
        ("TIFF", {"compression": "tiff_lzw"}, "TIFF", "image/tiff"),
        ("BMP", {}, "BMP", "image/bmp"),
        ("WEBP", {}, "WEBP", "image/webp"),
        ("AVIF", {}, "AVIF", "image/avif"),
        ("JPEG2000", {}, "JPEG2000", "image/jp2"),
        ("HEIF", {}, "HEIF", "image/heic"),
    ],
)
def test_the_format_is_the_content_s_and_not_the_name_s(
    tmp_path: Path, kind: str, options: dict[str, Any], name: str, content_type: str
) -> None:
    info = facts_of(saved(tmp_path / "picture.gif", quadrants(), format=kind, **options))
    assert (info.format, info.content_type) == (name, content_type)
    assert (info.width, info.height, info.orientation, info.checked) == (320, 240, 1, "header")


def test_a_heif_that_does_not_name_its_codec_is_image_heif(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.heic", quadrants(), format="HEIF")
    file.write_bytes(file.read_bytes().replace(b"ftypheic", b"ftypmif1", 1))
    assert facts_of(file).content_type == "image/heif"


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>", b"PK\x03\x04" + bytes(40), b"%!PS-Adobe-3.0", b"\x00"])
def test_what_is_no_picture_is_named_with_its_beginning(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "page.jpg"
    file.write_bytes(content)
    picture = looked_at(file)
    assert picture.code == "UNDECODABLE"
    assert repr(content[:12]) in picture.message
    assert picture.info is not None
    assert (picture.info.format, picture.info.content_type) == ("", "binary/octet-stream")
    assert picture.info.size == len(content)
    assert picture.info.md5


def test_a_file_without_bytes_is_empty(tmp_path: Path) -> None:
    file = tmp_path / "empty.png"
    file.touch()
    picture = looked_at(file)
    assert picture.code == "EMPTY"
    assert picture.info is not None
    assert picture.info.md5 == "d41d8cd98f00b204e9800998ecf8427e"


def test_a_known_format_with_a_broken_header_is_called_that(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    assert "its PNG header is broken" in looked_at(file).message


@pytest.mark.parametrize(("orientation", "size"), [(1, (320, 240)), (3, (320, 240)), (6, (240, 320)), (8, (240, 320))])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_width_and_height_are_the_upright_picture_s(
    tmp_path: Path, kind: str, orientation: int, size: tuple[int, int]
) -> None:
    info = facts_of(saved(tmp_path / "a", quadrants(), format=kind, exif=exif(orientation)))
    assert (info.width, info.height) == size
    assert info.orientation == orientation


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    content, end = file.read_bytes()[:-12], file.read_bytes()[-12:]
    file.write_bytes(content + chunk(b"eXIf", exif(6).tobytes()[6:]) + end)
    assert (facts_of(file).width, facts_of(file).orientation) == (240, 6)


@pytest.mark.parametrize("block", [b"Exif\0\0", b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\xff", bytes(3000)])
def test_broken_exif_spoils_no_picture(tmp_path: Path, block: bytes) -> None:
    assert facts_of(saved(tmp_path / "a.jpg", quadrants(), exif=block)).orientation == 1


def test_an_orientation_that_is_none_of_the_eight_is_upright(tmp_path: Path) -> None:
    assert facts_of(saved(tmp_path / "a.jpg", quadrants(), exif=exif(9))).orientation == 1


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_frames_and_pages_are_counted(tmp_path: Path, kind: str) -> None:
    frames = [quadrants().rotate(90 * turn) for turn in range(3)]
    file = saved(tmp_path / "a", frames[0], format=kind, save_all=True, append_images=frames[1:])
    assert facts_of(file).frames == 3


def test_too_many_pixels_are_known_from_the_header_alone(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    file = tmp_path / "bomb.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    picture = looked_at(file)
    assert picture.code == "PIXEL_LIMIT"
    assert "60000 x 60000" in picture.message
    assert picture.info is not None
    assert (picture.info.width, picture.info.format) == (60_000, "PNG")
    assert picture.info.sha256


def test_a_size_that_no_picture_has_is_a_broken_header(tmp_path: Path) -> None:
    tags = ((256, 2**64 - 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1))
    entries = b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in tags)
    file = tmp_path / "big.tif"
    file.write_bytes(struct.pack("<2sHHHQQ", b"II", 43, 8, 0, 16, len(tags)) + entries + bytes(8))
    picture = looked_at(file)
    assert (picture.code, "18446744073709551615" in picture.message) == ("UNDECODABLE", True)


def test_a_missing_decoder_is_told_apart_from_a_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.heic", quadrants(), format="HEIF")
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._heif_registered.cache_clear()
    try:
        picture = looked_at(file)
    finally:
        formats._heif_registered.cache_clear()
    assert picture.code == "DECODER_MISSING"
    assert "pillow-heif" in picture.message


def test_a_pillow_that_was_built_without_a_decoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.webp", quadrants())
    monkeypatch.setitem(Image.OPEN, "WEBP", (Image.OPEN["WEBP"][0], lambda prefix: "not installed"))
    monkeypatch.setattr(features, "check", lambda feature: False)
    with pytest.warns(UserWarning, match="not installed"):
        picture = looked_at(file)
    assert picture.code == "DECODER_MISSING"
    assert "WebP" in picture.message


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "AVIF", "HEIF", "JPEG2000"])
def test_the_beginning_of_a_file_is_enough_for_its_header(tmp_path: Path, kind: str) -> None:
    noise = Image.effect_noise((640, 480), 90).convert("RGB")
    file = saved(tmp_path / "a", noise, format=kind)
    picture = header_of(file, 4096)
    assert not picture.header_incomplete
    assert picture.info is not None
    assert (picture.info.width, picture.info.height, picture.info.checked) == (640, 480, "header")
    assert (picture.info.size, picture.info.sha256, picture.info.frames) == (file.stat().st_size, "", 0)


def test_a_header_at_the_end_of_the_file_is_said_to_be_missing(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.tif", quadrants(), compression="tiff_lzw")
    data = bytearray(file.read_bytes())
    directory = struct.unpack("<I", data[4:8])[0]
    length = 2 + 12 * struct.unpack("<H", data[directory : directory + 2])[0] + 4
    data[4:8] = struct.pack("<I", len(data))
    file.write_bytes(bytes(data) + bytes(data[directory : directory + length]))
    assert facts_of(file).width == 320

    assert header_of(file, 1000) == Picture(None, header_incomplete=True)


def test_an_orientation_at_the_end_of_a_webp_is_not_guessed(tmp_path: Path) -> None:
    noise = Image.effect_noise((640, 480), 90).convert("RGB")
    file = saved(tmp_path / "a.webp", noise, exif=exif(6))
    assert facts_of(file).width == 480
    assert header_of(file, 4096).header_incomplete


@pytest.mark.parametrize("length", [1, 11, 30, 200])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF", "TIFF"])
def test_too_little_of_a_file_is_no_verdict_on_it(tmp_path: Path, kind: str, length: int) -> None:
    picture = header_of(saved(tmp_path / "a", quadrants(), format=kind), length)
    assert picture.header_incomplete or (picture.info is not None and picture.info.width == 320)
    assert picture.code == ""


def test_the_beginning_is_read_like_the_whole(tmp_path: Path) -> None:
    buffer = BytesIO()
    quadrants().save(buffer, "JPEG", exif=exif(8), comment=b"x" * 3000)
    file = tmp_path / "a.jpg"
    file.write_bytes(buffer.getvalue())
    whole = facts_of(file)
    part = header_of(file, 5000).info
    assert part == replace(whole, md5="", sha256="", etag="", frames=0)
