"""Each export loads in the tool that it is for, and says there what the source's own annotations say."""

from __future__ import annotations

import csv
import json
import os
import posixpath
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet as pq
import pytest

FOLDER = Path(os.environ["READERS_FOLDER"])
EXPORTS = FOLDER / "exports"
PANLABEL = Path(sys.executable).with_name("panlabel")
SAME_STEM = "meadow/tree.png"
"""Its labels would have the name of meadow/tree.jpg's."""


def source_boxes() -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """Read off the source's annotations, by nothing but the standard library."""
    found: dict[str, list[tuple[str, tuple[float, ...]]]] = defaultdict(list)
    with (FOLDER / "source" / "object_annotations.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            box = tuple(float(row[name]) for name in ("col_x", "row_y", "width", "height"))
            if box[2] > 0:
                found[row["filename"]].append((row["label"], box))
    return {path: sorted(boxes) for path, boxes in found.items()}


BOXES = source_boxes()
PICTURES = sorted(BOXES)


def table() -> list[dict]:
    return pq.read_table(EXPORTS / "metadata.parquet").to_pylist()


def test_coco_in_pycocotools() -> None:
    from pycocotools.coco import COCO

    coco = COCO(str(EXPORTS / "coco" / "instances.json"))
    images = coco.loadImgs(coco.getImgIds())
    assert sorted(image["file_name"] for image in images) == PICTURES
    read = {
        image["file_name"]: sorted(
            (coco.loadCats(said["category_id"])[0]["name"], tuple(map(float, said["bbox"])))
            for said in coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        )
        for image in images
    }
    assert read == BOXES
    names = [category["name"] for category in coco.loadCats(coco.getCatIds())]
    assert names == sorted(names)
    urls = {row["file_path"]: row["image_url"] for row in table() if row["entity_type"] == "image"}
    assert {image["file_name"]: image["coco_url"] for image in images} == urls


def test_coco_captions_in_pycocotools() -> None:
    from pycocotools.coco import COCO

    coco = COCO(str(EXPORTS / "coco" / "captions.json"))
    assert len(coco.loadAnns(coco.getAnnIds())) == len(PICTURES)


def panlabel(*arguments: object) -> str:
    done = subprocess.run([PANLABEL, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def in_panlabel(kind: str, path: Path, tmp_path: Path) -> dict[str, list[tuple[str, tuple[float, ...]]]]:
    """What panlabel makes of the export, by its own lossless format."""
    panlabel("convert", "--from", kind, "--to", "ir-json", "--input", path, "--output", tmp_path / "ir.json")
    said = json.loads((tmp_path / "ir.json").read_text())
    images = {image["id"]: image["file_name"] for image in said["images"]}
    names = {category["id"]: category["name"] for category in said["categories"]}
    found: dict[str, list[tuple[str, tuple[float, ...]]]] = {name: [] for name in images.values()}
    for item in said["annotations"]:
        x, y, right, bottom = (item["bbox"][name] for name in ("xmin", "ymin", "xmax", "ymax"))
        box = (x, y, right - x, bottom - y)
        found[images[item["image_id"]]].append((names[item["category_id"]], box))
    return {name: sorted(boxes) for name, boxes in found.items()}


def assert_same(read: dict, expected: dict, within: float) -> None:
    assert sorted(read) == sorted(expected)
    for name, boxes in expected.items():
        assert [label for label, _ in read[name]] == [label for label, _ in boxes], name
        for (_, ours), (_, theirs) in zip(read[name], boxes, strict=True):
            assert ours == pytest.approx(theirs, abs=within), name


def test_coco_in_panlabel(tmp_path: Path) -> None:
    assert_same(in_panlabel("coco", EXPORTS / "coco" / "instances.json", tmp_path), BOXES, 1e-6)


def test_yolo_in_panlabel(tmp_path: Path) -> None:
    """It reads the sizes off the pictures, and knows fewer formats than the sample has."""
    folder = tmp_path / "yolo"
    shutil.copytree(FOLDER / "yolo", folder)
    (folder / "images").symlink_to(FOLDER / "images")
    names = [
        name for name in PICTURES if name.endswith((".jpg", ".png", ".jpeg", ".bmp", ".webp")) and name != SAME_STEM
    ]
    (folder / "train.txt").write_text("".join(f"./images/{name}\n" for name in names))
    read = in_panlabel("yolo", folder, tmp_path)
    # It takes no notice of EXIF: a picture that lies on its side has its sides changed.
    names.remove("camera/turned.jpg")
    read = {name.removeprefix("train/").removeprefix("images/"): boxes for name, boxes in read.items()}
    assert_same({name: read[name] for name in names}, {name: BOXES[name] for name in names}, 0.01)


def test_yolo_lists_its_images_and_names_its_classes() -> None:
    import yaml

    described = yaml.safe_load((FOLDER / "yolo" / "data.yaml").read_text())
    assert described["train"] == described["val"] == "train.txt"
    assert sorted(described["names"].values()) == sorted({label for boxes in BOXES.values() for label, _ in boxes})
    listed = (FOLDER / "yolo" / "train.txt").read_text().splitlines()
    assert [line.removeprefix("./images/") for line in listed] == [name for name in PICTURES if name != SAME_STEM]
    labels = [posixpath.splitext(line.replace("/images/", "/labels/"))[0] + ".txt" for line in listed]
    assert all((FOLDER / "yolo" / name).is_file() for name in labels)


def test_voc_in_the_standard_library() -> None:
    read = {}
    for file in sorted((FOLDER / "voc" / "Annotations").rglob("*.xml")):
        root = ElementTree.parse(file).getroot()
        corners = [
            (
                thing.findtext("name"),
                [float(thing.findtext(f"bndbox/{name}")) for name in ("xmin", "ymin", "xmax", "ymax")],
            )
            for thing in root.iterfind("object")
        ]
        boxes = [(label, (x, y, right - x, bottom - y)) for label, (x, y, right, bottom) in corners]
        read[root.findtext("filename")] = sorted(boxes)
    assert_same(read, BOXES, 1e-9)


def test_voc_in_panlabel(tmp_path: Path) -> None:
    """It looks for annotations in no folder below, so that they are put into one."""
    folder = tmp_path / "voc"
    (folder / "Annotations").mkdir(parents=True)
    for number, file in enumerate(sorted((FOLDER / "voc" / "Annotations").rglob("*.xml"))):
        shutil.copyfile(file, folder / "Annotations" / f"{number}.xml")
    (folder / "JPEGImages").symlink_to(FOLDER / "images")
    assert_same(in_panlabel("voc", folder, tmp_path), BOXES, 1e-6)


def test_huggingface_reads_the_pictures_from_the_store() -> None:
    from datasets import Image, load_dataset

    file = str(EXPORTS / "huggingface" / "metadata.parquet")
    data = load_dataset("parquet", data_files=file, split="train").cast_column("image", Image())
    assert data["file_name"] == PICTURES
    # Pillow in this environment has no HEIC.
    for row in data.select([index for index, name in enumerate(PICTURES) if not name.endswith(".heic")]):
        turned = row["file_name"] == "camera/turned.jpg"
        assert row["image"].size == (row["width"], row["height"]) or turned
        boxes = sorted(zip(row["objects"]["label"], map(tuple, row["objects"]["bbox"]), strict=True))
        assert boxes == BOXES[row["file_name"]]


def test_huggingface_imagefolder_on_a_local_copy(tmp_path: Path) -> None:
    from datasets import load_dataset

    folder = tmp_path / "copy"
    folder.mkdir()
    lines = (EXPORTS / "huggingface" / "metadata.jsonl").read_text().splitlines()
    # Pillow in this environment has no HEIC.
    lines = [line for line in lines if not json.loads(line)["file_name"].endswith(".heic")]
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    for line in lines:
        name = json.loads(line)["file_name"]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((FOLDER / "images" / name).read_bytes())
    data = load_dataset("imagefolder", data_dir=str(folder), split="train")
    assert len(data) == len(lines)
    assert all(row["image"].size[0] > 0 and row["objects"]["label"] for row in data)


def test_webdataset_gives_every_sample_in_order() -> None:
    import webdataset

    shards = json.loads((EXPORTS / "webdataset" / "index.json").read_text())["shardlist"]
    urls = [str(EXPORTS / "webdataset" / shard["url"]) for shard in shards]
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    described = [json.loads(sample["json"]) for sample in samples]
    assert [said["file_path"] for said in described] == PICTURES
    assert sum(shard["nsamples"] for shard in shards) == len(PICTURES)
    for sample, said in zip(samples, described, strict=True):
        (content,) = (value for name, value in sample.items() if name != "json" and not name.startswith("__"))
        assert content == (FOLDER / "images" / said["file_path"]).read_bytes()
        assert sorted((box["label"], tuple(box["bbox"])) for box in said["boxes"]) == BOXES[said["file_path"]]


def test_csv_in_duckdb() -> None:
    import duckdb

    images = duckdb.read_csv(str(EXPORTS / "csv" / "images.csv")).fetchall()
    assert len(images) == len(PICTURES)
    counts = duckdb.sql(f"SELECT file_path, count(*) FROM '{EXPORTS}/csv/objects.csv' GROUP BY 1").fetchall()
    assert dict(counts) == {name: len(boxes) for name, boxes in BOXES.items()}


def test_croissant_is_valid_and_gives_its_records() -> None:
    import mlcroissant

    file = EXPORTS / "croissant.json"
    command = [Path(sys.executable).with_name("mlcroissant"), "validate", "--jsonld", file]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    dataset = mlcroissant.Dataset(jsonld=str(file))
    records = [record for record, _ in zip(dataset.records("entities"), range(100), strict=False)]
    assert len(records) == min(100, len(table()))
    kinds = Counter(record["entities/entity_type"] for record in records)
    assert kinds == {b"image": len(PICTURES), b"object": sum(map(len, BOXES.values()))}


def test_label_studio_in_panlabel(tmp_path: Path) -> None:
    """It knows boxes alone."""
    tasks = json.loads((EXPORTS / "label-studio" / "tasks.json").read_text())
    for task in tasks:
        (said,) = task["annotations"]
        said["result"] = [result for result in said["result"] if result["type"] == "rectanglelabels"]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    read = in_panlabel("label-studio", tmp_path / "tasks.json", tmp_path)
    # It takes the last part of the URL for the picture's name.
    assert_same(read, {quote(posixpath.basename(name)): boxes for name, boxes in BOXES.items()}, 1e-6)


def test_label_studio_is_as_its_documentation_has_it() -> None:
    tasks = json.loads((EXPORTS / "label-studio" / "tasks.json").read_text())
    config = ElementTree.parse(EXPORTS / "label-studio" / "config.xml").getroot()
    names = {tag.get("name"): tag for tag in config if tag.get("name")}
    for task in tasks:
        assert names["image"].get("value") == "$image"
        assert task["data"]["image"].startswith("/image/")
        read = []
        for result in task["annotations"][0]["result"]:
            assert names[result["from_name"]].get("toName") == result["to_name"] == "image"
            if result["type"] == "rectanglelabels":
                value, width, height = result["value"], result["original_width"], result["original_height"]
                box = (value["x"] * width, value["y"] * height, value["width"] * width, value["height"] * height)
                read.append((value["rectanglelabels"][0], tuple(round(number / 100, 6) for number in box)))
        assert sorted(read) == BOXES[task["data"]["file_path"]]


def test_daft_reads_the_pictures_from_the_store() -> None:
    import daft

    rows = daft.read_parquet(str(EXPORTS / "metadata.parquet")).where(daft.col("entity_type") == "image")
    rows = rows.where(daft.col("content_type") == "image/jpeg").sort("file_path")
    config = daft.io.IOConfig(s3=daft.io.S3Config(endpoint_url=os.environ["AWS_ENDPOINT_URL"], region_name="us-east-1"))
    read = rows.with_column("content", daft.col("uri").download(io_config=config)).to_pydict()
    assert read["content"] == [(FOLDER / "images" / path).read_bytes() for path in read["file_path"]]
    assert len(read["content"]) > 10
