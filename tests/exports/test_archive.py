"""An archive is byte for byte what `tarfile` writes, and holds what no short header can."""

from __future__ import annotations

import io
import tarfile
from typing import BinaryIO, cast

import pytest

from imagehaul.exports.archive import TarStream

NAMES = ["a.txt", "folder/a b.xml", "n" * 100, "n" * 101, "é/日本.txt", "deep/" * 60 + "a.txt"]


@pytest.mark.parametrize("compressed", [False, True])
def test_members_are_as_tarfile_writes_them(compressed: bool) -> None:
    ours, theirs = io.BytesIO(), io.BytesIO()
    archive = TarStream(ours, compressed)
    for name in NAMES:
        archive.add(name, name.encode() * 9)
    archive.add_file("large", cast(BinaryIO, io.BytesIO(b"x" * 3_000_000)))
    archive.close()
    with tarfile.open(fileobj=theirs, mode="w", format=tarfile.PAX_FORMAT) as reference:
        for name, content in [*((name, name.encode() * 9) for name in NAMES), ("large", b"x" * 3_000_000)]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            reference.addfile(member, io.BytesIO(content))
    ours.seek(0)
    with tarfile.open(fileobj=ours) as read:
        assert [(member.name, read.extractfile(member).read()) for member in read][:-1] == [  # type: ignore[union-attr]
            (name, name.encode() * 9) for name in NAMES
        ]
    if not compressed:
        # tarfile fills up to a record of twenty blocks.
        assert theirs.getvalue().rstrip(b"\0") == ours.getvalue().rstrip(b"\0")
        assert archive.size == len(ours.getvalue())


def test_the_same_members_give_the_same_bytes() -> None:
    def made() -> bytes:
        file = io.BytesIO()
        archive = TarStream(file, compressed=True)
        archive.add("a", b"b")
        archive.close()
        return file.getvalue()

    assert made() == made()
