"""The export: byte for byte what Visual Layer's format 1.1 says, whatever names and labels hold."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq
import pytest

import imagehaul.ledger.catalog
import imagehaul.ledger.entities
from imagehaul.exports.metadata_json import human_size
from imagehaul.exports.metadata_parquet import PARQUET_COLUMNS
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.metadata_columns import add_metadata_columns
from imagehaul.ledger.rows import LedgerRow
from imagehaul.metadata import MetadataColumn
from imagehaul.records import Annotation, Box
from imagehaul.version import software
from tests.support.exporting import ADDRESSES, crop, export, image, said, thumbnail


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def read(
    catalog: Catalog, rows: list[LedgerRow], annotations: Sequence[Annotation] = (), **options: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON file as an object, and the Parquet file's rows."""
    folder, _ = export(catalog, rows, annotations, **options)
    return json.loads((folder / "metadata.json").read_bytes()), pq.read_table(folder / "metadata.parquet").to_pylist()


BOX = Box(148, 177, 127, 188, "person")


def test_the_file_is_byte_for_byte_what_the_format_says(catalog: Catalog, tmp_path: Path) -> None:
    annotations = [
        said("sub/a.jpg", "box", "person", BOX),
        said("sub/a.jpg", "label", "car"),
        said("sub/a.jpg", "caption", "A person."),
    ]
    content, _ = read(catalog, [image("sub/a.jpg"), thumbnail("sub/a.jpg"), crop("sub/a.jpg", BOX)], annotations)
    time = content["info"]["export_time"]
    assert (tmp_path / "exports" / "metadata.json").read_text() == (
        f'{{"info": {{"schema_version":"1.1","dataset":"birds","description":"Exported from birds by {software()}",'
        f'"dataset_url":"s3://bucket/save/birds/","export_time":"{time}",'
        f'"dataset_creation_time":"2026-01-02T03:04:05+00:00","exported_by":"{software()}","total_media_items":1}},\n'
        '"media_items": [\n'
        '{"media_id":"id-sub/a.jpg","media_type":"image","file_name":"a.jpg","file_path":"sub/a.jpg",'
        '"file_size":"48.96KB","height":240,"width":360,"url":"/image/birds/thumbnails/sub/a.jpg.jpg",'
        '"cluster_id":null,"uniqueness_score":null,"metadata_items":['
        '{"type":"object_label","properties":{"bbox":[148,177,127,188],"category_name":"person","source":"User",'
        f'"original_id":-1,"url":"/image/birds/crops/sub/a.jpg/{BOX.id}.jpg","metadata_items":[]}}}},'
        '{"type":"image_label","properties":{"category_name":"car","source":"User","original_id":-1}},'
        '{"type":"caption","properties":{"text":"A person.","source":"User"}}]}\n'
        "]}\n"
    )


def test_an_export_of_nothing_is_whole(catalog: Catalog) -> None:
    content, rows = read(catalog, [])
    assert (content["info"]["total_media_items"], content["media_items"], rows) == (0, [], [])


def test_a_first_export_dates_the_data_set(catalog: Catalog) -> None:
    info = read(catalog, [], created="")[0]["info"]
    assert info["dataset_creation_time"] == info["export_time"]


ODD = [
    'it\'s "q".jpg',
    "a\nb.jpg",
    "<b>&amp;.jpg",
    "日本/é e\u0301.png",
    "😀.jpg",
    "100%25 #1?+.jpg",
    "\x01\x7f.jpg",
    "].jpg",
]


def test_names_and_labels_come_through_whatever_they_hold(catalog: Catalog) -> None:
    texts = dict(zip(ODD, ["</script>", '"', "a\nb\t\0", "\u2028 ü", "😀", "a,b", "\\", "[1, 2]"], strict=True))
    content, rows = read(catalog, [image(path) for path in ODD], [said(path, "label", texts[path]) for path in ODD])
    assert {
        item["file_path"]: item["metadata_items"][0]["properties"]["category_name"] for item in content["media_items"]
    } == texts
    assert {row["file_path"]: row["labels"] for row in rows} == {path: [text] for path, text in texts.items()}
    assert [item["file_path"] for item in content["media_items"]] == sorted(ODD)


def test_urls_are_percent_encoded_so_that_they_lead_back_to_the_key(catalog: Catalog) -> None:
    content, rows = read(catalog, [image(path) for path in ODD])
    for item, row in zip(content["media_items"], rows, strict=True):
        parts = urlsplit(item["url"])
        assert item["url"].isascii()
        assert (parts.query, parts.fragment) == ("", "")
        assert unquote(parts.path) == f"/image/birds/images/{item['file_path']}"
        assert (row["url"], row["uri"]) == (item["url"], f"s3://bucket/save/birds/images/{row['file_path']}")


@pytest.mark.parametrize(
    ("serve_original", "made", "url"),
    [
        (False, True, "https://cdn.example/i/birds/thumbnails/a.jpg.jpg"),
        (True, True, "https://cdn.example/i/birds/images/a.jpg"),
        (False, False, "https://cdn.example/i/birds/images/a.jpg"),
    ],
)
def test_the_image_url_is_the_thumbnails_unless_the_original_is_served(
    serve_original: bool, made: bool, url: str, catalog: Catalog
) -> None:
    addresses = replace(ADDRESSES, serve_original=serve_original, cdn_fullpath="https://cdn.example/i/")
    content, (row,) = read(catalog, [image("a.jpg"), *[thumbnail("a.jpg")] * made], addresses=addresses)
    assert content["media_items"][0]["url"] == row["url"] == url
    assert row["image_url"] == "https://cdn.example/i/birds/images/a.jpg"
    assert (row["thumbnail_url"] is not None) is made


def test_only_what_is_proven_is_shown(catalog: Catalog) -> None:
    """Annotations of images before, between and after those of the export find no place in it."""
    rows = [
        image("a.jpg", status="failed"),
        image("b.jpg", status="unchanged"),
        thumbnail("b.jpg", status="rejected"),
        crop("b.jpg", BOX, status="failed"),
        image("c.jpg", status="rejected"),
        image("d.jpg"),
    ]
    annotations = [said(f"{name}.jpg", "box", "person", BOX) for name in ("a", "aa", "b", "c", "e")]
    content, table = read(catalog, rows, annotations)
    assert [(item["file_path"], len(item["metadata_items"])) for item in content["media_items"]] == [
        ("b.jpg", 1),
        ("d.jpg", 0),
    ]
    assert content["info"]["total_media_items"] == 2
    assert content["media_items"][0]["url"] == "/image/birds/images/b.jpg"
    assert "url" not in content["media_items"][0]["metadata_items"][0]["properties"]
    assert [(row["entity_type"], row["key"]) for row in table][1] == ("object", None)


def test_statements_stand_in_the_order_in_which_they_were_made(catalog: Catalog) -> None:
    annotations = [said(path, "label", f"{n}") for n in (3, 1, 2) for path in ("b.jpg", "a.jpg")]
    content, rows = read(catalog, [image("a.jpg"), image("b.jpg")], annotations)
    assert [row["labels"] for row in rows] == [["3", "1", "2"]] * 2
    for item in content["media_items"]:
        assert [said["properties"]["category_name"] for said in item["metadata_items"]] == ["3", "1", "2"]


def test_boxes_are_rounded_in_the_index_and_exact_in_the_table(catalog: Catalog) -> None:
    box = Box(1.4, 2.6, 10.5001, 0.6, "x")
    content, (_, row) = read(catalog, [image("a.jpg")], [said("a.jpg", "box", "x", box)])
    assert content["media_items"][0]["metadata_items"][0]["properties"]["bbox"] == [1, 3, 11, 1]
    assert (row["box_x"], row["box_y"], row["box_width"], row["box_height"]) == (1.4, 2.6, 10.5001, 0.6)


@pytest.mark.parametrize(
    ("box", "bbox"),
    [
        (Box(100, 50, 0.3, 0.3), [100, 50, 1, 1]),
        (Box(359.6, 239.6, 0.3, 0.3), [359, 239, 1, 1]),
        (Box(100.3, 10.2, 259.3, 229.4), [100, 10, 259, 229]),
        (Box(358.5, 0, 1.5, 240), [358, 0, 2, 240]),
        (Box(-0.4, -2, 361, 5), [0, -2, 361, 5]),
    ],
    ids=["a speck", "a speck at the edge", "to 359.6 of 360", "halves", "beyond the picture as annotated"],
)
def test_a_box_has_a_pixel_at_least_and_stays_in_a_picture_that_it_lies_in(
    box: Box, bbox: list[int], catalog: Catalog
) -> None:
    content, (_, row) = read(catalog, [image("a.jpg")], [said("a.jpg", "box", "x", box)])
    assert content["media_items"][0]["metadata_items"][0]["properties"]["bbox"] == bbox
    assert (row["box_x"], row["box_width"]) == (box.x, box.width)


def test_the_split_of_an_image_is_told_and_its_boxes_have_it_too(catalog: Catalog) -> None:
    annotations = [said("a.jpg", "split", "train"), said("a.jpg", "box", "person", BOX)]
    content, rows = read(catalog, [image("a.jpg"), image("b.jpg")], annotations)
    assert [item.get("split") for item in content["media_items"]] == ["train", None]
    assert [(row["entity_type"], row["split"]) for row in rows] == [
        ("image", "train"),
        ("object", "train"),
        ("image", None),
    ]


def test_metadata_is_typed_in_the_table_and_stands_under_its_name_in_the_index(catalog: Catalog) -> None:
    columns = [
        MetadataColumn("image", "seen", "time", "seen"),
        MetadataColumn("image", "score", "integer", "score"),
        MetadataColumn("object", "score", "number", "score_2"),
        MetadataColumn("object", "tags", "texts", "tags"),
        MetadataColumn("object", "checked", "boolean", "checked"),
        MetadataColumn("image", "camera", "text", "camera"),
    ]
    add_metadata_columns(catalog, columns)
    annotations = [
        said("a.jpg", "metadata", "", metadata='{"seen": "2024-05-01T12:00:00+02:00", "score": 7}'),
        said("a.jpg", "metadata", "", metadata='{"score": 8, "camera": "é"}'),
        said("a.jpg", "box", "person", BOX, metadata='{"score": "0.5", "tags": ["x", "y"], "checked": "True"}'),
    ]
    content, rows = read(catalog, [image("a.jpg")], annotations)
    (item,) = content["media_items"]
    assert item["metadata"] == {"seen": "2024-05-01T10:00:00+00:00", "score": 7, "camera": "é"}
    assert [kind["type"] for kind in item["metadata_items"]] == ["object_label"]
    assert item["metadata_items"][0]["properties"]["metadata"] == {"score_2": 0.5, "tags": ["x", "y"], "checked": True}
    of_image = {"meta_seen": datetime(2024, 5, 1, 10, tzinfo=UTC), "meta_score": 7, "meta_camera": "é"}
    of_object = {"meta_score_2": 0.5, "meta_tags": ["x", "y"], "meta_checked": True}
    own = [{name: value for name, value in row.items() if name.startswith("meta_")} for row in rows]
    assert own == [of_image | dict.fromkeys(of_object), of_image | of_object]


@pytest.mark.parametrize(
    ("space", "orientation", "bbox"),
    [("upright", 1, [90, 24, 180, 12]), ("upright", 6, [90, 24, 180, 12]), ("stored", 6, [60, 36, 120, 18])],
)
def test_shares_become_pixels_of_the_picture_that_they_were_measured_in(
    space: Any, orientation: int, bbox: list[int], catalog: Catalog
) -> None:
    box = Box(0.25, 0.1, 0.5, 0.05, "x", fraction=True)
    rows = [image("a.jpg", orientation=orientation)]
    content, _ = read(catalog, rows, [said("a.jpg", "box", "x", box)], box_space=space)
    assert content["media_items"][0]["metadata_items"][0]["properties"]["bbox"] == bbox


def test_shares_of_a_picture_that_nobody_could_decode_are_no_boxes(catalog: Catalog) -> None:
    share, pixels = Box(0.2, 0.1, 0.5, 0.1, "x", fraction=True), Box(1, 2, 3, 4, "y")
    annotations = [said("a.jpg", "box", "x", share), said("a.jpg", "box", "y", pixels)]
    content, _ = read(catalog, [image("a.jpg", width=0, height=0, code="UNDECODABLE")], annotations)
    assert [item["properties"]["bbox"] for item in content["media_items"][0]["metadata_items"]] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("box", [Box(1, 2, 0, 4), Box(math.nan, 2, 3, 4), Box(1, math.inf, 3, 4), Box(1e300, 2, 3, 4)])
def test_a_box_that_is_no_region_is_left_out(box: Box, catalog: Catalog) -> None:
    content, rows = read(catalog, [image("a.jpg")], [said("a.jpg", "box", "x", box)])
    assert (content["media_items"][0]["metadata_items"], len(rows)) == ([], 1)


def test_the_same_box_said_twice_is_one_object_and_another_label_another(catalog: Catalog) -> None:
    other = replace(BOX, label="man")
    annotations = [said("a.jpg", "box", box.label, box) for box in (BOX, BOX, other)]
    _, rows = read(catalog, [image("a.jpg"), crop("a.jpg", BOX), crop("a.jpg", other)], annotations)
    assert [row["label"] for row in rows] == [None, "person", "man"]
    assert len({row["entity_id"] for row in rows}) == 3


def test_the_table_has_a_row_for_each_image_and_each_object(catalog: Catalog) -> None:
    annotations = [
        said("sub/a.jpg", "box", "person", BOX),
        said("sub/a.jpg", "label", "car"),
        said("sub/a.jpg", "caption", "A person."),
    ]
    _, (first, second) = read(
        catalog, [image("sub/a.jpg"), thumbnail("sub/a.jpg"), crop("sub/a.jpg", BOX)], annotations
    )
    assert list(first) == list(PARQUET_COLUMNS)
    of_the_image = {
        "media_id": "id-sub/a.jpg",
        "image_filename": "a.jpg",
        "file_path": "sub/a.jpg",
        "image_key": "save/birds/images/sub/a.jpg",
        "image_uri": "s3://bucket/save/birds/images/sub/a.jpg",
        "image_url": "/image/birds/images/sub/a.jpg",
        "thumbnail_key": "save/birds/thumbnails/sub/a.jpg.jpg",
        "thumbnail_uri": "s3://bucket/save/birds/thumbnails/sub/a.jpg.jpg",
        "thumbnail_url": "/image/birds/thumbnails/sub/a.jpg.jpg",
        "format": "JPEG",
        "content_type": "image/jpeg",
        "width": 360,
        "height": 240,
        "file_size": 50_135,
        "sha256": "5a",
    }
    no_box = dict.fromkeys(["label", "box_x", "box_y", "box_width", "box_height"])
    measures = ["phash", "brightness", "contrast", "sharpness", "entropy"]
    of_the_image["source_name"] = "main"
    of_the_image |= dict.fromkeys([*measures, "exact_duplicate_group", "near_duplicate_group"]) | {"issues": []}
    assert first == {
        **of_the_image,
        **no_box,
        "entity_type": "image",
        "entity_id": "id-sub/a.jpg",
        "key": "save/birds/images/sub/a.jpg",
        "uri": "s3://bucket/save/birds/images/sub/a.jpg",
        "url": "/image/birds/thumbnails/sub/a.jpg.jpg",
        "labels": ["car"],
        "captions": ["A person."],
        "split": None,
    }
    assert second == {
        **of_the_image,
        "entity_type": "object",
        "entity_id": f"id-sub/a.jpg/{BOX.id}",
        "key": f"save/birds/crops/sub/a.jpg/{BOX.id}.jpg",
        "uri": f"s3://bucket/save/birds/crops/sub/a.jpg/{BOX.id}.jpg",
        "url": f"/image/birds/crops/sub/a.jpg/{BOX.id}.jpg",
        "label": "person",
        "labels": [],
        "captions": [],
        "split": None,
        "box_x": 148,
        "box_y": 177,
        "box_width": 127,
        "box_height": 188,
    }


def test_columns_keep_their_types_where_a_whole_file_has_no_value(catalog: Catalog, tmp_path: Path) -> None:
    read(catalog, [image("a.jpg")])
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "exports" / "metadata.parquet")}
    assert (types["label"], types["labels"], types["box_x"]) == ("string", "list<element: string>", "double")


def test_chunks_and_ranges_leave_no_trace(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many boxes on one image, and images on both sides of every cut."""
    monkeypatch.setattr(imagehaul.ledger.entities, "IMAGES_AT_ONCE", 3)
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", 20)
    paths = [f"{n:03}.jpg" for n in range(100)]
    boxes = [Box(x, 2, 3, 4, "b") for x in range(9)]
    annotations = [said(path, "box", "b", box) for path in paths[::7] for box in boxes]
    content, rows = read(catalog, [image(path) for path in paths], annotations)
    assert [item["file_path"] for item in content["media_items"]] == paths
    assert [len(item["metadata_items"]) for item in content["media_items"]] == [0 if n % 7 else 9 for n in range(100)]
    assert len(rows) == 100 + 15 * 9


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0.00B"),
        (1023, "1023.00B"),
        (1024, "1.00KB"),
        (32 * 1024, "32.00KB"),
        (5 << 40, "5.00TB"),
        (5 << 50, "5120.00TB"),
    ],
)
def test_a_size_is_shown_with_two_decimals_and_a_unit(size: int, shown: str) -> None:
    assert human_size(size) == shown


def test_measures_and_issues_stand_in_both(catalog: Catalog) -> None:
    measures = {"phash": "0f" * 16, "brightness": 0.5, "contrast": 0.2, "sharpness": 9.5, "entropy": 7.0}
    catalog.append(
        "issue",
        "SELECT 'main' AS source_name, * FROM (VALUES ('a.jpg', 'blur', 1.0, '', 0.15), "
        "('a.jpg', 'near_duplicates', 0.95, 'd41d8cd98f00b204e9800998ecf8427e', 0.92)) "
        "issue(source_path, kind, confidence, group_id, threshold)",
    )
    content, (first, second) = read(catalog, [image("a.jpg", **measures), image("b.jpg")])
    assert {name: first[name] for name in measures} == measures
    assert (first["issues"], second["issues"]) == (["blur", "near_duplicates"], [])
    assert first["near_duplicate_group"] == "d41d8cd98f00b204e9800998ecf8427e"
    assert content["media_items"][0]["metadata_items"] == [
        {"type": "issue", "properties": {"issue_type": "blur", "confidence": 1.0}},
        {
            "type": "issue",
            "properties": {
                "issue_type": "duplicates",
                "confidence": 0.95,
                "duplicate_group_id": "d41d8cd9-8f00-b204-e980-0998ecf8427e",
                "duplicate_threshold": 0.92,
            },
        },
    ]
