"""What is delivered, unchanged, rejected or failed: by the store's own word, and by nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagehaul.ledger.counts import count_outcome
from imagehaul.ledger.proof import name_changed_sources
from imagehaul.records import SendResult, SourceFile, StoredObject
from tests.support.simulated import Site, box, key, md5

pytestmark = pytest.mark.usefixtures("rows_sorted")
IMAGE, THUMBNAIL, CROP = key("images", "a.jpg"), key("thumbnails", "a.jpg.jpg"), key("crops", f"a.jpg/{box().id}.jpg")


def test_what_was_sent_and_is_listed_with_its_md5_is_delivered(site: Site) -> None:
    run = site.deliver()
    assert run.status == {"a.jpg": "delivered", "b.jpg": "delivered"}
    assert {(row.status, row.proof, row.run) for row in run.rows} == {("delivered", "etag-md5", run.name)}
    assert (run.counts.objects, run.counts.bytes) == (5, sum(item.size for item in site.store.values()))


def test_what_stands_since_an_earlier_run_is_unchanged_and_keeps_the_run_that_sent_it(site: Site) -> None:
    first = site.deliver()
    second = site.deliver()
    assert {(row.status, row.run, row.proof) for row in second.rows} == {("unchanged", first.name, "etag-md5")}
    assert (second.counts.unchanged, second.counts.objects, second.counts.bytes) == (2, 0, 0)


def test_what_was_found_there_already_is_unchanged(site: Site) -> None:
    site.deliver()
    site.earlier = []
    run = site.deliver()
    assert (run.plan.new, run.counts.unchanged, run.counts.objects) == (2, 2, 0)


def test_what_the_sender_calls_sent_and_the_store_does_not_list_is_failed(site: Site) -> None:
    run = site.run()
    run.work()
    lost = site.store.pop(IMAGE)
    run.prove()
    assert run.status == {"a.jpg": "failed NOT_PROVEN", "b.jpg": "delivered"}
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.message, row.proof, row.retryable, row.etag) == (
        "The store does not list the object.",
        "",
        True,
        lost.etag,
    )


@pytest.mark.parametrize("code", ["STORE_BUSY", "NO_REPORT", "STORE_UNAVAILABLE", "CREDENTIALS_EXPIRED"])
def test_what_the_sender_calls_failed_and_the_store_lists_rightly_is_delivered(code: str, site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(IMAGE, "failed", code, "said the sender")])
    run.prove(listed=[*site.store.values(), StoredObject(IMAGE, 5, md5("first"))])
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.status, row.code, row.message, row.retryable) == ("delivered", "", "", False)
    assert run.counts.objects == 5


def test_what_the_sender_calls_failed_keeps_its_reason_where_the_store_agrees(site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(IMAGE, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.status, row.code, row.message, row.retryable) == ("failed", "STORE_BUSY", "SlowDown", True)


def test_a_failure_to_send_again_is_not_healed_by_what_lay_there_before(site: Site) -> None:
    site.deliver()
    run = site.run(rerun="all")
    run.work(misses=[SendResult(IMAGE, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    assert run.status == {"a.jpg": "failed STORE_BUSY", "b.jpg": "delivered"}


def test_a_carried_object_that_vanished_before_the_last_listing_is_failed(site: Site) -> None:
    site.deliver()
    run = site.run()
    assert run.plan.carried == 2
    run.prove(listed=[item for item in site.store.values() if item.key != THUMBNAIL])
    assert run.status == {"a.jpg": "failed RENDITION_FAILED", "b.jpg": "unchanged"}


@pytest.mark.parametrize("rendition", [THUMBNAIL, CROP])
def test_a_failed_rendition_makes_its_image_failed_and_is_named(rendition: str, site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(rendition, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    assert run.status == {"a.jpg": "failed RENDITION_FAILED", "b.jpg": "delivered"}
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert row.message.endswith(f"{rendition}: STORE_BUSY")
    assert run.counts.objects == 4, "the image itself was sent and proven, all the same"


def test_a_rejected_rendition_leaves_its_image_delivered(site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(CROP, "rejected", "KEY_TOO_LONG", "KeyTooLongError")])
    run.prove()
    assert run.status["a.jpg"] == "delivered"
    assert [(row.status, row.code) for row in run.rows if row.key == CROP] == [("rejected", "KEY_TOO_LONG")]


# -- every image has its row -----------------------------------------------------------------------------------------


def test_images_whose_batch_never_ran_are_failed_and_say_so(site: Site) -> None:
    for number in range(4):
        site.write(f"more/{number}.jpg", "more")
    run = site.run()
    run.work(batches=1)
    run.prove()
    assert sorted(run.status.values()) == ["delivered"] * 2 + ["failed NOT_ATTEMPTED"] * 4
    assert (run.counts.planned, run.counts.failed) == (6, 4)


def test_names_and_files_that_cannot_be_sent_are_rejected_rows_with_their_reason(site: Site) -> None:
    run = site.run(rejected=[SourceFile("gone.jpg", 0, "", "LINK_DANGLING", "It leads to nothing.")])
    run.work()
    run.prove()
    (row,) = (row for row in run.rows if row.source_path == "gone.jpg")
    assert (row.status, row.code, row.message, row.key) == ("rejected", "LINK_DANGLING", "It leads to nothing.", "")
    assert row.retryable
    assert run.counts.planned == 3


@pytest.mark.parametrize(
    ("damage", "said_of_it"),
    [
        ("DELETE FROM proven WHERE source_path = 'b.jpg'", "'b.jpg' has 0 rows"),
        ("INSERT INTO proven SELECT * FROM proven WHERE source_path = 'a.jpg'", "'a.jpg' has 2 rows"),
        ("UPDATE proven SET source_path = 'c.jpg' WHERE source_path = 'b.jpg'", "'b.jpg' has 0 rows"),
        ("UPDATE proven SET source_path = 'a.jpg' WHERE kind = 'image'", "'a.jpg' has 2 rows"),
        ("UPDATE proven SET status = 'sent'", "do not add up"),
    ],
)
def test_a_missing_doubled_or_foreign_row_is_found_even_where_the_sums_agree(
    damage: str, said_of_it: str, site: Site
) -> None:
    run = site.run()
    run.work()
    run.prove()
    run.catalog.execute(damage)
    with pytest.raises(AssertionError, match=said_of_it):
        count_outcome(run.catalog)


# -- a source that moves ---------------------------------------------------------------------------------------------


def test_other_bytes_under_the_key_are_blamed_on_a_source_that_changed_meanwhile(site: Site) -> None:
    run = site.run()
    run.work()
    site.write("a.jpg", "moved on")
    for path in ("a.jpg", "b.jpg"):
        name = key("images", path)
        site.store[name] = replace(site.store[name], size=8, etag=md5("moved on"))
    run.prove()
    assert run.status == {"a.jpg": "failed SOURCE_CHANGED", "b.jpg": "failed NOT_PROVEN"}
    (row,) = (row for row in run.rows if row.key == key("images", "b.jpg"))
    assert row.message == f"The store lists 8 bytes with the ETag {md5('moved on')}."


def test_a_listing_that_could_not_be_had_asks_for_no_source(site: Site) -> None:
    run = site.run()
    run.work()
    run.prove(listed=[])
    asked: list[str] = []

    def has_changed(path: str, size: int, version: str) -> bool:
        asked.append(path)
        return True

    name_changed_sources(run.catalog, has_changed)
    assert asked == []
    assert set(run.status.values()) == {"failed NOT_PROVEN"}
