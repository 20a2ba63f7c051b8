"""ORIGINALS=in_place: originals of a source in a store stay where they are, and all the rest is as ever."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery.verification import VerificationRun, verify
from imagehaul.errors import SettingsError
from imagehaul.layout import Layout
from imagehaul.sources import stored_objects
from imagehaul.store.download import Download
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, Target, draw

IN_PLACE = {"originals": "in_place", "serve_original_image": True, "source_cdn_fullpath": "https://cdn.example.com/in"}


@pytest.fixture
def pictures(tmp_path: Path, store: Store, bucket: str) -> dict[str, bytes]:
    """Below the prefix `photos/` of the bucket that the data set lies in, too."""
    drawn = {name: draw(tmp_path / name, seed=seed) for seed, name in enumerate(("a.jpg", "b c.jpg"))}
    for name, content in drawn.items():
        store.client().put_object(Bucket=bucket, Key=f"photos/{name}", Body=content)
    store.client().put_object(Bucket=bucket, Key="photos/notes.txt", Body=b"")
    return drawn


def images(target: Target) -> dict[str, dict[str, Any]]:
    return {row["source_path"]: row for row in target.ledger() if row["kind"] == "image"}


def findings(target: Target, scratch: Path, content: bool = False) -> list[tuple[str, str]]:
    scratch.mkdir()
    layout = Layout(target.bucket, target.prefix, target.dataset)
    found = verify(VerificationRun(target.store, layout, scratch, Lines(), workers=4, content=content))
    return [(item.problem, item.source_path) for item in found.examples]


def test_originals_are_indexed_where_they_lie_and_a_rerun_sends_nothing(
    tmp_path: Path, store: Store, bucket: str, pictures: dict[str, bytes]
) -> None:
    target = Target(store, bucket)
    first = target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE)
    assert (first.counts.delivered, first.counts.objects, first.exit_status) == (2, 2, 0)
    assert target.listed("images/") == []
    assert len(target.listed("thumbnails/")) == 2
    row = images(target)["b c.jpg"]
    assert (row["key"], row["status"], row["proof"]) == (f"s3://{bucket}/photos/b c.jpg", "delivered", "in-place")
    assert row["etag"] == row["source_version"]
    assert target.media_item("b c.jpg")["url"] == "https://cdn.example.com/in/photos/b%20c.jpg"

    again = target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE)
    assert (again.counts.unchanged, again.counts.objects) == (2, 0)
    assert findings(target, tmp_path / "one") == []
    assert findings(target, tmp_path / "two", content=True) == []


def test_one_that_changed_is_named_by_verify_and_a_rerun_mends_its_thumbnail(
    tmp_path: Path, store: Store, bucket: str, pictures: dict[str, bytes]
) -> None:
    target = Target(store, bucket)
    target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE)
    before = target.read("thumbnails/a.jpg.jpg")
    store.client().put_object(Bucket=bucket, Key="photos/a.jpg", Body=draw(tmp_path / "new.jpg", seed=99))
    store.client().delete_object(Bucket=bucket, Key="photos/b c.jpg")
    assert sorted(findings(target, tmp_path / "scratch")) == [("changed", "a.jpg"), ("missing", "b c.jpg")]

    mended = target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE, allow_loss=True)
    assert (mended.counts.delivered, mended.counts.objects, mended.vanished) == (1, 1, 1)
    assert target.read("thumbnails/a.jpg.jpg") != before
    assert list(images(target)) == ["a.jpg"]


def test_where_nothing_is_rendered_no_original_is_read_whole(
    store: Store, bucket: str, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    download = stored_objects.download

    def watched(store: Store, bucket: str, wanted: list[Download], workers: int) -> Any:
        read.extend(item.first_bytes for item in wanted)
        return download(store, bucket, wanted, workers)

    monkeypatch.setattr(stored_objects, "download", watched)
    target = Target(store, bucket)
    summary = target.deliver(f"s3://{bucket}/photos", settings={**IN_PLACE, "skip_image_thumbnail_generation": True})
    assert (summary.counts.delivered, summary.counts.objects) == (2, 0)
    assert read
    assert all(read), "beginnings alone"
    assert images(target)["a.jpg"]["width"] == 320


def test_a_data_set_may_change_its_mind(store: Store, bucket: str, pictures: dict[str, bytes]) -> None:
    target = Target(store, bucket)
    target.deliver(f"s3://{bucket}/photos")
    summary = target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE)
    assert (summary.counts.delivered, summary.counts.objects) == (2, 0)
    back = target.deliver(f"s3://{bucket}/photos")
    assert (back.counts.planned, back.counts.failed, back.counts.objects) == (2, 0, 0)
    assert images(target)["a.jpg"]["key"].endswith("images/a.jpg")


def test_another_key_prefix_moves_the_thumbnails(store: Store, bucket: str, pictures: dict[str, bytes]) -> None:
    """The originals' keys stay, and say nothing of it: a warning does."""
    target = Target(store, bucket)
    target.deliver(f"s3://{bucket}/photos", settings=IN_PLACE)
    moved = target.deliver(f"s3://{bucket}/photos", settings={**IN_PLACE, "key_prefix": "partner"})
    assert (moved.counts.unchanged, moved.counts.objects, moved.published) == (2, 2, True)
    assert "Other keys and URLs of thumbnails and crops" in " ".join(moved.warnings)
    thumbnails = {row["key"].removeprefix(target.root) for row in target.ledger() if row["kind"] == "thumbnail"}
    assert thumbnails == {"thumbnails/partner/a.jpg.jpg", "thumbnails/partner/b c.jpg.jpg"}


def test_a_source_that_lies_in_no_store_is_refused(tmp_path: Path, store: Store, bucket: str) -> None:
    draw(tmp_path / "a.jpg")
    with pytest.raises(SettingsError, match="ORIGINALS=in_place needs a source in a store"):
        Target(store, bucket).deliver(tmp_path, settings=IN_PLACE)


def test_an_export_with_the_pictures_in_it_reads_them_where_they_lie(
    tmp_path: Path, store: Store, bucket: str, pictures: dict[str, bytes]
) -> None:
    """Beside a source whose originals are stored, and in a run of either."""
    target = Target(store, bucket)
    asked = {"exports": "webdataset"}
    first = target.deliver(f"s3://{bucket}/photos", settings={**IN_PLACE, **asked})
    assert (first.refused, first.published) == ("", True)
    assert in_shard(target) == set(pictures.values())

    stored = draw(tmp_path / "own" / "c.jpg", seed=7)
    assert target.deliver(tmp_path / "own", settings=asked, source_name="own").published
    assert in_shard(target) == {*pictures.values(), stored}
    store.client().put_object(Bucket=bucket, Key="photos/d.jpg", Body=draw(tmp_path / "d.jpg", seed=8))
    assert target.deliver(f"s3://{bucket}/photos", settings={**IN_PLACE, **asked}).published
    assert len(in_shard(target)) == 4


def in_shard(target: Target) -> set[bytes]:
    body = target.read(f"exports/{target.current()['run']}/webdataset/shard-000000.tar")
    with tarfile.open(fileobj=io.BytesIO(body)) as shard:
        files = [(item.name, shard.extractfile(item)) for item in shard]
        return {file.read() for name, file in files if file and name.endswith(".jpg")}
