"""What the source, the store and earlier runs hold, as tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.errors import SourceError, StoreError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import (
    EarlierRun,
    has_backslashes,
    load_listing,
    load_prior,
    load_source,
    near_collisions,
    refuse_collisions,
    reject_backslashes,
)
from imagehaul.ledger.rows import LedgerRow
from imagehaul.mapping import Mapping
from imagehaul.records import SourceFile, StoredObject
from tests.support.simulated import LAYOUT, MAPPING, ledger_of


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def load(catalog: Catalog, *paths: str, mapping: Mapping = MAPPING) -> None:
    load_source(catalog, (SourceFile(path, 1, "1") for path in paths), mapping)


# -- the source ------------------------------------------------------------------------------------------------------


def test_each_entry_gets_the_name_that_the_mapping_gives_it(catalog: Catalog) -> None:
    load(catalog, "b/x.png", "a.jpg", mapping=replace(MAPPING, full_path=False))
    assert list(catalog.rows("SELECT ordinal, path, name FROM source ORDER BY ordinal")) == [
        (0, "b/x.png", "x.png"),
        (1, "a.jpg", "a.jpg"),
    ]


@pytest.mark.parametrize("order", [1, -1], ids=["file first", "archive first"])
def test_an_archive_on_the_key_of_a_file_is_to_be_renamed(catalog: Catalog, order: int) -> None:
    entries = [SourceFile("a/x.jpg", 1, "1"), SourceFile("a/x.jpg", 1, "1", location='["a.zip", "x.jpg"]')][::order]
    with pytest.raises(SourceError, match=r"'a.zip' and 'a/x.jpg' would both be 'a/x.jpg'. Rename the archive"):
        load_source(catalog, entries, MAPPING)


def test_two_rows_of_a_list_on_one_key_are_to_be_named_apart(catalog: Catalog) -> None:
    entries = [SourceFile("x.jpg", 1, "1", location=f"/{folder}/x.jpg") for folder in "ab"]
    with pytest.raises(
        SourceError, match=r"'/a/x.jpg' and '/b/x.jpg' would both be 'x.jpg'. Give each .* column 'key'"
    ):
        load_source(catalog, entries, MAPPING)


def test_of_two_rows_for_one_image_the_first_that_says_something_counts_and_is_told(catalog: Catalog) -> None:
    said = [("a.jpg", ""), ("a.jpg", "1"), ("b.jpg", "1"), ("b.jpg", "1"), ("c.jpg", "1"), ("c.jpg", "2")]
    said += [("d.jpg", ""), ("d.jpg", ""), ("e.jpg", "1"), ("c.jpg", "3"), ("a.jpg", "2"), ("b.jpg", "")]
    entries = [SourceFile(path, 1, "1", location=f"/x/{path}", metadata=metadata) for path, metadata in said]
    assert load_source(catalog, entries, MAPPING) == (2, "c.jpg")
    assert list(catalog.rows("SELECT path, metadata FROM source ORDER BY path")) == [
        ("a.jpg", "1"),
        ("b.jpg", "1"),
        ("c.jpg", "1"),
        ("d.jpg", ""),
        ("e.jpg", "1"),
    ]


def test_an_entry_without_a_possible_key_is_a_rejected_row(catalog: Catalog) -> None:
    long = "é" * 600 + ".jpg"
    load(catalog, "a//c/b.jpg", "../c.jpg", long, "fine.jpg")
    rows = {path: (code, name) for path, code, name in catalog.rows("SELECT path, code, name FROM source")}
    assert rows == {
        "a//c/b.jpg": ("NAME_UNSUPPORTED", ""),
        "../c.jpg": ("NAME_UNSUPPORTED", ""),
        long: ("KEY_TOO_LONG", ""),
        "fine.jpg": ("", "fine.jpg"),
    }
    message, *_ = catalog.one("SELECT message FROM source WHERE path = '../c.jpg'")
    assert "The key would be 'save/birds/images/../c.jpg'." in message


def test_what_ingest_rejected_keeps_its_reason(catalog: Catalog) -> None:
    load_source(catalog, [SourceFile("a.jpg", 0, "", "UNREADABLE", "Permission denied.")], MAPPING)
    assert catalog.one("SELECT code, message, name FROM source") == ("UNREADABLE", "Permission denied.", "")


def test_two_sources_on_one_key_are_refused_and_both_are_named(catalog: Catalog) -> None:
    load(catalog, "a/x.jpg", "b/x.jpg", "c.jpg", mapping=replace(MAPPING, full_path=False))
    with pytest.raises(SourceError, match=r"1 times.*'a/x.jpg' and 'b/x.jpg' would both be 'save/birds/images/x.jpg'"):
        refuse_collisions(catalog, MAPPING)


def test_many_collisions_are_counted_and_three_are_shown(catalog: Catalog) -> None:
    paths = [f"{folder}/{n}.jpg" for folder in "ab" for n in range(5)]
    load(catalog, *paths, mapping=replace(MAPPING, full_path=False))
    with pytest.raises(SourceError, match="5 times") as caught:
        refuse_collisions(catalog, MAPPING)
    assert str(caught.value).count("would both be") == 3


def test_rejected_entries_collide_with_nothing(catalog: Catalog) -> None:
    files = [SourceFile(f"{n}.jpg", 0, "", "LINK_DANGLING", "") for n in range(2)]
    load_source(catalog, [*files, SourceFile("a.jpg", 1, "1")], MAPPING)
    refuse_collisions(catalog, MAPPING)


def test_names_that_differ_in_case_or_composition_alone_are_counted(catalog: Catalog) -> None:
    load(catalog, "A.jpg", "a.jpg", "caf\u00e9.jpg", "cafe\u0301.jpg", "other.jpg")
    assert near_collisions(catalog) == (2, [("A.jpg", "a.jpg"), ("cafe\u0301.jpg", "caf\u00e9.jpg")])


def test_names_that_the_store_rewrites_are_rejected(catalog: Catalog) -> None:
    load(catalog, "a\\b.jpg", "c.jpg")
    assert has_backslashes(catalog)
    reject_backslashes(catalog)
    assert not has_backslashes(catalog)
    rows = list(catalog.rows("SELECT path, code, name FROM source ORDER BY path"))
    assert rows == [("a\\b.jpg", "KEY_REWRITTEN", ""), ("c.jpg", "", "c.jpg")]


# -- the store -------------------------------------------------------------------------------------------------------


def test_a_listing_tells_kinds_and_names_and_leaves_the_rest_out(catalog: Catalog) -> None:
    keys = {
        "images/f/a.b.jpg": ("image", "f/a.b.jpg"),
        "thumbnails/f/a.b.jpg.webp": ("thumbnail", "f/a.b.jpg"),
        "thumbnails/.jpg.jpg": ("thumbnail", ".jpg"),
        "crops/f/a.b.jpg/0123456789abcdef.jpg": ("crop", "f/a.b.jpg"),
    }
    others = ["current.json", "runs/r/report.json", "imagesque/a.jpg"]
    objects = [StoredObject(LAYOUT.root + name, 1, "e") for name in [*keys, *others]]
    load_listing(catalog, objects, LAYOUT)
    assert catalog.one("SELECT count(*) FROM listing") == (len(keys),)
    found = {
        key.removeprefix(LAYOUT.root): (kind, name)
        for key, kind, name in catalog.rows("SELECT key, kind, name FROM listing")
    }
    assert found == keys


def test_a_new_listing_replaces_the_old(catalog: Catalog) -> None:
    for number in range(2):
        load_listing(catalog, [StoredObject(f"{LAYOUT.images}{number}.jpg", 1, "e")], LAYOUT)
    assert catalog.one("SELECT name FROM listing") == ("1.jpg",)


# -- earlier runs ----------------------------------------------------------------------------------------------------

OLD, NEW = "20261122T090000Z-000000", "20261122T100000Z-000000"


def image(path: str, status: str = "delivered", **changes: str) -> LedgerRow:
    whole = LedgerRow(path, "image", MAPPING.image_key(path), "delivered", size=5, etag="old", md5="old", recipe="old")
    return replace(whole, status=status, **changes)  # type: ignore[arg-type]


def test_the_rows_of_the_latest_run_that_knows_an_image_count(catalog: Catalog, tmp_path: Path) -> None:
    thumbnail = replace(image("a.jpg"), kind="thumbnail", key="t")
    old = ledger_of(tmp_path, [image("a.jpg"), thumbnail, image("b.jpg")], OLD)
    new = ledger_of(tmp_path, [image("a.jpg", "rejected", key="", code="UNDECODABLE")], NEW, published=False)
    load_prior(catalog, [new, old])
    rows = list(catalog.rows("SELECT source_path, kind, status, published FROM prior ORDER BY source_path"))
    assert rows == [("a.jpg", "image", "rejected", False), ("b.jpg", "image", "delivered", True)]


def test_what_the_index_shows_is_what_the_published_run_delivered(catalog: Catalog, tmp_path: Path) -> None:
    rows = [image("a.jpg"), image("b.jpg", "rejected"), image("c.jpg", "unchanged"), image("d.jpg", "failed")]
    later = ledger_of(tmp_path, [image("e.jpg")], NEW, published=False)
    load_prior(catalog, [ledger_of(tmp_path, rows, OLD), later])
    assert sorted(path for (path,) in catalog.rows("SELECT source_path FROM published")) == ["a.jpg", "c.jpg"]


def test_of_an_object_the_last_success_is_known_and_else_the_last_failure(catalog: Catalog, tmp_path: Path) -> None:
    old = [image("a.jpg"), image("b.jpg", "failed", etag="b1")]
    new = [image("a.jpg", "failed", etag="new"), image("b.jpg", "failed", etag="b2"), image("c.jpg", "sent", etag="c")]
    runs = [ledger_of(tmp_path, old, OLD), ledger_of(tmp_path, new, NEW, published=False)]
    load_prior(catalog, runs)
    known = {key.removeprefix(LAYOUT.images): etag for key, etag in catalog.rows("SELECT key, etag FROM known")}
    assert known == {"a.jpg": "old", "b.jpg": "b2", "c.jpg": "c"}


def test_a_run_that_left_no_rows_is_passed_over(catalog: Catalog) -> None:
    load_prior(catalog, [EarlierRun(OLD, (), published=True)])
    assert catalog.one("SELECT count(*) FROM prior") == (0,)


def test_a_ledger_that_is_none_is_named(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_text("no Parquet")
    with pytest.raises(StoreError, match=f"(?s)The ledger of run {OLD} cannot be read: .*by its ETags"):
        load_prior(catalog, [EarlierRun(OLD, (tmp_path / "broken.parquet",), published=True)])


def test_a_ledger_of_another_program_is_named(catalog: Catalog, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"name": ["a"]}), tmp_path / "other.parquet")
    with pytest.raises(StoreError, match=f"The ledger of run {OLD} cannot be read"):
        load_prior(catalog, [EarlierRun(OLD, (tmp_path / "other.parquet",), published=True)])
