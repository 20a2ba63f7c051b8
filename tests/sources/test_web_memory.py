"""What web servers said is known again in the next run, in the order of the list, and holds no secret."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from imagehaul.sources import web_memory
from imagehaul.sources.web import Looked
from imagehaul.sources.web_memory import WebMemory


class Files:
    """A memory of files in a folder. `saved`: how often one was."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.saved = folder, 0

    def load(self, name: str, file: Path) -> bool:
        kept = self.folder / name
        return kept.exists() and bool(shutil.copy(kept, file))

    def save(self, name: str, file: Path) -> None:
        self.saved += 1
        shutil.copy(file, self.folder / name)


def said(number: int) -> Looked:
    return Looked(100 + number, f"etag-{number}", ".jpg")


def urls(*numbers: int) -> list[str]:
    return [f"https://example.com/{number}?id={number}&token=hush" for number in numbers]


def read(memory: Files, scratch: Path, asked: list[str], looked: dict[str, Looked]) -> list[Looked | None]:
    scratch.mkdir()
    found = []
    with WebMemory(memory, "list.txt", scratch) as kept:
        for url in asked:
            found.append(kept.recall(url))
            kept.keep(url, looked[url])
    return found


def test_rows_that_moved_came_or_went_are_told_apart_and_the_same_is_not_kept_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_memory, "_ROWS", 3)
    (tmp_path / "kept").mkdir()
    memory, looked = Files(tmp_path / "kept"), {url: said(number) for number, url in enumerate(urls(*range(10)))}
    first = urls(*range(8))
    assert read(memory, tmp_path / "1", first, looked) == [None] * 8
    assert read(memory, tmp_path / "2", first, looked) == [said(number) for number in range(8)]
    assert memory.saved == 1
    moved = urls(9, 0, 2, 1, 5, 8, 7)
    expected = [None, said(0), said(2), said(1), said(5), None, said(7)]
    assert read(memory, tmp_path / "3", moved, looked) == expected
    assert memory.saved == 2
    [file] = (tmp_path / "kept").iterdir()
    assert b"hush" not in file.read_bytes()
    file.write_bytes(b"no table")
    assert read(memory, tmp_path / "4", first, looked) == [None] * 8


def test_a_time_is_no_etag_and_a_weak_one_stays_weak() -> None:
    assert Looked(1, "Wed, 21 Oct 2015 07:28:00 GMT").etag == ""
    assert (Looked(1, "abc").etag, Looked(1, "W/abc").etag) == ('"abc"', 'W/"abc"')
