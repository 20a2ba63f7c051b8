"""How a batch gets at its files: in place from a folder, downloaded from the store only where needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from imagehaul.records import PlannedImage
from imagehaul.sources.fetch import HEADER_BYTES, FolderFetcher, PrefixFetcher
from imagehaul.store.endpoint import Store
from tests.support.delivering import draw


def planned(path: str, size: int, version: str) -> PlannedImage:
    return PlannedImage(path, path, size, version, (), ())


def test_a_folders_files_are_used_where_they_lie(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "b.jpg")
    [fetched] = FolderFetcher(tmp_path).fetch([planned("a/b.jpg", 5, "77")], [True], tmp_path / "scratch")
    assert (fetched.file, fetched.version, fetched.partial) == (str(tmp_path / "a" / "b.jpg"), "77", False)


def test_a_changed_or_missing_file_is_told_from_one_that_stayed(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    status = (tmp_path / "a.jpg").stat()
    fetcher = FolderFetcher(tmp_path)
    assert not fetcher.has_changed("a.jpg", status.st_size, str(status.st_mtime_ns))
    assert fetcher.has_changed("a.jpg", status.st_size, "1")
    assert fetcher.has_changed("gone.jpg", 1, "1")


@pytest.fixture
def stored(store: Store, bucket: str) -> tuple[PrefixFetcher, PlannedImage, bytes]:
    content = bytes(range(256)) * 1024
    answer = store.client().put_object(Bucket=bucket, Key="in/a.bin", Body=content)
    image = planned("a.bin", len(content), answer["ETag"].strip('"'))
    return PrefixFetcher(store, bucket, "in/", workers=2), image, content


def test_the_whole_object_is_downloaded_where_all_bytes_are_needed(
    stored: tuple[PrefixFetcher, PlannedImage, bytes], tmp_path: Path
) -> None:
    fetcher, image, content = stored
    [fetched] = fetcher.fetch([image], [True], tmp_path)
    assert Path(fetched.file).read_bytes() == content
    assert not fetched.partial


def test_only_the_beginning_is_downloaded_where_a_header_will_do(
    stored: tuple[PrefixFetcher, PlannedImage, bytes], tmp_path: Path
) -> None:
    fetcher, image, content = stored
    [fetched] = fetcher.fetch([image], [False], tmp_path)
    assert Path(fetched.file).read_bytes() == content[:HEADER_BYTES]
    assert fetched.partial


def test_an_object_that_changed_since_the_plan_is_named(
    stored: tuple[PrefixFetcher, PlannedImage, bytes], tmp_path: Path
) -> None:
    fetcher, image, _ = stored
    [fetched] = fetcher.fetch([planned(image.path, image.size, "0" * 32)], [True], tmp_path)
    assert fetched.code == "SOURCE_CHANGED"
    [fetched] = fetcher.fetch([planned("gone.bin", 1, "0" * 32)], [True], tmp_path)
    assert fetched.code == "SOURCE_GONE"


def test_it_knows_the_source_as_it_is_now(stored: tuple[PrefixFetcher, PlannedImage, bytes]) -> None:
    fetcher, image, content = stored
    assert fetcher.sha256_of("a.bin") == hashlib.sha256(content).hexdigest()
    assert not fetcher.has_changed("a.bin", image.size, image.version)
    assert fetcher.has_changed("a.bin", image.size, "another")
    assert fetcher.has_changed("gone.bin", 1, "x")
    assert fetcher.in_store(image) == (fetcher.bucket, "in/a.bin")


def test_a_multipart_etag_says_nothing_that_a_copy_will_have_again(
    stored: tuple[PrefixFetcher, PlannedImage, bytes],
) -> None:
    fetcher, image, _ = stored
    assert fetcher.has_md5(image)
    assert not fetcher.has_md5(planned("b.bin", 1, "0123456789abcdef0123456789abcdef-7"))
