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
from imagehaul.ledger.matching import Matches, match_annotations
from imagehaul.ledger.spelling import ABSOLUTE, BACKSLASH, CASE, COMPOSITION, FILE_URL, PERCENT
from imagehaul.ledger.statements import load_annotations
from imagehaul.records import Annotation, Box, SourceFile
from tests.support.simulated import MAPPING


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def about(reference: str, match: Any = "path", folder: str | None = "", **changes: Any) -> Annotation:
    """A label; `folder`: of the file that says it, None = outside of the source."""
    places = ("",) if not folder else (folder, "")
    return Annotation(reference, match, "label", "bird", "labels.csv:2", places, **changes)


def matched(
    catalog: Catalog, paths: list[str], *annotations: Annotation, roots: tuple[str, ...] = (), any_case: bool = False
) -> tuple[list[str], Matches]:
    """The images that the annotations are about, in their order."""
    load_source(catalog, (SourceFile(path, 1, "1") for path in paths), MAPPING)
    load_annotations(catalog, annotations)
    matches = match_annotations(catalog, roots, any_case)
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


@pytest.mark.parametrize("reference", ["A.jpg", "b.jpg", "a", "/a.jpg", "../../a.jpg", "", "nowhere/a.jpg"])
def test_a_path_that_no_image_has_is_unknown_and_named(reference: str, catalog: Catalog) -> None:
    paths, matches = matched(catalog, ["a.jpg"], about(reference), about("a.jpg"))
    assert paths == ["a.jpg"]
    assert (matches.statements, matches.unknown, matches.images) == (2, 1, 1)
    assert matches.examples == (f"{reference!r} (labels.csv:2): its image is not in this delivery",)


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


# Other spellings


@pytest.mark.parametrize(
    ("reference", "found", "how"),
    [
        ("f\\a.jpg", "f/a.jpg", BACKSLASH),
        (".\\f\\..\\f\\a.jpg", "f/a.jpg", BACKSLASH),
        ("with%20space.jpg", "with space.jpg", PERCENT),
        ("50% a.jpg", "50%25 a.jpg", PERCENT),
        ("u\u0308.jpg", "\u00fc.jpg", COMPOSITION),
        ("\u00e9.jpg", "e\u0301.jpg", COMPOSITION),
        ("/data/my set/f/a.jpg", "f/a.jpg", ABSOLUTE),
        ("s3://bucket/set/f/a.jpg", "f/a.jpg", ABSOLUTE),
        ("my set/f/a.jpg", "f/a.jpg", ABSOLUTE),
        ("file:///data/my%20set/f/a.jpg", "f/a.jpg", FILE_URL),
        ("f\\with%20u\u0308.jpg", "f/with \u00fc.jpg", COMPOSITION),
    ],
)
def test_a_name_that_is_written_otherwise_is_understood_and_counted(
    reference: str, found: str, how: int, catalog: Catalog
) -> None:
    roots = ("/data/my set", "s3://bucket/set")
    paths, matches = matched(catalog, [found, "x/other.jpg"], about(reference), about(reference), roots=roots)
    assert paths == [found, found]
    assert matches.respelled == ((how, 1, f"{reference} → {found}"),)
    assert matches.guessed == (0, "")


def test_label_files_are_understood_in_another_composition_too(catalog: Catalog) -> None:
    paths, matches = matched(catalog, ["images/\u00fc.jpg"], about("images/u\u0308", "stem"))
    assert paths == ["images/\u00fc.jpg"]
    assert [way[:2] for way in matches.respelled] == [(COMPOSITION, 1)]


def test_the_exact_name_goes_before_every_other_spelling(catalog: Catalog) -> None:
    images = ["a%20b.jpg", "a b.jpg", "c\\d.jpg", "c/d.jpg", "\u00fc.jpg", "u\u0308.jpg"]
    paths, matches = matched(catalog, images, *map(about, images))
    assert paths == images
    assert matches.respelled == ()


def test_the_ways_are_tried_in_their_order_and_two_answers_are_none(catalog: Catalog) -> None:
    images = ["f/a%20b.jpg", "f/a b.jpg", "e\u0301/%C3%BC.jpg", "\u00e9/\u00fc.jpg"]
    paths, matches = matched(
        catalog, images, about("f\\a%20b.jpg"), about("f\\a%20b.JPG"), about("e\u0301\\u\u0308.jpg")
    )
    assert paths == ["f/a%20b.jpg"]
    assert (matches.unknown, matches.ambiguous) == (1, 1)


@pytest.mark.parametrize(
    "reference",
    ["/data/my set", "/elsewhere/f/a.jpg", "/data/my setup/f/a.jpg", "file:///f/a.jpg", "C:\\set\\f\\a.jpg"],
)
def test_a_path_outside_of_the_source_is_unknown(reference: str, catalog: Catalog) -> None:
    assert matched(catalog, ["f/a.jpg"], about(reference), roots=("/data/my set",))[0] == []


def test_another_case_counts_on_request_alone_and_for_one_image_alone(catalog: Catalog) -> None:
    images = ["F/a.JPG", "b.jpg", "B.jpg"]
    assert matched(catalog, images, about("f/A.jpg"), about("B.JPG"))[0] == []


def test_on_request_another_case_is_understood(catalog: Catalog) -> None:
    paths, matches = matched(
        catalog, ["F/a.JPG", "b.jpg", "B.jpg"], about("f/A.jpg"), about("B.JPG"), about("b.jpg"), any_case=True
    )
    assert paths == ["F/a.JPG", "b.jpg"]
    assert [way[:2] for way in matches.respelled] == [(CASE, 1)]
    assert matches.ambiguous == 1


# Guesses


def label_file(stem: str, *apart: str) -> Annotation:
    return Annotation(stem, "stem", "label", "bird", "a.txt:1", apart=apart)


@pytest.mark.parametrize(
    ("image", "apart"),
    [
        ("deep/down/a.jpg", ()),
        ("images/train/sub/a.jpg", ("train",)),
        ("train/images/a.jpg", ("train",)),
        ("set/images/one/two/a.jpg", ("one", "two")),
    ],
)
def test_a_label_file_is_given_to_the_only_image_of_its_name_and_that_is_counted(
    image: str, apart: tuple[str, ...], catalog: Catalog
) -> None:
    paths, matches = matched(catalog, [image, "other/b.jpg"], label_file("x/a", *apart))
    assert paths == [image]
    assert matches.guessed == (1, f"x/a → {image}")


@pytest.mark.parametrize(
    ("image", "apart"),
    [
        ("images/val/a.jpg", ("train",)),
        ("images/a.jpg", ("train",)),
        ("images/two/one/a.jpg", ("one", "two")),
        ("images/one/x/two/a.jpg", ("one", "two")),
        ("images/training/a.jpg", ("train",)),
    ],
)
def test_a_guess_never_crosses_folders_that_the_layout_tells_apart(
    image: str, apart: tuple[str, ...], catalog: Catalog
) -> None:
    paths, matches = matched(catalog, [image], label_file("images/train/a", *apart))
    assert paths == []
    assert (matches.guessed[0], matches.unknown) == (0, 1)
    assert matches.examples == ("'images/train/a' (a.txt:1): its image is not in this delivery",)


# Splits


def split(reference: str, word: str, match: Any = "path", places: tuple[str, ...] = ("",)) -> Annotation:
    return Annotation(reference, match, "split", word, "x", places)


def splits(catalog: Catalog) -> dict[str, str]:
    return dict(catalog.rows("SELECT path, split FROM image_split"))


def test_an_image_has_the_split_that_something_says_of_it_or_of_its_folder(catalog: Catalog) -> None:
    images = ["a.jpg", "train/b.jpg", "train/deep/c.jpg", "training/d.jpg", "s/val/e.jpg"]
    said = [split("train", "train", "folder"), split("a.jpg", "test"), split("val", "val", "folder", ("s", ""))]
    _, matches = matched(catalog, images, *said, split("gone.jpg", "val"), split("train/b.jpg", "holdout"))
    assert splits(catalog) == {
        "a.jpg": "test",
        "train/b.jpg": "holdout",
        "train/deep/c.jpg": "train",
        "s/val/e.jpg": "val",
    }
    assert matches == Matches(0, 0, 0, 0, 0, ())


def test_of_two_splits_of_one_image_the_first_counts_and_that_is_told(catalog: Catalog) -> None:
    _, matches = matched(catalog, ["a.jpg"], split("a.jpg", "val"), split("./a.jpg", "val"), split("a.jpg", "test"))
    assert splits(catalog) == {"a.jpg": "val"}
    assert matches.torn == (1, "a.jpg")
    assert list(matches.warnings()) == ["1 image in several splits, of which the first said counts, such as a.jpg."]


def test_several_rows_of_metadata_for_one_image_are_told(catalog: Catalog) -> None:
    rows = [Annotation("a.jpg", "path", "metadata", "", "x", metadata=said) for said in ('{"a": 1}', '{"a": 2}')]
    _, matches = matched(catalog, ["a.jpg"], *rows)
    assert matches.outspoken == (1, "a.jpg")


def boxed(*numbers: float) -> Annotation:
    box = Box(*numbers, label="bird")
    return Annotation("a.jpg", "path", "box", "bird", "boxes.csv:2", ("",), box, 640, 480)


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
    assert list(matches.warnings()) == [
        "1 box without an area, or with coordinates that are not numbers: in no index and no export, such as "
        "boxes.csv:2 (a.jpg)."
    ]
    assert [usable for (usable,) in catalog.rows("SELECT usable FROM annotation ORDER BY ordinal")] == [
        False,
        True,
        True,
    ]


def test_half_a_character_and_a_picture_of_no_possible_size_do_no_harm(catalog: Catalog) -> None:
    odd = about("a.jpg", image_width=10**30, image_height=7)
    surrogate = Annotation("\ud800.jpg", "path", "label", "\udfff", "x\ud800")
    paths, matches = matched(catalog, ["a.jpg"], odd, surrogate)
    assert (paths, matches.unknown) == (["a.jpg"], 1)
    assert catalog.one("SELECT image_width, image_height FROM annotation") == (0, 7)


def test_nothing_said_is_nothing_matched(catalog: Catalog) -> None:
    assert matched(catalog, ["a.jpg"]) == ([], Matches(0, 0, 0, 0, 0, ()))
