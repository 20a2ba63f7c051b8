"""Sources that lie in the store themselves, and that it copies by itself."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from imagehaul.errors import Code
from imagehaul.records import PART_SIZE, Copy, ObjectOptions, SendResult
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.multipart import PartsUpload
from imagehaul.store.object_settings import object_settings
from imagehaul.store.retry import StallMonitor, failure, in_threads, silence

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_LARGEST_COPY = 128 * 1024**2
"""S3 allows 5 GiB, but some stores say nothing until all is copied: within a minute, or they are asked once more."""
_MOST_PARTS = 10_000
"""https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Metadata")
"""What an object keeps of its source where the settings say nothing else. Its content type is what its bytes are."""

_WITH_TAGS: dict[str, Any] = {"TaggingDirective": "COPY"}
_WITHOUT_TAGS: dict[str, Any] = {"TaggingDirective": "REPLACE", "Tagging": ""}
"""Said outright: where nothing is said, AWS copies the tags, and refuses keys that may not read them."""


@dataclass(frozen=True)
class Copier:
    """`threads`: objects that are copied at the same time. `largest`: bytes that one request copies; a larger object is
    copied in parts of `part` bytes: as one that is sent, so that its ETag is known where its bytes are."""

    store: Store
    bucket: str
    options: ObjectOptions
    threads: int
    largest: int = _LARGEST_COPY
    part: int = PART_SIZE
    _tags_refused: threading.Event = field(default_factory=threading.Event)

    def copy(self, copies: Sequence[Copy], monitor: StallMonitor) -> list[SendResult]:
        """Raises StoreError: what stops the whole run, as soon as it is known."""
        client = self.store.client()
        return in_threads(copies, lambda item: self._copy(client, item, monitor), self.threads, monitor)

    def _copy(self, client: S3Client, item: Copy, monitor: StallMonitor) -> SendResult:
        try:
            head = self._head(client, item)
            if head and not _is_planned(head, item):
                return _changed(item)
            described = {**self._described(head), "Bucket": self.bucket, "Key": item.key}
            described["ContentType"] = item.content_type
            try:
                return self._copy_if(client, item, described, monitor, {"CopySourceIfMatch": f'"{item.source_etag}"'})
            except client.exceptions.ClientError as error:
                if classify(error).code != Code.SOURCE_CHANGED:
                    raise
            # Swift refuses a condition that is met where the source was uploaded in parts: look, copy, and look again.
            if not _is_planned(self._head(client, item), item):
                return _changed(item)
            sent = self._copy_if(client, item, described, monitor, {})
            return sent if _is_planned(self._head(client, item), item) else _changed(item)
        except Exception as error:
            what = f"s3://{item.source_bucket}/{item.source_key} to s3://{self.bucket}/{item.key}"
            return failure(item.key, error, "copy", what, self.store)

    def _head(self, client: S3Client, item: Copy) -> dict[str, Any]:
        """What the store says of the source; {} where it refuses: a copy says why, a HEAD does not."""
        try:
            return dict(client.head_object(Bucket=item.source_bucket, Key=item.source_key))
        except client.exceptions.ClientError as error:
            if classify(error).action == "retry":
                raise
            return {}

    def _described(self, head: dict[str, Any]) -> dict[str, Any]:
        kept = {name: head[name] for name in _KEPT if head.get(name)} if self.options.keep_source_metadata else {}
        if kept.get("ContentEncoding") == "aws-chunked":
            del kept["ContentEncoding"]  # of a transfer that is over; some stores keep it as if it were the object's
        return {**kept, **object_settings(self.options)}

    def _copy_if(
        self, client: S3Client, item: Copy, described: dict[str, Any], monitor: StallMonitor, condition: dict[str, Any]
    ) -> SendResult:
        source = {"CopySource": {"Bucket": item.source_bucket, "Key": item.source_key}, **condition}
        if item.size > self.largest:
            return self._copy_in_parts(client, item, {**described, **self._tags(client, item)}, source, monitor)
        request: dict[str, Any] = {**described, **source, "MetadataDirective": "REPLACE"}
        refused: Exception | None = None
        for tagging in self._taggings():
            try:
                client.copy_object(**request, **tagging)
                break
            except client.exceptions.ClientError as error:
                if not tagging or classify(error).code not in (Code.ACCESS_DENIED, Code.STORE_REFUSED):
                    raise
                refused = error
        if refused:
            self._say_tags_refused(refused)
        return SendResult(item.key, "sent")

    def _taggings(self) -> tuple[dict[str, Any], ...]:
        """What is tried one after the other: with the source's tags, without them, and where a store knows no tags."""
        if not self.options.keep_source_metadata:
            return ({},)
        return (_WITHOUT_TAGS, {}) if self._tags_refused.is_set() else (_WITH_TAGS, _WITHOUT_TAGS, {})

    def _tags(self, client: S3Client, item: Copy) -> dict[str, str]:
        """For a copy in parts, which takes none along by itself."""
        if not self.options.keep_source_metadata or self._tags_refused.is_set():
            return {}
        try:
            found = client.get_object_tagging(Bucket=item.source_bucket, Key=item.source_key)["TagSet"]
        except client.exceptions.ClientError as error:
            if classify(error).code not in (Code.ACCESS_DENIED, Code.STORE_REFUSED):
                raise
            self._say_tags_refused(error)
            return {}
        return {"Tagging": urlencode([(tag["Key"], tag["Value"]) for tag in found])} if found else {}

    def _say_tags_refused(self, error: Exception) -> None:
        """Once: a copy without its tags is a good one, and the next ones do without them at once."""
        if not self._tags_refused.is_set():
            self._tags_refused.set()
            reported = classify(error).reported
            _LOG.warning(
                "The tags of source objects are not kept: the store refuses them to these keys (%s).", reported
            )

    def _copy_in_parts(
        self, client: S3Client, item: Copy, described: dict[str, Any], source: dict[str, Any], monitor: StallMonitor
    ) -> SendResult:
        size = max(self.part, math.ceil(item.size / _MOST_PARTS))
        with PartsUpload(client, described) as parts:
            for start in range(0, item.size, size):
                if monitor.over:
                    return silence(item.key)
                which = f"bytes={start}-{min(start + size, item.size) - 1}"
                done = client.upload_part_copy(**parts.names, **source, PartNumber=parts.number, CopySourceRange=which)
                parts.add(done.get("CopyPartResult", {}).get("ETag", ""))
                monitor.moved(size)
            parts.complete()
        return SendResult(item.key, "sent")


def _is_planned(head: dict[str, Any], item: Copy) -> bool:
    return str(head.get("ETag", "")).strip('"') == item.source_etag


def _changed(item: Copy) -> SendResult:
    return SendResult(item.key, "failed", Code.SOURCE_CHANGED, "The object is not the one that was planned.")
