"""ARCHIVES=open: archives in a folder or prefix are delivered as if each was a folder."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from imagehaul.errors import SettingsError, SourceError
from imagehaul.store.endpoint import Store
from tests.sources.test_archive import pack
from tests.support.delivering import Target, draw

OPEN = {"archives": "open", "save_thumbnails_method": "both", "batch_size": 3}
HEADER = b"filename,col_x,row_y,width,height,label\n"
PATHS = ["deep/first/a/1.jpg", "deep/first/a/2.jpg", "loose.jpg", "second/3.jpg", "third/4.jpg", "third/5.jpg"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A picture and three archives of three forms; boxes beside them, and inside of one."""
    folder, drawn = tmp_path / "folder", tmp_path / "drawn.jpg"
    (folder / "deep").mkdir(parents=True)
    draw(folder / "loose.jpg", seed=9)
    pictures = {f"{number}.jpg": draw(drawn, seed=number) for number in range(1, 6)}
    first = {f"a/{name}": pictures[name] for name in ("1.jpg", "2.jpg")}
    pack(folder / "deep" / "first.zip", first)
    boxes = HEADER + b"3.jpg,1,2,30,40,inside\n"
    pack(folder / "second.tar.gz", {"3.jpg": pictures["3.jpg"], "object_annotations.csv": boxes, "notes.md": b"n"})
    pack(folder / "third.tar.gz", {name: pictures[name] for name in ("4.jpg", "5.jpg")})
    (folder / "object_annotations.csv").write_bytes(
        HEADER + b"loose.jpg,5,6,30,40,beside\ndeep/first/a/2.jpg,7,8,30,40,of a member\n"
    )
    return folder


def facts(target: Target) -> list[tuple[object, ...]]:
    names = ("source_path", "kind", "status", "size", "sha256", "label")
    return sorted(tuple(row[name] for name in names) for row in target.ledger())


@pytest.mark.parametrize("place", ["a folder", "a prefix"])
def test_all_is_found_with_its_annotations_and_a_rerun_sends_nothing(
    store: Store, bucket: str, folder: Path, place: str
) -> None:
    if place == "a prefix":
        for file in folder.rglob("*.*"):
            store.client().upload_file(str(file), bucket, f"in/{file.relative_to(folder)}")
    source = folder if place == "a folder" else f"s3://{bucket}/in"
    target = Target(store, bucket)
    first = target.deliver(source, settings=OPEN)
    assert (first.counts.delivered, first.exit_status, first.left_out) == (6, 0, {"csv": 2, "md": 1})
    assert sorted(key.removeprefix("images/") for key in target.listed("images/")) == PATHS
    assert target.read("images/deep/first/a/1.jpg") == draw(folder.parent / "again.jpg", seed=1)
    labels = {row["source_path"]: row["label"] for row in target.ledger() if row["kind"] == "crop"}
    assert labels["loose.jpg"] == "beside"
    assert labels["deep/first/a/2.jpg"] == "of a member"
    again = target.deliver(source, settings=OPEN)
    assert (again.counts.unchanged, again.counts.objects, again.nothing_changed) == (6, 0, True)

    if place == "a folder":
        pack(folder / "third.tar.gz", {"4.jpg": draw(folder.parent / "new.jpg", seed=44), "5.jpg": b""})
        changed = target.deliver(source, settings={**OPEN, "max_rejected": 0.5, "max_vanished": 0.5})
        assert (changed.counts.delivered, changed.counts.unchanged, changed.counts.rejected) == (1, 4, 1)


def test_without_it_they_are_left_out_and_that_is_said(store: Store, bucket: str, folder: Path) -> None:
    target = Target(store, bucket)
    summary = target.deliver(folder, settings={"include": ["loose.jpg"]})
    assert summary.counts.planned == 1
    assert any("1 archives were left out. ARCHIVES=open" in line for line in summary.warnings)


def test_what_would_meet_or_cannot_be_opened_is_refused(store: Store, bucket: str, folder: Path) -> None:
    target = Target(store, bucket)
    shutil.copy(folder / "loose.jpg", folder / "4.jpg")
    (folder / "third").mkdir()
    shutil.move(folder / "4.jpg", folder / "third" / "4.jpg")
    with pytest.raises(SourceError, match=r"third\.tar\.gz.*would both be 'third/4\.jpg'"):
        target.deliver(folder, settings=OPEN)
    with pytest.raises(SettingsError, match="TASK_RUNNER=dask cannot go with an archive"):
        target.deliver(folder, settings={**OPEN, "task_runner": "dask", "exclude": ["third/"]})
    (folder / "deep" / "first.zip").write_bytes(b"PK no zip")
    with pytest.raises(SourceError, match="is no zip that can be read whole"):
        target.deliver(folder, settings={**OPEN, "exclude": ["third/"]})
    excluded = target.deliver(folder, settings={**OPEN, "exclude": ["third/", "first.zip"]})
    assert excluded.counts.delivered == 2


def test_annotations_of_a_folder_and_of_an_archive_of_its_name_are_named(
    store: Store, bucket: str, folder: Path
) -> None:
    """One in the other's place would lose its boxes in silence, and a file that exists is no full disk."""
    (folder / "second").mkdir()
    (folder / "second" / "object_annotations.csv").write_bytes(HEADER + b"6.jpg,1,2,30,40,outside\n")
    target = Target(store, bucket)
    with pytest.raises(SourceError, match=r"'second/object_annotations\.csv' is there twice: in an archive"):
        target.deliver(folder, settings=OPEN)
    assert "current.json" not in target.listed()
    assert target.deliver(folder, settings={**OPEN, "exclude": ["second.tar.gz"]}).counts.failed == 0


def test_annotations_whose_name_is_an_archives_too_are_named(store: Store, bucket: str, folder: Path) -> None:
    (folder / "object_annotations.csv").write_bytes(HEADER)
    with zipfile.ZipFile(folder / "object_annotations.csv.zip", "w") as archive:
        archive.writestr("object_annotations.csv", HEADER)
    with pytest.raises(
        SourceError, match=r"'object_annotations\.csv' is a file, and the name of a folder or an archive"
    ):
        Target(store, bucket).deliver(folder, settings=OPEN)
