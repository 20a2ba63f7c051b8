"""A store that version 0.1.0 wrote is carried on: nothing is sent again that is there as it should be.

`tests/data/store-of-0.1.0.tar.gz` holds a source of eleven small pictures with a table of boxes, and all objects that
two runs of that version left: one delivered everything, with thumbnails and crops, and rejected a broken picture; the
other sent one picture that had changed. It is never made anew.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
from pathlib import Path

import pytest

from imagehaul.delivery.sources import list_sources
from imagehaul.delivery.summary import Summary
from imagehaul.delivery.verification import VerificationRun, verify
from imagehaul.layout import Layout
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, Target, draw

ARCHIVE = Path(__file__).parents[1] / "data" / "store-of-0.1.0.tar.gz"
BUCKET, PREFIX, DATASET = "written-before", "kept/", "harbour"
LAST_RUN = "20261126T161426Z-128959"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """With the times that the ledger knows."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "source"


@pytest.fixture
def target(store: Store, source: Path) -> Target:
    client = store.client()
    with contextlib.suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
        client.create_bucket(Bucket=BUCKET)
    target = Target(store, BUCKET, PREFIX, DATASET)
    for key in target.all_keys():
        client.delete_object(Bucket=BUCKET, Key=key)
    stored = source.parent / "store"
    for file in stored.rglob("*"):
        if file.is_file():
            client.put_object(Bucket=BUCKET, Key=str(file.relative_to(stored)), Body=file.read_bytes())
    return target


def deliver(target: Target, source: Path) -> Summary:
    return target.deliver(source, settings={"save_thumbnails_method": "both"})


def test_it_is_what_its_ledger_says(target: Target, tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    layout = Layout.of(f"s3://{BUCKET}/{PREFIX}", DATASET)
    found = verify(VerificationRun(target.store, layout, tmp_path / "scratch", Lines(), workers=4, content=True))
    assert (found.run, found.objects, found.proven, found.extra) == (LAST_RUN, 23, 23, 0)


def test_a_rerun_sends_nothing_and_leaves_it_published_as_it_is(target: Target, source: Path) -> None:
    before = target.current()
    summary = deliver(target, source)
    assert (summary.counts.planned, summary.counts.unchanged, summary.counts.rejected) == (11, 10, 1)
    assert (summary.counts.objects, summary.counts.failed) == (0, 0)
    assert summary.nothing_changed
    assert summary.current_run == LAST_RUN
    assert target.current() == before


def test_a_picture_that_changed_is_sent_alone_and_the_rest_is_carried_over(target: Target, source: Path) -> None:
    draw(source / "more" / "2.jpg", seed=5)
    os.utime(source / "more" / "2.jpg", (1767400000, 1767400000))
    before, created = target.stored(), target.current()["created"]
    summary = deliver(target, source)
    assert (summary.counts.delivered, summary.counts.unchanged, summary.counts.rejected) == (1, 9, 1)
    after = target.stored()
    assert {key for key in after if after[key] != before.get(key)} == {"images/more/2.jpg", "thumbnails/more/2.jpg.jpg"}
    assert summary.published
    assert target.current()["created"] == created
    runs = {row["run"] for row in target.ledger() if row["kind"] == "image" and row["status"] == "unchanged"}
    assert LAST_RUN in runs, "the ledger still says which run sent an object"
    assert len(target.metadata()["media_items"]) == 10


def test_it_is_one_source_to_which_another_is_added(target: Target, source: Path, tmp_path: Path) -> None:
    settings, layout = Settings(remote_save=f"s3://{BUCKET}/{PREFIX}"), Layout.of(f"s3://{BUCKET}/{PREFIX}", DATASET)
    (tmp_path / "scratch").mkdir()
    [listed] = list_sources(target.store, layout, settings, tmp_path / "scratch")
    assert (listed.name, listed.images, listed.rows, listed.run) == ("main", 10, 25, LAST_RUN)
    before = said_of_all(target)
    assert any(kind == "object_label" for said in before.values() for kind, *_ in said)

    draw(tmp_path / "another" / "1.jpg", seed=3)
    added = target.deliver(tmp_path / "another", settings={"key_prefix": "added"}, source_name="more")
    assert (added.counts.objects, added.sources) == (2, {"main": 10, "more": 1})
    after = said_of_all(target)
    assert {path: after[path] for path in before} == before
    again = deliver(target, source)
    assert (again.counts.unchanged, again.counts.objects, again.nothing_changed) == (10, 0, True)


def said_of_all(target: Target) -> dict[str, list[tuple[str, str, str, str]]]:
    """What the index says of the images of the main source; crops have their URLs there."""
    return {
        item["file_path"]: sorted(
            (said["type"], properties.get("category_name", ""), str(properties.get("bbox")), properties.get("url", ""))
            for said in item["metadata_items"]
            if said["type"] != "issue"
            for properties in [said["properties"]]
        )
        for item in target.metadata()["media_items"]
        if "source_name" not in item
    }
