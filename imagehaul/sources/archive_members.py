"""The members of an archive: how one is found again, and which of them nothing is read from.

Nobody knows who made an archive. Names never become paths of this machine, no link is followed, and what grows beyond
all measure when it is unpacked is left alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Self

from imagehaul.errors import Code

LARGEST = 2 * 1024**3
"""Bytes of one member, unpacked."""
MOST_MEMBERS = 20_000_000
_SUSPECT = 256 * 1024**2
_MOST_RATIO = 300
"""So many times its packed size may a large one have: more is no picture's, and a file of zeros has a thousand."""


@dataclass(frozen=True, slots=True)
class Member:
    """Where one member lies, as a row's `location`. `identity`: of the archive's file, as it was listed.

    `number`: its place among all members, from 0. `offset`: of a zip's local header or a tar's data, in bytes.
    `packed`: bytes in the archive. `method`: of a zip.
    """

    archive: str
    identity: str
    number: int
    offset: int = 0
    packed: int = 0
    method: int = 0

    def as_location(self) -> str:
        return json.dumps(list(asdict(self).values()), ensure_ascii=False)

    @classmethod
    def of(cls, location: str) -> Self:
        return cls(*json.loads(location))


def is_location(location: str) -> bool:
    return location.startswith("[")


def problem_of_name(name: str) -> str:
    """The code of a name that must not become a path, "" where it may."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return Code.NAME_NOT_UTF8
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return Code.NAME_UNSUPPORTED
    return ""


def problem_of_size(size: int, packed: int) -> str:
    """The code of what is too much to unpack, "" where it is not."""
    if size > LARGEST:
        return Code.TOO_LARGE
    return Code.ARCHIVE_BOMB if is_bomb(size, packed) else ""


def is_bomb(size: int, packed: int) -> bool:
    """Both in bytes: unpacked, and as they lie in the archive."""
    return size > _SUSPECT and size > _MOST_RATIO * max(packed, 1)


def shown(name: str) -> str:
    """A name with bytes that are not UTF-8 as rows show it."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
