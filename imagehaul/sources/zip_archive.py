"""Zip archives: the directory says all, and each member is read by itself."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from imagehaul.errors import Code, SourceError
from imagehaul.sources.archive_file import ArchiveFile
from imagehaul.sources.archive_members import MOST_MEMBERS, Member, problem_of_name, problem_of_size, shown
from imagehaul.sources.source import SourceTools
from imagehaul.text import printable

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
_ENCRYPTED = 0x1
_UTF8 = 0x800
_UNICODE_PATH = 0x7075
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CHUNK = 1024 * 1024
_SLACK = 4096
"""What is read besides a member for its local header: the length of that only the header itself says."""


class Writable(Protocol):
    def write(self, content: bytes, /) -> int: ...


@dataclass(frozen=True, slots=True)
class ZipMember:
    """A file in the directory. `code`: why it cannot be delivered."""

    name: str
    size: int
    version: str
    code: str
    member: Member


def members(file: ArchiveFile, tools: SourceTools) -> Iterator[ZipMember]:
    """In their order in the file. Raises `SourceError` where it is no zip, or is cut off."""
    with file.open(tools) as stream:
        try:
            directory = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise SourceError(
                f"The archive {file.uri!r} is no zip that can be read whole: {printable(str(error))}. What it holds is "
                "unknown, so nothing was sent. Restore it."
            ) from None
        with directory:
            found = directory.infolist()
            if len(found) > MOST_MEMBERS:
                raise SourceError(f"The archive {file.uri!r} has {len(found):,} members: that is more than a data set.")
            found.sort(key=lambda info: info.header_offset)
            _refuse_another_before(file, stream, found)
            end = 0
            for number, info in enumerate(found):
                if info.is_dir():
                    continue
                name, code = _name(info)
                # Members that share their bytes unpack to any size.
                overlaps, end = info.header_offset < end, max(end, info.header_offset + 30 + info.compress_size)
                code = code or _problem(info) or (Code.ARCHIVE_BOMB if overlaps else "")
                member = Member(
                    file.uri, file.identity, number, info.header_offset, info.compress_size, info.compress_type
                )
                yield ZipMember(shown(name), info.file_size, f"crc32-{info.CRC:08x}", code, member)


def _refuse_another_before(file: ArchiveFile, stream: BinaryIO, found: list[zipfile.ZipInfo]) -> None:
    """A program may come before the first member, as in archives that unpack themselves; members may not."""
    if not found or found[0].header_offset < _LOCAL_HEADER.size:
        return
    stream.seek(0)
    if stream.read(4) == b"PK\3\4":
        raise SourceError(
            f"The archive {file.uri!r} begins with members that its directory does not name, as when several archives "
            "are written into one file. What it holds is unknown, so nothing was sent. Deliver them one by one."
        )


def _problem(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        return Code.ARCHIVE_LINK
    if info.flag_bits & _ENCRYPTED:
        return Code.ENCRYPTED
    if info.compress_type not in _METHODS:
        return Code.ARCHIVE_METHOD
    return problem_of_size(info.file_size, info.compress_size)


def _name(info: zipfile.ZipInfo) -> tuple[str, str]:
    """The member's path, and the code that says why it is none.

    Without a flag the bytes are of a code page that nobody knows, and zipfile read them as code page 437.
    https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (4.4.4, 4.6.9 and appendix D)
    """
    name = info.orig_filename.removeprefix("./")
    if not info.flag_bits & _UTF8 and not name.isascii():
        raw = name.encode("cp437")
        name = _unicode_path(info, raw) or raw.decode("utf-8", "surrogateescape")
    if info.create_system == 0 and "/" not in name:
        # Some programs on Windows write its own separator.
        name = name.replace("\\", "/")
    return name, problem_of_name(name)


def _unicode_path(info: zipfile.ZipInfo, raw: bytes) -> str:
    extra = info.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        field, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == _UNICODE_PATH and len(field) > 5 and struct.unpack_from("<L", field, 1)[0] == zlib.crc32(raw):
            return field[5:].decode("utf-8", "replace")
    return ""


def read_member(member: Member, size: int, version: str, stream: BinaryIO, out: Writable) -> str:
    """Writes the unpacked member to `out`, and gives the code that says why it could not, "" where it could.

    `stream`: the archive; one read of it is enough for nearly every member.
    """
    stream.seek(member.offset)
    beginning = stream.read(_LOCAL_HEADER.size + _SLACK + member.packed)
    if len(beginning) < _LOCAL_HEADER.size or beginning[:4] != b"PK\3\4":
        return Code.ARCHIVE_DAMAGED
    *_, name_length, extra_length = _LOCAL_HEADER.unpack_from(beginning)
    start = _LOCAL_HEADER.size + name_length + extra_length
    while len(beginning) < start + member.packed and (more := stream.read(start + member.packed - len(beginning))):
        beginning += more
    info = zipfile.ZipInfo()
    info.compress_type, info.compress_size, info.file_size = member.method, member.packed, size
    info.CRC = int(version.removeprefix("crc32-"), 16)
    with zipfile.ZipExtFile(io.BytesIO(beginning[start : start + member.packed]), "r", info) as unpacked:
        written = 0
        while chunk := _next(unpacked):
            written += len(chunk)
            if written > size:
                return Code.ARCHIVE_BOMB
            out.write(chunk)
    return "" if chunk is not None and written == size else Code.ARCHIVE_DAMAGED


def _next(unpacked: zipfile.ZipExtFile) -> bytes | None:
    """None where it is damaged."""
    try:
        return unpacked.read(_CHUNK)
    except Exception:
        # Each method has errors of its own for it, bzip2 an `OSError`, LZMA even a `MemoryError`; and what it reads is
        # in memory, so that there is no other reason.
        return None
