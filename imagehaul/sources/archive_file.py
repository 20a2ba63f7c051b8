"""The file of an archive, on this machine or in a store: what tells whether it changed, and how its bytes are read."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self, cast

from imagehaul.errors import Code, SourceError, StoreError
from imagehaul.sources import local_file, stored_objects
from imagehaul.sources.archive_members import Member
from imagehaul.sources.source import SourceTools
from imagehaul.sources.stored_objects import bucket_and_key
from imagehaul.store.ranged_file import BLOCK, RangedFile

ZIP = (".zip",)
TAR = (".tar",)
SEQUENTIAL = (".tar.gz", ".tgz", ".tar.zst", ".tzst")
"""Compressed as a whole: they can only be read from their beginning."""
SUFFIXES = (*ZIP, *TAR, *SEQUENTIAL)
_NOT_READ = (".rar", ".7z", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.lzma", ".tar.lz4", ".tar.z")


def is_archive(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def refuse_unread(uri: str) -> None:
    """Raises `SourceError` for an archive of another kind."""
    if uri.lower().endswith(_NOT_READ):
        raise SourceError(
            f"The source {uri!r} is an archive of a kind that is not read. Unpack it and give the folder, or pack it "
            "anew as .zip, .tar, .tar.gz or .tar.zst."
        )


def without_suffix(name: str) -> str:
    suffix = next(suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.lower().endswith(suffix))
    return name[: -len(suffix)] or name


def is_sequential(name: str) -> bool:
    return name.lower().endswith(SEQUENTIAL)


@dataclass(frozen=True, slots=True)
class ArchiveFile:
    """`uri`: an absolute path, or `s3://bucket/key`. `size` in bytes. `version`: as of any local file, or ETag."""

    uri: str
    size: int
    version: str

    @classmethod
    def of(cls, member: Member) -> Self:
        """The archive that the member was listed in, as it was then."""
        size, _, version = member.identity.partition("-")
        return cls(member.archive, int(size), version)

    @property
    def identity(self) -> str:
        """Equal as long as nobody changed the file."""
        return f"{self.size}-{self.version}"

    @property
    def is_zip(self) -> bool:
        return self.uri.lower().endswith(ZIP)

    def open(self, tools: SourceTools, in_order: bool = False) -> BinaryIO:
        """`in_order`: it is read from its beginning to its end. Raises `SourceError`, `StoreError`."""
        if self.uri.startswith("s3://"):
            raw = RangedFile(tools.need_store(), *bucket_and_key(self.uri), self.size, self.version)
            return cast(BinaryIO, io.BufferedReader(raw, BLOCK if in_order else BLOCK // 32))
        try:
            file = open(self.uri, "rb")  # noqa: PTH123, SIM115 - it is the caller's to close
        except OSError as error:
            raise SourceError(f"The archive {self.uri!r} cannot be read: {error.strerror}.") from None
        status = os.fstat(file.fileno())
        if (status.st_size, str(status.st_mtime_ns)) != (self.size, local_file.time_of(self.version)):
            file.close()
            raise StoreError(f"The archive {self.uri!r} changed after it was listed. Run again.", Code.SOURCE_CHANGED)
        return file


def find_archive(uri: str, tools: SourceTools) -> ArchiveFile:
    """Raises `SourceError` where it is not there, `StoreError` where the store does not say."""
    if uri.startswith("s3://"):
        found = stored_objects.look(tools.need_store(), *bucket_and_key(uri))
        if found.code:
            raise SourceError(f"The archive {uri} cannot be read: {found.message}")
        return ArchiveFile(uri, found.size, found.version)
    try:
        status = Path(uri).stat()
    except OSError as error:
        raise SourceError(f"The archive {uri!r} cannot be read: {error.strerror}.") from None
    return ArchiveFile(uri, status.st_size, local_file.version_of(status))
