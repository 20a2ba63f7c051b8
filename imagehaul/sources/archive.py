"""An archive as the source: zip, tar, tar.gz or tar.zst, on this machine or in a store.

Paths inside are the source's. Nothing is unpacked but what a batch needs, and what may be annotations. An archive that
is compressed as a whole is read twice at most, in order: by the scan, and by one reader that stages batch after batch.
What a scan found is kept for the next run, which does not read an unchanged tar again.
"""

from __future__ import annotations

import errno
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from imagehaul.errors import Code, SourceError, StoreError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import local_file, tar_archive, zip_archive
from imagehaul.sources.archive_file import SUFFIXES, ArchiveFile, find_archive, is_archive, is_sequential
from imagehaul.sources.archive_members import Member
from imagehaul.sources.archive_memory import recalled, remember
from imagehaul.sources.filters import Selection
from imagehaul.sources.formats import is_apple_double
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, Entry, Fetched, Source, SourceDescriptor, SourceTools, SourceType
from imagehaul.sources.stored_objects import scratch_fault

APPLE_DOUBLE = "APPLE_DOUBLE"
"""Of a member that is left out, and no code of a row."""
_CHUNK = 1024 * 1024
_LARGEST_ANNOTATIONS = 4 * 1024**3
"""Bytes of all annotation files of an archive."""
_NO_SUCH_NAME = {errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR}


@dataclass(slots=True)
class ArchiveSource:
    """`uri`: an absolute path, or `s3://bucket/key`."""

    uri: str
    selection: Selection
    tools: SourceTools
    _staging: Iterator[tar_archive.TarMember] | None = field(default=None, init=False, repr=False)

    @property
    def is_sequential(self) -> bool:
        return is_sequential(self.uri)

    # -- scan ------------------------------------------------------------------------------------------------------

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        file = find_archive(self.uri, self.tools)
        inside = self._scratch() / f"inside-{hashlib.sha256(self.uri.encode()).hexdigest()[:16]}"
        inside.mkdir(parents=True)
        found = recalled(file, self.tools, inside)
        if found is None:
            read = self._scan_zip(file, inside) if file.is_zip else self._scan_tar(file, inside)
            found = remember(file, self.tools, inside, read)
        report.annotations = inside
        for entry in found:
            if entry.code == APPLE_DOUBLE:
                report.apple_doubles.add(entry.path)
            elif not self.selection.is_image(entry.path):
                report.leave_out(entry.path)
            elif entry.code or self.selection.takes(entry.path):
                yield entry
            else:
                report.excluded += 1

    def _scan_zip(self, file: ArchiveFile, inside: Path) -> Iterator[SourceFile]:
        room = _LARGEST_ANNOTATIONS
        with file.open(self.tools) as stream:
            for item in zip_archive.members(file, self.tools):
                code = item.code
                if not code and self.tools.tells_of_images(item.name):
                    room -= item.size
                    with _inside(inside, item.name, room, file.uri) as out:
                        if zip_archive.read_member(item.member, item.size, item.version, stream, out):
                            raise SourceError(
                                f"The member {item.name!r} of {file.uri!r} is damaged. Restore the archive."
                            )
                if not code and _may_be_apple_double(item.name) and self._is_apple_double(item, stream):
                    code = APPLE_DOUBLE
                yield _entry(item.name, item.size, item.version, code, item.member)

    def _is_apple_double(self, item: zip_archive.ZipMember, stream: BinaryIO) -> bool:
        out = _Beginning()
        zip_archive.read_member(item.member, item.size, item.version, stream, out)
        return is_apple_double(out.content)

    def _scan_tar(self, file: ArchiveFile, inside: Path) -> Iterator[SourceFile]:
        room = _LARGEST_ANNOTATIONS
        for item in tar_archive.members(file, self.tools):
            version, code = "", item.code
            if item.content and not code and self.selection.is_image(item.name):
                beginning, crc = b"", 0
                for chunk in item.content:
                    beginning = beginning or chunk
                    crc = zlib.crc32(chunk, crc)
                version = f"crc32-{crc:08x}"
                if _may_be_apple_double(item.name) and is_apple_double(beginning):
                    code = APPLE_DOUBLE
            elif item.content and not code and self.tools.tells_of_images(item.name):
                room -= item.size
                with _inside(inside, item.name, room, file.uri) as out:
                    out.writelines(item.content)
            yield _entry(item.name, item.size, version, code, item.member)

    def _scratch(self) -> Path:
        if self.tools.scratch is None:
            raise SourceError("An archive needs a folder for temporary files, and there is none.")
        return self.tools.scratch

    # -- what was listed -------------------------------------------------------------------------------------------

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        if self.is_sequential:
            return [_staged(entry, self._scratch()) for entry in entries]
        numbered = list(enumerate(entries))
        threads = 8 if self.uri.startswith("s3://") else 1
        with ThreadPoolExecutor(threads, "archive") as pool:
            return list(pool.map(lambda item: self._fetch_one(item[1], folder / f"member-{item[0]}"), numbered))

    def _fetch_one(self, entry: Entry, target: Path) -> Fetched:
        member = Member.of(entry.location)
        file = ArchiveFile.of(member)
        try:
            with file.open(self.tools) as stream, target.open("wb") as out:
                if file.is_zip:
                    code = zip_archive.read_member(member, entry.size, entry.version, stream, out)
                else:
                    code = _copy_of_tar(member, entry, stream, out)
        except StoreError as error:
            if error.code != Code.SOURCE_CHANGED:
                raise
            return Fetched(code=Code.SOURCE_CHANGED, message=str(error))
        except SourceError as error:
            return Fetched(code=Code.SOURCE_GONE, message=str(error))
        except OSError as error:
            return scratch_fault(target, error)
        return Fetched(code=code) if code else Fetched(str(target))

    def stage(self, entries: Sequence[Entry]) -> list[Path]:
        """Of an archive that is compressed as a whole. Raises `SourceError`, `StoreError`, OSError."""
        wanted = {Member.of(entry.location).number: entry for entry in entries}
        files: list[Path] = []
        if not wanted:
            return files
        if self._staging is None:
            file = ArchiveFile.of(Member.of(entries[0].location))
            self._staging = tar_archive.members(file, self.tools)
            (self._scratch() / "staged").mkdir(exist_ok=True)
        last = max(wanted)
        for item in self._staging:
            entry = wanted.get(item.member.number)
            if entry and item.content:
                target = _staged_file(entry, self._scratch())
                files.append(target)
                with target.open("wb") as out:
                    out.writelines(item.content)
            if item.member.number >= last:
                break
        return files

    def has_changed(self, entry: Entry) -> bool:
        try:
            return find_archive(self.uri, self.tools).identity != Member.of(entry.location).identity
        except SourceError:
            return True

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        return None


class _Beginning:
    """Takes what is written, and keeps its beginning."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, content: bytes) -> int:
        self.content = self.content or content[:64]
        return len(content)


def _entry(name: str, size: int, version: str, code: str, member: Member) -> SourceFile:
    message = Code[code].meaning if code in Code.__members__ else ""
    return SourceFile(name, size, version, code, message, member.as_location())


def _may_be_apple_double(name: str) -> bool:
    return name.rpartition("/")[2].startswith("._")


def _inside(folder: Path, name: str, room: int, archive: str) -> BinaryIO:
    """The file for an annotation file of an archive, whose name was found to be harmless."""
    if room < 0:
        raise SourceError(f"The annotation files of the archive are larger than {_LARGEST_ANNOTATIONS:,} bytes.")
    target = folder / name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return target.open("wb")
    except OSError as error:
        if error.errno not in _NO_SUCH_NAME:
            raise
        raise SourceError(
            f"The member {name!r} of the archive {archive!r} may hold annotations, and no file can have its "
            f"name: {error.strerror}. Rename it in the archive, or take it out."
        ) from None


def _copy_of_tar(member: Member, entry: Entry, stream: BinaryIO, out: BinaryIO) -> str:
    stream.seek(member.offset)
    left, crc = entry.size, 0
    while left and (chunk := stream.read(min(left, _CHUNK))):
        left -= len(chunk)
        crc = zlib.crc32(chunk, crc)
        out.write(chunk)
    return "" if not left and f"crc32-{crc:08x}" == entry.version else Code.SOURCE_CHANGED


def _staged_file(entry: Entry, scratch: Path) -> Path:
    member = Member.of(entry.location)
    return scratch / "staged" / f"{hashlib.sha256(member.archive.encode()).hexdigest()[:16]}-{member.number}"


def _staged(entry: Entry, scratch: Path) -> Fetched:
    file = _staged_file(entry, scratch)
    try:
        crc = 0
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                crc = zlib.crc32(chunk, crc)
    except FileNotFoundError:
        return Fetched(code=Code.SOURCE_GONE, message="The archive's reader did not lay it out.")
    return Fetched(str(file)) if f"crc32-{crc:08x}" == entry.version else Fetched(code=Code.SOURCE_CHANGED)


def _describe(source: str, options: SourceOptions, scratch: str) -> SourceDescriptor:
    if not is_archive(source):
        raise SourceError(f"The archive {source!r} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    if source[:5].lower() == "s3://":
        return SourceDescriptor("archive", f"s3://{source[5:]}", options)
    return SourceDescriptor("archive", local_file.readable(source, "archive"), options)


def _recognizes(source: str) -> bool:
    if not is_archive(source):
        return False
    return source[:5].lower() == "s3://" or ("://" not in source and not Path(source).expanduser().is_dir())


def _open(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    options = descriptor.options
    return ArchiveSource(descriptor.uri, Selection(options.include, options.exclude, options.suffixes), tools)


TYPE = SourceType("archive", _recognizes, _describe, _open)
