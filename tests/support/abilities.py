"""What a store can do that not every one can: tests that need it are left out elsewhere."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from imagehaul.store.conditional_writes import Capabilities, find_capabilities
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_DENY = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::{}/denied/*"}


def found_abilities(store: Store, versioning: str) -> set[str]:
    client, bucket = store.client(), f"abilities-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket)
    for status in ("Enabled", versioning) if versioning else ():
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})  # type: ignore[typeddict-item]
    tried: dict[str, Callable[[S3Client, str], bool]] = {
        "conditional writes": _conditional_writes,
        "copy conditions": _copy_conditions,
        "bucket policies": _bucket_policies,
        "storage classes": lambda client, bucket: bool(_put(client, bucket, StorageClass="STANDARD_IA")),
        "copied tags": _copied_tags,
        "short names": lambda client, bucket: not _put(client, bucket, Key="x" * 256),
        "one version": lambda client, bucket: not versioning,
        "backslashes become slashes": _backslashes_become_slashes,
        "unknown keys are told from wrong ones": lambda client, bucket: (
            _said_to_unknown_keys(store, bucket) == "InvalidAccessKeyId"
        ),
        "CRC-64 is compared": lambda client, bucket: not _put(client, bucket, ChecksumCRC64NVME="AAAAAAAAAAA="),
        "MD5 is compared": lambda client, bucket: not _put(client, bucket, ContentMD5="AAAAAAAAAAAAAAAAAAAAAA=="),
    }
    return {name for name, can in tried.items() if can(client, bucket)}


def _put(client: S3Client, bucket: str, **more: str) -> str:
    try:
        return client.put_object(**{"Bucket": bucket, "Key": "tried", "Body": b"x", **more})["ETag"]  # type: ignore[arg-type]
    except client.exceptions.ClientError:
        return ""


def _said_to_unknown_keys(store: Store, bucket: str) -> str:
    client = replace(store, credentials=AccessKey("NOBODY", "x")).client()
    try:
        client.list_objects_v2(Bucket=bucket)
    except client.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    return ""


def _conditional_writes(client: S3Client, bucket: str) -> bool:
    """As AWS has them: a right condition is let through, a wrong one refused."""
    return find_capabilities(client, {"Bucket": bucket, "Key": "conditions", "Body": b""}) == Capabilities()


def _copy_conditions(client: S3Client, bucket: str) -> bool:
    _put(client, bucket)
    try:
        client.copy_object(
            Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "tried"}, CopySourceIfMatch="0" * 32
        )
    except client.exceptions.ClientError:
        return True
    return False


def _copied_tags(client: S3Client, bucket: str) -> bool:
    """Kept by a copy whose headers are set anew. Ceph 16 drops them."""
    if not _put(client, bucket, Tagging="a=b"):
        return False
    where = {"Bucket": bucket, "Key": "tried"}
    client.copy_object(
        Bucket=bucket, Key="copy", CopySource=where, MetadataDirective="REPLACE", TaggingDirective="COPY"
    )  # type: ignore[call-overload]
    return bool(client.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"])


def _bucket_policies(client: S3Client, bucket: str) -> bool:
    statement = {**_DENY, "Resource": _DENY["Resource"].format(bucket)}
    try:
        client.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        client.put_object(Bucket=bucket, Key="denied/a", Body=b"")
    except client.exceptions.ClientError as error:
        return error.operation_name == "PutObject"
    return False


def _backslashes_become_slashes(client: S3Client, bucket: str) -> bool:
    client.put_object(Bucket=bucket, Key="back\\slash", Body=b"")
    return "back/slash" in {item["Key"] for item in client.list_objects_v2(Bucket=bucket).get("Contents", [])}
