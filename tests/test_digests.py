"""Checksums and ETags."""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest

from imagehaul.digests import digest, digest_stream
from imagehaul.records import PART_SIZE


def test_the_empty_file_has_the_known_checksums() -> None:
    digests = digest(b"")
    assert digests.md5 == "d41d8cd98f00b204e9800998ecf8427e"
    assert digests.sha256 == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digests.etag == digests.md5


@pytest.mark.parametrize(("size", "parts"), [(PART_SIZE, 0), (PART_SIZE + 1, 2), (2 * PART_SIZE, 2)])
def test_more_than_one_part_gives_the_etag_of_the_parts(size: int, parts: int) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    data = data[:size]
    pieces = [data[start : start + PART_SIZE] for start in range(0, size, PART_SIZE)]
    of_parts = hashlib.md5(b"".join(hashlib.md5(piece).digest() for piece in pieces)).hexdigest()

    digests = digest_stream(BytesIO(data), size)

    assert digest(data) == digests
    assert digests.md5 == hashlib.md5(data).hexdigest()
    assert digests.sha256 == hashlib.sha256(data).hexdigest()
    assert digests.etag == (f"{of_parts}-{parts}" if parts else digests.md5)
