"""One picture's file: opened once, read once, hashed on the way, and watched for changes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from imagehaul.digests import digest, digest_stream
from imagehaul.errors import Code
from imagehaul.file_faults import code_of
from imagehaul.records import PART_SIZE, ImageInfo, PictureJob


class PictureError(Exception):
    """Ends the work on one picture, or on one of its crops, with a `Code`. `info`: where more than bytes is known."""

    def __init__(self, code: Code, message: str, info: ImageInfo | None = None) -> None:
        super().__init__(message)
        self.code, self.info = code, info


@dataclass(frozen=True, slots=True)
class Source:
    """`stream`: the picture's bytes, in memory up to `PART_SIZE`. `info`: size and hashes, and no more."""

    stream: BinaryIO
    info: ImageInfo
    partial: bool


@contextmanager
def opened(job: PictureJob) -> Iterator[Source]:
    """Raises `PictureError` where the file cannot be read, or is another on leaving than it was planned to be."""
    try:
        with open(job.file, "rb") as file:  # noqa: PTH123 (a name with surrogates stays as it is)
            before = os.fstat(file.fileno())
            if not job.partial:
                _compare(job, before)
            yield _read(job, file)
            if _identity(os.stat(job.file)) != _identity(before):  # noqa: PTH116 (as above)
                raise PictureError(Code.SOURCE_CHANGED, "The file was replaced or written to while it was read.")
    except OSError as error:
        if error.errno is None:
            raise
        code = code_of(error)
        gone = code == Code.SOURCE_GONE
        words = "The file went away after the source was listed." if gone else f"Reading failed: {error.strerror}."
        raise PictureError(code, words) from error


def _compare(job: PictureJob, now: os.stat_result) -> None:
    if now.st_size != job.size:
        raise PictureError(
            Code.SOURCE_CHANGED, f"The file had {job.size} bytes when it was listed, and has {now.st_size} now."
        )
    if job.version and str(now.st_mtime_ns) != job.version:
        raise PictureError(Code.SOURCE_CHANGED, "The file was written to after the source was listed.")


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _read(job: PictureJob, file: BinaryIO) -> Source:
    if job.partial:
        return Source(BytesIO(file.read(PART_SIZE)), _bytes_only(job.size, "", "", ""), partial=True)
    if job.size > PART_SIZE:
        digests = digest_stream(file, job.size)
        length = file.tell()
        file.seek(0)
        stream = file
    else:
        data = file.read(job.size + 1)
        digests, length = digest(data), len(data)
        stream = BytesIO(data)
    if length != job.size:
        raise PictureError(Code.SOURCE_CHANGED, "The file's length changed while it was read.")
    return Source(stream, _bytes_only(job.size, digests.md5, digests.sha256, digests.etag), partial=False)


def _bytes_only(size: int, md5: str, sha256: str, etag: str) -> ImageInfo:
    return ImageInfo(
        format="",
        # SeaweedFS guesses from the name where it is told application/octet-stream.
        content_type="binary/octet-stream",
        width=0,
        height=0,
        orientation=1,
        mode="",
        frames=0,
        size=size,
        md5=md5,
        sha256=sha256,
        etag=etag,
        checked="nothing",
    )
