"""Sources that lie in the store themselves, and that it copies by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from imagehaul.records import Copy, ObjectOptions, Sent
from imagehaul.store.endpoint import Store
from imagehaul.store.multipart import PartsUpload
from imagehaul.store.object_settings import object_settings
from imagehaul.store.retry import Watch, failure, in_threads, silence

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LARGEST_COPY = 5 * 1024**3
"""https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
_COPY_PART = 512 * 1024**2


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
