"""How the work of a run is cut into batches, and what a batch knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import imagehaul.ledger.plan
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.packing import Packer
from imagehaul.ledger.plan import Plan, make_plan
from imagehaul.ledger.planned import planned_images
from imagehaul.records import ExistingObject, PlannedImage, SourceFile, StoredObject
from tests.support.simulated import MAPPING, WANTED, Run, Site, box, key, md5, said


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two pictures, the first with one box."""
    site = Site(tmp_path, annotations=said("a.jpg", box()))
    site.write("a.jpg", "first")
    site.write("f/b.png", "second")
    return site


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        match_annotations(opened)
        yield opened


def plan_of(catalog: Catalog, sizes: list[int], batch_size: int, workers: int) -> Plan:
    catalog.execute("DELETE FROM source")
    load_source(catalog, (SourceFile(f"{n:05}.jpg", size, "1") for n, size in enumerate(sizes)), MAPPING)
    return make_plan(catalog, MAPPING, WANTED, batch_size, workers)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sizes=st.lists(st.integers(0, imagehaul.ledger.plan.BATCH_BYTES * 2) | st.integers(0, 1000), max_size=120),
    batch_size=st.integers(1, 60),
    workers=st.integers(1, 8),
)
def test_every_image_is_in_exactly_one_batch_and_no_batch_is_too_large(
    sizes: list[int], batch_size: int, workers: int, catalog: Catalog
) -> None:
    plan = plan_of(catalog, sizes, batch_size, workers)
    packer = Packer(catalog, plan.batches)
    batches = [planned_images(packer.pack(reference)) for reference in plan.batches]
    assert [image.path for batch in batches for image in batch] == [f"{n:05}.jpg" for n in range(len(sizes))]
    assert [reference.number for reference in plan.batches] == list(range(1, len(batches) + 1))
    for reference, batch in zip(plan.batches, batches, strict=True):
        assert (reference.images, reference.size) == (len(batch), sum(image.size for image in batch))
        assert 1 <= reference.images <= batch_size
        assert reference.size <= imagehaul.ledger.plan.BATCH_BYTES or reference.images == 1


@pytest.mark.parametrize(("images", "workers"), [(100, 1), (1601, 16), (5000, 8), (4001, 2)])
def test_a_large_data_set_gives_every_worker_four_batches(images: int, workers: int, catalog: Catalog) -> None:
    plan = plan_of(catalog, [1] * images, 1000, workers)
    assert len(plan.batches) >= 4 * workers
    assert max(batch.images for batch in plan.batches) <= 1000


@pytest.mark.parametrize(
    ("images", "workers", "expected"),
    [
        (6000, 8, [187] * 25 + [165, 145, 126, 111, 97, 85, 74, 65, 57, 50] + [46] * 7 + [28]),
        (4000, 2, [500] * 6 + [500, 250, 125, 125]),
        (4000, 1, [1000] * 4),
        (100, 2, [25, 25, 25, 25]),
    ],
)
def test_the_last_batches_are_smaller_so_that_all_workers_end_together(
    images: int, workers: int, expected: list[int], catalog: Catalog
) -> None:
    plan = plan_of(catalog, [1] * images, 1000, workers)
    assert [batch.images for batch in plan.batches] == expected


def test_a_small_data_set_is_not_cut_to_pieces(catalog: Catalog) -> None:
    assert len(plan_of(catalog, [1] * 30, 1000, 16).batches) == 2


def images_of_first_batch(run: Run) -> list[PlannedImage]:
    return planned_images(Packer(run.catalog, run.plan.batches).pack(run.plan.batches[0]))


def test_a_batch_leaves_out_what_stands_between_its_images(site: Site) -> None:
    for number in range(6):
        site.write(f"{number}.jpg", f"picture {number}")
    site.deliver()
    for number in (1, 4):
        site.write(f"{number}.jpg", "changed")
    run = site.run()
    assert len(run.plan.batches) == 1
    assert [image.path for image in images_of_first_batch(run)] == ["1.jpg", "4.jpg"]


def test_a_batch_knows_the_boxes_and_what_lies_in_the_store(site: Site) -> None:
    first = site.deliver()
    second = box(x=9)
    site.annotations = said("a.jpg", second, box())
    stray = StoredObject(key("thumbnails", "a.jpg.webp"), 3, "stray")
    site.store[stray.key] = stray
    run = site.run()
    (image,) = images_of_first_batch(run)
    assert image.boxes == (second, box())
    sent = {
        row.key: ExistingObject(row.key, row.size, row.etag, row.md5, row.etag, row.recipe, row.run)
        for row in first.rows
    }
    present = {item.key: item for item in image.present}
    assert present.pop(stray.key) == ExistingObject(stray.key, 3, "stray", "", "", "", "")
    assert present == {name: item for name, item in sent.items() if "a.jpg" in name}


def test_what_was_sent_last_is_not_what_lies_there_now(site: Site) -> None:
    """Somebody replaced the object: nothing is known of how it was made."""
    site.deliver()
    name = key("images", "a.jpg")
    site.store[name] = replace(site.store[name], etag=md5("other"))
    run = site.run()
    (image, *_) = images_of_first_batch(run)
    known = {item.key: item for item in image.present}[name]
    assert (known.etag, known.known_etag, known.recipe) == (md5("other"), md5("first"), "")
