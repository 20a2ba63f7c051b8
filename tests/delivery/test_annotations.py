"""Where annotations are found: beside the images, by name, and in the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagehaul.delivery.annotations import Gathered, gather_annotations
from imagehaul.errors import AnnotationError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.matching import match_annotations
from imagehaul.sources.source import SourceDescriptor
from imagehaul.store.endpoint import Store

TABLE = "filename,col_x,row_y,width,height,label\na.jpg,1,2,3,4,thing\n"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    folder = tmp_path / "catalog"
    folder.mkdir()
    opened = Catalog(folder)
    yield opened
    opened.close()


def put(store: Store, bucket: str, key: str, text: str) -> None:
    store.client().put_object(Bucket=bucket, Key=key, Body=text.encode())


def gather(location: str, source: SourceDescriptor, store: Store, catalog: Catalog, tmp_path: Path) -> Gathered:
    return gather_annotations(location, source, store, catalog, tmp_path / "scratch")


def labels(catalog: Catalog) -> list[tuple[str, str]]:
    return list(catalog.rows("SELECT reference, text FROM statement ORDER BY ordinal"))


def test_a_documented_name_beside_the_images_is_found(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "object_annotations.csv").write_text(TABLE)
    found = gather("", SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
    assert labels(catalog) == [("a.jpg", "thing")]
    assert "1 box" in found.lines[0]


def test_nothing_beside_the_images_is_no_error(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    assert gather("", SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path).lines == ()


def test_a_file_in_a_sub_folder_names_images_from_there(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    file = tmp_path / "deep" / "boxes.csv"
    file.write_text(TABLE)
    gather(str(file), SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
    catalog.load("source", [(0, "deep/a.jpg", 1, "v", "", "", "deep/a.jpg", "")])
    assert match_annotations(catalog).images == 1


def test_documented_names_are_found_in_a_source_in_the_store(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(store, bucket, "set/object_annotations.csv", TABLE)
    put(store, bucket, "set/deeper/annotations.json", "not to be looked at")
    gather("", SourceDescriptor("prefix", f"s3://{bucket}/set/"), store, catalog, tmp_path)
    assert labels(catalog) == [("a.jpg", "thing")]


def test_a_file_in_the_store_may_lie_outside_of_the_source(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(store, bucket, "elsewhere/boxes.csv", TABLE)
    gather(f"s3://{bucket}/elsewhere/boxes.csv", SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
    assert labels(catalog) == [("a.jpg", "thing")]


def test_a_yolo_folder_in_the_store_gets_its_class_names_from_above(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(store, bucket, "y/data.yaml", "names: [cat, dog]\n")
    put(store, bucket, "y/labels/a.txt", "1 0.5 0.5 0.2 0.2\n")
    put(store, bucket, "y/labels/a.jpg", "a picture that must not be downloaded")
    gather(f"s3://{bucket}/y/labels/", SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
    assert [label for _, label in labels(catalog)] == ["dog"]
    assert not list((tmp_path / "scratch").rglob("*.jpg"))


def test_an_uri_where_nothing_lies_is_an_error_that_names_it(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    with pytest.raises(AnnotationError, match=f"s3://{bucket}/nowhere.csv"):
        gather(f"s3://{bucket}/nowhere.csv", SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
