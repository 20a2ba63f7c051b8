"""A data set of several sources: each is delivered, rerun and emptied by itself, and the index is their union."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery.prune import prune
from imagehaul.delivery.restore import restore
from imagehaul.delivery.sources import forget_source, list_sources
from imagehaul.delivery.verification import VerificationRun, verify
from imagehaul.errors import SettingsError, SourceError, StoreError
from imagehaul.layout import Layout
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.commanding import imagehaul
from tests.support.delivering import Lines, Target, draw

BOXES = "filename,col_x,row_y,width,height,label\n1.jpg,10,20,30.5,40,thing\n"
CROPS = {"save_thumbnails_method": "both"}
PREFIXED = {**CROPS, "key_prefix": "partner"}


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Two pictures, one with a box, and a table of metadata."""
    folder = tmp_path / "first"
    draw(folder / "1.jpg", seed=1)
    draw(folder / "2.jpg", seed=2)
    (folder / "object_annotations.csv").write_text(BOXES)
    (folder / "image_annotations.csv").write_text("filename,label,city,seen\n1.jpg,day,Paris,2026-01-02T03:04:05Z\n")
    return folder


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """Two pictures of which one has the name of one in `first`, and one its bytes."""
    folder = tmp_path / "second"
    draw(folder / "1.jpg", seed=7)
    (folder / "sub").mkdir()
    (folder / "sub" / "same.jpg").write_bytes(draw(tmp_path / "first" / "2.jpg", seed=2))
    (folder / "image_annotations.csv").write_text("filename,label,city\n1.jpg,night,7\n")
    return folder


@pytest.fixture
def target(store: Store, bucket: str, first: Path, second: Path) -> Target:
    """With both, the second under a prefix."""
    target = Target(store, bucket)
    target.deliver(first, settings=CROPS)
    target.deliver(second, settings=PREFIXED, source_name="partner")
    return target


def rows(target: Target, **wanted: Any) -> list[tuple[str, str, str]]:
    return [
        (row["source_name"], row["source_path"], row["status"])
        for row in target.ledger()
        if all(row[name] == value for name, value in wanted.items())
    ]


def items(target: Target) -> dict[tuple[str, str], dict[str, Any]]:
    found = target.metadata()["media_items"]
    return {(item.get("source_name", "main"), item["file_path"]): item for item in found}


def said_of(item: dict[str, Any]) -> list[str]:
    """Without what other images have a part in."""
    return sorted(str(said) for said in item["metadata_items"] if said["type"] != "issue")


def is_duplicate(item: dict[str, Any]) -> bool:
    """Whether another image has the same bytes."""
    found = [said["properties"] for said in item["metadata_items"] if said["type"] == "issue"]
    return any(issue["issue_type"] == "duplicates" and issue["confidence"] == 1.0 for issue in found)


def test_the_index_is_the_union_and_counts_are_of_the_one_that_was_delivered(
    store: Store, bucket: str, first: Path, second: Path
) -> None:
    target = Target(store, bucket)
    alone = target.deliver(first, settings=CROPS)
    before = items(target)
    assert alone.sources == {"main": 2}
    added = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (added.counts.planned, added.counts.delivered, added.counts.objects, added.vanished) == (2, 2, 4, 0)
    assert (added.source_name, added.sources) == ("partner", {"main": 2, "partner": 2})
    assert sorted(rows(target, kind="image")) == [
        ("main", "1.jpg", "unchanged"),
        ("main", "2.jpg", "unchanged"),
        ("partner", "1.jpg", "delivered"),
        ("partner", "sub/same.jpg", "delivered"),
    ]
    assert {"images/1.jpg", "images/partner/1.jpg", "thumbnails/partner/sub/same.jpg.jpg"} <= set(target.listed())
    current = target.current()
    assert (current["counts"]["planned"], current["total"]["planned"]) == (2, 4)
    assert {name: source["images"] for name, source in current["sources"].items()} == {"main": 2, "partner": 2}

    after = items(target)
    assert list(after) == [("main", "1.jpg"), ("main", "2.jpg"), ("partner", "1.jpg"), ("partner", "sub/same.jpg")]
    assert is_duplicate(after["main", "2.jpg"]), "groups of duplicates go over all sources"
    assert said_of(after["main", "1.jpg"]) == said_of(before["main", "1.jpg"])
    assert after["main", "1.jpg"]["metadata"] == before["main", "1.jpg"]["metadata"]
    assert after["partner", "1.jpg"]["metadata"] == {"city": "7"}
    assert len({item["media_id"] for item in after.values()}) == 4
    assert [after["main", name]["media_id"] for name in ("1.jpg", "2.jpg")] == [
        item["media_id"] for item in before.values()
    ]


def test_reruns_of_each_in_turn_send_nothing_and_leave_the_index_as_it_is(
    target: Target, first: Path, second: Path
) -> None:
    before = target.current()
    for _ in range(2):
        one = target.deliver(first, settings=CROPS)
        assert (one.counts.planned, one.counts.unchanged, one.counts.objects, one.nothing_changed) == (2, 2, 0, True)
        other = target.deliver(second, settings=PREFIXED, source_name="partner")
        assert (other.counts.planned, other.counts.unchanged, other.counts.objects) == (2, 2, 0)
        assert other.nothing_changed
    assert target.current() == before


def test_a_change_in_one_moves_that_alone_and_carries_what_is_said_of_the_other(
    target: Target, first: Path, second: Path
) -> None:
    draw(first / "2.jpg", seed=9)
    before = items(target)
    summary = target.deliver(first, settings=CROPS)
    assert (summary.counts.delivered, summary.counts.unchanged, summary.counts.objects) == (1, 1, 2)
    after = items(target)
    assert said_of(after["partner", "1.jpg"]) == said_of(before["partner", "1.jpg"])
    assert is_duplicate(before["partner", "sub/same.jpg"]), "of 2.jpg, which is another picture now"
    assert not is_duplicate(after["partner", "sub/same.jpg"])
    assert after["main", "1.jpg"]["metadata"] == before["main", "1.jpg"]["metadata"]
    again = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert again.nothing_changed
    assert again.counts.objects == 0


def test_what_vanishes_vanishes_within_its_source(target: Target, second: Path) -> None:
    (second / "1.jpg").unlink()
    refused = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (refused.vanished, refused.exit_status) == (1, 1)
    assert "1 of the 2 published images have gone" in refused.refused
    summary = target.deliver(second, settings=PREFIXED, source_name="partner", allow_loss=True)
    assert (summary.vanished, summary.exit_status, summary.sources) == (1, 0, {"main": 2, "partner": 1})
    assert list(items(target)) == [("main", "1.jpg"), ("main", "2.jpg"), ("partner", "sub/same.jpg")]


def test_two_sources_on_one_key_are_refused_and_both_are_named(
    store: Store, bucket: str, first: Path, second: Path
) -> None:
    target = Target(store, bucket)
    target.deliver(first)
    before = target.listed()
    with pytest.raises(SourceError, match=r"'1\.jpg' of source 'partner' and '1\.jpg' of source 'main'.*--key-prefix"):
        target.deliver(second, source_name="partner")
    assert target.listed("images/") == [key for key in before if key.startswith("images/")]


def test_a_key_prefix_that_was_forgotten_is_said_with_what_it_was_before_and_after(
    target: Target, second: Path
) -> None:
    """Whoever means it goes on, and hears of it no more."""
    (second / "1.jpg").rename(second / "3.jpg")
    planned = target.deliver(second, settings=CROPS, source_name="partner", dry_run=True, allow_loss=True)
    [warning] = [line for line in planned.warnings if "Other keys" in line]
    assert "for 1 published image of source 'partner'" in warning
    assert "KEY_PREFIX was 'partner/' and is ''" in warning
    assert target.lines.warned.count(warning) == 1
    kept = target.deliver(second, settings=PREFIXED, source_name="partner", allow_loss=True)
    assert not [line for line in kept.warnings if "Other keys" in line]
    moved = target.deliver(second, settings=CROPS, source_name="partner")
    assert "for 2 published images of source 'partner'" in " ".join(moved.warnings)
    assert moved.published
    again = target.deliver(second, settings=CROPS, source_name="partner")
    assert not [line for line in again.warnings if "Other keys" in line]


def test_a_run_of_another_source_takes_nothing_from_one_that_failed(
    store: Store, bucket: str, first: Path, second: Path
) -> None:
    """What an unpublished run left is still known, though a later run of another source is current."""
    target = Target(store, bucket)
    target.deliver(first, settings=CROPS)
    (second / "broken.jpg").write_bytes(b"no picture")
    failed = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (failed.published, failed.counts.rejected, failed.counts.objects) == (False, 1, 4)
    draw(first / "3.jpg", seed=3)
    assert target.deliver(first, settings=CROPS).published
    (second / "broken.jpg").unlink()
    mended = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (mended.published, mended.counts.unchanged, mended.counts.objects) == (True, 2, 0)
    assert mended.sources == {"main": 3, "partner": 2}


def test_prune_keeps_what_the_next_run_of_each_source_reads(
    store: Store, bucket: str, first: Path, second: Path
) -> None:
    """The failed run of one is older than the current run, which is the other's."""
    target = Target(store, bucket)
    target.deliver(first)
    (second / "broken.jpg").write_bytes(b"no picture")
    failed = target.deliver(second, settings={"key_prefix": "partner"}, source_name="partner")
    for number in (3, 4):
        draw(first / f"{number}.jpg", seed=number)
        target.deliver(first)
    layout = Layout.of(f"s3://{bucket}/{target.prefix}", target.dataset)
    pruned = prune(store, layout, keep=1, dry_run=False)
    assert len(pruned.runs) == 2
    assert target.listed(f"runs/{failed.run}/ledger/")
    objects = target.stored()
    target.deliver(second, settings={"key_prefix": "partner"}, source_name="partner", rerun="failed", allow_loss=True)
    assert target.stored() == objects
    assert set(items(target)) >= {("main", "4.jpg"), ("partner", "1.jpg")}


def test_verify_looks_at_all_or_at_one(target: Target, tmp_path: Path) -> None:
    target.store.client().delete_object(Bucket=target.bucket, Key=f"{target.root}images/partner/1.jpg")
    layout = Layout.of(f"s3://{target.bucket}/{target.prefix}", target.dataset)

    def look(name: str) -> tuple[int, int, int]:
        folder = tmp_path / f"look-{name}"
        folder.mkdir()
        found = verify(VerificationRun(target.store, layout, folder, Lines(), workers=4, source_name=name))
        return found.objects, found.missing, found.extra

    assert look("") == (9, 1, 0)
    assert look("main") == (5, 0, 0)
    assert look("partner") == (4, 1, 0)
    with pytest.raises(SettingsError, match=r"has no source 'x'\. It has main, partner"):
        look("x")


def test_sources_are_listed_and_one_is_forgotten_without_a_deletion(
    target: Target, first: Path, second: Path, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    for name in ("listed", "forgotten", "x"):
        (scratch / name).mkdir(parents=True)
    settings = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}")
    layout = Layout.of(settings.remote_save, target.dataset)
    listed = {item.name: item for item in list_sources(target.store, layout, settings, scratch / "listed")}
    assert [(item.images, item.rows, item.source) for item in listed.values()] == [
        (2, 5, str(first)),
        (2, 4, str(second)),
    ]
    objects = target.stored()
    left = forget_source("partner", settings, target.store, layout, scratch / "forgotten", Lines())
    assert list(left.sources) == ["main"]
    assert target.stored() == objects
    assert list(items(target)) == [("main", "1.jpg"), ("main", "2.jpg")]
    assert items(target)["main", "1.jpg"]["metadata"]["city"] == "Paris"
    assert {name for name, *_ in rows(target)} == {"main"}
    again = target.deliver(first, settings=CROPS)
    assert (again.counts.unchanged, again.counts.objects, again.nothing_changed) == (2, 0, True)
    back = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (back.counts.objects, back.sources) == (0, {"main": 2, "partner": 2})
    with pytest.raises(SettingsError, match="has no source 'x'"):
        forget_source("x", settings, target.store, layout, scratch / "x", Lines())


def test_the_command_lists_and_forgets(target: Target, tmp_path: Path) -> None:
    keys = target.store.keys()
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "OBJECT_STORE_URL": target.store.url,
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "REMOTE_SAVE": f"s3://{target.bucket}/{target.prefix}",
    }

    def sources(*options: str) -> subprocess.CompletedProcess[str]:
        return imagehaul("sources", "--dataset", target.dataset, *options, environment=environment)

    shown = sources()
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in ("main", "partner", "second"))
    said = json.loads(sources("--forget", "partner", "--json").stdout.splitlines()[-1])
    assert (said["forgotten"], [source["name"] for source in said["sources"]]) == ("partner", ["main"])
    refused = sources("--forget", "main")
    assert refused.returncode == 2
    assert "is the only source" in refused.stderr


def test_settings_of_the_index_count_from_the_last_run_whichever_source_it_delivered(
    target: Target, first: Path, second: Path
) -> None:
    assert target.deliver(first, settings={**CROPS, "cdn_fullpath": "/other", "exports": ("coco",)}).published
    back = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (back.published, back.counts.objects, list(back.exports)) == (True, 0, ["json", "parquet"])
    assert all(item["url"].startswith("/image/") for item in items(target).values())
    assert target.deliver(second, settings=PREFIXED, source_name="partner").nothing_changed


def test_rows_of_a_source_that_are_gone_from_the_ledger_do_not_drop_out_of_the_index(
    target: Target, first: Path, second: Path, tmp_path: Path
) -> None:
    """As a lifecycle rule may remove them. What cannot be looked at is unknown, and not gone."""
    before = target.current()
    lost = f"runs/{before['run']}/ledger/others.parquet"
    target.store.client().delete_object(Bucket=target.bucket, Key=target.root + lost)
    with pytest.raises(StoreError, match=r"(?s)lacks 5 of the 5 of source 'main'.*--allow-loss"):
        target.deliver(second, settings={**PREFIXED, "cdn_fullpath": "/other"}, source_name="partner")
    assert target.current() == before
    layout = Layout.of(f"s3://{target.bucket}/{target.prefix}", target.dataset)
    with pytest.raises(StoreError, match="holds 4 of its 9 rows"):
        verify(VerificationRun(target.store, layout, tmp_path / "first", Lines(), workers=4))
    whole = target.deliver(first, settings=CROPS)
    assert (whole.counts.unchanged, whole.counts.objects, whole.sources) == (2, 0, {"main": 2, "partner": 2})


def test_a_restored_run_has_its_own_sources_and_the_others_come_back(
    target: Target, second: Path, tmp_path: Path
) -> None:
    runs = [source["run"] for source in target.current()["sources"].values()]
    settings = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}")
    (tmp_path / "scratch").mkdir()
    restore(target.dataset, runs[0], settings, target.store, tmp_path / "scratch", Lines())
    assert list(target.current()["sources"]) == ["main"]
    back = target.deliver(second, settings=PREFIXED, source_name="partner")
    assert (back.counts.objects, back.sources) == (0, {"main": 2, "partner": 2})
