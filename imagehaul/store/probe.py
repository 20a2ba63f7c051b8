"""What this store does to names, found out by trying."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from imagehaul.layout import Layout
from imagehaul.store.errors import classify
from imagehaul.store.listing import list_objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


def keeps_backslashes(client: S3Client, layout: Layout) -> bool:
    """SeaweedFS turns a backslash in a key into a slash, so that two names can meet on one key; others refuse it."""
    folder = f"{layout.marks}probe-{secrets.token_hex(4)}/"
    key = f"{folder}a\\b"
    try:
        client.put_object(Bucket=layout.bucket, Key=key, Body=b"")
    except client.exceptions.ClientError as error:
        if classify(error).action in ("reject", "fail"):
            return False
        raise
    seen = [item.key for item in list_objects(client, layout.bucket, folder)]
    for name in {key, *seen}:
        try:
            client.delete_object(Bucket=layout.bucket, Key=name)
        except client.exceptions.ClientError:
            # A key that may not delete leaves the probe where it is; it harms nobody.
            break
    return key in seen
