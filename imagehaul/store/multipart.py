"""Objects that a store gets in parts. What is begun is ended: completed, or aborted so that it costs no room."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.explanations import explain
from imagehaul.text import printable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)


class PartsUpload:
    """A multipart upload, aborted at the end of the context unless it was completed.

    `described`: what `create_multipart_upload` is given. `names`: what each of the further requests needs.
    """

    def __init__(self, client: S3Client, described: dict[str, Any]) -> None:
        self._client, self._described = client, described
        self._parts: list[Any] = []
        self._complete = False
        self.names: dict[str, Any] = {}

    def __enter__(self) -> Self:
        begun = self._client.create_multipart_upload(**self._described)
        self.names = {
            "UploadId": begun.get("UploadId", ""),
            **{name: self._described[name] for name in ("Bucket", "Key")},
        }
        return self

    @property
    def number(self) -> int:
        """Of the next part."""
        return len(self._parts) + 1

    def add(self, etag: str) -> None:
        self._parts.append({"PartNumber": self.number, "ETag": etag})

    def complete(self) -> None:
        self._client.complete_multipart_upload(**self.names, MultipartUpload={"Parts": self._parts})
        self._complete = True

    def __exit__(self, *_: object) -> None:
        if self._complete:
            return
        try:
            self._client.abort_multipart_upload(**self.names)
        except Exception as error:
            # The object has its answer; a later run ends what this one could not.
            key, said = printable(self.names["Key"]), classify(error).reported
            _LOG.info("An unfinished upload of %s stays in the store: %s.", key, said)


def abort_unfinished_uploads(store: Store, bucket: str, prefix: str, started_before: datetime) -> tuple[list[str], str]:
    """Ends the multipart uploads below `prefix` that a killed run left: they cost room, and no listing shows them.

    Gives their keys, and why it could not look or end them all ("" = it could). `started_before` has a time zone.
    """
    client = store.client()
    aborted: list[str] = []
    try:
        for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=prefix):
            for unfinished in page.get("Uploads", []):
                key = unfinished["Key"]
                # Some stores take no notice of the prefix, or of the order that paging needs.
                if key.startswith(prefix) and unfinished["Initiated"] < started_before:
                    client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=unfinished["UploadId"])
                    aborted.append(key)
    except Exception as error:
        return aborted, str(explain(error, "end", f"unfinished uploads below s3://{bucket}/{prefix}", store.url))
    return aborted, ""
