"""The work on one batch: what is sent, what is found there already, and the row of each object."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest

from imagehaul.delivery.batch import Arrived, BatchWork, Stop
from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.plan import Wanted
from imagehaul.mapping import Mapping
from imagehaul.records import Box, Copy, ExistingObject, PlannedImage, RenderOptions, SendResult, Upload
from imagehaul.rendering.pool import RenderPool
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import FolderSource
from imagehaul.store.arrived import Expected
from imagehaul.transfer.engines import Engine
from tests.support.delivering import draw

WANTED = Wanted("changed", True, True, "i", "t", "c", 10**9, False, False, "upright", "judgement")


class AnyEngine:
    """An engine that answers as the test wants: no real one can be made to fail on demand."""

    name = "any"

    def __init__(self, answer: Callable[[Upload], SendResult]) -> None:
        self.answer = answer
        self.uploads: list[Upload] = []

    def send(self, uploads: Sequence[Upload], scratch: Path) -> list[SendResult]:
        self.uploads += uploads
        return [self.answer(upload) for upload in uploads]

    def copy(self, copies: Sequence[Copy]) -> list[SendResult]:
        return []


def sent(upload: Upload) -> SendResult:
    return SendResult(upload.key, "sent")


@pytest.fixture(scope="module")
def pool() -> Iterator[RenderPool]:
    with RenderPool(RenderOptions(), workers=1) as opened:
        yield opened


@pytest.fixture
def source(tmp_path: Path) -> Path:
    draw(tmp_path / "source" / "a.jpg", seed=1)
    return tmp_path / "source"


def planned(
    source: Path, name: str = "a.jpg", boxes: tuple[Box, ...] = (), present: tuple[ExistingObject, ...] = ()
) -> Any:
    status = (source / name).stat()
    return PlannedImage(name, name, status.st_size, str(status.st_mtime_ns), boxes, present)


def run(
    source: Path,
    pool: RenderPool,
    engine: AnyEngine,
    *images: PlannedImage,
    wanted: Wanted = WANTED,
    arrived: Arrived | None = None,
) -> tuple[StoreError | None, list[dict[str, Any]]]:
    scratch = source.parent / "scratch"
    folder = scratch / "batch"
    folder.mkdir(parents=True)
    mapping = Mapping(Layout("bucket", "pre/", "set"))
    work = BatchWork(
        FolderSource(source, Selection(), False),
        mapping,
        wanted,
        pool,
        cast(Engine, engine),
        "run-1",
        Stop(),
    )
    stopped = work(images, folder, scratch / "part.parquet", arrived)
    return stopped, pq.read_table(scratch / "part.parquet").to_pylist()


def by_kind(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {row["kind"]: row for row in rows}


def test_image_thumbnail_and_crop_are_sent_under_their_keys(source: Path, pool: RenderPool) -> None:
    box = Box(1, 2, 30, 40, "thing")
    engine = AnyEngine(sent)
    _, rows = run(source, pool, engine, planned(source, boxes=(box,)))
    assert {upload.key for upload in engine.uploads} == {
        "pre/set/images/a.jpg",
        "pre/set/thumbnails/a.jpg.jpg",
        f"pre/set/crops/a.jpg/{box.id}.jpg",
    }
    image = by_kind(rows)["image"]
    content = (source / "a.jpg").read_bytes()
    assert (image["status"], image["run"], image["recipe"]) == ("sent", "run-1", "i")
    assert (image["md5"], image["sha256"]) == (hashlib.md5(content).hexdigest(), hashlib.sha256(content).hexdigest())
    assert (image["format"], image["width"], image["height"]) == ("JPEG", 320, 240)
    crop = by_kind(rows)["crop"]
    assert (crop["box_x"], crop["box_width"], crop["label"], crop["width"]) == (1, 30, "thing", 30)


def test_a_box_in_fractions_is_written_down_in_pixels(source: Path, pool: RenderPool) -> None:
    box = Box(0.25, 0.5, 0.5, 0.25, "part", fraction=True)
    _, rows = run(source, pool, AnyEngine(sent), planned(source, boxes=(box,)))
    crop = by_kind(rows)["crop"]
    assert [crop[f"box_{name}"] for name in ("x", "y", "width", "height")] == [80, 120, 160, 60]


def present(source: Path, **more: Any) -> ExistingObject:
    content = (source / "a.jpg").read_bytes()
    given = ExistingObject("pre/set/images/a.jpg", len(content), hashlib.md5(content).hexdigest(), "", "", "", "")
    return replace(given, **more)


def test_bytes_that_the_listing_shows_are_not_sent_again(source: Path, pool: RenderPool) -> None:
    engine = AnyEngine(sent)
    _, rows = run(source, pool, engine, planned(source, present=(present(source),)))
    assert [upload.key for upload in engine.uploads] == ["pre/set/thumbnails/a.jpg.jpg"]
    assert by_kind(rows)["image"]["status"] == "present"


def test_an_opaque_etag_counts_where_the_ledger_knows_it(source: Path, pool: RenderPool) -> None:
    md5 = hashlib.md5((source / "a.jpg").read_bytes()).hexdigest()
    known = present(source, etag="opaque", known_etag="opaque", md5=md5, recipe="i", run="run-0")
    engine = AnyEngine(sent)
    _, rows = run(source, pool, engine, planned(source, present=(known,)))
    assert "pre/set/images/a.jpg" not in {upload.key for upload in engine.uploads}
    assert (by_kind(rows)["image"]["etag"], by_kind(rows)["image"]["run"]) == ("opaque", "run-0")


@pytest.mark.parametrize(
    "other", [{"etag": "f" * 32}, {"size": 1}, {"recipe": "another recipe"}, {"etag": "opaque", "known_etag": "older"}]
)
def test_anything_else_that_lies_there_is_sent_over(other: dict[str, Any], source: Path, pool: RenderPool) -> None:
    engine = AnyEngine(sent)
    run(source, pool, engine, planned(source, present=(present(source, **other),)))
    assert "pre/set/images/a.jpg" in {upload.key for upload in engine.uploads}


def test_rerun_all_sends_what_is_there_too(source: Path, pool: RenderPool) -> None:
    engine = AnyEngine(sent)
    run(source, pool, engine, planned(source, present=(present(source),)), wanted=replace(WANTED, rerun="all"))
    assert len(engine.uploads) == 2


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (SendResult("", "unknown"), "failed", "NO_REPORT"),
        (SendResult("", "failed", "STORE_BUSY", "SlowDown"), "failed", "STORE_BUSY"),
        (SendResult("", "rejected", "KEY_TOO_LONG", "too long"), "rejected", "KEY_TOO_LONG"),
    ],
)
def test_the_row_says_what_the_engine_said(
    answer: SendResult, status: str, code: str, source: Path, pool: RenderPool
) -> None:
    _, rows = run(source, pool, AnyEngine(lambda upload: replace(answer, key=upload.key)), planned(source))
    assert {(row["status"], row["code"]) for row in rows} == {(status, code)}


def test_an_error_of_the_whole_store_is_handed_on_and_every_object_has_a_row(source: Path, pool: RenderPool) -> None:
    def refuse(upload: Upload) -> SendResult:
        raise StoreError("The store refuses these keys.", "ACCESS_DENIED")

    stopped, rows = run(source, pool, AnyEngine(refuse), planned(source))
    assert stopped
    assert {(row["kind"], row["status"], row["code"]) for row in rows} == {
        ("image", "failed", "ACCESS_DENIED"),
        ("thumbnail", "failed", "ACCESS_DENIED"),
    }


def test_a_file_that_changed_or_went_since_the_plan_is_failed_and_not_sent(source: Path, pool: RenderPool) -> None:
    changed, gone = planned(source), replace(planned(source), path="gone.jpg", name="gone.jpg")
    draw(source / "a.jpg", seed=9)
    engine = AnyEngine(sent)
    _, rows = run(source, pool, engine, changed, gone)
    assert {row["source_path"]: (row["status"], row["code"]) for row in rows} == {
        "a.jpg": ("failed", "SOURCE_CHANGED"),
        "gone.jpg": ("failed", "SOURCE_GONE"),
    }
    assert engine.uploads == []


def test_a_broken_picture_is_rejected_and_the_others_go_on(source: Path, pool: RenderPool) -> None:
    (source / "bad.jpg").write_bytes(b"\xff\xd8\xff no picture")
    _, rows = run(source, pool, AnyEngine(sent), planned(source, "bad.jpg"), planned(source))
    images = {row["source_path"]: row["status"] for row in rows if row["kind"] == "image"}
    assert images == {"bad.jpg": "rejected", "a.jpg": "sent"}


def test_what_another_worker_sent_of_the_batch_is_not_sent_again(source: Path, pool: RenderPool) -> None:
    draw(source / "b.jpg", seed=2)
    asked: list[Expected] = []

    def arrived(expected: Sequence[Expected]) -> frozenset[str]:
        asked.extend(expected)
        return frozenset({"pre/set/images/a.jpg"})

    engine = AnyEngine(sent)
    _, rows = run(source, pool, engine, planned(source), planned(source, "b.jpg"), arrived=arrived)
    assert {upload.key for upload in engine.uploads} == {item.key for item in asked} - {"pre/set/images/a.jpg"}
    assert len(asked) == 4
    content = (source / "a.jpg").read_bytes()
    assert Expected("pre/set/images/a.jpg", len(content), hashlib.md5(content).hexdigest()) in asked
    assert {(row["status"], row["run"]) for row in rows} == {("sent", "run-1")}


def test_bytes_that_were_there_before_the_run_are_sent_with_their_new_headers(source: Path, pool: RenderPool) -> None:
    asked: list[Expected] = []

    def arrived(expected: Sequence[Expected]) -> frozenset[str]:
        asked.extend(expected)
        return frozenset(item.key for item in expected)

    engine = AnyEngine(sent)
    run(source, pool, engine, planned(source, present=(present(source, recipe="other headers"),)), arrived=arrived)
    assert [upload.key for upload in engine.uploads] == ["pre/set/images/a.jpg"]
    assert [item.key for item in asked] == ["pre/set/thumbnails/a.jpg.jpg"]
