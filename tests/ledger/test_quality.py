"""Groups of duplicates and single flaws, of rows whose truth is known."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from imagehaul.ledger import quality
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.quality import Thresholds, find_issues
from imagehaul.ledger.rows import COLUMNS, LedgerRow
from tests.support.exporting import image, thumbnail

THRESHOLDS = Thresholds(near_duplicate_bits=10, dark_below=0.08, bright_above=0.92, blur_below=0.15)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def hashed(number: int) -> str:
    return f"{random.Random(number).getrandbits(128):032x}"


def changed(phash: str, *bits: int) -> str:
    return f"{int(phash, 16) ^ sum(1 << bit for bit in bits):032x}"


def picture(path: str, phash: str = "", **columns: Any) -> LedgerRow:
    sound = {"brightness": 0.5, "contrast": 0.2, "sharpness": 30.0, "entropy": 7.0, "sha256": f"sha of {path}"}
    return image(path, **{**sound, "phash": phash or hashed(hash(path)), **columns})


def found(catalog: Catalog, rows: list[LedgerRow], measures: bool = True) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The issues as kind → paths (for duplicates: groups of paths), and the lines."""
    catalog.load("proven", ([*(getattr(row, name) for name in COLUMNS), False] for row in rows))
    lines = find_issues(catalog, THRESHOLDS, measures)
    groups: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path, kind, group in catalog.rows("SELECT source_path, kind, group_id FROM issue ORDER BY source_path"):
        groups[kind, group].append(path)
    issues: dict[str, Any] = defaultdict(list)
    for (kind, group), paths in sorted(groups.items(), key=lambda item: item[1]):
        issues[kind] += [paths] if group else paths
    return dict(issues), lines


def test_the_same_bytes_are_exact_duplicates(catalog: Catalog) -> None:
    rows = [picture("a.jpg", hashed(1), sha256="x"), picture("b.jpg", hashed(1), sha256="x"), picture("c.jpg")]
    issues, lines = found(catalog, rows)
    assert issues == {"exact_duplicates": [["a.jpg", "b.jpg"]]}
    assert lines == ("1 group of exact duplicates, 2 images",)


def test_near_duplicates_are_one_group_over_a_chain(catalog: Catalog) -> None:
    first = hashed(1)
    second = changed(first, *range(0, 80, 8))
    third = changed(second, *range(1, 81, 8))
    rows = [picture("a.jpg", first), picture("b.jpg", second), picture("c.jpg", third), picture("d.jpg", hashed(2))]
    issues, lines = found(catalog, rows)
    assert issues == {"near_duplicates": [["a.jpg", "b.jpg", "c.jpg"]]}
    assert lines == ("1 group of near duplicates, 3 images",)


def test_one_bit_too_many_is_no_duplicate(catalog: Catalog) -> None:
    issues, _ = found(catalog, [picture("a.jpg", hashed(1)), picture("b.jpg", changed(hashed(1), *range(11)))])
    assert issues == {}


def test_pictures_of_one_hash_and_different_bytes_are_near_duplicates(catalog: Catalog) -> None:
    assert found(catalog, [picture(f"{n}.jpg", "0" * 32) for n in range(3)])[0] == {
        "near_duplicates": [["0.jpg", "1.jpg", "2.jpg"]]
    }


def test_blank_pictures_do_not_flood_the_bands(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A band that too many share is passed over; the others still find the pair."""
    monkeypatch.setattr(quality, "FEW", 0)
    monkeypatch.setattr(quality, "CROWDED", 20)
    crowd = [picture(f"{n}.jpg", "00" * 4 + hashed(n)[8:]) for n in range(50)]
    pair = [
        picture("x.jpg", "00" * 4 + hashed(3)[8:][:-1] + "0"),
        picture("y.jpg", "00" * 4 + hashed(3)[8:][:-1] + "1"),
    ]
    groups = found(catalog, [*crowd, *pair])[0]["near_duplicates"]
    assert ["3.jpg", "x.jpg", "y.jpg"] in groups


def test_each_measure_has_its_flaw(catalog: Catalog) -> None:
    rows = [
        picture("bright.jpg", brightness=0.95),
        picture("blank.jpg", contrast=0.0, sharpness=0.0),
        picture("blurred.jpg", sharpness=5.0),
        picture("dark.jpg", brightness=0.05),
        picture("long.jpg", width=500, height=100),
        picture("small.jpg", width=20, height=20),
        picture("sound.jpg"),
    ]
    issues, lines = found(catalog, rows)
    assert issues == {
        "blank": ["blank.jpg"],
        "blur": ["blurred.jpg"],
        "bright": ["bright.jpg"],
        "dark": ["dark.jpg"],
        "odd_ratio": ["long.jpg"],
        "odd_size": ["small.jpg"],
    }
    assert "1 image is blurred" in lines


def test_without_measures_exact_duplicates_alone_are_named(catalog: Catalog) -> None:
    rows = [picture("a.jpg", sha256="x", brightness=0.0), picture("b.jpg", sha256="x"), picture("c.jpg", hashed(1))]
    assert found(catalog, [*rows, picture("d.jpg", hashed(1))], measures=False)[0] == {
        "exact_duplicates": [["a.jpg", "b.jpg"]]
    }


def test_images_that_an_older_run_did_not_measure_are_counted(catalog: Catalog) -> None:
    rows = [image("a.jpg", sha256="a"), thumbnail("a.jpg"), picture("b.jpg"), thumbnail("b.jpg")]
    assert found(catalog, rows)[1] == ("1 of 2 images were not measured, by an older run: --rerun all does it",)


def test_what_was_not_delivered_has_no_issue(catalog: Catalog) -> None:
    rows = [picture("a.jpg", sha256="x", status="rejected"), picture("b.jpg", sha256="x", brightness=0.0)]
    assert found(catalog, rows)[0] == {"dark": ["b.jpg"]}
