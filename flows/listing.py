"""What the store lists: the one witness that a delivery is proven by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.records import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def list_objects(client: S3Client, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Every object below the prefix, page by page. botocore asks for keys URL-encoded, so that any name survives."""
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            yield StoredObject(item["Key"], item["Size"], item.get("ETag", "").strip('"'))
