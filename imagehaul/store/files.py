"""The files of a run's own (lock, journal, ledger, report, export, pointer), on their way to the store and back.

All are written here, so that all carry the encryption that the settings ask for and an MD5: a bucket's policy may
demand the one, and a bucket with an object lock the other.

boto3 carries them, on the client that is there anyway: s3fs takes most of a second to import, which each run would
pay for a handful of files.
"""

from __future__ import annotations

import mimetypes
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from imagehaul.records import ObjectOptions
from imagehaul.store.conditional_writes import md5_header, put_if
from imagehaul.store.errors import local_fault
from imagehaul.store.multipart import PartsUpload
from imagehaul.store.object_settings import own_settings

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

Taken = TypeVar("Taken")

UPLOAD_PART = 16 * 1024 * 1024
"""Bytes, and what is held in memory of a file that is sent."""
_FILES_AT_ONCE = 8
_PAUSES = (0.5, 4.0)
_NO_CONDITION: Mapping[str, Any] = MappingProxyType({})
_CONTENT_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".jsonl": "application/jsonl",
    ".gz": "application/gzip",
    ".js": "text/javascript",
}
"""What Python's own table does not know, or not on every system."""


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """Writes a run's own files. `options`: what the objects get."""

    client: S3Client
    options: ObjectOptions

    def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        condition: Mapping[str, Any] = _NO_CONDITION,
        **headers: str,
    ) -> str:
        """A small one in one request. `condition`: of `Capabilities.condition`. `headers`: boto3's names.

        The ETag; "" where the store refuses the condition. Raises what the client raises.
        """
        described: dict[str, Any] = {"Bucket": bucket, "Key": key, **headers, **own_settings(self.options)}
        return put_if(self.client, condition, **described, Body=body, ContentMD5=md5_header(body))

    def send(self, file: Path, bucket: str, key: str) -> None:
        """A part at a time. Raises what the client raises, and OSError."""
        content_type = _content_type(key)
        with file.open("rb") as stream:
            body = stream.read(UPLOAD_PART)
            if len(body) < UPLOAD_PART:
                self.put(bucket, key, body, ContentType=content_type)
                return
            described: dict[str, Any] = {"Bucket": bucket, "Key": key, "ContentType": content_type}
            with PartsUpload(self.client, {**described, **own_settings(self.options)}) as parts:
                while body:
                    part = {**parts.names, "PartNumber": parts.number, "Body": body, "ContentMD5": md5_header(body)}
                    parts.add(self.client.upload_part(**part).get("ETag", ""))
                    body = stream.read(UPLOAD_PART)
                parts.complete()


def read_body(client: S3Client, bucket: str, key: str, take: Callable[[StreamingBody], Taken]) -> Taken:
    """What `take` makes of the object's body; one that breaks off or falls silent is asked for again.

    Raises what the client raises, and the OSError of a local file that `take` writes.
    """
    for pause in (*_PAUSES, None):
        # What the client itself could not mend is mended by no further attempt; it ends where the body begins.
        body = client.get_object(Bucket=bucket, Key=key)["Body"]
        try:
            return take(body)
        except Exception as error:
            if pause is None or local_fault(error):
                raise
            time.sleep(pause)
    raise AssertionError("The last attempt returns or raises.")


def fetch_files(client: S3Client, bucket: str, keys: Sequence[str], files: Sequence[Path]) -> None:
    """Each key into its file, as `read_body` reads and raises."""

    def fetch(key: str, file: Path) -> None:
        def write(body: StreamingBody) -> None:
            with file.open("wb") as target:
                shutil.copyfileobj(body, target, 1024 * 1024)

        read_body(client, bucket, key, write)

    with ThreadPoolExecutor(_FILES_AT_ONCE, thread_name_prefix="fetch") as threads:
        for done in [threads.submit(fetch, key, file) for key, file in zip(keys, files, strict=True)]:
            done.result()


def _content_type(key: str) -> str:
    suffix = PurePosixPath(key).suffix
    return _CONTENT_TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
