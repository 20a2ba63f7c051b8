"""The checksums of one object's bytes, and the ETag that a store will say of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO

from imagehaul.records import PART_SIZE

PIECE_SIZE = 1024 * 1024
"""Bytes that are read at a time: few enough to stay in the processor's cache from MD5 to SHA-256."""


@dataclass(frozen=True, slots=True)
class Digests:
    """MD5 and SHA-256 in hex. `etag`: the MD5, or with more than one part `<MD5 of the parts' MD5s>-<parts>`.

    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """

    md5: str
    sha256: str
    etag: str


def digest_stream(stream: BinaryIO, size: int) -> Digests:
    """Reads `stream` to its end; `size` in bytes says whether it is sent in parts of `PART_SIZE`."""
    whole, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    part = hashlib.md5(usedforsecurity=False)
    parts: list[bytes] = []
    in_part = 0
    while piece := stream.read(PIECE_SIZE):
        whole.update(piece)
        sha256.update(piece)
        if size > PART_SIZE:
            part.update(piece)
            in_part += len(piece)
            if in_part == PART_SIZE:
                parts.append(part.digest())
                part, in_part = hashlib.md5(usedforsecurity=False), 0
    if in_part:
        parts.append(part.digest())
    etag = whole.hexdigest()
    if parts:
        etag = f"{hashlib.md5(b''.join(parts), usedforsecurity=False).hexdigest()}-{len(parts)}"
    return Digests(whole.hexdigest(), sha256.hexdigest(), etag)


def digest(data: bytes) -> Digests:
    if len(data) > PART_SIZE:
        return digest_stream(BytesIO(data), len(data))
    # In one go: pieces would be copies.
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Digests(md5, hashlib.sha256(data).hexdigest(), md5)
