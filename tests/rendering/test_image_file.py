"""The file behind a picture: what becomes of it while we look."""

from __future__ import annotations

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.records import PART_SIZE
from imagehaul.rendering import image_file
from imagehaul.rendering.image_file import PictureError, opened
from tests.support.pictures import job


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "picture.jpg"
    path.write_bytes(b"0123456789")
    return path


def test_a_file_is_read_and_hashed_in_one_go(file: Path) -> None:
    with opened(job(file)) as source:
        assert source.stream.read() == b"0123456789"
    assert (source.info.size, source.info.checked) == (10, "nothing")
    assert source.info.md5 == source.info.etag == hashlib.md5(b"0123456789").hexdigest()
    assert source.info.sha256 == hashlib.sha256(b"0123456789").hexdigest()


def test_a_file_of_several_parts_is_not_held_in_memory(tmp_path: Path) -> None:
    large = tmp_path / "large.tif"
    with large.open("wb") as stream:
        stream.truncate(PART_SIZE + 5)
    with opened(job(large)) as source:
        assert source.stream.fileno() >= 0
        assert source.stream.read(3) == bytes(3)
    assert source.info.md5 == hashlib.md5(bytes(PART_SIZE + 5)).hexdigest()
    assert source.info.etag.endswith("-2")


@pytest.mark.parametrize("seen", [{"size": 9}, {"size": 11}, {"version": "1700000000000000000"}])
def test_a_file_that_is_not_the_planned_one_is_not_read(file: Path, seen: dict[str, object]) -> None:
    with pytest.raises(PictureError) as fault, opened(replace(job(file), **seen)):  # type: ignore[arg-type]
        pass
    assert fault.value.code == "SOURCE_CHANGED"


def test_a_download_has_no_time_to_compare(file: Path) -> None:
    with opened(replace(job(file), version="")) as source:
        assert source.info.size == 10


def test_a_file_that_is_written_to_while_it_is_read_is_named(file: Path) -> None:
    def write() -> None:
        file.write_bytes(b"9876543210")
        os.utime(file, ns=(1, 1))

    with pytest.raises(PictureError) as fault, opened(job(file)):
        write()
    assert fault.value.code == "SOURCE_CHANGED"


def test_a_file_that_another_takes_the_place_of_is_named(file: Path) -> None:
    status = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"9876543210")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(PictureError) as fault, opened(job(file)):
        other.rename(file)
    assert fault.value.code == "SOURCE_CHANGED"


def test_a_file_that_goes_away_is_named(file: Path) -> None:
    planned = job(file)
    with pytest.raises(PictureError) as fault, opened(planned):
        file.unlink()
    assert fault.value.code == "SOURCE_GONE"
    with pytest.raises(PictureError) as fault, opened(planned):
        pass
    assert fault.value.code == "SOURCE_GONE"


def test_what_cannot_be_read_carries_the_system_s_words(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="Is a directory") as fault, opened(job(tmp_path)):
        pass
    assert fault.value.code == "UNREADABLE"


@pytest.mark.parametrize(
    ("number", "code"), [(errno.EMFILE, "MACHINE_BUSY"), (errno.ENOMEM, "MACHINE_BUSY"), (errno.ESTALE, "SOURCE_GONE")]
)
def test_what_this_machine_or_a_mount_lacks_is_no_fault_of_the_picture(
    file: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(image_file, "open", fail, raising=False)
    with pytest.raises(PictureError) as fault, opened(job(file)):
        pass
    assert (fault.value.code, fault.value.code.status) == (code, "failed")


def test_of_a_partial_file_no_hash_is_told(file: Path) -> None:
    with opened(replace(job(file), size=5000, partial=True)) as source:
        assert source.stream.read() == b"0123456789"
    assert (source.info.size, source.info.md5, source.info.sha256, source.info.etag) == (5000, "", "", "")
