"""Files of exports go into the store side by side, while the next are written, and all are there at the end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagehaul.exports import export
from imagehaul.exports.export import FILES_AT_ONCE, ExportFiles


class Carrier:
    """Takes each file, and some time. `most`: so many were on their way together."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.sent: dict[str, bytes] = {}
        self.at_once = self.most = self.most_large = self.large = 0
        self._seconds, self._lock = seconds, threading.Lock()

    def __call__(self, file: Path, name: str) -> None:
        content = file.read_bytes()
        is_large = len(content) > export.LARGE
        with self._lock:
            self.at_once += 1
            self.large += is_large
            self.most, self.most_large = max(self.most, self.at_once), max(self.most_large, self.large)
        time.sleep(self._seconds)
        with self._lock:
            self.at_once -= 1
            self.large -= is_large
            self.sent[name] = content


def put(files: ExportFiles, name: str, content: bytes) -> None:
    file = files.create()
    file.write(content)
    files.send(file, name)


def test_all_are_there_at_the_end_and_nothing_is_left(tmp_path: Path) -> None:
    carrier = Carrier()
    with ExportFiles(tmp_path, carrier, str.encode) as files:
        files.create().write(b"never sent")
        for number in range(20):
            put(files, f"{number}.json", b"%d" % number)
    assert carrier.sent == {f"{number}.json": b"%d" % number for number in range(20)}
    assert files.sha256["7.json"] == hashlib.sha256(b"7").hexdigest()
    assert carrier.most == FILES_AT_ONCE
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "exports"]


def test_no_more_wait_on_the_disk_than_are_on_their_way(tmp_path: Path) -> None:
    seen = []
    with ExportFiles(tmp_path, Carrier(), str.encode) as files:
        for number in range(12):
            put(files, f"{number}.json", b"x")
            seen.append(len(list(tmp_path.iterdir())))
    assert max(seen) <= FILES_AT_ONCE


def test_of_large_files_one_is_on_its_way_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "LARGE", 100)
    carrier = Carrier()
    with ExportFiles(tmp_path, carrier, str.encode) as files:
        for number in range(12):
            put(files, f"{number}.tar", b"x" * (200 if number % 2 else 10))
    assert len(carrier.sent) == 12
    assert carrier.most_large == 1
    assert carrier.most > 1


def put_all(folder: Path, send: Callable[[Path, str], None], number: int, then: BaseException | None = None) -> None:
    with ExportFiles(folder, send, str.encode) as files:
        for name in range(number):
            put(files, f"{name}.json", b"x")
        if then:
            raise then


@pytest.mark.parametrize("number", [1, 50])
def test_what_one_raises_ends_the_export(tmp_path: Path, number: int) -> None:
    tried = []

    def refuse(file: Path, name: str) -> None:
        tried.append(name)
        raise PermissionError(13, "denied", name)

    with pytest.raises(PermissionError, match="denied"):
        put_all(tmp_path, refuse, number)
    assert len(tried) <= 2 * FILES_AT_ONCE


def test_an_interrupted_run_waits_for_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        put_all(tmp_path, Carrier(seconds=5), 1, KeyboardInterrupt())
    assert time.monotonic() - began < 2
