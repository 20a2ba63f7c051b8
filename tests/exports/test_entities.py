"""The export: byte for byte what Visual Layer's format 1.1 says, whatever names and labels hold."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import pyarrow.parquet as pq
import pytest

import imagehaul.exports.entities
import imagehaul.ledger.catalog
from imagehaul.exports.entities import PARQUET_COLUMNS, ExportOptions, human_size, write_export
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.matching import load_annotations, match_annotations
from imagehaul.ledger.rows import COLUMNS, LedgerRow
from imagehaul.records import Annotation, Box, SourceFile
from tests.support.simulated import LAYOUT, MAPPING

OPTIONS = ExportOptions(LAYOUT, "/image", False, "upright", "imagehaul 1.0", "2026-01-02T03:04:05+00:00")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        opened.execute("CREATE TABLE proven AS SELECT * EXCLUDE (published), FALSE AS sent FROM prior")
        yield opened


def image(path: str, **changes: Any) -> LedgerRow:
    row = LedgerRow(
        path, "image", MAPPING.image_key(path), "delivered", size=50_135, sha256="5a", media_id=f"id-{path}"
    )
    row = replace(row, format="JPEG", content_type="image/jpeg", width=360, height=240, orientation=1)
    return replace(row, **changes)


def thumbnail(path: str, **changes: Any) -> LedgerRow:
    return replace(LedgerRow(path, "thumbnail", MAPPING.thumbnail_key(path), "delivered"), **changes)


def crop(path: str, box: Box, **changes: Any) -> LedgerRow:
    return replace(LedgerRow(path, "crop", MAPPING.crop_key(path, box), "delivered"), **changes)


def said(path: str, kind: Any, text: str, box: Box | None = None) -> Annotation:
    return Annotation(path, "path", kind, text, "annotations.json", "", box)


def export(
    catalog: Catalog,
    rows: list[LedgerRow],
    annotations: Sequence[Annotation] = (),
    options: ExportOptions = OPTIONS,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON file as an object, and the Parquet file's rows."""
    paths = {row.source_path for row in rows} | {item.reference for item in annotations}
    load_source(catalog, (SourceFile(path, 1, "1") for path in sorted(paths)), MAPPING)
    load_annotations(catalog, annotations)
    match_annotations(catalog)
    catalog.load("proven", ([*(getattr(row, name) for name in COLUMNS), False] for row in rows))
    folder = Path(catalog.one("SELECT path FROM duckdb_databases() WHERE database_name = 'catalog'")[0]).parent
    exported = write_export(catalog, options, folder)
    table = pq.read_table(exported.parquet)
    assert (exported.images, exported.images + exported.objects) == (
        len([row for row in rows if row.kind == "image" and row.status in ("delivered", "unchanged")]),
        table.num_rows,
    )
    return json.loads(exported.json.read_bytes()), table.to_pylist()


BOX = Box(148, 177, 127, 188, "person")


def test_the_file_is_byte_for_byte_what_the_format_says(catalog: Catalog, tmp_path: Path) -> None:
    annotations = [
        said("sub/a.jpg", "box", "person", BOX),
        said("sub/a.jpg", "label", "car"),
        said("sub/a.jpg", "caption", "A person."),
    ]
    content, _ = export(catalog, [image("sub/a.jpg"), thumbnail("sub/a.jpg"), crop("sub/a.jpg", BOX)], annotations)
    time = content["info"]["export_time"]
    assert (tmp_path / "metadata.json").read_text() == (
        '{"info": {"schema_version":"1.1","dataset":"birds","description":"Exported from birds by imagehaul 1.0",'
        f'"dataset_url":"s3://bucket/save/birds/","export_time":"{time}",'
        '"dataset_creation_time":"2026-01-02T03:04:05+00:00","exported_by":"imagehaul 1.0","total_media_items":1},\n'
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
    content, rows = export(catalog, [])
    assert (content["info"]["total_media_items"], content["media_items"], rows) == (0, [], [])


def test_a_first_export_dates_the_data_set(catalog: Catalog) -> None:
    info = export(catalog, [], options=replace(OPTIONS, created=""))[0]["info"]
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
    content, rows = export(catalog, [image(path) for path in ODD], [said(path, "label", texts[path]) for path in ODD])
    assert {
        item["file_path"]: item["metadata_items"][0]["properties"]["category_name"] for item in content["media_items"]
    } == texts
    assert {row["file_path"]: row["labels"] for row in rows} == {path: [text] for path, text in texts.items()}
    assert [item["file_path"] for item in content["media_items"]] == sorted(ODD)


def test_urls_are_percent_encoded_so_that_they_lead_back_to_the_key(catalog: Catalog) -> None:
    content, rows = export(catalog, [image(path) for path in ODD])
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
    options = replace(OPTIONS, serve_original=serve_original, cdn_fullpath="https://cdn.example/i/")
    content, (row,) = export(catalog, [image("a.jpg"), *[thumbnail("a.jpg")] * made], options=options)
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
    content, table = export(catalog, rows, annotations)
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
    content, rows = export(catalog, [image("a.jpg"), image("b.jpg")], annotations)
    assert [row["labels"] for row in rows] == [["3", "1", "2"]] * 2
    for item in content["media_items"]:
        assert [said["properties"]["category_name"] for said in item["metadata_items"]] == ["3", "1", "2"]


def test_boxes_are_rounded_in_the_index_and_exact_in_the_table(catalog: Catalog) -> None:
    box = Box(1.4, 2.6, 10.5001, 0.6, "x")
    content, (_, row) = export(catalog, [image("a.jpg")], [said("a.jpg", "box", "x", box)])
    assert content["media_items"][0]["metadata_items"][0]["properties"]["bbox"] == [1, 3, 11, 1]
    assert (row["box_x"], row["box_y"], row["box_width"], row["box_height"]) == (1.4, 2.6, 10.5001, 0.6)


@pytest.mark.parametrize(
    ("space", "orientation", "bbox"),
    [("upright", 1, [90, 24, 180, 12]), ("upright", 6, [90, 24, 180, 12]), ("stored", 6, [60, 36, 120, 18])],
)
def test_shares_become_pixels_of_the_picture_that_they_were_measured_in(
    space: Any, orientation: int, bbox: list[int], catalog: Catalog
) -> None:
    box = Box(0.25, 0.1, 0.5, 0.05, "x", fraction=True)
    rows = [image("a.jpg", orientation=orientation)]
    content, _ = export(catalog, rows, [said("a.jpg", "box", "x", box)], replace(OPTIONS, box_space=space))
    assert content["media_items"][0]["metadata_items"][0]["properties"]["bbox"] == bbox


def test_shares_of_a_picture_that_nobody_could_decode_are_no_boxes(catalog: Catalog) -> None:
    share, pixels = Box(0.2, 0.1, 0.5, 0.1, "x", fraction=True), Box(1, 2, 3, 4, "y")
    annotations = [said("a.jpg", "box", "x", share), said("a.jpg", "box", "y", pixels)]
    content, _ = export(catalog, [image("a.jpg", width=0, height=0, code="UNDECODABLE")], annotations)
    assert [item["properties"]["bbox"] for item in content["media_items"][0]["metadata_items"]] == [[1, 2, 3, 4]]


@pytest.mark.parametrize("box", [Box(1, 2, 0, 4), Box(math.nan, 2, 3, 4), Box(1, math.inf, 3, 4), Box(1e300, 2, 3, 4)])
def test_a_box_that_is_no_region_is_left_out(box: Box, catalog: Catalog) -> None:
    content, rows = export(catalog, [image("a.jpg")], [said("a.jpg", "box", "x", box)])
    assert (content["media_items"][0]["metadata_items"], len(rows)) == ([], 1)


def test_the_same_box_said_twice_is_one_object_and_another_label_another(catalog: Catalog) -> None:
    other = replace(BOX, label="man")
    annotations = [said("a.jpg", "box", box.label, box) for box in (BOX, BOX, other)]
    _, rows = export(catalog, [image("a.jpg"), crop("a.jpg", BOX), crop("a.jpg", other)], annotations)
    assert [row["label"] for row in rows] == [None, "person", "man"]
    assert len({row["entity_id"] for row in rows}) == 3


def test_the_table_has_a_row_for_each_image_and_each_object(catalog: Catalog) -> None:
    annotations = [
        said("sub/a.jpg", "box", "person", BOX),
        said("sub/a.jpg", "label", "car"),
        said("sub/a.jpg", "caption", "A person."),
    ]
    _, (first, second) = export(
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
        "box_x": 148,
        "box_y": 177,
        "box_width": 127,
        "box_height": 188,
    }


def test_columns_keep_their_types_where_a_whole_file_has_no_value(catalog: Catalog, tmp_path: Path) -> None:
    export(catalog, [image("a.jpg")])
    types = {field.name: str(field.type) for field in pq.read_schema(tmp_path / "metadata.parquet")}
    assert (types["label"], types["labels"], types["box_x"]) == ("string", "list<element: string>", "double")


def test_chunks_and_ranges_leave_no_trace(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many boxes on one image, and images on both sides of every cut."""
    monkeypatch.setattr(imagehaul.exports.entities, "ROWS_AT_ONCE", 3)
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", 20)
    paths = [f"{n:03}.jpg" for n in range(100)]
    boxes = [Box(x, 2, 3, 4, "b") for x in range(9)]
    annotations = [said(path, "box", "b", box) for path in paths[::7] for box in boxes]
    content, rows = export(catalog, [image(path) for path in paths], annotations)
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


_LARGE = """
import resource, sys
from pathlib import Path
from imagehaul.ledger.catalog import Catalog
from imagehaul.exports.entities import ExportOptions, write_export
from imagehaul.layout import Layout

catalog = Catalog(Path(sys.argv[1]))
catalog.execute('''CREATE TABLE proven AS SELECT * EXCLUDE (published) REPLACE (
    'folder/picture ' || i || '.jpg' AS source_path, 'image' AS kind, 'd/images/picture ' || i || '.jpg' AS key,
    'delivered' AS status, uuid()::VARCHAR AS media_id, 640 AS width, 480 AS height)
    FROM range(100000) r(i) LEFT JOIN prior ON FALSE''')
catalog.execute('''UPDATE proven SET format = 'JPEG', content_type = 'image/jpeg', orientation = 1, size = 1,
    sha256 = '5a' ''')
catalog.execute('''CREATE TABLE annotation AS SELECT source_path AS path, 'label' AS kind, 'bird' AS text,
    0.0 AS x, 0.0 AS y, 0.0 AS width, 0.0 AS height, FALSE AS fraction, '' AS crop_id, TRUE AS usable, 0 AS ordinal
    FROM proven''')
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
write_export(catalog, ExportOptions(Layout('b', '', 'd'), '/image', False, 'upright', 's'), Path(sys.argv[1]))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
catalog.close()
print(before // 1024, after // 1024)
"""


def test_memory_does_not_grow_with_the_data_set(tmp_path: Path) -> None:
    """100,000 images with a label each are 60 MB of JSON, and many times that as Python's objects."""
    done = subprocess.run(
        [sys.executable, "-c", _LARGE, str(tmp_path)], capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 150
    content = orjson.loads((tmp_path / "metadata.json").read_bytes())
    assert len(content["media_items"]) == content["info"]["total_media_items"] == 100_000
