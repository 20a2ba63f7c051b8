"""Objects of a store as local files: whole, or their beginning, as long as they are the ones that were listed."""

from __future__ import annotations

import errno
import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.errors import Code
from imagehaul.records import SendResult
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, local_fault
from imagehaul.store.retry import (
    PATIENCE,
    Patience,
    Retry,
    StallMonitor,
    failure,
    in_threads,
    silence,
    within_file_limit,
)
from imagehaul.text import printable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CHUNK = 1024 * 1024
_BATCHES_AT_A_TIME = threading.BoundedSemaphore(2)


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
) -> list[SendResult]:
    """One answer for each, in their order; `sent` means that the file is there, as long as it should be.

    Raises StoreError: what stops the whole run, as soon as it is known.
    """
    retry = Retry(store, bucket, patience, closed or threading.Event())
    threads = within_file_limit(max(1, workers // 2))

    def attempt(left: list[Download]) -> list[SendResult]:
        client = store.client()
        monitor = retry.monitor(threads)
        with _BATCHES_AT_A_TIME:
            return in_threads(left, lambda item: _download(client, store, bucket, item, monitor), threads, monitor)

    return retry.run(wanted, attempt)


def _download(client: S3Client, store: Store, bucket: str, wanted: Download, monitor: StallMonitor) -> SendResult:
    length = min(wanted.first_bytes or wanted.size, wanted.size)
    # An empty object has no first byte that a range could name.
    range_read: dict[str, Any] = {"Range": f"bytes=0-{length - 1}"} if length < wanted.size else {}
    key, got = wanted.key, 0
    # A thread that was left behind may get its answer when the next attempt has delivered the file: each writes one of
    # its own, and what comes when nobody waits for it any more is thrown away.
    part = wanted.file.with_name(f"{wanted.file.name}.{secrets.token_hex(8)}")
    try:
        # Without a condition, which stores refuse though it is met: the answer says itself what it is of.
        answer = client.get_object(Bucket=bucket, Key=key, **range_read)
        if answer.get("ETag", "").strip('"') != wanted.etag or answer.get("ContentLength") != length:
            answer["Body"].close()
            return SendResult(key, "failed", Code.SOURCE_CHANGED, "The object is not the one that was planned.")
        if monitor.over:
            answer["Body"].close()
            return silence(key)
        with part.open("wb") as file:
            for chunk in answer["Body"].iter_chunks(_CHUNK):
                file.write(chunk)
                got += len(chunk)
                monitor.moved(len(chunk))
        if got != length:
            return SendResult(key, "failed", Code.STORE_UNAVAILABLE, f"{got:,} bytes came of {length:,}.")
        if monitor.over:
            return silence(key)
        part.replace(wanted.file)
    except Exception as error:
        if local := local_fault(error):
            code = Code.DISK_FULL if local.errno in (errno.ENOSPC, errno.EDQUOT) else Code.SCRATCH_UNWRITABLE
            return SendResult(key, "failed", code, printable(f"{wanted.file}: {local.strerror}"))
        if classify(error).may_be_of_one_object:
            # The listing was allowed: it lies in this object.
            return SendResult(key, "rejected", Code.UNREADABLE, printable(str(error)))
        return failure(key, error, "read", f"s3://{bucket}/{key}", store)
    finally:
        with suppress(OSError):
            part.unlink()
    return SendResult(key, "sent")
