"""Each flag of the settings, seen by its effect in the store and in the export."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagehaul.errors import HaulError, SettingsError
from tests.support.delivering import Target, draw


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two pictures in two folders, each with a box."""
    folder = tmp_path / "source"
    draw(folder / "a" / "one.jpg", seed=1)
    draw(folder / "b" / "two.png", seed=2)
    (folder / "object_annotations.csv").write_text(
        "filename,col_x,row_y,width,height,label\na/one.jpg,10,20,40,40,box\nb/two.png,24,20,40,40,box\n"
    )
    return folder


def both(**more: Any) -> dict[str, Any]:
    return {"save_thumbnails_method": "both", **more}


def test_remote_save_says_bucket_and_prefix(source: Path, target: Target) -> None:
    target.prefix = "deep/er/"
    target.deliver(source)
    assert target.listed("images/") == ["images/a/one.jpg", "images/b/two.png"]


def test_remote_save_may_be_a_buckets_root(source: Path, target: Target) -> None:
    target.prefix = ""
    target.deliver(source)
    assert "set/images/a/one.jpg" in target.all_keys()


@pytest.mark.needs("backslashes become slashes")
@pytest.mark.parametrize("setting", ["REMOTE_SAVE", "KEY_PREFIX"])
def test_a_backslash_in_every_key_is_refused_where_the_store_makes_a_slash_of_it(
    setting: str, source: Path, target: Target
) -> None:
    target.prefix = "a\\b/" if setting == "REMOTE_SAVE" else "pre/"
    settings = {"key_prefix": "a\\b"} if setting == "KEY_PREFIX" else {}
    with pytest.raises(SettingsError, match=f"{setting} has a backslash in it"):
        target.deliver(source, settings=settings)
    assert target.all_keys() == []


@pytest.mark.parametrize(
    ("cdn", "url"),
    [
        ("/image", "/image/set/thumbnails/a/one.jpg.jpg"),
        ("/image/", "/image/set/thumbnails/a/one.jpg.jpg"),
        ("https://cdn.example.com/x", "https://cdn.example.com/x/set/thumbnails/a/one.jpg.jpg"),
    ],
)
def test_cdn_fullpath_is_the_root_of_every_url(cdn: str, url: str, source: Path, target: Target) -> None:
    target.deliver(source, settings={"cdn_fullpath": cdn})
    assert target.media_item("a/one.jpg")["url"] == url


def test_serve_original_image_exports_the_originals_url(source: Path, target: Target) -> None:
    target.deliver(source, settings={"serve_original_image": True})
    assert target.media_item("a/one.jpg")["url"] == "/image/set/images/a/one.jpg"
    assert "thumbnails/a/one.jpg.jpg" in target.listed()


def test_media_id_takes_the_names_place(source: Path, target: Target) -> None:
    target.deliver(source, settings={"preprocess_image_transfer": "media_id"})
    ids = {item["file_path"]: item["media_id"] for item in target.metadata()["media_items"]}
    assert target.listed("images/") == sorted([f"images/a/{ids['a/one.jpg']}.jpg", f"images/b/{ids['b/two.png']}.png"])


def test_source_use_fullpath_false_puts_all_in_one_folder(source: Path, target: Target) -> None:
    target.deliver(source, settings={"source_use_fullpath": False})
    assert target.listed("images/") == ["images/one.jpg", "images/two.png"]


def test_source_use_fullpath_false_refuses_two_files_of_one_name(source: Path, target: Target) -> None:
    draw(source / "b" / "one.jpg")
    with pytest.raises(HaulError, match=r"a/one\.jpg.*b/one\.jpg"):
        target.deliver(source, settings={"source_use_fullpath": False})
    assert target.listed("images/") == []


def test_normalize_stores_a_jpeg_in_place_of_the_original(source: Path, target: Target) -> None:
    target.deliver(source, settings={"preprocess_normalize_output": True})
    assert target.listed("images/") == ["images/a/one.jpg.jpg", "images/b/two.png.jpg"]
    assert target.open("images/b/two.png.jpg").format == "JPEG"
    assert target.head("images/b/two.png.jpg")["ContentType"] == "image/jpeg"


@pytest.mark.parametrize(
    ("skip", "method", "thumbnails", "crops"),
    [
        (False, "image", 2, 0),
        (False, "crops", 0, 2),
        (False, "both", 2, 2),
        (True, "image", 0, 0),
        (True, "crops", 0, 2),
        (True, "both", 0, 2),
    ],
)
def test_skip_and_method_say_what_is_rendered(
    skip: bool, method: str, thumbnails: int, crops: int, source: Path, target: Target
) -> None:
    target.deliver(source, settings={"skip_image_thumbnail_generation": skip, "save_thumbnails_method": method})
    assert len(target.listed("thumbnails/")) == thumbnails
    assert len(target.listed("crops/")) == crops


def test_crops_without_annotations_are_warned_about(source: Path, target: Target) -> None:
    (source / "object_annotations.csv").unlink()
    target.deliver(source, settings={"save_thumbnails_method": "crops"})
    assert any("annotated box" in line for line in target.lines.warned)


@pytest.mark.parametrize(
    ("s5cmd", "wanted", "engine"),
    [(True, "auto", "s5cmd"), (False, "auto", "boto3"), (False, "s5cmd", "s5cmd"), (True, "obstore", "obstore")],
)
def test_the_engine_is_the_one_that_is_asked_for(
    s5cmd: bool, wanted: str, engine: str, source: Path, target: Target
) -> None:
    settings = {"use_s5cmd_when_available": s5cmd, "transfer_engine": wanted}
    summary = target.deliver(source, settings=settings)
    assert summary.engine == engine
    assert summary.counts.delivered == 2


def test_export_bucket_gets_the_exports(source: Path, target: Target) -> None:
    exports = f"{target.bucket}-exports"
    target.store.client().create_bucket(Bucket=exports)
    summary = target.deliver(source, settings={"export_entities_result_bucket": exports})
    assert summary.export == f"s3://{exports}/set/{summary.run}/"
    assert target.listed("exports/") == []
    assert len(target.metadata()["media_items"]) == 2


def test_export_bucket_that_is_not_there_is_refused_before_any_work(source: Path, target: Target) -> None:
    with pytest.raises(HaulError, match="nowhere-at-all"):
        target.deliver(source, settings={"export_entities_result_bucket": "nowhere-at-all"})
    assert target.listed("images/") == []


def test_thumbnail_size_format_and_quality(source: Path, target: Target) -> None:
    target.deliver(source, settings={"thumbnail_size": 64, "thumbnail_format": "webp"})
    picture = target.open("thumbnails/a/one.jpg.webp")
    assert (picture.format, picture.size) == ("WEBP", (64, 48))
    large = len(target.read("thumbnails/a/one.jpg.webp"))
    target.deliver(source, settings={"thumbnail_size": 64, "thumbnail_format": "webp", "thumbnail_quality": 10})
    assert len(target.read("thumbnails/a/one.jpg.webp")) < large


def test_crop_margin_widens_the_crop(source: Path, target: Target) -> None:
    target.deliver(source, settings={"save_thumbnails_method": "crops", "crop_margin": 5})
    [crop] = target.listed("crops/a/")
    assert target.open(crop).size == (50, 50)


def test_box_space_stored_turns_the_crop_upright(source: Path, target: Target) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise to be upright
    draw(source / "a" / "one.jpg", seed=1, exif=exif)
    (source / "object_annotations.csv").write_text(
        "filename,col_x,row_y,width,height,label\na/one.jpg,10,20,80,40,box\n"
    )
    settings = {"save_thumbnails_method": "crops"}
    target.deliver(source, settings={**settings, "box_space": "stored"})
    [crop] = target.listed("crops/a/")
    assert target.open(crop).size == (40, 80)
    target.dataset = "upright"
    target.deliver(source, settings={**settings, "box_space": "upright"})
    [crop] = target.listed("crops/a/")
    assert target.open(crop).size == (80, 40)


def test_include_and_exclude_choose_the_images(source: Path, target: Target) -> None:
    target.deliver(source, settings={"include": ["*.jpg", "*.png"], "exclude": ["b/"]})
    assert target.listed("images/") == ["images/a/one.jpg"]


def test_follow_links_takes_what_links_outside_lead_to(source: Path, tmp_path: Path, target: Target) -> None:
    draw(tmp_path / "elsewhere.jpg", seed=3)
    (source / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    summary = target.deliver(source, allow_loss=True)
    assert [reason.code for reason in summary.reasons] == ["LINK_OUTSIDE"]
    target.deliver(source, settings={"follow_links": True})
    assert target.read("images/link.jpg") == (tmp_path / "elsewhere.jpg").read_bytes()


def test_pixel_limit_delivers_without_renditions(source: Path, target: Target) -> None:
    summary = target.deliver(source, settings=both(pixel_limit=1000))
    assert summary.counts.delivered == 2
    assert target.listed("thumbnails/") + target.listed("crops/") == []
    assert {row["code"] for row in target.ledger()} == {"PIXEL_LIMIT"}


def test_full_check_finds_a_broken_picture_where_nothing_is_rendered(source: Path, target: Target) -> None:
    whole = draw(source / "c.jpg", size=(800, 600), seed=4)
    (source / "c.jpg").write_bytes(whole[: len(whole) // 2])
    settings = {"skip_image_thumbnail_generation": True}
    assert target.deliver(source, settings=settings).counts.delivered == 3
    assert {row["checked"] for row in target.ledger()} == {"header"}
    summary = target.deliver(source, settings={**settings, "full_check": True}, allow_loss=True)
    assert [(reason.code, reason.example) for reason in summary.reasons] == [("UNDECODABLE", "c.jpg")]
    assert {row["checked"] for row in target.ledger() if row["status"] == "unchanged"} == {"decoded"}


def test_deliver_undecodable_sends_the_bytes_and_marks_them(source: Path, target: Target) -> None:
    (source / "page.jpg").write_text("<html>not a picture</html>")
    summary = target.deliver(source, allow_loss=True)
    assert summary.counts.rejected == 1
    assert "images/page.jpg" not in target.listed()
    summary = target.deliver(source, settings={"deliver_undecodable": True})
    assert (summary.counts.delivered, summary.counts.unchanged) == (1, 2)
    assert target.read("images/page.jpg") == b"<html>not a picture</html>"
    assert target.head("images/page.jpg")["ContentType"] == "binary/octet-stream"
    [row] = [row for row in target.ledger() if row["source_path"] == "page.jpg"]
    assert (row["status"], row["code"]) == ("delivered", "UNDECODABLE")


def test_an_object_that_lies_compressed_in_the_store_is_named_as_that(source: Path, target: Target) -> None:
    """Browsers would unpack it, and whoever reads the index's objects by their bytes would find no picture."""
    packed = gzip.compress((source / "a" / "one.jpg").read_bytes())
    described = {"Bucket": target.bucket, "Key": "in/a.jpg", "Body": packed, "ContentEncoding": "gzip"}
    target.store.client().put_object(**described)
    where = f"s3://{target.bucket}/in"
    summary = target.deliver(where, allow_loss=True)
    [reason] = summary.reasons
    assert (summary.counts.rejected, reason.code, "Content-Encoding: gzip" in reason.message) == (1, "COMPRESSED", True)
    assert target.deliver(where, settings={"deliver_undecodable": True}).counts.delivered == 1
    assert target.read("images/a.jpg") == packed
    assert target.head("images/a.jpg")["ContentEncoding"] == "gzip"


def test_max_rejected_keeps_a_run_from_being_published(source: Path, target: Target) -> None:
    (source / "page.jpg").write_text("<html>")
    summary = target.deliver(source)
    assert (summary.exit_status, summary.published) == (1, False)
    assert "MAX_REJECTED" in summary.refused
    assert "current.json" not in target.listed()
    assert target.deliver(source, settings={"max_rejected": 0.5}).published


def test_max_vanished_keeps_the_old_index(source: Path, target: Target) -> None:
    first = target.deliver(source)
    (source / "b" / "two.png").unlink()
    summary = target.deliver(source)
    assert (summary.exit_status, summary.vanished) == (1, 1)
    assert "MAX_VANISHED" in summary.refused
    assert first.run in summary.refused
    assert target.current()["run"] == first.run
    assert target.deliver(source, settings={"max_vanished": 0.5}).published
    assert [item["file_path"] for item in target.metadata()["media_items"]] == ["a/one.jpg"]
    assert "images/b/two.png" in target.listed(), "a delivery deletes nothing"


def test_proof_read_back_reads_what_was_sent(source: Path, target: Target) -> None:
    target.deliver(source)
    assert {row["proof"] for row in target.ledger()} == {"etag-md5"}
    target.dataset = "again"
    target.deliver(source, settings={"proof": "read_back"})
    assert {row["proof"] for row in target.ledger()} == {"read-back"}


def test_cache_control_is_set_on_every_object(source: Path, target: Target) -> None:
    target.deliver(source, settings=both(cache_control="public, max-age=77"))
    for key in target.listed("images/") + target.listed("thumbnails/") + target.listed("crops/"):
        assert target.head(key)["CacheControl"] == "public, max-age=77"


def test_a_new_cache_control_is_sent_to_objects_that_are_there(source: Path, target: Target) -> None:
    target.deliver(source)
    summary = target.deliver(source, settings={"cache_control": "no-store"})
    assert summary.counts.delivered == 2
    assert target.head("images/a/one.jpg")["CacheControl"] == "no-store"


def test_storage_class_is_asked_for(source: Path, target: Target) -> None:
    for s5cmd in (True, False):
        target.dataset = f"class-{s5cmd}"
        target.deliver(source, settings={"storage_class": "STANDARD_IA", "use_s5cmd_when_available": s5cmd})
        assert target.head("images/a/one.jpg").get("StorageClass") == "STANDARD_IA"


def test_batch_size_and_workers_do_not_change_the_outcome(source: Path, target: Target) -> None:
    for number in range(6):
        draw(source / "many" / f"{number}.jpg", seed=number)
    target.deliver(source, settings=both(batch_size=1, workers=2, transfer_workers=2))
    one = target.stored()
    target.dataset = "other"
    target.deliver(source, settings=both(batch_size=1000, workers=1))
    other = target.stored()
    assert one == other


def test_scratch_is_left_empty(source: Path, tmp_path: Path, target: Target) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    target.deliver(source, settings=both(scratch=str(scratch)))
    assert list(scratch.iterdir()) == []


def test_media_types_are_the_true_formats(source: Path, target: Target) -> None:
    draw(source / "gif-in-truth.jpg", seed=5, format="GIF")
    target.deliver(source)
    assert target.head("images/gif-in-truth.jpg")["ContentType"] == "image/gif"
    table = pq.read_table(io.BytesIO(target.read(f"exports/{target.current()['run']}/metadata.parquet"))).to_pylist()
    assert {row["file_path"]: row["format"] for row in table if row["entity_type"] == "image"} == {
        "a/one.jpg": "JPEG",
        "b/two.png": "PNG",
        "gif-in-truth.jpg": "GIF",
    }


def test_combinations_that_make_no_sense_are_refused_before_any_work(source: Path, target: Target) -> None:
    from imagehaul.settings_loading import resolve_settings

    with pytest.raises(SettingsError, match=r"SERVE_ORIGINAL_IMAGE.*keep_original_filename"):
        resolve_settings(
            {"remote_save": "s3://bkt/", "serve_original_image": True, "preprocess_image_transfer": "media_id"},
            None,
            {},
            source,
        )
    assert target.all_keys() == []
