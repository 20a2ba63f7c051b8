"""Which image an annotation is about."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.matching import Matches, candidates_of, load_annotations, match_annotations
from imagehaul.records import Annotation, Box, SourceFile
from tests.support.simulated import MAPPING


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def about(reference: str, match: Any = "path", folder: str | None = "", **changes: Any) -> Annotation:
    return Annotation(reference, match, "label", "bird", "labels.csv:2", folder, **changes)


def matched(catalog: Catalog, paths: list[str], *annotations: Annotation) -> tuple[list[str], Matches]:
    """The images that the annotations are about, in their order."""
    load_source(catalog, (SourceFile(path, 1, "1") for path in paths), MAPPING)
    load_annotations(catalog, annotations)
    matches = match_annotations(catalog)
    return [path for (path,) in catalog.rows("SELECT path FROM annotation ORDER BY ordinal")], matches


@pytest.mark.parametrize(
    ("reference", "folder", "found"),
    [
        ("a.jpg", "", "a.jpg"),
        ("./f/a.jpg", "", "f/a.jpg"),
        ("a.jpg", "f", "f/a.jpg"),
        ("../a.jpg", "f", "a.jpg"),
        ("f/a.jpg", "f", "f/a.jpg"),
        ("a.jpg", None, "a.jpg"),
        ("é b/ü.png", None, "é b/ü.png"),
    ],
)
def test_a_path_is_seen_from_the_files_folder_first_and_then_from_the_source(
    reference: str, folder: str | None, found: str, catalog: Catalog
) -> None:
    paths, _ = matched(catalog, ["a.jpg", "f/a.jpg", "é b/ü.png"], about(reference, folder=folder))
    assert paths == [found]


def test_a_file_outside_of_the_source_is_no_place_to_look_from() -> None:
    assert candidates_of(about("x/../a.jpg", folder=None)) == ["a.jpg"]
    assert candidates_of(about("a.jpg", folder="f/g")) == ["f/g/a.jpg", "a.jpg"]


@pytest.mark.parametrize("reference", ["A.jpg", "b.jpg", "a", "/a.jpg", "../../a.jpg", "", "nowhere/a.jpg"])
def test_a_path_that_no_image_has_is_unknown_and_named(reference: str, catalog: Catalog) -> None:
    paths, matches = matched(catalog, ["a.jpg"], about(reference), about("a.jpg"))
    assert paths == ["a.jpg"]
    assert (matches.statements, matches.unknown, matches.images) == (2, 1, 1)
    assert matches.examples == (f"{reference!r} (labels.csv:2): no image has that name",)


@pytest.mark.parametrize(
    ("reference", "folder", "found"),
    [
        ("f/a", "", "f/a.jpg"),
        ("a", "f", "f/a.jpg"),
        ("photo.v1", "", "photo.v1.png"),
        ("alone", "labels", "deep/down/alone.tif"),
        ("labels/alone", "", "deep/down/alone.tif"),
    ],
)
def test_a_stem_is_looked_for_as_a_path_first_and_then_by_its_base_name(
    reference: str, folder: str, found: str, catalog: Catalog
) -> None:
    images = ["f/a.jpg", "g/a.jpg", "photo.v1.png", "deep/down/alone.tif"]
    assert matched(catalog, images, about(reference, "stem", folder))[0] == [found]


@pytest.mark.parametrize(
    ("images", "reference"),
    [(["f/a.jpg", "g/a.jpg"], "labels/a"), (["a.jpg", "a.png"], "a"), (["f/a.jpg", "f/a.png", "b/a.jpg"], "f/a")],
)
def test_a_stem_that_several_images_have_is_ambiguous_and_named(
    images: list[str], reference: str, catalog: Catalog
) -> None:
    paths, matches = matched(catalog, images, about(reference, "stem"))
    assert (paths, matches.ambiguous, matches.unknown) == ([], 1, 0)
    assert matches.examples == (f"{reference!r} (labels.csv:2): several images have that name",)


def test_a_path_has_no_base_name_to_fall_back_on(catalog: Catalog) -> None:
    assert matched(catalog, ["f/a.jpg"], about("g/a.jpg"))[0] == []


def test_every_statement_is_counted_and_a_few_references_are_named(catalog: Catalog) -> None:
    unknown = [about(f"{n}.jpg") for n in range(5) for _ in range(3)]
    _, matches = matched(catalog, ["a.jpg"], about("a.jpg"), about("a.jpg"), *unknown)
    assert (matches.statements, matches.unknown, matches.images) == (17, 15, 1)
    assert [example.split()[0] for example in matches.examples] == ["'0.jpg'", "'1.jpg'", "'2.jpg'"]


def boxed(*numbers: float) -> Annotation:
    box = Box(*numbers, label="bird")
    return Annotation("a.jpg", "path", "box", "bird", "boxes.csv:2", "", box, 640, 480)


def test_a_box_comes_through_as_it_was_said(catalog: Catalog) -> None:
    matched(catalog, ["a.jpg"], boxed(1.5, 2, 3, 4))
    row = catalog.one(
        "SELECT x, y, width, height, fraction, crop_id, image_width, image_height, usable FROM annotation"
    )
    assert row == (1.5, 2, 3, 4, False, Box(1.5, 2, 3, 4, "bird").id, 640, 480, True)


@pytest.mark.parametrize(
    "numbers", [(1, 2, 0, 4), (1, 2, 3, -4), (math.nan, 2, 3, 4), (1, 2, math.inf, 4), (1, -1e300, 3, 4)]
)
def test_a_box_that_no_export_can_show_is_counted(numbers: tuple[float, ...], catalog: Catalog) -> None:
    _, matches = matched(catalog, ["a.jpg"], boxed(*numbers), boxed(1, 2, 3, 4), about("a.jpg"))
    assert (matches.boxes, matches.unusable) == (2, 1)
    assert [usable for (usable,) in catalog.rows("SELECT usable FROM annotation ORDER BY ordinal")] == [
        False,
        True,
        True,
    ]


def test_half_a_character_and_a_picture_of_no_possible_size_do_no_harm(catalog: Catalog) -> None:
    odd = about("a.jpg", image_width=10**30, image_height=7)
    surrogate = Annotation("\ud800.jpg", "path", "label", "\udfff", "x\ud800", "")
    paths, matches = matched(catalog, ["a.jpg"], odd, surrogate)
    assert (paths, matches.unknown) == (["a.jpg"], 1)
    assert catalog.one("SELECT image_width, image_height FROM annotation") == (0, 7)


def test_nothing_said_is_nothing_matched(catalog: Catalog) -> None:
    assert matched(catalog, ["a.jpg"]) == ([], Matches(0, 0, 0, 0, 0, ()))
