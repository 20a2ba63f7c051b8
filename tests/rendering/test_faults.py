"""Pictures that are broken or hostile, files that change, and disks that fail."""

from __future__ import annotations

import errno
import hashlib
import os
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageFile
from pillow_heif import HeifImageFile

from imagehaul.records import PART_SIZE, Box, PictureJob, RenderOptions
from imagehaul.rendering import image_file as picture_source
from imagehaul.rendering.render import fingerprint, render
from tests.support.pictures import (
    UPRIGHT,
    job,
    quadrants,
    rendered,
    saved,
    seen,
    thumbnail_of,
)

pillow_heif.register_heif_opener()


# --- Broken and hostile files


def broken_off(tmp_path: Path, kind: str, tenth: int) -> Path:
    noise = Image.effect_noise((200, 150), 90).convert("RGB")
    file = saved(tmp_path / "a", noise, format=kind)
    data = file.read_bytes()
    file.write_bytes(data[: max(1, len(data) * tenth // 10)])
    return file


@pytest.mark.parametrize("tenth", range(10))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "AVIF", "JPEG2000", "HEIF"])
def test_a_file_that_breaks_off_is_found_out(tmp_path: Path, kind: str, tenth: int) -> None:
    """Also where the picture is smaller than the thumbnail, for which Pillow would not decode it."""
    file = broken_off(tmp_path, kind, tenth)
    for picture in (thumbnail_of(file)[0], rendered(file, Box(0, 0, 5, 5)), rendered(file, full_check=True)):
        assert picture.code == "UNDECODABLE"
        assert picture.renditions == ()
        assert picture.info is not None
        assert picture.info.md5 == hashlib.md5(file.read_bytes()).hexdigest()


def test_a_broken_file_is_found_by_its_header_or_by_the_full_check(tmp_path: Path) -> None:
    file = broken_off(tmp_path, "JPEG", 5)
    quick, full = rendered(file), rendered(file, full_check=True)
    assert quick.code == ""
    assert quick.info is not None
    assert quick.info.checked == "header"
    assert full.code == "UNDECODABLE"


def test_the_full_check_of_a_good_file_says_so(tmp_path: Path) -> None:
    info = rendered(saved(tmp_path / "a.jpg", quadrants()), full_check=True).info
    assert info is not None
    assert (info.checked, info.width, info.height, info.mode) == ("decoded", 320, 240, "RGB")


def test_a_header_that_lies_about_the_size_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A HEIF is as large as its pixels turn out to be. Boxes would miss what they name."""
    load = HeifImageFile.load

    def load_other(self: HeifImageFile) -> object:
        result = load(self)
        self._size = (160, 120)
        return result

    monkeypatch.setattr(HeifImageFile, "load", load_other)
    picture = thumbnail_of(saved(tmp_path / "a.heic", quadrants(), format="HEIF"))[0]
    assert picture.code == "UNDECODABLE"
    assert "320 x 240" in picture.message


def test_a_text_bomb_in_a_png_is_not_unpacked(tmp_path: Path) -> None:
    """What a picture can do without is passed over where it is bad, as browsers do."""
    file = saved(tmp_path / "a.png", quadrants())
    text = b"Comment\0\0" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    data = file.read_bytes()
    file.write_bytes(data[:33] + chunk + data[33:])
    del text, chunk
    tracemalloc.start()
    try:
        picture, thumbnail = thumbnail_of(file)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
    assert picture.code == ""
    assert seen(thumbnail) == UPRIGHT


def test_a_message_is_one_line_without_control_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise ValueError("\x1b[31mred\nand a second line" + "x" * 500)

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    picture = thumbnail_of(saved(tmp_path / "a.png", quadrants()))[0]
    assert picture.code == "UNDECODABLE"
    assert picture.message.isprintable()
    assert len(picture.message) < 250


def test_more_pixels_than_the_limit_leave_facts_and_no_renditions(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    picture = rendered(file, Box(0, 0, 5, 5), thumbnail=True, normalized=True, pixel_limit=320 * 240 - 1)
    assert (picture.code, picture.renditions) == ("PIXEL_LIMIT", ())
    assert picture.info is not None
    assert (picture.info.width, picture.info.format, picture.info.checked) == (320, "PNG", "header")
    assert list(tmp_path.iterdir()) == [file]
    assert rendered(file, Box(0, 0, 5, 5), pixel_limit=320 * 240).code == ""


def test_memory_that_runs_out_is_no_fault_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    for error in (MemoryError(), OSError("broken data stream when reading image file")):

        def fail(self: object, error: Exception = error) -> None:
            raise error

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        picture = rendered(file, Box(0, 0, 5, 5), picture_memory=1)
        assert picture.code == "MEMORY_LIMIT"
        assert "PICTURE_MEMORY" in picture.message
        assert picture.info is not None
        assert picture.info.sha256


def test_memory_that_runs_out_while_reading_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(picture_source, "digest", fail)
    assert rendered(saved(tmp_path / "a.png", quadrants())).code == "MEMORY_LIMIT"


# --- The file and the scratch folder


def test_a_source_that_changed_is_not_delivered_in_a_mixture(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    planned = replace(job(file), version="1", thumbnail=f"{file}.thumbnail")
    assert render(planned, RenderOptions()).code == "SOURCE_CHANGED"
    assert render(replace(planned, size=3), RenderOptions()).info is None
    file.unlink()
    assert render(planned, RenderOptions()).code == "SOURCE_GONE"


def test_a_disk_that_reports_errors_is_not_a_broken_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    picture = thumbnail_of(saved(tmp_path / "a.png", quadrants()))[0]
    assert (picture.code, picture.message) == ("UNREADABLE", "Reading failed: Input/output error.")


def test_a_full_disk_costs_the_rendition_and_not_the_image(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    full = tmp_path / "a.thumbnail"
    full.symlink_to("/dev/full")
    picture = render(job(file, thumbnail=str(full)), RenderOptions())
    assert picture.code == ""
    assert picture.renditions[0].code == "DISK_FULL"
    assert "No space left on device" in picture.renditions[0].message
    assert not full.is_symlink()


def test_a_rendition_for_which_there_is_no_room_goes_to_the_spare_folder(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    full, spare = tmp_path / "a.thumbnail", tmp_path / "spare"
    full.symlink_to("/dev/full")
    spare.mkdir()
    rendition = render(job(file, thumbnail=str(full), spare=str(spare)), RenderOptions()).renditions[0]
    assert (rendition.code, rendition.file) == ("", str(spare / "a.thumbnail"))
    assert (spare / "a.thumbnail").stat().st_size == rendition.size
    assert not full.is_symlink()


def test_a_scratch_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", quadrants())
    rendition = render(job(file, thumbnail=str(tmp_path / "none" / "a")), RenderOptions()).renditions[0]
    assert rendition.code == "SCRATCH_UNWRITABLE"


def test_a_picture_of_several_parts_is_decoded_from_the_disk(tmp_path: Path) -> None:
    image = Image.new("RGB", (4400, 4000), "white")
    image.paste(quadrants((4400, 4000)))
    file = saved(tmp_path / "a.tif", image)
    assert file.stat().st_size > PART_SIZE
    picture, thumbnail = thumbnail_of(file)
    assert seen(thumbnail) == UPRIGHT
    assert picture.info is not None
    assert picture.info.etag.endswith("-2")


def test_the_fingerprint_needs_no_decoder(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"no picture")
    info = fingerprint(job(file)).info
    assert info is not None
    assert (info.md5, info.format) == (hashlib.md5(b"no picture").hexdigest(), "")
    assert fingerprint(PictureJob(str(tmp_path / "gone"), 5, "")).code == "SOURCE_GONE"
