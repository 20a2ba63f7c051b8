"""Each format holds what was said of each image, whatever names and labels hold, and counts what it cannot carry.

`tests/readers` loads them in the tools that they are for.
"""

from __future__ import annotations

import csv
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import duckdb
import pyarrow.parquet as pq
import pytest
import yaml
from defusedxml.ElementTree import fromstring
from ruamel.yaml import YAML

from imagehaul.exports import webdataset
from imagehaul.exports.csv_tables import harmless
from imagehaul.exports.registry import EXPORTS
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import LedgerRow
from imagehaul.records import Annotation, Box, ExportName
from tests.support.exporting import ADDRESSES, export, image, said, thumbnail

ODD = ['it\'s "q".jpg', "<b>&amp;.jpg", "日本/é e\u0301.png", "😀.jpg", "100%25 #1?+.jpg", "=1+1.jpg", "].jpg"]
BOX = Box(36, 24, 180, 60, "bird")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def made(
    catalog: Catalog, name: ExportName, rows: Sequence[LedgerRow], annotations: Sequence[Annotation] = (), **more: Any
) -> tuple[Path, dict[str, int]]:
    """The exports' folder, and what the export left out."""
    folder, exported = export(catalog, rows, annotations, [name], **more)
    return folder, {what: count for what, count in exported[name].left_out.items() if count}


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_every_name_has_an_export() -> None:
    assert list(EXPORTS) == list(get_args(ExportName))


@pytest.mark.parametrize("name", get_args(ExportName))
def test_an_export_of_nothing_is_whole(name: ExportName, catalog: Catalog) -> None:
    folder, left_out = made(catalog, name, [])
    _, exported = export(catalog, [], (), [name])
    assert left_out == {}
    assert (folder / exported[name].name).exists()


def test_coco_has_images_boxes_and_captions_in_the_order_of_paths(catalog: Catalog) -> None:
    annotations = [said(path, "box", "bird", BOX) for path in ODD] + [said(ODD[0], "caption", "Two\nlines")]
    folder, left_out = made(catalog, "coco", [image(path) for path in ODD], [*annotations, said(ODD[0], "label", "x")])
    instances = json.loads((folder / "coco" / "instances.json").read_bytes())
    assert [(item["id"], item["file_name"]) for item in instances["images"]] == list(enumerate(sorted(ODD), 1))
    assert [item["image_id"] for item in instances["annotations"]] == list(range(1, len(ODD) + 1))
    assert instances["annotations"][0] == {
        "id": 1,
        "image_id": 1,
        "category_id": 1,
        "bbox": [36, 24, 180, 60],
        "area": 10_800,
        "iscrowd": 0,
        "segmentation": [],
    }
    captions = json.loads((folder / "coco" / "captions.json").read_bytes())
    assert [item["caption"] for item in captions["annotations"]] == ["Two\nlines"]
    assert left_out == {"labels of whole images": 1}


def test_coco_numbers_categories_by_their_names(catalog: Catalog) -> None:
    annotations = [said("a.jpg", "box", label, replace(BOX, label=label)) for label in ("cat", "ant", "bee")]
    folder, _ = made(catalog, "coco", [image("a.jpg")], annotations)
    instances = json.loads((folder / "coco" / "instances.json").read_bytes())
    assert instances["categories"] == [{"id": n, "name": name} for n, name in enumerate(("ant", "bee", "cat"), 1)]
    assert [item["category_id"] for item in instances["annotations"]] == [3, 1, 2]


def test_yolo_has_boxes_in_shares_and_names_classes(catalog: Catalog) -> None:
    odd = replace(BOX, label='a: "b"\n\u2028')
    annotations = [said("sub/a.jpg", "box", box.label, box) for box in (BOX, odd)]
    folder, _ = made(catalog, "yolo", [image("sub/a.jpg"), image("sub/b.jpg")], annotations)
    files = members(folder / "yolo.tar.gz")
    assert sorted(files) == ["data.yaml", "labels/sub/a.txt", "labels/sub/b.txt", "train.txt"]
    assert files["labels/sub/a.txt"].decode().splitlines()[0] == "1 0.35000000 0.22500000 0.50000000 0.25000000"
    assert files["labels/sub/b.txt"] == b""
    assert files["train.txt"] == b"./images/sub/a.jpg\n./images/sub/b.jpg\n"
    assert YAML(typ="safe").load(files["data.yaml"])["names"] == {0: odd.label, 1: "bird"}


def test_yolo_labels_are_texts_for_readers_of_yaml_1_1_and_1_2(catalog: Catalog) -> None:
    labels = [
        "yes",
        "No",
        "on",
        "OFF",
        "y",
        "n",
        "null",
        "~",
        "1.5",
        "0x1f",
        "1:30",
        "2026-01-02",
        "<<",
        "=",
        "- a",
        "# a",
    ]
    labels += [
        'it\'s "q" \\n: {x}',
        "two\nlines\r\t",
        " a ",
        "\u2028\x85\ufeff\ufffe\x7f",
        "\U0001f468\u200d\U0001f469 é",
        "a " * 999,
    ]
    annotations = [said("a.jpg", "box", label, replace(BOX, label=label)) for label in labels]
    folder, _ = made(catalog, "yolo", [image("a.jpg")], annotations)
    described = members(folder / "yolo.tar.gz")["data.yaml"]
    readers: list[Callable[[bytes], Any]] = [yaml.safe_load, partial(yaml.load, Loader=yaml.CSafeLoader)]
    for read in (*readers, YAML(typ="safe").load, YAML(typ="safe", pure=True).load):
        assert list(read(described)["names"].values()) == sorted(labels)


def test_yolo_cuts_boxes_to_the_picture_and_counts_what_it_cannot_carry(catalog: Catalog) -> None:
    boxes = [Box(-36, 0, 72, 24, "bird"), Box(400, 0, 10, 10, "bird")]
    annotations = [said("a.jpg", "box", "bird", box) for box in boxes]
    annotations += [said("a.jpg", "caption", "c"), said("a.jpg", "label", "l"), said("b.jpg", "box", "bird", BOX)]
    rows = [image("a.jpg"), image("a.png"), image("b.jpg", width=0, height=0)]
    rows += [image(f"line{end}break {number}.jpg") for number, end in enumerate("\n\r\v\x1c\x85\u2028\u2029")]
    folder, left_out = made(catalog, "yolo", rows, annotations)
    files = members(folder / "yolo.tar.gz")
    assert files["labels/a.txt"] == b"0 0.05000000 0.05000000 0.10000000 0.10000000\n"
    assert files["train.txt"].decode().splitlines() == ["./images/a.jpg", "./images/b.jpg"]
    assert left_out == {
        "captions": 1,
        "labels of whole images": 1,
        "boxes that lie outside of their picture, or on one of unknown size": 2,
        "images whose name differs from another's in the suffix alone": 1,
        "images with a line break in their name": 7,
    }


def test_voc_holds_names_and_boxes_as_they_are(catalog: Catalog) -> None:
    box = replace(BOX, x=36.25, label="a < b & c")
    annotations = [said(path, "box", box.label, box) for path in ODD]
    rows = [image(path) for path in (*ODD, "].png", "\x01.jpg")]
    folder, left_out = made(
        catalog, "voc", rows, [*annotations, said(ODD[0], "box", "\x02", replace(BOX, label="\x02"))]
    )
    files = members(folder / "voc.tar.gz")
    listed = files.pop("ImageSets/Main/all.txt").decode().splitlines()
    assert sorted(files) == sorted(f"Annotations/{stem}.xml" for stem in listed)
    read = {root.findtext("filename"): root for root in map(fromstring, files.values())}
    assert sorted(read) == sorted([*ODD, "].png"])
    thing = read[ODD[0]].find("object")
    assert thing.findtext("name") == "a < b & c"
    assert [float(corner.text) for corner in thing.find("bndbox")] == [36.25, 24, 216.25, 84]
    assert left_out == {"images whose name XML cannot hold": 1, "boxes whose label XML cannot hold": 1}


def lists_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: files[name] for name in files if name.endswith(".txt") and not name.startswith("labels/")}


def in_splits(catalog: Catalog, name: ExportName, splits: Sequence[str]) -> dict[str, bytes]:
    """The export of an image for each split, `0.jpg` for the first; the split "" is none."""
    rows = [image(f"{number}.jpg") for number in range(len(splits))]
    annotations = [said(row.source_path, "split", split) for row, split in zip(rows, splits, strict=True) if split]
    folder, _ = made(catalog, name, rows, annotations)
    return members(folder / f"{name}.tar.gz")


HARD_SPLITS = [
    "../../evil",
    "a/b",
    "a_b",
    "a%2Fb",
    "names",
    "split-names",
    "nc",
    "path",
    "..",
    "no",
    "line\nbreak",
    "é",
    "",
]


def test_each_split_has_a_list_in_yolo_that_its_description_leads_to(catalog: Catalog) -> None:
    files = in_splits(catalog, "yolo", [*HARD_SPLITS, "test", "valid"])
    described = yaml.safe_load(files["data.yaml"])
    assert (described.pop("nc"), described.pop("names")) == (0, {})
    keys = [
        {"names": "split-split-names", "nc": "split-nc", "path": "split-path", "": "train"}.get(s, s)
        for s in HARD_SPLITS
    ]
    assert sorted(described) == sorted([*keys, "val", "test"])
    for number, key in enumerate([*keys, "test", "val"]):
        assert files[described[key]] == f"./images/{number}.jpg\n".encode()
    assert sorted(lists_of(files)) == sorted(described.values())
    assert not any("/" in name for name in lists_of(files))
    assert {"train.txt", "val.txt", "test.txt", "..%2F..%2Fevil.txt"} <= set(files)


def test_no_two_splits_share_a_list_in_voc(catalog: Catalog) -> None:
    splits = [*HARD_SPLITS, "all", "split-all", "train"]
    lists = lists_of(in_splits(catalog, "voc", splits))
    assert sorted(lists.values()) == sorted(f"{number}\n".encode() for number in range(len(splits)))
    assert {name.count("/") for name in lists} == {2}
    assert lists["ImageSets/Main/all.txt"] == f"{HARD_SPLITS.index('')}\n".encode()
    assert lists["ImageSets/Main/split-split-all.txt"] == f"{splits.index('all')}\n".encode()


def test_csv_is_read_as_it_was_and_holds_no_formula(catalog: Catalog) -> None:
    label = '=HYPERLINK("http://x")'
    annotations = [said("a.jpg", "box", label, Box(-3, 2, 5, 6, label)), said("a.jpg", "caption", 'a "b"\nc, d')]
    folder, _ = made(catalog, "csv", [*(image(path) for path in ODD), image("a.jpg")], annotations)
    with (folder / "csv" / "images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sorted(row["file_path"] for row in rows) == sorted(["'=1+1.jpg", "a.jpg", *(set(ODD) - {"=1+1.jpg"})])
    with duckdb.connect() as database:
        objects = database.read_csv(str(folder / "csv" / "objects.csv")).fetchall()
        images = database.read_csv(str(folder / "csv" / "images.csv"), all_varchar=True)
        captions = images.filter("file_path = 'a.jpg'").project("captions").fetchall()
    assert [row[4:9] for row in objects] == [("'" + label, -3, 2, 5, 6)]
    assert json.loads(captions[0][0]) == ['a "b"\nc, d']


def test_csv_with_ends_of_lines_in_texts_is_read_as_it_was(catalog: Catalog) -> None:
    names = ["c\rr.jpg", "l\nf.jpg", "b\r\nh.jpg", "z.jpg"]
    annotations = [said("z.jpg", "box", "car\rred", Box(1, 1, 9, 9, "car\rred"))]
    folder, _ = made(catalog, "csv", [image(path) for path in names], annotations)
    with (folder / "csv" / "images.csv").open(newline="") as file:
        assert sorted(row["file_path"] for row in csv.DictReader(file)) == sorted(names)
    with duckdb.connect() as database:
        images = database.read_csv(str(folder / "csv" / "images.csv"), all_varchar=True).project("file_path").fetchall()
        objects = database.read_csv(str(folder / "csv" / "objects.csv"), all_varchar=True).project("label").fetchall()
    assert sorted(path for (path,) in images) == sorted(names)
    assert objects == [("car\rred",)]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\t=1", "\r=1", "\n=1"])
def test_a_text_that_a_spreadsheet_would_compute_is_quoted(text: str) -> None:
    assert harmless(text) == f"'{text}"


def test_huggingface_has_images_by_uri_and_local_names(catalog: Catalog) -> None:
    folder, _ = made(catalog, "huggingface", [image(path) for path in ODD], [said(ODD[0], "box", "bird", BOX)])
    table = {row["file_name"]: row for row in pq.read_table(folder / "huggingface" / "metadata.parquet").to_pylist()}
    lines = map(json.loads, (folder / "huggingface" / "metadata.jsonl").read_bytes().splitlines())
    assert sorted(table) == sorted(line["file_name"] for line in lines) == sorted(ODD)
    assert table[ODD[0]]["image"] == f"s3://bucket/save/birds/images/{ODD[0]}"
    assert table[ODD[0]]["objects"] == {
        "bbox": [[36, 24, 180, 60]],
        "category": [0],
        "label": ["bird"],
        "area": [10_800],
    }


def test_label_studio_has_percents_and_an_interface_that_names_all_labels(catalog: Catalog) -> None:
    annotations = [said("a.jpg", "box", 'b"<', replace(BOX, label='b"<')), said("a.jpg", "label", "sunny")]
    annotations += [said("a.jpg", "caption", "A bird."), said("b.jpg", "box", "bird", BOX)]
    rows = [image("a.jpg"), image("b.jpg", width=0, height=0)]
    folder, left_out = made(catalog, "label-studio", rows, annotations)
    first, _ = json.loads((folder / "label-studio" / "tasks.json").read_bytes())
    box, choice, caption = first["annotations"][0]["result"]
    assert {name: box["value"][name] for name in ("x", "y", "width", "height")} == {
        "x": 10,
        "y": 10,
        "width": 50,
        "height": 25,
    }
    assert (choice["value"], caption["value"]) == ({"choices": ["sunny"]}, {"text": ["A bird."]})
    interface = fromstring((folder / "label-studio" / "config.xml").read_text())
    assert {tag.get("value") for tag in interface.iter("Label")} == {'b"<', "bird"}
    assert [tag.get("value") for tag in interface.iter("Choice")] == ["sunny"]
    assert left_out == {"boxes on pictures of unknown size": 1}


def test_label_studio_leaves_out_what_its_interface_cannot_name(catalog: Catalog) -> None:
    annotations = [said("a.jpg", "box", text, replace(BOX, label=text)) for text in ("a\x02b", "bird")]
    annotations += [said("a.jpg", "label", text) for text in ("x\x1fy", "sunny")] + [said("a.jpg", "caption", "\x02")]
    folder, left_out = made(catalog, "label-studio", [image("a.jpg")], annotations)
    interface = fromstring((folder / "label-studio" / "config.xml").read_text())
    assert [tag.get("value") for tag in [*interface.iter("Label"), *interface.iter("Choice")]] == ["bird", "sunny"]
    [task] = json.loads((folder / "label-studio" / "tasks.json").read_bytes())
    assert [item["type"] for item in task["annotations"][0]["result"]] == ["rectanglelabels", "choices", "textarea"]
    assert left_out == {"boxes whose label XML cannot hold": 1, "labels of whole images that XML cannot hold": 1}


def test_croissant_describes_the_table_by_its_hash(catalog: Catalog) -> None:
    folder, _ = made(catalog, "croissant", [image("a.jpg")])
    described = json.loads((folder / "croissant.json").read_bytes())
    done = subprocess.run(["sha256sum", folder / "metadata.parquet"], capture_output=True, text=True, check=True)
    assert described["distribution"][0]["sha256"] == done.stdout.split()[0]
    fields = [field["name"] for field in described["recordSet"][0]["field"]]
    assert fields == pq.read_schema(folder / "metadata.parquet").names
    assert "license" not in described


def test_webdataset_cuts_shards_and_keeps_the_order(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "SHARD", 6_000)
    monkeypatch.setattr(webdataset, "READ_AT_ONCE", 120_000)
    paths = [f"{n:02}.x.jpg" for n in range(10)]
    folder, _ = made(catalog, "webdataset", [image(path) for path in paths], [said("03.x.jpg", "box", "bird", BOX)])
    shards = json.loads((folder / "webdataset" / "index.json").read_bytes())["shardlist"]
    assert [shard["nsamples"] for shard in shards] == [3, 3, 3, 1]
    assert all((folder / "webdataset" / shard["url"]).stat().st_size == shard["filesize"] for shard in shards)
    files = [item for shard in shards for item in members(folder / "webdataset" / shard["url"]).items()]
    assert [content.decode() for name, content in files if not name.endswith(".json")] == [
        image(path).key for path in paths
    ]
    described = [json.loads(content) for name, content in files if name.endswith(".json")]
    assert [item["file_path"] for item in described] == paths
    assert described[3]["boxes"] == [{"label": "bird", "bbox": [36, 24, 180, 60]}]


def test_webdataset_of_thumbnails_leaves_out_images_that_have_none(catalog: Catalog) -> None:
    rows = [image("a.jpg"), thumbnail("a.jpg"), image("b.jpg")]
    folder, left_out = made(catalog, "webdataset-thumbnails", rows)
    files = members(folder / "webdataset-thumbnails" / "shard-000000.tar")
    assert files["id-a.jpg.jpg"].decode() == thumbnail("a.jpg").key
    assert left_out == {"images without a thumbnail": 1}


def test_names_without_their_folders_are_compared_whatever_their_order(catalog: Catalog) -> None:
    rows = [replace(image(path), key=image(path.rpartition("/")[2]).key) for path in ("a/x.jpg", "b/m.jpg", "c/x.png")]
    _, left_out = made(catalog, "yolo", rows, addresses=replace(ADDRESSES, full_paths=False))
    assert left_out == {"images whose name differs from another's in the suffix alone": 1}


def test_no_two_members_of_voc_have_one_name(catalog: Catalog) -> None:
    """A name that another took because its own stem was taken is not given again."""
    folder, _ = made(catalog, "voc", [image(path) for path in ("a.jpg", "a.png", "a.png.jpg")])
    with tarfile.open(folder / "voc.tar.gz") as archive:
        names = sorted(name for name in archive.getnames() if name.endswith(".xml"))
    assert names == ["Annotations/a.png.jpg.xml", "Annotations/a.png.xml", "Annotations/a.xml"]
    files = members(folder / "voc.tar.gz")
    assert files["ImageSets/Main/all.txt"] == b"a\na.png\na.png.jpg\n"
    assert b"<filename>a.png<" in files["Annotations/a.png.xml"]
