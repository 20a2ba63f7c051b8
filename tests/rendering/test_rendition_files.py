"""Small renditions wait in memory, within a budget; all others on the disk."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from imagehaul.records import Box
from imagehaul.rendering import rendition_files
from imagehaul.rendering.rendition_files import BUDGET, RenditionFiles


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    monkeypatch.setattr(rendition_files, "_IN_MEMORY", folder)
    monkeypatch.setattr(rendition_files, "_SMALLEST_PLACE", 1)
    rendition_files._remove_stale.cache_clear()
    return folder


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    (tmp_path / "disk").mkdir()
    return tmp_path / "disk"


def test_small_renditions_go_to_memory_and_are_gone_with_the_batch(memory: Path, disk: Path) -> None:
    with RenditionFiles(disk) as files:
        folder = files.folder_for(1000, [Box(0, 0, 100, 100)])
        assert folder.parent == memory
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "0.thumbnail").write_bytes(b"x")
    assert not list(memory.iterdir())


def test_what_is_beyond_the_budget_goes_to_the_disk(memory: Path, disk: Path) -> None:
    with RenditionFiles(disk) as files:
        assert files.folder_for(BUDGET // 2, []) != disk
        assert files.folder_for(BUDGET // 2 + 1, []) == disk
        assert files.folder_for(BUDGET // 2, []) != disk
        assert files.folder_for(1, []) == disk


@pytest.mark.parametrize(
    "box",
    [
        Box(0, 0, 40_000, 40_000),
        Box(0, 0, math.nan, 10),
        Box(0, 0, math.inf, 10),
        Box(0, 0, -40_000, 40_000),
        Box(0, 0, 1e9, 1, fraction=True),
    ],
)
def test_boxes_that_are_large_or_nonsense_take_no_memory(memory: Path, disk: Path, box: Box) -> None:
    with RenditionFiles(disk) as files:
        assert files.folder_for(1000, [box]) == disk
        assert files.folder_for(1000, []) != disk


def test_a_place_that_is_small_full_or_missing_is_left_alone(
    memory: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendition_files, "_SMALLEST_PLACE", 2**62)
    with RenditionFiles(disk) as files:
        assert files.folder_for(1, []) == disk
    monkeypatch.setattr(rendition_files, "_IN_MEMORY", memory / "not there")
    with RenditionFiles(disk) as files:
        assert files.folder_for(1, []) == disk


def test_what_a_killed_run_left_is_removed_and_what_a_living_one_has_is_kept(memory: Path, disk: Path) -> None:
    (memory / "imagehaul-renditions-1-dead").mkdir()
    (memory / "somebody else's").mkdir()
    with RenditionFiles(disk) as living:
        mine = living.folder_for(1, [])
        rendition_files._remove_stale.cache_clear()
        (memory / "imagehaul-renditions-2-dead").mkdir()
        with RenditionFiles(disk):
            assert sorted(folder.name for folder in memory.iterdir() if str(os.getpid()) not in folder.name) == [
                "somebody else's"
            ]
        assert mine.is_dir()
