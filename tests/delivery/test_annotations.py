"""Where annotations are found: beside the images, by name, and in the store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagehaul.delivery.annotations import Gathered, folder_in_source, gather_annotations
from imagehaul.errors import AnnotationError, StoreError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.matching import match_annotations
from imagehaul.records import SourceFile, locations
from imagehaul.sources.source import SourceDescriptor
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, says
from tests.support.simulated import MAPPING

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


def gather(
    location: str | list[str], source: SourceDescriptor, store: Store, catalog: Catalog, tmp_path: Path
) -> Gathered:
    return gather_annotations(locations(location), source, store, catalog, tmp_path / "scratch")


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
    load_source(catalog, [SourceFile("deep/a.jpg", 1, "v")], MAPPING)
    assert match_annotations(catalog).images == 1


def test_documented_names_are_found_in_a_source_in_the_store(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(store, bucket, "set/object_annotations.csv", TABLE)
    put(store, bucket, "set/deeper/annotations.json", "not to be looked at")
    gather("", SourceDescriptor("prefix", f"s3://{bucket}/set/"), store, catalog, tmp_path)
    assert labels(catalog) == [("a.jpg", "thing")]


def test_annotations_that_the_store_does_not_show_are_not_taken_for_missing(
    store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    put(store, bucket, "set/object_annotations.csv", TABLE)

    def hidden(exchange: Exchange) -> Fault | None:
        return says(403, "AccessDenied") if exchange.method == "HEAD" else None

    with FaultProxy(store, hidden) as proxy, pytest.raises(StoreError, match="annotations at s3://"):
        gather("", SourceDescriptor("prefix", f"s3://{bucket}/set/"), proxy.store, catalog, tmp_path)


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


# Data sets in splits


def coco(name: str, label: str) -> str:
    content = {
        "images": [{"id": 1, "file_name": name}],
        "categories": [{"id": 1, "name": label}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    return json.dumps(content)


LAYOUTS = {
    "COCO": {
        "annotations/instances_train2017.json": coco("a.jpg", "cat"),
        "annotations/instances_val2017.json": coco("a.jpg", "dog"),
        "train2017/a.jpg": "",
        "val2017/a.jpg": "",
    },
    "Roboflow's COCO": {
        "train/_annotations.coco.json": coco("a.jpg", "cat"),
        "valid/_annotations.coco.json": coco("a.jpg", "dog"),
        "train/a.jpg": "",
        "valid/a.jpg": "",
    },
    "YOLO": {
        "data.yaml": "train: images/train\nval: images/val\nnames: [cat, dog]\n",
        "labels/train/a.txt": "0 0.5 0.5 0.2 0.2",
        "labels/val/a.txt": "1 0.5 0.5 0.2 0.2",
        "images/train/a.jpg": "",
        "images/val/a.jpg": "",
        "images/val/without.jpg": "",
    },
    "Roboflow's YOLO": {
        "data.yaml": "train: ../train/images\nval: ../valid/images\nnames: [cat, dog]\n",
        "train/labels/a.txt": "0 0.5 0.5 0.2 0.2",
        "valid/labels/a.txt": "1 0.5 0.5 0.2 0.2",
        "train/images/a.jpg": "",
        "valid/images/a.jpg": "",
    },
}


def said_of(catalog: Catalog, files: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Label and split of each image."""
    images = [name for name in files if name.endswith(".jpg")]
    load_source(catalog, (SourceFile(name, 1, "v") for name in images), MAPPING)
    match_annotations(catalog)
    return (
        dict(catalog.rows("SELECT path, text FROM annotation")),
        dict(catalog.rows("SELECT path, split FROM image_split")),
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("place", ["folder", "store"])
def test_every_split_of_a_data_set_is_found_and_each_picture_has_its_own_box(
    layout: str, place: str, store: Store, bucket: str, catalog: Catalog, tmp_path: Path
) -> None:
    files = LAYOUTS[layout]
    if place == "store":
        for name, content in files.items():
            put(store, bucket, f"set/{name}", content)
        source = SourceDescriptor("prefix", f"s3://{bucket}/set/")
    else:
        source = SourceDescriptor("folder", str(tmp_path / "set"))
        for name, content in files.items():
            (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "set" / name).write_text(content)
    found = gather("", source, store, catalog, tmp_path)
    labels, splits = said_of(catalog, files)
    images = [name for name in files if name.endswith(".jpg")]
    assert labels == dict(zip(images, ("cat", "dog"), strict=False))
    assert set(splits) == set(images)
    val = "valid" if layout == "Roboflow's COCO" else "val"
    assert list(splits.values()).count("train") == 1
    assert {split for name, split in splits.items() if "train" not in name} == {val}
    assert not [line for line in found.warnings if "not read" in line]


def test_an_address_on_the_web_is_refused_and_its_signature_is_not_shown(
    store: Store, catalog: Catalog, tmp_path: Path
) -> None:
    given = ["https://joe:s3cr3t@host/boxes.json?sig=s3cr3t"]
    with pytest.raises(AnnotationError, match=r"https://host/boxes\.json are an address on the web") as caught:
        gather(given, SourceDescriptor("folder", str(tmp_path)), store, catalog, tmp_path)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("order", [("train", "val"), ("val", "train")])
def test_annotations_are_given_several_times(
    order: tuple[str, str], store: Store, catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "set").mkdir()
    for split, label in (("train", "cat"), ("val", "dog")):
        (tmp_path / f"instances_{split}.json").write_text(coco("a.jpg", label))
    given = [str(tmp_path / f"instances_{split}.json") for split in (*order, order[0])]
    found = gather(given, SourceDescriptor("folder", str(tmp_path / "set")), store, catalog, tmp_path)
    assert len(found.lines) == 2
    assert said_of(catalog, {"train/a.jpg": "", "images/val/a.jpg": ""}) == (
        {"train/a.jpg": "cat", "images/val/a.jpg": "dog"},
        {"train/a.jpg": "train", "images/val/a.jpg": "val"},
    )


def test_a_source_that_is_one_split_gets_no_box_of_another(store: Store, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "val2017").mkdir()
    for split, label in (("train2017", "cat"), ("val2017", "dog")):
        (tmp_path / f"instances_{split}.json").write_text(coco("a.jpg", label))
    given = [str(tmp_path / f"instances_{split}.json") for split in ("train2017", "val2017")]
    gather(given, SourceDescriptor("folder", str(tmp_path / "val2017")), store, catalog, tmp_path)
    assert said_of(catalog, {"a.jpg": ""}) == ({"a.jpg": "dog"}, {"a.jpg": "val"})


def test_the_folder_of_an_annotation_file_is_seen_from_the_source(tmp_path: Path) -> None:
    inside = tmp_path / "set" / "sub" / "boxes.csv"
    inside.parent.mkdir(parents=True)
    inside.write_text(TABLE)
    assert folder_in_source(inside, tmp_path / "set") == "sub"
    assert folder_in_source(inside.parent, tmp_path / "set") == "sub"
    assert folder_in_source(inside, tmp_path / "set" / "sub") == ""
    assert folder_in_source(inside, tmp_path / "set" / "sub" / "deeper") is None
    assert folder_in_source(inside, tmp_path / "other") is None


def test_links_that_lead_to_themselves_are_rows_or_other_files_and_stop_nothing(tmp_path: Path, target: Target) -> None:
    draw(tmp_path / "source/a.jpg")
    for name in ("self.jpg", "notes.txt", "annotations.json"):
        (tmp_path / "source" / name).symlink_to(name)
    with pytest.raises(AnnotationError, match=r"annotations\.json"):
        target.deliver(tmp_path / "source")
    (tmp_path / "source/annotations.json").unlink()
    summary = target.deliver(tmp_path / "source")
    assert (summary.counts.delivered, summary.counts.rejected) == (1, 1)
    assert [reason.code for reason in summary.reasons] == ["LINK_CYCLE"]
