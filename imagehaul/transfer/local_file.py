"""The local file of an upload: whether it is still as it was planned, and a slice of it as a body."""

from __future__ import annotations

import base64
import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO

from imagehaul.errors import Code
from imagehaul.file_faults import code_of
from imagehaul.records import SendResult, Upload

_BLOCK = 1024 * 1024


def source_fault(upload: Upload) -> SendResult | None:
    """The answer for a file that is gone or has another size now; None where it is as planned."""
    try:
        size = os.stat(upload.file).st_size  # noqa: PTH116 - a tenth of a Path's time, for every object
    except OSError as error:
        return unreadable(upload, error)
    return None if size == upload.size else changed(upload)


def unreadable(upload: Upload, error: OSError) -> SendResult:
    """The answer for a file that cannot be read: rejected where that lies in the file, else failed."""
    code = code_of(error)
    return SendResult(upload.key, code.status, code, error.strerror or str(error))


def changed(upload: Upload) -> SendResult:
    return SendResult(upload.key, "failed", Code.SOURCE_CHANGED, "The file is not the one that was planned.")


def has_planned_bytes(upload: Upload) -> bool:
    try:
        with Path(upload.file).open("rb") as stream:
            return hashlib.file_digest(stream, new_md5).hexdigest() == upload.md5
    except OSError:
        return False


def new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


class Slice:
    """A part of a file as a body for botocore: `size` bytes from `start`. `moved` is told how many were read.

    Raises OSError where they cannot be read, or are not there any more.
    """

    def __init__(self, file: IO[bytes], start: int, size: int, moved: Callable[[int], None]) -> None:
        self._file, self._start, self._size, self._moved = file, start, size, moved
        self._at = 0

    def read(self, size: int | None = -1) -> bytes:
        left = self._size - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        self._file.seek(self._start + self._at)
        data = self._file.read(wanted)
        if len(data) < wanted:
            raise OSError(errno.EIO, "The file ended before its time.")
        self._at += len(data)
        self._moved(len(data))
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def md5(self, whole: hashlib._Hash) -> str:
        """The slice's MD5 in base64; `whole` is fed with its bytes too. Leaves it at its beginning."""
        digest = new_md5()
        while data := self.read(_BLOCK):
            digest.update(data)
            whole.update(data)
        self.seek(0)
        return base64.b64encode(digest.digest()).decode()
