"""What the tests of the proof begin with."""

from __future__ import annotations

from pathlib import Path

import pytest

import imagehaul.ledger.catalog
from tests.support.simulated import Site, box, said


@pytest.fixture(params=[200_000, 2], ids=["one range", "ranges of two rows"])
def rows_sorted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large data set is compared with the listing a range of keys at a time."""
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", request.param)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two pictures, the first with one box."""
    site = Site(tmp_path, annotations=said("a.jpg", box()))
    site.write("a.jpg", "first")
    site.write("b.jpg", "second")
    return site
