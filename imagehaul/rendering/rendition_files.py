"""Where renditions wait until they are sent: small ones in memory, the others in the batch's folder on the disk.

To make a file on a disk takes up to five times as long as to encode the crop that goes into it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from imagehaul.records import Box

BUDGET = 64 * 2**20
"""Bytes that the renditions of one batch may take in memory. A few more batches than workers are under way."""

_IN_MEMORY = Path("/dev/shm")
_SMALLEST_PLACE = 16 * BUDGET
"""Bytes that must be free there: containers have 64 MB, which others need too."""
_BYTES_A_PIXEL = 0.5
"""Of a crop, more than nearly all have. A rendition for which there is no room after all goes to the disk."""


class RenditionFiles:
    """A context manager. `disk`: the batch's folder, for whatever is not small."""

    def __init__(self, disk: Path) -> None:
        self.disk = disk
        self._memory: Path | None = None
        self._lock = -1
        self._left = 0.0

    def __enter__(self) -> Self:
        _remove_stale()
        folder = _IN_MEMORY / f"imagehaul-renditions-{os.getpid()}-{uuid.uuid4().hex}"
        with suppress(OSError):
            state = os.statvfs(_IN_MEMORY)
            if state.f_bavail * state.f_frsize >= _SMALLEST_PLACE:
                folder.mkdir(mode=0o700)
                self._memory = folder
                self._lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._left = BUDGET
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._memory:
            shutil.rmtree(self._memory, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)

    def folder_for(self, size: int, boxes: Iterable[Box]) -> Path:
        """Where the thumbnail and the crops go of an image of `size` bytes. A thumbnail is no larger, as a rule."""
        expected = size + sum(size * _area(box) if box.fraction else _BYTES_A_PIXEL * _area(box) for box in boxes)
        # A box may be anything, NaN too, which is not less than any number.
        if self._memory and expected <= self._left:
            self._left -= expected
            return self._memory
        return self.disk


def _area(box: Box) -> float:
    return abs(box.width * box.height)


@cache
def _remove_stale() -> None:
    """Removes what killed runs left in memory. A run that lives holds its folder's lock, also in another container."""
    for folder in _IN_MEMORY.glob("imagehaul-renditions-*"):
        with suppress(OSError):
            found = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
            try:
                fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(found)
