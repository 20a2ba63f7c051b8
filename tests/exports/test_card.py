"""The data set's card says what it holds, in tables, and how much of it there is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from imagehaul.exports.card import MOST_LABELS
from imagehaul.exports.export import Origin
from imagehaul.ledger.catalog import Catalog
from imagehaul.records import Box
from tests.support.exporting import export, image, said

BIRD = Box(36, 24, 180, 60, "bird")
PLACE = Origin("20261122T101500Z-1f3a9c", ("/photos", "s3://more/photos/"), ("2 groups of near duplicates, 4 images",))


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def rows_below(card: str, title: str) -> list[list[str]]:
    """The cells of the table below that title, without its head."""
    [section] = re.findall(rf"^## {title}\n\n(.+?)(?:\n\n|\Z)", card, re.DOTALL | re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in section.split("\n")[2:]]


def test_it_says_what_there_is_where_it_comes_from_how_it_was_proven_and_what_was_left_out(catalog: Catalog) -> None:
    rows = [
        image("train/a.jpg", proof="etag-md5", size=1_000_000),
        image("train/b.png", proof="etag-md5", format="PNG", width=64, height=63),
        image("c.heic", proof="checksum", format="", width=0, height=0),
        image("d.jpg", status="rejected", code="EMPTY", message="The file has no bytes."),
        image("e.jpg", status="rejected", code="EMPTY", message="The file has no bytes."),
    ]
    other = Box(1, 2, 3, 4, "bird")
    about = [
        said("train/a.jpg", "box", "bird", BIRD),
        said("train/a.jpg", "box", "bird", other),
        said("train/b.png", "label", "sky"),
        said("train/b.png", "caption", "A sky."),
        said("train/a.jpg", "split", "train"),
    ]
    folder, exported = export(catalog, rows, about, ["card"], origin=PLACE)
    card = (folder / exported["card"].name).read_text()
    assert card.startswith("# birds\n\n3 images, 2 boxes, 1 caption; 1.1 MB of originals.")
    assert ["source", "/photos"] in rows_below(card, "Where it comes from")
    assert ["source", "s3://more/photos/"] in rows_below(card, "Where it comes from")
    assert ["run", PLACE.run] in rows_below(card, "Where it comes from")
    assert rows_below(card, "Splits") == [["in none", "2"], ["train", "1"]]
    assert rows_below(card, "Labels") == [["bird", "1", "2"], ["sky", "1", "0"]]
    assert rows_below(card, "Formats") == [["no known picture", "1"], ["JPEG", "1"], ["PNG", "1"]]
    assert rows_below(card, "Sizes") == [["not known", "1"], ["64 to 127 px", "1"], ["256 to 511 px", "1"]]
    proofs = rows_below(card, "How the images were proven to be in the store")
    assert [row[:2] for row in proofs] == [["etag-md5", "2"], ["checksum", "1"]]
    assert rows_below(card, "Left out") == [["EMPTY", "2", "d.jpg", "The file has no bytes."]]
    assert "## Quality\n\n- 2 groups of near duplicates, 4 images\n" in card


def test_it_stays_short_whatever_there_is(catalog: Catalog) -> None:
    about = [said("a.jpg", "label", f"label {number:04}") for number in range(MOST_LABELS + 50)]
    folder, _ = export(catalog, [image("a.jpg", proof="etag-md5")], about, ["card"])
    labels = rows_below((folder / "card.md").read_text(), "Labels")
    assert len(labels) == MOST_LABELS + 1
    assert labels[-1][0] == "and 50 more"
