"""Whether a run may become the current one: promises 2 and 6, at their very limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.plan import Plan
from imagehaul.ledger.publish_checks import fingerprint, refusal, size_mismatches
from imagehaul.ledger.runs import Current
from imagehaul.settings import Settings

SETTINGS = Settings(remote_save="s3://bucket/")
PLAN = Plan(100, 0, 0, 0, 0, 100, 0, 0, 0, 100, ())
CURRENT = Current("20261122T101500Z-1f3a9c", "s3://l/", {"json": "s3://e/metadata.json"}, "f", {})


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    opened = Catalog(tmp_path)
    yield opened
    opened.close()


def refused(
    catalog: Catalog, counts: Counts, plan: Plan = PLAN, settings: Settings = SETTINGS, allow_loss: bool = False
) -> str:
    return refusal(catalog, plan, counts, settings, allow_loss, CURRENT)


def test_a_whole_run_is_published(catalog: Catalog) -> None:
    assert refused(catalog, Counts(100, delivered=100)) == ""


def test_one_failed_image_keeps_the_old_index_and_names_it(catalog: Catalog) -> None:
    counts = Counts(100, delivered=99, failed=1)
    assert refused(catalog, counts) == f"1 of 100 images are not proven. Run {CURRENT.run} is still current."
    assert refused(catalog, counts, settings=SETTINGS.model_copy(update={"publish_partial": True})) == ""
    assert refused(catalog, counts, allow_loss=True), "--allow-loss is about losses, not about failures"


@pytest.mark.parametrize(("rejected", "published"), [(10, True), (11, False)])
def test_a_tenth_may_be_rejected_and_no_more(rejected: int, published: bool, catalog: Catalog) -> None:
    counts = Counts(100, delivered=100 - rejected, rejected=rejected)
    assert (refused(catalog, counts) == "") is published
    assert refused(catalog, counts, allow_loss=True) == ""


@pytest.mark.parametrize(("vanished", "published"), [(10, True), (11, False)])
def test_a_tenth_of_the_published_may_vanish_and_no_more(vanished: int, published: bool, catalog: Catalog) -> None:
    plan = replace(PLAN, vanished=vanished)
    assert (refused(catalog, Counts(100, unchanged=100), plan) == "") is published


def test_published_images_that_are_rejected_now_count_as_lost(catalog: Catalog) -> None:
    """A decoder that went missing must not empty an index, even where MAX_REJECTED was raised."""
    paths = [f"{number}.heic" for number in range(20)]
    catalog.load("published", [(path, "") for path in paths])
    catalog.append("proven", "SELECT unnest(?) AS source_path, 'image' AS kind, 'rejected' AS status", [paths])
    settings = SETTINGS.model_copy(update={"max_rejected": 1.0})
    assert "MAX_VANISHED" in refused(catalog, Counts(100, unchanged=80, rejected=20), settings=settings)


def test_annotations_of_another_size_are_found_in_the_space_of_their_boxes(catalog: Catalog) -> None:
    catalog.append(
        "proven",
        "SELECT 'turned.jpg' AS source_path, 'image' AS kind, 300 AS width, 400 AS height, 6 AS orientation",
    )
    catalog.append("annotation", "SELECT 'turned.jpg' AS path, 400 AS image_width, 300 AS image_height")
    count, example = size_mismatches(catalog, SETTINGS)
    assert count == 1
    assert "turned.jpg" in example
    assert size_mismatches(catalog, SETTINGS.model_copy(update={"box_space": "stored"}))[0] == 0


def test_another_export_is_another_publication(catalog: Catalog) -> None:
    """So that switching one on publishes anew, though no image has to be sent."""
    some = [SETTINGS.model_copy(update={"exports": names}) for names in ((), ("coco",), ("coco", "csv"))]
    made_of = {fingerprint(catalog, settings) for settings in [*some, SETTINGS]}
    assert len(made_of) == 3
    changes = ({"quality": "off"}, {"dark_below": 0.1}, {"near_duplicate_bits": 4})
    made_of |= {fingerprint(catalog, SETTINGS.model_copy(update=change)) for change in changes}
    assert len(made_of) == 6
