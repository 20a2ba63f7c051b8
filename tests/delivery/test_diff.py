"""What two publications differ in, and that memory does not grow with them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imagehaul.delivery.diff import Difference, diff
from imagehaul.delivery.prune import prune
from imagehaul.delivery.restore import restore
from imagehaul.errors import HaulError, SettingsError, StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.difference import Change, Changes
from imagehaul.settings import Settings
from imagehaul.store.credentials import AccessKey
from tests.support.delivering import Lines, Target, draw

Boxes = Mapping[str, Iterable[tuple[int, int, int, int, str]]]
PLAIN = {"skip_image_thumbnail_generation": True}


def annotate(folder: Path, boxes: Boxes) -> None:
    with (folder / "object_annotations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "col_x", "row_y", "width", "height", "label"])
        rows.writerows((name, *box) for name, some in boxes.items() for box in some)


def compared(target: Target, tmp_path: Path, *runs: str, output: str = "") -> Difference:
    folder = tmp_path / f"scratch {len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    layout = Layout.of(f"s3://{target.bucket}/{target.prefix}", target.dataset)
    return diff(target.store, layout, runs, folder, Lines(), output)


def test_images_and_boxes_that_were_added_removed_or_changed(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number, name in enumerate(["bytes.jpg", "boxes.jpg", "gone.jpg", "same.jpg"]):
        draw(source / name, seed=number)
    same = (1, 2, 30, 40, "same")
    before = [same, (10, 10, 50, 50, "moved"), (70, 70, 20, 20, "cat"), (200, 5, 9, 9, "gone")]
    annotate(source, {"boxes.jpg": before, "gone.jpg": [same], "same.jpg": [same]})
    first = target.deliver(source, settings=PLAIN)
    (source / "gone.jpg").unlink()
    draw(source / "bytes.jpg", seed=9)
    draw(source / "new.jpg", seed=10)
    after = [same, (12, 11, 50, 50, "moved"), (70, 70, 20, 20, "dog"), (200, 105, 9, 9, "gone")]
    annotate(source, {"boxes.jpg": after, "new.jpg": [same], "same.jpg": [same]})
    second = target.deliver(source, settings=PLAIN, allow_loss=True)
    found = compared(target, tmp_path, output=str(tmp_path / "difference.parquet"))
    assert (found.before, found.after) == (first.run, second.run)
    assert found.images == Changes(added=1, removed=1, changed=1, same=2)
    assert found.boxes == Changes(added=2, removed=2, changed=2, same=2)
    assert found.examples[:3] == (
        Change("image", "added", "new.jpg", "", ""),
        Change("image", "removed", "gone.jpg", "", ""),
        Change("image", "changed", "bytes.jpg", "bytes", ""),
    )
    rows = pq.read_table(tmp_path / "difference.parquet").to_pylist()
    assert [row["path"] for row in rows] == sorted(row["path"] for row in rows)
    [moved, renamed] = sorted((row for row in rows if row["change"] == "changed" and row["entity"] == "box"),
                              key=lambda row: str(row["what"]), reverse=True)  # fmt: skip
    assert (moved["what"], moved["label"], moved["box_x_before"], moved["box_x"]) == ("place", "moved", 10, 12)
    assert (renamed["what"], renamed["label_before"], renamed["label"]) == ("label", "cat", "dog")
    [removed] = [row for row in rows if row["change"] == "removed" and row["label_before"] == "gone"]
    assert (removed["label"], removed["box_x"], removed["box_y_before"]) == (None, None, 5)
    assert len(rows) == 3 + 6


def test_nothing_differs_from_itself_and_backwards_is_the_opposite(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    draw(source / "a.jpg")
    first = target.deliver(source, settings=PLAIN)
    draw(source / "b.jpg", seed=1)
    second = target.deliver(source, settings=PLAIN)
    unchanged = target.deliver(source, settings=PLAIN)
    assert compared(target, tmp_path, first.run).images == Changes(1, 0, 0, 1)
    assert compared(target, tmp_path, second.run, first.run).images == Changes(0, 1, 0, 1)
    alike = compared(target, tmp_path, unchanged.run, output=str(tmp_path / "nothing.parquet"))
    assert (alike.before, alike.images) == (second.run, Changes(0, 0, 0, 2)), "A run that changed nothing."
    assert pq.read_table(tmp_path / "nothing.parquet").num_rows == 0


def test_what_is_said_of_an_image_changes_it(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    draw(source / "a.jpg")
    target.deliver(source, settings=PLAIN)
    (source / "image_annotations.csv").write_text("filename,label,price\na.jpg,sunny,5\n")
    target.deliver(source, settings=PLAIN)
    assert [change.what for change in compared(target, tmp_path).examples] == ["labels, metadata"]


def test_a_publication_is_compared_with_the_one_that_readers_used_before(target: Target, tmp_path: Path) -> None:
    """Which was restored, and is not the newest."""
    source = tmp_path / "source"
    draw(source / "1.jpg", seed=1)
    first = target.deliver(source, settings=PLAIN)
    draw(source / "2.jpg", seed=2)
    second = target.deliver(source, settings=PLAIN)
    settings = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}", **PLAIN)
    (tmp_path / "restored").mkdir()
    restore(target.dataset, first.run, settings, target.store, tmp_path / "restored", Lines())
    found = compared(target, tmp_path)
    assert (found.before, found.after) == (second.run, first.run)
    draw(source / "3.jpg", seed=3)
    third = target.deliver(source, settings=PLAIN)
    found = compared(target, tmp_path)
    assert (found.before, found.after) == (first.run, third.run)
    assert found.images == Changes(added=2, removed=0, changed=0, same=1)


def test_runs_that_cannot_be_compared_are_named(target: Target, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="never published"):
        compared(target, tmp_path)
    source = tmp_path / "source"
    draw(source / "a.jpg")
    target.deliver(source, settings=PLAIN)
    with pytest.raises(SettingsError, match="only publication"):
        compared(target, tmp_path)
    with pytest.raises(SettingsError, match=r"has no run 'yesterday'\. It has 2\S+\. "):
        compared(target, tmp_path, "yesterday")
    with pytest.raises(SettingsError, match="Two runs are compared at most"):
        compared(target, tmp_path, "a", "b", "c")
    (source / "broken.jpg").write_bytes(b"no picture")
    refused = target.deliver(source, settings=PLAIN)
    with pytest.raises(SettingsError, match=r"was not published\. 1 of 2 images are rejected"):
        compared(target, tmp_path, refused.run)
    current = target.current()["run"]
    with pytest.raises(HaulError, match=r"could not be written to /nowhere/x\.parquet: No such file"):
        compared(target, tmp_path, current, output="/nowhere/x.parquet")


def test_runs_that_were_removed_are_not_named(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "source"
    draw(source / "a.jpg")
    target.deliver(source, settings=PLAIN)
    draw(source / "b.jpg", seed=1)
    last = target.deliver(source, settings=PLAIN)
    prune(target.store, Layout(target.bucket, target.prefix, target.dataset), keep=1, dry_run=False)
    # A removal that was cut short: the report goes last, but for what the store refused to remove.
    rest = f"{target.root}runs/20200101T000000Z-000000/ledger/source-main.parquet"
    target.store.client().put_object(Bucket=target.bucket, Key=rest, Body=b"")
    with pytest.raises(SettingsError, match=rf"has no run 'yesterday'\. It has {last.run}\. "):
        compared(target, tmp_path, "yesterday")


def test_keys_that_may_not_list_are_told_which_permission_they_need(
    target: Target, tmp_path: Path, identities: dict[str, AccessKey]
) -> None:
    source = tmp_path / "source"
    draw(source / "a.jpg")
    runs = [target.deliver(source, settings=PLAIN).run]
    draw(source / "b.jpg")
    runs.append(target.deliver(source, settings=PLAIN).run)
    unlisted = replace(target, store=replace(target.store, credentials=identities["no list"]))
    with pytest.raises(StoreError, match=r"AccessDenied.*\n.*s3:ListBucket"):
        compared(unlisted, tmp_path, *runs)
