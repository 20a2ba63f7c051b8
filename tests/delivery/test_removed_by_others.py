"""What a lifecycle rule or a person took out of the store: a delivery sees it, and takes nothing for whole."""

from __future__ import annotations

from pathlib import Path

from tests.support.delivering import Target, draw


def pictures(folder: Path, number: int) -> Path:
    for name in range(number):
        draw(folder / f"{name}.jpg", (64, 48), seed=name)
    return folder


def test_an_export_that_is_gone_is_written_anew(target: Target, tmp_path: Path) -> None:
    source = pictures(tmp_path / "source", 2)
    first = target.deliver(source)
    target.remove(first.exports["json"].removeprefix(f"s3://{target.bucket}/{target.root}"))
    again = target.deliver(source)
    assert (again.published, again.counts.unchanged, again.counts.objects) == (True, 2, 0)
    assert any("metadata.json" in line and "is gone" in line for line in again.warnings)
    assert len(target.metadata()["media_items"]) == 2
    assert target.deliver(source).nothing_changed


def test_without_its_ledger_an_index_is_protected_all_the_same(target: Target, tmp_path: Path) -> None:
    """Ten images were published. Nobody knows which, and the half of a mount must not become the index."""
    first = target.deliver(pictures(tmp_path / "source", 10))
    for key in target.listed(f"runs/{first.run}/"):
        target.remove(key)
    half = target.deliver(pictures(tmp_path / "half", 5))
    assert half.refused.startswith("5 of the 10 published images have gone")
    assert target.current()["run"] == first.run
    whole = target.deliver(tmp_path / "source")
    assert (whole.published, whole.counts.unchanged, whole.counts.objects) == (True, 10, 0)
