"""The chain from end to end, on a real store: what is delivered, what a rerun does, and what is never lost."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imagehaul.errors import HaulError, SourceError
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.multipart import PartsUpload
from tests.support.delivering import Target, draw

BOTH = {"save_thumbnails_method": "both"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Six pictures in three folders, four boxes; one file that is none of ours."""
    folder = tmp_path / "source"
    for number in range(6):
        draw(folder / f"f{number % 3}" / f"picture {number}.jpg", seed=number)
    (folder / "notes.txt").write_text("not a picture")
    rows = ["filename,col_x,row_y,width,height,label"]
    rows += [f"f{n % 3}/picture {n}.jpg,{10 + 7 * n},20,40,40,colour {n}" for n in range(4)]
    (folder / "object_annotations.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.mark.every_store
@pytest.mark.parametrize("s5cmd", [True, False], ids=["s5cmd", "boto3"])
def test_every_image_arrives_byte_for_byte_under_its_own_path(s5cmd: bool, source: Path, target: Target) -> None:
    summary = target.deliver(source, settings={**BOTH, "use_s5cmd_when_available": s5cmd})
    assert (summary.counts.planned, summary.counts.delivered, summary.exit_status) == (6, 6, 0)
    assert summary.counts.objects == 6 + 6 + 4
    for file in source.rglob("*.jpg"):
        assert target.read(f"images/{file.relative_to(source)}") == file.read_bytes()


def test_both_engines_leave_the_same_ledger(source: Path, target: Target) -> None:
    ledgers = []
    for s5cmd in (True, False):
        target.dataset = "same"
        target.prefix = f"{s5cmd}/"
        target.deliver(source, settings={**BOTH, "use_s5cmd_when_available": s5cmd})
        ledgers.append([{**row, "run": "", "key": row["key"].split("/", 1)[1]} for row in target.ledger()])
    assert ledgers[0] == ledgers[1]


def test_the_ledger_has_one_row_for_each_object_and_each_reject(source: Path, target: Target) -> None:
    (source / "broken.jpg").write_bytes(b"\xff\xd8 not really")
    (source / "dangling.png").symlink_to("nowhere.png")
    summary = target.deliver(source, settings=BOTH, allow_loss=True)
    rows = target.ledger()
    kinds = {kind: sum(row["kind"] == kind for row in rows) for kind in ("image", "thumbnail", "crop")}
    assert kinds == {"image": 8, "thumbnail": 6, "crop": 4}
    assert {row["source_path"]: row["code"] for row in rows if row["status"] == "rejected"} == {
        "broken.jpg": "UNDECODABLE",
        "dangling.png": "LINK_DANGLING",
    }
    counts = summary.counts
    assert counts.planned == counts.delivered + counts.unchanged + counts.rejected + counts.failed == 8


@pytest.mark.every_store
def test_a_second_run_sends_nothing_and_writes_its_report_alone(source: Path, target: Target) -> None:
    first = target.deliver(source, settings=BOTH)
    before = set(target.listed())
    second = target.deliver(source, settings=BOTH)
    assert (second.counts.unchanged, second.counts.objects, second.nothing_changed) == (6, 0, True)
    assert set(target.listed()) - before == {f"runs/{second.run}/report.json"}
    assert target.current()["run"] == first.run
    assert (second.ledger, second.export) == (first.ledger, first.export)


def test_a_journal_that_was_left_behind_the_pointer_goes_with_the_next_run(source: Path, target: Target) -> None:
    """As a run leaves it that is killed between its pointer and its end."""
    run = target.deliver(source).run
    key = f"{target.root}.imagehaul/journal/{run}/part-00001.parquet"
    target.store.client().put_object(Bucket=target.bucket, Key=key, Body=b"rows that are in the ledger")
    assert target.deliver(source).nothing_changed
    assert not [key for key in target.listed(".imagehaul/") if "journal" in key]


@pytest.mark.every_store
def test_exactly_what_changed_moves(source: Path, target: Target) -> None:
    target.deliver(source, settings=BOTH)
    changed = draw(source / "f0" / "picture 0.jpg", seed=50)
    added = draw(source / "new.jpg", seed=51)
    (source / "f1" / "picture 4.jpg").unlink()
    summary = target.deliver(source, settings=BOTH, allow_loss=True)
    assert (summary.new, summary.changed, summary.vanished) == (1, 1, 1)
    assert (summary.counts.delivered, summary.counts.unchanged) == (2, 4)
    assert target.read("images/f0/picture 0.jpg") == changed
    assert target.read("images/new.jpg") == added
    assert "images/f1/picture 4.jpg" in target.listed(), "nothing is deleted"
    assert "f1/picture 4.jpg" not in {item["file_path"] for item in target.metadata()["media_items"]}


def test_a_data_set_keeps_the_date_of_its_first_publication(source: Path, target: Target) -> None:
    target.deliver(source)
    born = target.current()["created"]
    time.sleep(1.1)
    draw(source / "f0" / "picture 0.jpg", seed=99)
    run = target.deliver(source).run
    assert target.current()["run"] == run
    assert (target.current()["created"], target.current()["time"] > born) == (born, True)
    info = json.loads(target.read(f"exports/{run}/metadata.json"))["info"]
    assert datetime.fromisoformat(info["dataset_creation_time"]) == datetime.fromisoformat(born)


@pytest.mark.every_store
def test_an_object_that_went_from_the_store_is_sent_again(source: Path, target: Target) -> None:
    target.deliver(source, settings=BOTH)
    target.store.client().delete_object(Bucket=target.bucket, Key=target.root + "thumbnails/f0/picture 0.jpg.jpg")
    summary = target.deliver(source, settings=BOTH)
    assert summary.counts.objects == 1
    assert "thumbnails/f0/picture 0.jpg.jpg" in target.listed()


def test_bytes_that_are_there_are_not_sent_again_even_without_any_ledger(source: Path, target: Target) -> None:
    target.deliver(source, settings=BOTH)
    client = target.store.client()
    for key in target.listed():
        if not key.startswith(("images/", "thumbnails/", "crops/")):
            client.delete_object(Bucket=target.bucket, Key=target.root + key)
    summary = target.deliver(source, settings=BOTH)
    assert (summary.counts.objects, summary.counts.unchanged, summary.published) == (0, 6, True)


def test_a_changed_box_moves_its_crop_alone(source: Path, target: Target) -> None:
    target.deliver(source, settings=BOTH)
    file = source / "object_annotations.csv"
    file.write_text(file.read_text().replace("colour 1", "another label"))
    summary = target.deliver(source, settings=BOTH)
    assert (summary.counts.objects, summary.published) == (1, True)
    assert len(target.listed("crops/")) == 5, "the old crop stays, and is in no index"
    labels = {
        said["properties"]["category_name"]
        for item in target.metadata()["media_items"]
        for said in item["metadata_items"]
        if said["type"] == "object_label"
    }
    assert "another label" in labels
    assert "colour 1" not in labels


def test_rerun_all_sends_everything(source: Path, target: Target) -> None:
    target.deliver(source)
    assert target.deliver(source, rerun="all").counts.objects == 12


def test_rerun_failed_retries_and_sends_nothing_new(source: Path, target: Target) -> None:
    (source / "link.jpg").symlink_to("later.jpeg")
    target.deliver(source, allow_loss=True)
    draw(source / "later.jpeg", seed=9)
    summary = target.deliver(source, rerun="failed")
    assert (summary.counts.planned, summary.counts.delivered, summary.counts.unchanged) == (8, 1, 6)
    assert summary.counts.failed == 1, "the new file was not sent, and nobody says that it was"
    assert "images/later.jpeg" not in target.listed()
    assert target.deliver(source).counts.delivered == 1


def test_a_dry_run_sends_nothing_and_shows_the_plan(source: Path, target: Target) -> None:
    summary = target.deliver(source, dry_run=True)
    assert (summary.counts.planned, summary.counts.pending, summary.exit_status) == (6, 6, 0)
    assert any("f0/picture 0.jpg → s3://" in note for note in summary.notes)
    assert target.all_keys() == []


def test_label_files_among_the_images_that_were_not_read_are_told_and_not_where_others_were(
    source: Path, target: Target
) -> None:
    for number in range(3):
        (source / f"{number}.xml").write_text("<annotation/>")
    assert target.deliver(source, dry_run=True).warnings == ()
    (source / "object_annotations.csv").unlink()
    [warning] = target.deliver(source, dry_run=True).warnings
    assert warning.startswith("3 .xml files among the images may be annotations (Pascal VOC), and none was read.")


def test_two_sources_on_one_key_are_refused_before_anything_is_sent(source: Path, target: Target) -> None:
    draw(source / "f1" / "picture 0.jpg", seed=20)
    with pytest.raises(SourceError, match=r"f0/picture 0\.jpg.*f1/picture 0\.jpg"):
        target.deliver(source, settings={"source_use_fullpath": False})
    assert target.listed("images/") == []


def test_names_that_differ_in_case_alone_are_warned_about(source: Path, target: Target) -> None:
    draw(source / "A.jpg", seed=1)
    draw(source / "a.jpg", seed=2)
    target.deliver(source)
    assert any("upper and lower case" in line for line in target.lines.warned)
    assert {"images/A.jpg", "images/a.jpg"} <= set(target.listed())


@pytest.mark.needs("backslashes become slashes")
def test_a_backslash_is_named_where_the_store_makes_a_slash_of_it(source: Path, target: Target) -> None:
    draw(source / "a\\b.jpg", seed=1)
    summary = target.deliver(source, allow_loss=True)
    assert [(reason.code, reason.example) for reason in summary.reasons] == [("KEY_REWRITTEN", "a\\b.jpg")]


@pytest.mark.needs("short names")
def test_where_the_renditions_key_alone_is_too_long_the_image_is_delivered(source: Path, target: Target) -> None:
    # SeaweedFS allows 255 bytes between two slashes: the name fits, and with .jpg behind it no more.
    name = "n" * 251 + ".jpg"
    draw(source / name, seed=1)
    summary = target.deliver(source)
    assert summary.counts.delivered == 7
    assert f"images/{name}" in target.listed()
    [reason] = summary.reasons
    assert (reason.code, reason.images, reason.renditions) == ("KEY_TOO_LONG", 0, 1)
    assert target.deliver(source).nothing_changed


@pytest.mark.every_store
def test_a_data_set_read_back_from_the_store_is_copied_by_the_store(source: Path, target: Target) -> None:
    first = target.deliver(source, settings=BOTH)
    other = Target(target.store, target.bucket, dataset="other")
    again = other.deliver(
        f"s3://{target.bucket}/{target.root}images/",
        settings=BOTH,
        annotations=(str(source / "object_annotations.csv"),),
    )
    assert again.counts.delivered == 6
    assert again.counts.objects == first.counts.objects
    for key in target.listed("images/") + target.listed("thumbnails/") + target.listed("crops/"):
        assert other.read(key) == target.read(key)
    assert {row["sha256"] for row in other.ledger()} == {row["sha256"] for row in target.ledger()}


@pytest.mark.every_store
def test_what_was_uploaded_in_parts_is_copied_once(target: Target, tmp_path: Path) -> None:
    """Its ETag is no MD5; Swift gives the copy another one, and lists yet another than it tells by HEAD."""
    client, picture = target.store.client(), draw(tmp_path / "a.bmp", size=(1400, 1300))
    described = {"Bucket": target.bucket, "Key": "in/a.bmp"}
    with PartsUpload(client, described) as parts:
        for body in (picture[: 5 * 2**20], picture[5 * 2**20 :]):
            part = client.upload_part(**parts.names, PartNumber=parts.number, Body=body)
            parts.add(part["ETag"])
        parts.complete()
    source = f"s3://{target.bucket}/in"
    assert target.deliver(source).counts.delivered == 1
    assert target.read("images/a.bmp") == picture
    assert target.deliver(source).nothing_changed


def test_what_is_only_copied_has_its_facts_from_the_header(source: Path, target: Target) -> None:
    target.deliver(source)
    other = Target(target.store, target.bucket, dataset="copied")
    summary = other.deliver(
        f"s3://{target.bucket}/{target.root}images/", settings={"skip_image_thumbnail_generation": True}
    )
    assert summary.counts.delivered == 6
    rows = other.ledger()
    assert {(row["width"], row["height"], row["format"]) for row in rows} == {(320, 240, "JPEG")}
    assert {(row["sha256"], row["proof"], row["checked"]) for row in rows} == {("", "etag-of-source", "header")}
    assert other.deliver(
        f"s3://{target.bucket}/{target.root}images/", settings={"skip_image_thumbnail_generation": True}
    ).nothing_changed


def test_a_source_that_is_the_data_set_itself_is_refused(source: Path, target: Target) -> None:
    target.deliver(source)
    with pytest.raises(SourceError):
        target.deliver(f"s3://{target.bucket}/{target.root}images/")


def test_annotations_that_name_no_image_are_counted_and_named(source: Path, target: Target) -> None:
    with (source / "object_annotations.csv").open("a") as file:
        file.write("nowhere.jpg,1,1,5,5,lost\n")
    target.deliver(source, settings=BOTH)
    assert any("nowhere.jpg" in line for line in target.lines.warned)


def test_a_box_without_area_is_a_rejected_crop_and_the_image_is_delivered(source: Path, target: Target) -> None:
    with (source / "object_annotations.csv").open("a") as file:
        file.write(
            "f0/picture 0.jpg,1,1,0,5,thin\nf0/picture 0.jpg,9000,1,5,5,outside\nf0/picture 0.jpg,x,1,5,5,word\n"
        )
    summary = target.deliver(source, settings=BOTH)
    assert (summary.counts.delivered, summary.exit_status) == (6, 0)
    assert {reason.code: reason.renditions for reason in summary.reasons} == {
        "BOX_EMPTY": 1,
        "BOX_OUTSIDE": 1,
        "BOX_NOT_A_NUMBER": 1,
    }
    assert target.deliver(source, settings=BOTH).nothing_changed


def test_publish_partial_overrides_a_failure(source: Path, target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagehaul.transfer import engines as transfer

    original = transfer.Engine.send

    def lossy(self: transfer.Engine, uploads: list, scratch: Path) -> list:  # type: ignore[type-arg]
        """Says that all was sent, and drops one: no real sender can be made to lie on demand."""
        from imagehaul.records import SendResult

        dropped = [item for item in uploads if item.key.endswith("images/f0/picture 0.jpg")]
        kept = [item for item in uploads if item not in dropped]
        return original(self, kept, scratch) + [SendResult(item.key, "sent") for item in dropped]

    monkeypatch.setattr(transfer.Engine, "send", lossy)
    refused = target.deliver(source)
    assert (refused.counts.failed, refused.published, refused.exit_status) == (1, False, 1)
    assert [reason.code for reason in refused.reasons] == ["NOT_PROVEN"]
    partial = target.deliver(source, settings={"publish_partial": True})
    assert (partial.counts.failed, partial.published) == (1, True)
    monkeypatch.undo()
    assert target.deliver(source).counts.delivered == 1


@pytest.mark.every_store
def test_a_killed_run_loses_nothing_and_is_gone_on_from(tmp_path: Path, target: Target) -> None:
    source = tmp_path / "many"
    for number in range(120):
        draw(source / f"{number:03d}.jpg", seed=number)
    script = tmp_path / "run.py"
    script.write_text(
        "import sys, pathlib\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.support.delivering import Target\nfrom imagehaul.store.endpoint import Store\n"
        "from imagehaul.store.credentials import AccessKey\n"
        f"store = Store(url={target.store.url!r}, credentials=AccessKey(*sys.argv[1:3]))\n"
        f"Target(store, {target.bucket!r}).deliver({str(source)!r}, settings={{'batch_size': 10}})\n"
    )
    keys = target.store.keys()
    process = subprocess.Popen([sys.executable, str(script), keys.access_key, keys.secret_key], start_new_session=True)
    deadline = time.monotonic() + 60
    while not target.listed("images/") and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert "current.json" not in target.listed(), "the kill came too late for this test to say anything"
    there = len(target.listed("images/"))
    summary = target.deliver(source)
    assert (summary.counts.delivered + summary.counts.unchanged, summary.published) == (120, True)
    assert summary.counts.unchanged > 0 or there <= 25
    for file in source.iterdir():
        assert target.read(f"images/{file.name}") == file.read_bytes()
    assert [key for key in target.listed(".imagehaul/") if "journal" in key] == []


def test_the_report_tells_counts_settings_and_no_secret(source: Path, target: Target) -> None:
    import json

    summary = target.deliver(source)
    report = json.loads(target.read(f"runs/{summary.run}/report.json"))
    assert (report["planned"], report["delivered"], report["other_files"]) == (6, 6, 2)
    assert report["settings"]["thumbnail_size"] == 256
    keys = target.store.keys()
    for key in target.listed():
        assert keys.secret_key.encode() not in target.read(key), key


def test_an_empty_folder_in_place_of_the_source_is_refused_and_the_index_stays(source: Path, target: Target) -> None:
    first = target.deliver(source)
    for file in source.rglob("*.jpg"):
        file.unlink()
    with pytest.raises(SourceError, match="no images"):
        target.deliver(source)
    assert target.current()["run"] == first.run


@pytest.mark.every_store
def test_the_export_and_the_ledger_agree(source: Path, target: Target) -> None:
    target.deliver(source, settings=BOTH)
    run = target.current()["run"]
    exported = pq.read_table(io.BytesIO(target.read(f"exports/{run}/metadata.parquet"))).to_pylist()
    images = {row["key"] for row in exported if row["entity_type"] == "image"}
    assert images == {row["key"] for row in target.ledger() if row["kind"] == "image"}
    crops = {row["key"] for row in exported if row["entity_type"] == "object"}
    assert crops == {row["key"] for row in target.ledger() if row["kind"] == "crop"}


@pytest.mark.every_store
def test_a_bad_target_is_told_before_any_work(source: Path, store: Store) -> None:
    with pytest.raises(HaulError, match="not-there-at-all"):
        Target(store, "not-there-at-all").deliver(source)


def test_settings_of_a_run_are_plain_values() -> None:
    assert Settings(remote_save="s3://bkt/").model_dump(mode="json")["remote_save"] == "s3://bkt/"
