"""The engine that is always there: one `put_object` for each file, in threads, and parts for large ones."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from imagehaul.errors import Code
from imagehaul.records import PART_SIZE, ObjectOptions, SendResult, Upload
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, local_fault
from imagehaul.store.multipart import PartsUpload
from imagehaul.store.object_settings import hides_md5, object_settings
from imagehaul.store.plain_put import PlainPut
from imagehaul.store.retry import StallMonitor, failure, in_threads, silence
from imagehaul.transfer.local_file import (
    Slice,
    changed,
    has_planned_bytes,
    new_md5,
    source_fault,
    unreadable,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_IN_MEMORY = 1024 * 1024
"""Bytes of an object that is sent from memory, in one plain request."""
_DIGEST_ERRORS = {"BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"}


@dataclass(frozen=True)
class Boto3Sender:
    """`threads`: objects that are on their way at the same time."""

    store: Store
    bucket: str
    options: ObjectOptions
    threads: int

    def send(self, uploads: Sequence[Upload], monitor: StallMonitor) -> list[SendResult]:
        """One answer for each upload. Raises StoreError: what stops the whole run, as soon as it is known."""
        client, plain = self.store.client(), self.store.plain_put(self.bucket)
        return in_threads(uploads, lambda upload: self._send(client, plain, upload, monitor), self.threads, monitor)

    def _send(self, client: S3Client, plain: PlainPut, upload: Upload, monitor: StallMonitor) -> SendResult:
        described: dict[str, Any] = {
            "Bucket": self.bucket,
            "Key": upload.key,
            "ContentType": upload.content_type,
            **object_settings(self.options),
        }
        try:
            upload.key.encode()
            with Path(upload.file).open("rb") as file:
                if os.fstat(file.fileno()).st_size != upload.size:
                    return changed(upload)
                if upload.size > PART_SIZE:
                    return _put_in_parts(client, described, upload, file, monitor)
                if upload.size > _IN_MEMORY or not self._sent_plainly(plain, upload, file, monitor):
                    _put(client, described, upload, file, monitor)
        except UnicodeEncodeError as error:
            return SendResult(upload.key, "rejected", Code.NAME_NOT_UTF8, str(error))
        except Exception as error:
            return self._fault(upload, error)
        return SendResult(upload.key, "sent")

    def _sent_plainly(self, plain: PlainPut, upload: Upload, file: IO[bytes], monitor: StallMonitor) -> bool:
        options = self.options
        headers = {
            "Content-MD5": _base64(upload.md5),
            "Content-Type": upload.content_type,
            "Cache-Control": options.cache_control,
            "x-amz-storage-class": options.storage_class,
            "x-amz-server-side-encryption": options.sse,
            "x-amz-server-side-encryption-aws-kms-key-id": options.sse_kms_key_id,
            "x-amz-checksum-sha256": _base64(upload.sha256) if hides_md5(options.sse) else "",
        }
        body = Slice(file, 0, upload.size, monitor.moved).read()
        return plain.send(upload.key, body, {name: value for name, value in headers.items() if value})

    def _fault(self, upload: Upload, error: Exception) -> SendResult:
        if fault := source_fault(upload):
            return fault
        if local := local_fault(error):
            return unreadable(upload, local)
        sent = failure(upload.key, error, "write", f"s3://{self.bucket}/{upload.key}", self.store)
        if classify(error).reported in _DIGEST_ERRORS and not has_planned_bytes(upload):
            return changed(upload)
        return sent


def _put(client: S3Client, described: dict[str, Any], upload: Upload, file: IO[bytes], monitor: StallMonitor) -> None:
    body: Any = Slice(file, 0, upload.size, monitor.moved)
    request = {**described, "ContentMD5": _base64(upload.md5)}
    if hides_md5(described.get("ServerSideEncryption", "")):
        request["ChecksumSHA256"] = _base64(upload.sha256)
    client.put_object(**request, Body=body)


def _put_in_parts(
    client: S3Client, described: dict[str, Any], upload: Upload, file: IO[bytes], monitor: StallMonitor
) -> SendResult:
    whole = new_md5()
    with PartsUpload(client, described) as parts:
        for start in range(0, upload.size, PART_SIZE):
            if monitor.over:
                return silence(upload.key)
            body: Any = Slice(file, start, min(PART_SIZE, upload.size - start), monitor.moved)
            md5 = body.md5(whole)
            sent = client.upload_part(**parts.names, PartNumber=parts.number, Body=body, ContentMD5=md5)
            parts.add(sent.get("ETag", ""))
        if whole.hexdigest() != upload.md5:
            return changed(upload)
        parts.complete()
    return SendResult(upload.key, "sent")


def _base64(hexadecimal: str) -> str:
    return base64.b64encode(bytes.fromhex(hexadecimal)).decode()
