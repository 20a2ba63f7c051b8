"""Tar archives, plain or compressed as a whole: read in order, and a damaged one never taken for a shorter one."""

from __future__ import annotations

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, BinaryIO, cast

from imagehaul.errors import Code, HaulError, SourceError
from imagehaul.sources.archive_file import ArchiveFile
from imagehaul.sources.archive_members import (
    LARGEST,
    MOST_MEMBERS,
    Member,
    is_bomb,
    problem_of_name,
    shown,
)
from imagehaul.sources.source import SourceTools
from imagehaul.text import printable

_CHUNK = 1024 * 1024


@dataclass(slots=True)
class TarMember:
    """The member that the reader stands at. `code`: why it cannot be delivered. `content`: its bytes, to be read
    once and before the next member; they raise what `members` does."""

    name: str
    size: int
    code: str
    member: Member
    content: Iterator[bytes] | None


def members(file: ArchiveFile, tools: SourceTools) -> Iterator[TarMember]:
    """Each file, in order. Raises `SourceError` where the archive is damaged, cut off, or a bomb."""
    with file.open(tools, in_order=True) as packed, _whole(file):
        yield from _read(file, _Forward(file, packed, _unpacked(file, packed)))


@contextmanager
def _whole(file: ArchiveFile) -> Iterator[None]:
    try:
        yield
    except HaulError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise _damaged(file, str(error)) from None


def _chunks(file: ArchiveFile, content: IO[bytes]) -> Iterator[bytes]:
    with _whole(file):
        while chunk := content.read(_CHUNK):
            yield chunk


def _read(file: ArchiveFile, stream: _Forward) -> Iterator[TarMember]:
    with tarfile.TarFile(fileobj=cast(BinaryIO, stream), encoding="utf-8", errors="surrogateescape") as tar:
        number = 0
        while info := tar.next():
            # It would remember them all.
            vars(tar)["members"] = []
            if number >= MOST_MEMBERS:
                raise SourceError(f"The archive {file.uri!r} has more than {number:,} members.")
            if not info.isdir():
                name = info.name.removeprefix("./")
                member = Member(file.uri, file.identity, number, info.offset_data, info.size)
                content = tar.extractfile(info) if info.isreg() else None
                chunks = _chunks(file, content) if content else None
                yield TarMember(shown(name), info.size, _problem(name, info), member, chunks)
            number += 1
        if not stream.ended_properly:
            # tarfile takes the end of the file, and a header that is none, for the end of the archive.
            raise _damaged(file, f"it breaks off, or is damaged, at byte {tar.offset:,}")
        _read_to_end(file, stream)


def _read_to_end(file: ArchiveFile, stream: _Forward) -> None:
    """What follows the end of the archive: zeros, as tar fills its last record up, and the check of what was packed.

    Raises `SourceError` for anything else: `cat a.tar b.tar` makes one file of two archives.
    """
    while rest := stream.read(_CHUNK):
        if rest.strip(b"\0"):
            raise SourceError(
                f"The archive {file.uri!r} goes on after its end, as when several archives are written into one file. "
                "What it holds is unknown, so nothing was sent. Unpack it (tar --ignore-zeros), and deliver the folder."
            )


def _problem(name: str, info: tarfile.TarInfo) -> str:
    if code := problem_of_name(name):
        return code
    if info.issym() or info.islnk():
        return Code.ARCHIVE_LINK
    if not info.isreg():
        return Code.NOT_A_FILE
    if info.issparse():
        return Code.ARCHIVE_METHOD
    return Code.TOO_LARGE if info.size > LARGEST else ""


def _unpacked(file: ArchiveFile, packed: BinaryIO) -> IO[bytes]:
    name = file.uri.lower()
    if name.endswith((".gz", ".tgz")):
        return cast(IO[bytes], gzip.GzipFile(fileobj=packed))
    if name.endswith((".zst", ".tzst")):
        from imagehaul.arrow import pa

        return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd"))
    return packed


def _damaged(file: ArchiveFile, why: str) -> SourceError:
    return SourceError(
        f"The archive {file.uri!r} cannot be read whole: {printable(why).rstrip('.')}. What it holds is unknown, so "
        "nothing was sent. Restore it."
    )


class _Forward:
    """A stream as tarfile wants a file, which is read forwards alone, and one byte back.

    `ended_properly`: the last block that was read as a header is the one of zeros that ends an archive.
    """

    def __init__(self, file: ArchiveFile, packed: BinaryIO, unpacked: IO[bytes]) -> None:
        self._file, self._packed, self._stream = file, packed, unpacked
        self._at = 0
        self._last = b""
        self._back = False
        self.ended_properly = False

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = os.SEEK_SET) -> int:
        if position == self._at - 1 and self._last and not self._back:
            self._back = True
            self._at = position
        while position > self._at and self.read(min(position - self._at, _CHUNK)):
            pass
        if position != self._at and position < self._at:
            raise tarfile.ReadError("its members overlap")
        return self._at

    def read(self, size: int) -> bytes:
        pieces = []
        if self._back and size:
            self._back = False
            pieces.append(self._last)
        wanted = size - sum(map(len, pieces))
        while wanted > 0 and (piece := self._stream.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
        content = b"".join(pieces)
        self._at += len(content)
        self._last = content[-1:] or self._last
        if size == tarfile.BLOCKSIZE:
            self.ended_properly = len(content) == size and not content.strip(b"\0")
        if is_bomb(self._at, self._packed.tell()):
            raise SourceError(
                f"The archive {self._file.uri!r} unpacks to more than {self._at:,} bytes, far more than pictures do."
            )
        return content
