"""What a delivery comes to, in numbers that add up and in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.delivery.summary import Summary
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts, Reason, count_outcome, pictures_of, reasons_of
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.rows import COLUMNS, LedgerRow
from imagehaul.records import SourceFile
from tests.support.simulated import MAPPING

SUMMARY = Summary(
    dataset="birds",
    run="20261122T101500Z-1f3a9c",
    source="/data/birds",
    counts=Counts(1234, delivered=1200, unchanged=30, rejected=4, objects=2400, bytes=10),
    new=1200,
    changed=0,
    vanished=0,
    seconds=12.34567,
    engine="s5cmd",
    ledger="s3://b/l/",
    exports={"json": "s3://b/e/metadata.json", "parquet": "s3://b/e/metadata.parquet"},
    published=True,
)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def fill(catalog: Catalog, *rows: LedgerRow) -> None:
    paths = sorted({row.source_path for row in rows})
    load_source(catalog, (SourceFile(path, 1, "1") for path in paths), MAPPING)
    catalog.load("proven", ([*(getattr(row, n) for n in COLUMNS), row.status == "delivered"] for row in rows))


def row(path: str, status: str = "delivered", code: str = "", kind: str = "image", message: str = "") -> LedgerRow:
    return LedgerRow(path, kind, f"{kind}/{path}", status, code, message, size=10)  # type: ignore[arg-type]


def test_counts_that_do_not_add_up_are_a_bug_and_say_so() -> None:
    Counts(3, delivered=1, unchanged=1, rejected=1)
    Counts(2, unchanged=1, pending=1)
    with pytest.raises(AssertionError, match=r"do not add up.*report it"):
        Counts(3, delivered=1, unchanged=1)


def test_images_are_counted_by_status_and_objects_by_what_was_sent(catalog: Catalog) -> None:
    fill(
        catalog,
        row("a"),
        row("a", kind="thumbnail"),
        row("b", "unchanged"),
        row("c", "rejected"),
        row("d", "failed"),
        row("b", kind="crop"),
    )
    assert count_outcome(catalog) == Counts(4, delivered=1, unchanged=1, rejected=1, failed=1, objects=3, bytes=30)


def test_nothing_planned_is_nothing(catalog: Catalog) -> None:
    assert count_outcome(catalog) == Counts()


def test_reasons_name_counts_an_example_and_what_to_do(catalog: Catalog) -> None:
    fill(
        catalog,
        row("a"),
        row("b", "rejected", "UNDECODABLE", message="It is broken."),
        row("c", "rejected", "UNDECODABLE", message="It is broken, too."),
        row("a", "rejected", "BOX_EMPTY", kind="crop"),
        row("d", "delivered", "PIXEL_LIMIT"),
        row("e", "failed", "STORE_BUSY"),
    )
    reasons = reasons_of(catalog)
    assert reasons[0] == Reason("UNDECODABLE", "rejected", 2, 0, "b", "It is broken.")
    assert {(reason.code, reason.status, reason.images, reason.renditions) for reason in reasons[1:]} == {
        ("PIXEL_LIMIT", "delivered", 1, 0),
        ("STORE_BUSY", "failed", 1, 0),
        ("BOX_EMPTY", "rejected", 0, 1),
    }
    assert reasons[0].advice == "Restore the file, or send it as it is with DELIVER_UNDECODABLE."


def test_pictures_to_show_are_thumbnails_spread_over_the_data_set(catalog: Catalog) -> None:
    names = [f"{n:03}" for n in range(300)]
    fill(catalog, *(row(name) for name in names), *(row(name, kind="thumbnail") for name in names))
    shown = pictures_of(catalog, 40)
    assert len(set(shown)) == 40
    assert list(shown) == sorted(shown)
    assert shown == pictures_of(catalog, 40), "the same pictures each time"
    assert {key[:11] for key in shown} == {"thumbnail/0", "thumbnail/1", "thumbnail/2"}


def test_pictures_to_show_are_crops_where_there_are_no_thumbnails(catalog: Catalog) -> None:
    fill(catalog, row("a"), row("a", kind="crop"), row("b"), row("b", "failed", "STORE_BUSY", kind="thumbnail"))
    assert pictures_of(catalog, 40) == ("crop/a",)
    catalog.execute("DELETE FROM proven WHERE kind = 'crop'")
    assert pictures_of(catalog, 40) == ()


def test_the_exit_status_is_1_where_something_is_not_proven_or_not_published() -> None:
    failed = replace(SUMMARY.counts, delivered=1199, failed=1)
    assert [SUMMARY.exit_status, replace(SUMMARY, counts=failed).exit_status] == [0, 1]
    assert replace(SUMMARY, refused="too many are rejected").exit_status == 1


def test_the_last_line_of_json_has_what_the_command_promises() -> None:
    said = json.loads(json.dumps(SUMMARY.as_json()))
    promised = "dataset run planned delivered unchanged rejected failed objects bytes seconds engine ledger export"
    assert set(promised.split()) <= set(said)
    assert (said["planned"], said["seconds"]) == (1234, 12.346)


@pytest.mark.parametrize(
    ("summary", "headline"),
    [
        (SUMMARY, "birds: 1,234 images: 1,200 delivered, 30 unchanged, 4 rejected, 0 failed"),
        (
            replace(SUMMARY, refused="4 are rejected."),
            "birds: 1,234 images: 1,200 delivered, 30 unchanged, 4 rejected, 0 failed. Not published: 4 are rejected.",
        ),
        (
            replace(SUMMARY, counts=Counts(5, unchanged=2, pending=3), dry_run=True),
            "birds: 5 images, 3 of them to send; nothing was sent",
        ),
    ],
)
def test_the_headline_tells_the_truth_in_one_line(summary: Summary, headline: str) -> None:
    assert summary.headline == headline
