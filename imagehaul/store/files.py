"""The few files of a run's own (ledger, journal, export), on their way to the store and back.

boto3 carries them, on the client that is there anyway: s3fs takes most of a second to import, which each run would
pay for a handful of files.
"""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from imagehaul.store.multipart import PartsUpload

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

UPLOAD_PART = 16 * 1024 * 1024
"""Bytes, and what is held in memory of a file that is sent."""
_FILES_AT_ONCE = 8
_CONTENT_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".gz": "application/gzip",
    ".js": "text/javascript",
}
"""What Python's own table does not know, or not on every system."""


def send_file(client: S3Client, file: Path, bucket: str, key: str) -> None:
    """With an MD5 that the store compares, a part at a time. Raises what the client raises, and OSError."""
    described: dict[str, Any] = {
        "Bucket": bucket,
        "Key": key,
        "ContentType": _content_type(key),
    }
    with file.open("rb") as stream:
        body = stream.read(UPLOAD_PART)
        if len(body) < UPLOAD_PART:
            client.put_object(**described, Body=body, ContentMD5=_md5(body))
            return
        with PartsUpload(client, described) as parts:
            while body:
                sent = client.upload_part(**parts.names, PartNumber=parts.number, Body=body, ContentMD5=_md5(body))
                parts.add(sent.get("ETag", ""))
                body = stream.read(UPLOAD_PART)
            parts.complete()


def fetch_files(client: S3Client, bucket: str, keys: Sequence[str], files: Sequence[Path]) -> None:
    """Each key into its file. Raises what the client raises, also where an answer breaks off."""

    def fetch(key: str, file: Path) -> None:
        with file.open("wb") as target:
            shutil.copyfileobj(client.get_object(Bucket=bucket, Key=key)["Body"], target, 1024 * 1024)

    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="fetch") as threads:
        for done in [threads.submit(fetch, key, file) for key, file in zip(keys, files, strict=True)]:
            done.result()


def _content_type(key: str) -> str:
    suffix = PurePosixPath(key).suffix
    return _CONTENT_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")


def _md5(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
