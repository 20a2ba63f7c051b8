"""Sources that lie in the store themselves: copied by the store, or downloaded to be looked at."""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.records import Copy, ObjectOptions, Sent
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.multipart import PartsUpload
from imagehaul.store.retry import PATIENCE, Patience, Rounds, Watch, failure, in_threads, silence, within_file_limit
from imagehaul.text import legible
from imagehaul.transfer.boto3_engine import object_settings
from imagehaul.transfer.local_file import local_fault

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LARGEST_COPY = 5 * 1024**3
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
_COPY_PART = 512 * 1024**2
_CHUNK = 1024 * 1024
_BATCHES_AT_A_TIME = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Copier:
    store: Store
    bucket: str
    options: ObjectOptions
    threads: int
    largest: int = _LARGEST_COPY
    part: int = _COPY_PART

    def copy(self, copies: Sequence[Copy], watch: Watch) -> list[Sent]:
        """Raises StoreError: what stops the whole run, as soon as it is known."""
        client = self.store.client()
        settings = object_settings(self.options)

        def copy(item: Copy) -> Sent:
            described: dict[str, Any] = {
                "Bucket": self.bucket,
                "Key": item.key,
                "ContentType": item.content_type,
                **settings,
            }
            source: dict[str, Any] = {
                "CopySource": {"Bucket": item.source_bucket, "Key": item.source_key},
                "CopySourceIfMatch": f'"{item.source_etag}"',
            }
            try:
                if item.size > self.largest:
                    return self._copy_in_parts(client, item, described, source, watch)
                client.copy_object(**described, **source, MetadataDirective="REPLACE")
            except Exception as error:
                doing = f"copy s3://{item.source_bucket}/{item.source_key} to s3://{self.bucket}/{item.key}"
                return failure(item.key, error, doing, self.store)
            return Sent(item.key, "sent")

        return in_threads(copies, copy, self.threads, watch)

    def _copy_in_parts(
        self, client: S3Client, item: Copy, described: dict[str, Any], source: dict[str, Any], watch: Watch
    ) -> Sent:
        with PartsUpload(client, described) as parts:
            for start in range(0, item.size, self.part):
                if watch.over:
                    return silence(item.key)
                which = f"bytes={start}-{min(start + self.part, item.size) - 1}"
                done = client.upload_part_copy(**parts.names, **source, PartNumber=parts.number, CopySourceRange=which)
                parts.add(done.get("CopyPartResult", {}).get("ETag", ""))
                watch.moved(self.part)
            parts.complete()
        return Sent(item.key, "sent")


@dataclass(frozen=True, slots=True)
class Download:
    """One object to fetch into `file`, as long as its ETag is `etag`. `size` in bytes, of the whole object.

    `first_bytes`: only so many of its beginning; 0 = all.
    """

    key: str
    file: Path
    etag: str
    size: int
    first_bytes: int = 0


def download(
    store: Store,
    bucket: str,
    wanted: Sequence[Download],
    workers: int,
    patience: Patience = PATIENCE,
    closed: threading.Event | None = None,
) -> list[Sent]:
    """One answer for each, in their order; `sent` means that the file is there, as long as it should be.

    Raises StoreError: what stops the whole run, as soon as it is known.
    """
    rounds = Rounds(store, bucket, patience, closed or threading.Event())
    threads = within_file_limit(max(1, workers // 2))

    def attempt(left: list[Download]) -> list[Sent]:
        client = store.client()
        watch = rounds.watch(threads)
        with _BATCHES_AT_A_TIME:
            return in_threads(left, lambda item: _download(client, store, bucket, item, watch), threads, watch)

    return rounds.run(wanted, attempt)


def _download(client: S3Client, store: Store, bucket: str, wanted: Download, watch: Watch) -> Sent:
    length = min(wanted.first_bytes or wanted.size, wanted.size)
    # An empty object has no first byte that a range could name.
    range_read: dict[str, Any] = {"Range": f"bytes=0-{length - 1}"} if length < wanted.size else {}
    key, got = wanted.key, 0
    try:
        answer = client.get_object(Bucket=bucket, Key=key, IfMatch=f'"{wanted.etag}"', **range_read)
        # A store may have taken no notice of either condition.
        if answer.get("ETag", "").strip('"') != wanted.etag or answer.get("ContentLength") != length:
            return Sent(key, "failed", "SOURCE_CHANGED", "The object is not the one that was planned.")
        with wanted.file.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(_CHUNK):
                file.write(chunk)
                got += len(chunk)
                watch.moved(len(chunk))
    except Exception as error:
        if local := local_fault(error):
            code = "DISK_FULL" if local.errno in (errno.ENOSPC, errno.EDQUOT) else "SCRATCH_UNWRITABLE"
            return Sent(key, "failed", code, legible(f"{wanted.file}: {local.strerror}"))
        if classify(error).may_be_of_one_object:
            # The listing was allowed: it lies in this object.
            return Sent(key, "rejected", "UNREADABLE", legible(str(error)))
        return failure(key, error, f"read s3://{bucket}/{key}", store)
    if got != length:
        return Sent(key, "failed", "STORE_UNAVAILABLE", f"{got:,} bytes came of {length:,}.")
    return Sent(key, "sent")
