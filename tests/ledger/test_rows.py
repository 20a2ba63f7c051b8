"""The ledger: rows with their reasons, in Parquet that any tool reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import fields, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import imagehaul.ledger.catalog
import imagehaul.ledger.ledger_file
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.rows import COLUMNS, LedgerRow, arrow_schema, write_part
from imagehaul.records import Box, ImageInfo, Rendition

ROW = LedgerRow("a.jpg", "image", "images/a.jpg", "sent", run="r")


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def fill(catalog: Catalog, rows: list[LedgerRow]) -> None:
    catalog.load("proven", ([*(getattr(row, name) for name in COLUMNS), False] for row in rows))


def test_a_problem_says_whether_a_retry_can_help() -> None:
    assert ROW.with_problem("rejected", "TIME_LIMIT").retryable
    assert not ROW.with_problem("rejected", "UNDECODABLE", "broken").retryable
    row = ROW.with_problem("failed", "STORE_BUSY", "SlowDown")
    assert (row.status, row.code, row.message, row.key) == ("failed", "STORE_BUSY", "SlowDown", "images/a.jpg")


def test_a_row_takes_what_was_read_rendered_and_annotated() -> None:
    info = ImageInfo("PNG", "image/png", 4, 3, 6, "RGBA", 2, 99, "md5", "sha", "etag", "decoded")
    row = ROW.with_info(info)
    assert {name: getattr(row, name) for name in ("format", "width", "orientation", "frames", "size", "checked")} == {
        "format": "PNG",
        "width": 4,
        "orientation": 6,
        "frames": 2,
        "size": 99,
        "checked": "decoded",
    }
    made = ROW.with_rendition(Rendition("crop", "f", "image/jpeg", 5, 6, 7, "md5", "sha", "etag"))
    assert (made.content_type, made.width, made.height, made.size, made.etag) == ("image/jpeg", 5, 6, 7, "etag")
    boxed = ROW.with_box(Box(1, 2, 3, 4, "bird"))
    assert (boxed.box_x, boxed.box_y, boxed.box_width, boxed.box_height, boxed.label) == (1, 2, 3, 4, "bird")


def test_the_columns_are_the_rows_fields_in_order() -> None:
    assert list(COLUMNS) == [field.name for field in fields(LedgerRow)] == arrow_schema().names
    assert {COLUMNS[name] for name in ("key", "size", "retryable", "box_x")} == {
        "VARCHAR",
        "BIGINT",
        "BOOLEAN",
        "DOUBLE",
    }


def test_a_part_holds_its_rows_and_appears_whole(tmp_path: Path) -> None:
    rows = [ROW, replace(ROW, source_path="日本\n'\".jpg", size=5, box_x=1.5, retryable=True)]
    write_part(rows, tmp_path / "part.parquet")
    assert [LedgerRow(**row) for row in pq.read_table(tmp_path / "part.parquet").to_pylist()] == rows
    assert [file.name for file in tmp_path.iterdir()] == ["part.parquet"]


def test_a_part_without_rows_can_be_read(tmp_path: Path) -> None:
    write_part([], tmp_path / "part.parquet")
    assert pq.read_table(tmp_path / "part.parquet").num_rows == 0


def test_the_ledger_is_written_in_row_groups_of_many_batches(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagehaul.ledger.ledger_file, "ROWS_AT_ONCE", 2_048)
    monkeypatch.setattr(imagehaul.ledger.ledger_file, "ROWS_IN_GROUP", 4_096)
    fill(catalog, [replace(ROW, source_path=f"{n:05}.jpg", key=f"{n}") for n in range(9_000)])
    write_ledger(catalog, tmp_path / "ledger.parquet")
    written = pq.ParquetFile(tmp_path / "ledger.parquet").metadata
    assert [written.row_group(n).num_rows for n in range(written.num_row_groups)] == [4_096, 4_096, 808]


@pytest.mark.parametrize("rows_sorted", [7, 1_000])
def test_the_ledger_is_sorted_and_an_image_stands_before_what_was_made_of_it(
    rows_sorted: int, catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", rows_sorted)
    expected = [
        replace(ROW, source_path=f"{n:02}.jpg", kind=kind, key=f"{kind}/{n}/{m}")
        for n in range(30)
        for kind, many in (("image", 1), ("thumbnail", 1), ("crop", 2))
        for m in range(many)
    ]
    fill(catalog, expected[::-1])
    write_ledger(catalog, tmp_path / "it's a ledger.parquet")
    table = pq.read_table(tmp_path / "it's a ledger.parquet")
    assert [LedgerRow(**row) for row in table.to_pylist()] == expected
    assert table.schema == arrow_schema()


def test_a_ledger_of_nothing_has_its_columns(catalog: Catalog, tmp_path: Path) -> None:
    write_ledger(catalog, tmp_path / "ledger.parquet")
    assert pq.read_table(tmp_path / "ledger.parquet").schema == arrow_schema()
