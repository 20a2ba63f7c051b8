"""What an object's bytes are, by the store's own checksum or by reading them: for the proof and for a verification."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READ_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Content:
    """Size in bytes, hashes in hex."""

    size: int
    md5: str
    sha256: str


def stored_sha256(client: S3Client, bucket: str, key: str) -> str:
    """The SHA-256 that the store keeps of the whole object, in hex; "" where it has none."""
    head = client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    checksum = head.get("ChecksumSHA256", "")
    # A checksum with a dash is one of part checksums, and says nothing about the whole.
    return "" if "-" in checksum else base64.b64decode(checksum).hex()


def read_content(client: S3Client, bucket: str, key: str) -> Content:
    """Of all bytes, read a MiB at a time. Raises what boto3 raises."""
    sha256, md5, size = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    for chunk in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(READ_AT_ONCE):
        sha256.update(chunk)
        md5.update(chunk)
        size += len(chunk)
    return Content(size, md5.hexdigest(), sha256.hexdigest())
