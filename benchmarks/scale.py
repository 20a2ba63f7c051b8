"""A rerun over a data set of a given size, in which source, store and pictures are simulated: names, not bytes.

Everything between them is the real thing: inventory, collision checks, the join with the last ledger and the
listing, annotations, plan, outcome, proof, ledger and export. One image in twenty is new, one in a hundred changed;
each has a thumbnail, and every second one an annotated box with its crop. Prints one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from imagehaul.arrow import keep_arrow_small
from imagehaul.delivery.exporting import export_all
from imagehaul.entity import Addresses
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import count_outcome
from imagehaul.ledger.inventory import (
    EarlierRun,
    load_listing,
    load_prior,
    load_source,
    near_collisions,
    refuse_collisions,
)
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.packing import Packer
from imagehaul.ledger.plan import Wanted, make_plan
from imagehaul.ledger.planned import planned_images
from imagehaul.ledger.proof import collect_outcome, prove
from imagehaul.ledger.rows import LedgerRow, write_part
from imagehaul.ledger.statements import load_annotations
from imagehaul.mapping import Mapping
from imagehaul.records import Annotation, Box, SourceFile, StoredObject

LAYOUT = Layout("bucket", "sets/", "birds")
MAPPING = Mapping(LAYOUT)
WANTED = Wanted("changed", True, True, "image", "thumbnail", "crop", 150_000_000, False, False, "upright", "judgement")
BOX = Box(10, 20, 30, 40, "bird")
LAST_RUN, THIS_RUN = "20261101T000000Z-000000", "20261102T000000Z-000000"


def is_new(number: int) -> bool:
    return number % 20 == 0


def is_changed(number: int) -> bool:
    return number % 100 == 1


def path_of(number: int) -> str:
    return f"camera-{number // 10_000:03d}/2026-11-{1 + number // 500 % 28:02d}/IMG_{number:08d}.jpg"


def md5_of(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def files(count: int) -> Iterator[SourceFile]:
    for number in range(count):
        yield SourceFile(path_of(number), 100_000 + number % 9_000, "2" if is_changed(number) else "1")


def rows_of(number: int, run: str, version: str) -> Iterator[LedgerRow]:
    """What a run that sent the image writes of it."""
    path = path_of(number)
    md5 = md5_of(f"{path} {version}")
    image = LedgerRow(
        source_path=path, kind="image", key=MAPPING.image_key(path), status="sent", size=100_000 + number % 9_000,
        md5=md5, sha256=md5 + md5[::-1], etag=md5, source_size=100_000 + number % 9_000, source_version=version,
        media_id=MAPPING.media_id(path), format="JPEG", content_type="image/jpeg", width=4000, height=3000,
        orientation=1, mode="RGB", frames=1, checked="decoded", recipe="image", run=run,
    )  # fmt: skip
    small = md5_of(f"{path} {version} thumbnail")
    made = replace(image, size=13_000, md5=small, sha256=small + small[::-1], etag=small, width=256, height=192)
    yield image
    yield replace(made, kind="thumbnail", key=MAPPING.thumbnail_key(path), recipe="thumbnail")
    if number % 2 == 0:
        yield replace(made, kind="crop", key=MAPPING.crop_key(path, BOX), recipe="crop").with_box(BOX)


def last_ledger(count: int, folder: Path) -> None:
    """Written in parts: the data set may be larger than memory."""
    for part, first in enumerate(range(0, count, 50_000)):
        numbers = (number for number in range(first, min(count, first + 50_000)) if not is_new(number))
        rows = (replace(row, status="delivered") for number in numbers for row in rows_of(number, LAST_RUN, "1"))
        write_part(rows, folder / f"{part:04d}.parquet")


def listed(count: int, after: bool) -> Iterator[StoredObject]:
    def some(every: int, key: Callable[[str], str], size: Callable[[int], int], of: str) -> Iterator[StoredObject]:
        for number in range(0, count, every):
            if after or not is_new(number):
                path, version = path_of(number), "2" if is_changed(number) and after else "1"
                yield StoredObject(key(path), size(number), md5_of(f"{path} {version}{of}"))

    yield from some(1, MAPPING.image_key, lambda number: 100_000 + number % 9_000, "")
    yield from some(1, MAPPING.thumbnail_key, lambda _: 13_000, " thumbnail")
    yield from some(2, lambda path: MAPPING.crop_key(path, BOX), lambda _: 13_000, " thumbnail")


def statements(count: int) -> Iterator[Annotation]:
    for number in range(0, count, 2):
        yield Annotation(path_of(number), "path", "box", BOX.label, "object_annotations.csv", ("",), BOX)


def rerun(count: int, folder: Path) -> dict[str, float]:
    """Seconds for each stage."""
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def stage(name: str) -> None:
        nonlocal began
        seconds[name] = seconds.get(name, 0) + time.monotonic() - began
        began = time.monotonic()

    catalog = Catalog(folder)
    load_source(catalog, files(count), MAPPING)
    stage("inventory")
    refuse_collisions(catalog, MAPPING)
    near_collisions(catalog)
    stage("collision check")
    load_annotations(catalog, statements(count))
    match_annotations(catalog)
    stage("annotations")
    ledger = tuple(sorted((folder / "last").iterdir()))
    load_prior(catalog, [EarlierRun(LAST_RUN, ledger, published=True)])
    stage("ledger join")
    load_listing(catalog, listed(count, after=False), LAYOUT)
    stage("listing (simulated)")
    plan = make_plan(catalog, MAPPING, WANTED, 1000, 2)
    stage("plan")
    (folder / "parts").mkdir()
    packer = Packer(catalog, plan.batches)
    for reference in plan.batches:
        images = planned_images(packer.pack(reference))
        numbers = [int(image.path[-12:-4]) for image in images]
        rows = (row for number in numbers for row in rows_of(number, THIS_RUN, "2" if is_changed(number) else "1"))
        write_part(rows, folder / "parts" / f"{reference.number:05d}.parquet")
    stage("batches (nothing rendered, nothing sent)")
    collect_outcome(catalog, sorted((folder / "parts").iterdir()), MAPPING, thumbnails=True)
    stage("outcome")
    load_listing(catalog, listed(count, after=True), LAYOUT)
    stage("listing (simulated)")
    prove(catalog, None, "bucket", 1, False, lambda _: "")  # type: ignore[arg-type]  # no object is in doubt
    counts = count_outcome(catalog)
    stage("proof")
    write_ledger(catalog, folder / "ledger.parquet")
    stage("ledger")
    export_all(
        catalog, Addresses(LAYOUT, "/image", False), "upright", (), "", folder, lambda file, name: None, str.encode
    )
    stage("export")
    catalog.close()
    if counts.failed or counts.planned != count or counts.delivered != plan.work:
        raise SystemExit(f"the rerun of {count} images went wrong: {counts}, {plan.work} to do")
    return seconds


def main(what: str, count: int, folder: Path) -> None:
    """`prepare` writes what the last run left into `folder/last`, and `rerun` works on it, in a process of its own."""
    if what == "prepare":
        (folder / "last").mkdir(parents=True)
        last_ledger(count, folder / "last")
        return
    keep_arrow_small()  # As the command does.
    seconds = rerun(count, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"images": count, "seconds": seconds, "peak": peak}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
