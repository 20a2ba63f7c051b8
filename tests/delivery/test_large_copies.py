"""Originals too large for one copy request: proven, and not sent again whoever copied them before."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from imagehaul.records import PART_SIZE
from imagehaul.transfer import engines
from imagehaul.transfer.copier import Copier
from tests.support.delivering import Target, draw

WITHOUT_THUMBNAILS = {"skip_image_thumbnail_generation": True}
PART = 5 * 2**20
"""The least that S3 allows."""


@pytest.fixture
def picture(target: Target, tmp_path: Path) -> bytes:
    """11 MB in the bucket, under `in/a.bmp`."""
    return put(target, tmp_path, (2000, 1850))


def put(target: Target, folder: Path, size: tuple[int, int]) -> bytes:
    content = draw(folder / "a.bmp", size=size)
    target.store.client().put_object(Bucket=target.bucket, Key="in/a.bmp", Body=content)
    return content


def copying(monkeypatch: pytest.MonkeyPatch, largest: int, part: int) -> None:
    monkeypatch.setattr(engines, "Copier", partial(Copier, largest=largest, part=part))


def deliver(target: Target, **settings: Any) -> tuple[int, int, int]:
    summary = target.deliver(f"s3://{target.bucket}/in", settings=settings)
    assert summary.exit_status == 0
    return summary.counts.delivered, summary.counts.unchanged, summary.counts.objects


def proof_of_image(target: Target) -> str:
    return next(row["proof"] for row in target.ledger() if row["kind"] == "image")


@pytest.mark.every_store
def test_a_copy_in_parts_is_proven_and_stands(target: Target, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    copying(monkeypatch, PART, PART)
    assert deliver(target) == (1, 0, 2)
    assert target.head("images/a.bmp")["ETag"].endswith('-3"')
    # SeaweedFS makes the ETag of a part that it copied of its own pieces.
    assert proof_of_image(target) in ("etag-multipart", "read-back")
    assert deliver(target) == (0, 1, 0)
    assert target.read("images/a.bmp") == picture


@pytest.mark.every_store
def test_of_a_copy_in_parts_that_nobody_hashed_the_bytes_are_read(
    target: Target, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    copying(monkeypatch, PART, PART)
    assert deliver(target, **WITHOUT_THUMBNAILS) == (1, 0, 1)
    assert proof_of_image(target) == "read-back"
    assert deliver(target, **WITHOUT_THUMBNAILS) == (0, 1, 0)


@pytest.mark.every_store
@pytest.mark.parametrize("settings", [{}, WITHOUT_THUMBNAILS], ids=["hashed", "not hashed"])
@pytest.mark.parametrize(("largest", "part"), [(100 * PART, PART), (PART, 2 * PART)], ids=["whole", "larger parts"])
def test_what_an_earlier_version_copied_stands(
    target: Target,
    picture: bytes,
    monkeypatch: pytest.MonkeyPatch,
    largest: int,
    part: int,
    settings: dict[str, Any],
) -> None:
    copying(monkeypatch, largest, part)
    deliver(target, **settings)
    proof = proof_of_image(target)
    copying(monkeypatch, PART, PART)
    assert deliver(target, **settings) == (0, 1, 0)
    # A run that has to work on it again sends the other thumbnail alone.
    assert deliver(target, **settings, thumbnail_size=100) == (0, 1, 0 if settings else 1)
    assert proof_of_image(target) == proof


@pytest.mark.parametrize("settings", [{}, WITHOUT_THUMBNAILS], ids=["hashed", "not hashed"])
def test_what_was_copied_whole_stands_even_without_any_ledger(
    target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    content = put(target, tmp_path, (4400, 4000))
    assert PART_SIZE < len(content) < 1.1 * PART_SIZE
    copying(monkeypatch, 2 * PART_SIZE, PART_SIZE)
    deliver(target, **settings)
    for key in target.listed():
        if not key.startswith(("images/", "thumbnails/")):
            target.remove(key)
    copying(monkeypatch, PART_SIZE, PART_SIZE)
    assert deliver(target, **settings) == (0, 1, 0)
