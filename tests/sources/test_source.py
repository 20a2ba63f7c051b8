"""How a batch gets at its files: in place from a folder, downloaded from the store only where needed."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest

from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import FolderSource
from imagehaul.sources.prefix import PrefixSource
from imagehaul.sources.registry import describe_source, open_source
from imagehaul.sources.source import CopyOrigin, SourceTools, sha256_of
from imagehaul.sources.stored_objects import HEADER_BYTES
from imagehaul.store.endpoint import Store
from tests.support.delivering import draw


def test_a_descriptor_travels_and_opens_the_same_source_elsewhere(tmp_path: Path, store: Store) -> None:
    options = SourceOptions(include=("*.jpg",), follow_links=True)
    descriptor = pickle.loads(pickle.dumps(describe_source(str(tmp_path), options)))
    assert open_source(descriptor, SourceTools()) == FolderSource(tmp_path, Selection(("*.jpg",)), True)
    descriptor = pickle.loads(pickle.dumps(describe_source("s3://mybucket/img", options)))
    opened = open_source(descriptor, SourceTools(store, 3))
    assert opened == PrefixSource(store, "mybucket", "img/", Selection(("*.jpg",)), 3, None)


def test_a_folders_files_are_used_where_they_lie(tmp_path: Path) -> None:
    draw(tmp_path / "a" / "b.jpg")
    [fetched] = FolderSource(tmp_path, Selection(), False).fetch(
        [SourceFile("a/b.jpg", 5, "77")], [True], tmp_path / "scratch"
    )
    assert (fetched.file, fetched.version, fetched.partial) == (str(tmp_path / "a" / "b.jpg"), "77", False)


def test_a_changed_or_missing_file_is_told_from_one_that_stayed(tmp_path: Path) -> None:
    draw(tmp_path / "a.jpg")
    status = (tmp_path / "a.jpg").stat()
    source = FolderSource(tmp_path, Selection(), False)
    assert not source.has_changed(SourceFile("a.jpg", status.st_size, str(status.st_mtime_ns)))
    assert source.has_changed(SourceFile("a.jpg", status.st_size, "1"))
    assert source.has_changed(SourceFile("gone.jpg", 1, "1"))


@pytest.fixture
def stored(store: Store, bucket: str) -> tuple[PrefixSource, SourceFile, bytes]:
    content = bytes(range(256)) * 1024
    answer = store.client().put_object(Bucket=bucket, Key="in/a.bin", Body=content)
    image = SourceFile("a.bin", len(content), answer["ETag"].strip('"'))
    return PrefixSource(store, bucket, "in/", Selection(), 2, None), image, content


def test_the_whole_object_is_downloaded_where_all_bytes_are_needed(
    stored: tuple[PrefixSource, SourceFile, bytes], tmp_path: Path
) -> None:
    source, image, content = stored
    [fetched] = source.fetch([image], [True], tmp_path)
    assert Path(fetched.file).read_bytes() == content
    assert not fetched.partial


def test_only_the_beginning_is_downloaded_where_a_header_will_do(
    stored: tuple[PrefixSource, SourceFile, bytes], tmp_path: Path
) -> None:
    source, image, content = stored
    [fetched] = source.fetch([image], [False], tmp_path)
    assert Path(fetched.file).read_bytes() == content[:HEADER_BYTES]
    assert fetched.partial


def test_an_object_that_changed_since_the_plan_is_named(
    stored: tuple[PrefixSource, SourceFile, bytes], tmp_path: Path
) -> None:
    source, image, _ = stored
    [fetched] = source.fetch([SourceFile(image.path, image.size, "0" * 32)], [True], tmp_path)
    assert fetched.code == "SOURCE_CHANGED"
    [fetched] = source.fetch([SourceFile("gone.bin", 1, "0" * 32)], [True], tmp_path)
    assert fetched.code == "SOURCE_GONE"


def test_it_knows_the_source_as_it_is_now(stored: tuple[PrefixSource, SourceFile, bytes], tmp_path: Path) -> None:
    source, image, content = stored
    assert sha256_of(source, image, tmp_path) == hashlib.sha256(content).hexdigest()
    assert sha256_of(source, SourceFile(image.path, image.size, "another"), tmp_path) == ""
    assert list(tmp_path.iterdir()) == []
    assert not source.has_changed(image)
    assert source.has_changed(SourceFile(image.path, image.size, "another"))
    assert source.has_changed(SourceFile("gone.bin", 1, "x"))


def test_the_store_copies_and_a_multipart_etag_says_nothing_that_a_copy_will_have_again(
    stored: tuple[PrefixSource, SourceFile, bytes],
) -> None:
    source, image, _ = stored
    assert source.copy_from(image) == CopyOrigin(source.bucket, "in/a.bin", image.version, etag_is_md5=True)
    multipart = source.copy_from(SourceFile("b.bin", 1, "0123456789abcdef0123456789abcdef-7"))
    assert multipart
    assert not multipart.etag_is_md5
