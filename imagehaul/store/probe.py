"""What this store takes, and what it does to names and conditions: found out by trying, before any work."""

from __future__ import annotations

import base64
import hashlib
import logging
import secrets
from typing import TYPE_CHECKING, Any

from imagehaul.errors import Code, StoreError
from imagehaul.layout import MARKS, Layout
from imagehaul.records import ObjectOptions
from imagehaul.store.conditional_writes import Capabilities, find_capabilities, md5_header
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.explanations import reported_words
from imagehaul.store.files import OwnFiles
from imagehaul.store.listing import list_objects
from imagehaul.store.object_settings import hides_md5, object_settings

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_LOG = logging.getLogger(__name__)
_BODY = b"imagehaul looks whether it may write here, and how.\n"
_CRC64, _CRC64_OF_NOTHING = "yk6oVRfoxJk=", "AAAAAAAAAAA="
"""Of these bytes, and of none, in base64. https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-64-nvme"""
_FLAGS = {
    "CacheControl": "CACHE_CONTROL",
    "StorageClass": "STORAGE_CLASS",
    "ServerSideEncryption": "SSE",
    "SSEKMSKeyId": "SSE_KMS_KEY_ID",
}


def probe_writing(store: Store, bucket: str, prefix: str, options: ObjectOptions) -> Capabilities:
    """Writes an object below `prefix` ("" or ending in "/") with all that objects are to get, and removes it.

    A key that may not delete is good. Raises StoreError: keys that may not write, a setting that the store refuses.
    """
    client = store.patient_client()
    key = f"{prefix}{MARKS}probe-{secrets.token_hex(8)}"
    plain = {"Bucket": bucket, "Key": key, "Body": _BODY, "ContentMD5": md5_header(_BODY)}
    settings: dict[str, Any] = object_settings(options)
    checksum = base64.b64encode(hashlib.sha256(_BODY).digest()).decode()
    if hides_md5(options.sse):
        settings["ChecksumSHA256"] = checksum
    try:
        with store.explaining("write", f"to s3://{bucket}/{prefix}"):
            try:
                return find_capabilities(client, {**plain, **settings})
            except client.exceptions.ClientError as error:
                if settings and classify(error).action != "retry":
                    _name_refused_setting(client, plain, settings, store.url or "AWS")
                raise
    finally:
        _remove(client, bucket, key)


def checks_crc64(store: Store, bucket: str, prefix: str, options: ObjectOptions) -> bool:
    """Whether this store takes a body with its CRC-64/NVME, refuses one with another's, and has an MD5 for its ETag.

    A sender whose way cannot be tampered with then needs no digest beside. False where it cannot be found out.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html
    """
    client = store.patient_client()
    key = f"{prefix}{MARKS}probe-{secrets.token_hex(8)}"
    request: dict[str, Any] = {"Bucket": bucket, "Key": key, "Body": _BODY, **object_settings(options)}
    try:
        etag = client.put_object(**request, ChecksumCRC64NVME=_CRC64)["ETag"]
        try:
            client.put_object(**request, ChecksumCRC64NVME=_CRC64_OF_NOTHING)
        except client.exceptions.ClientError as refusal:
            told_apart = refusal.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            return told_apart and etag.strip('"') == hashlib.md5(_BODY, usedforsecurity=False).hexdigest()
    except Exception as error:
        _LOG.info("s3://%s takes no CRC-64/NVME: %s.", bucket, classify(error).reported)
        return False
    finally:
        _remove(client, bucket, key)
    return False


def _name_refused_setting(client: S3Client, plain: dict[str, Any], settings: dict[str, Any], where: str) -> None:
    """Raises StoreError where the store takes the object without one of its settings. Returns where it is no setting's
    fault.
    """
    client.put_object(**plain)
    for names in (("CacheControl",), ("StorageClass",), ("ServerSideEncryption", "SSEKMSKeyId"), ("ChecksumSHA256",)):
        some = {name: settings[name] for name in names if name in settings}
        try:
            if some:
                client.put_object(**plain, **some)
        except client.exceptions.ClientError as error:
            said = " with ".join(f"{_FLAGS[name]}={value}" for name, value in some.items() if name in _FLAGS)
            raise StoreError(
                f"The store at {where} refuses {said or 'a SHA-256 checksum'}: {reported_words(error)}.\n"
                "Leave the setting out, or give a value that this store and these keys allow.",
                Code.STORE_REFUSED,
            ) from error


def _remove(client: S3Client, bucket: str, key: str) -> None:
    try:
        client.delete_object(Bucket=bucket, Key=key)
    except Exception as error:
        _LOG.info("The probe s3://%s/%s stays: %s.", bucket, key, classify(error).reported)


def keeps_backslashes(files: OwnFiles, layout: Layout) -> bool:
    """SeaweedFS turns a backslash in a key into a slash, so that two names can meet on one key; others refuse it."""
    folder = f"{layout.marks}probe-{secrets.token_hex(4)}/"
    key = f"{folder}a\\b"
    client = files.client
    try:
        files.put(layout.bucket, key, b"")
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
