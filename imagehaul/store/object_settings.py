"""What the settings ask for each PUT, as boto3 takes it."""

from __future__ import annotations

from dataclasses import replace

from imagehaul.records import ObjectOptions


def object_settings(options: ObjectOptions) -> dict[str, str]:
    """For an image or a rendition that is uploaded or copied; s5cmd has the same as its own options."""
    settings = {
        "CacheControl": options.cache_control,
        "StorageClass": options.storage_class,
        "ServerSideEncryption": options.sse,
        "SSEKMSKeyId": options.sse_kms_key_id,
    }
    return {name: value for name, value in settings.items() if value}


def own_settings(options: ObjectOptions) -> dict[str, str]:
    """For the run's own files: the encryption alone.

    They are read and written at any time, so that an archive's class would lock us out and one with a shortest time
    of storage would be paid for each renewal of the lock; and no cache may hold them.
    """
    return object_settings(replace(options, cache_control="", storage_class=""))


def hides_md5(sse: str) -> bool:
    """Whether an ETag is no MD5 with this encryption: a SHA-256 is what the proof asks for then."""
    return sse.startswith("aws:kms")
