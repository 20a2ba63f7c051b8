"""A file of equal size whose time was set back is looked at, and only what differs is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagehaul.store.endpoint import Store
from tests.support.delivering import Target


def write(file: Path, content: bytes) -> None:
    """With a time that never changes, as some mounts and archives have it."""
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (0, 0))


def ppm(shade: int) -> bytes:
    return b"P6 16 16 255\n" + bytes([shade]) * 768


def test_a_file_restored_with_its_old_time_is_delivered_and_a_touched_one_is_not(
    tmp_path: Path, store: Store, bucket: str
) -> None:
    target, source = Target(store, bucket), tmp_path / "in"
    for shade, name in enumerate(("a.ppm", "b.ppm")):
        write(source / name, ppm(shade))
    assert target.deliver(source).counts.delivered == 2
    write(source / "a.ppm", ppm(99))
    (source / "b.ppm").chmod(0o600)
    summary = target.deliver(source)
    assert (summary.counts.delivered, summary.counts.unchanged, summary.counts.objects) == (1, 1, 2)
    assert target.read("images/a.ppm") == ppm(99)
    assert target.deliver(source).counts.objects == 0


def test_with_compare_content_even_a_wholly_hidden_change_is_seen(
    tmp_path: Path, store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A file system without inodes: nothing but the time is known.
    monkeypatch.setattr(
        "imagehaul.sources.local_file.version_of", lambda status: f"{status.st_mtime_ns} 0 {status.st_dev}"
    )
    target, source = Target(store, bucket), tmp_path / "in"
    write(source / "a.ppm", ppm(1))
    target.deliver(source)
    write(source / "a.ppm", ppm(2))
    assert target.deliver(source).counts.delivered == 0
    seen = target.deliver(source, settings={"compare": "content"})
    assert (seen.counts.delivered, seen.counts.objects) == (1, 2)
    assert target.deliver(source, settings={"compare": "content"}).counts.objects == 0
