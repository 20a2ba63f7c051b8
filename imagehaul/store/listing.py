"""What the store lists: the one witness that a delivery is proven by.

A page of 1,000 objects follows the one before, so that a long listing is mostly waiting. Where it is, the rest of it is
listed by sub-prefix, side by side.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from imagehaul.errors import StoreError
from imagehaul.layout import Layout, split_object_uri
from imagehaul.mapping import IN_PLACE
from imagehaul.records import StoredObject
from imagehaul.store.endpoint import Store
from imagehaul.store.sub_prefixes import Parts, as_they_come, cut, list_side_by_side

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef, ObjectTypeDef

    from imagehaul.store.sub_prefixes import Pages

FIRST_PAGES = 16
"""Pages that are listed one after the other in any case: most data sets have no more."""
LONG_WAIT = 0.05
"""Seconds that a page is waited for, from which on it is worth it: the store is far, and does not only compute."""


def list_objects(client: S3Client, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Every object below the prefix, once. Raises as `list_contents`."""
    return map(_stored, list_contents(client, bucket, prefix))


def _stored(item: ObjectTypeDef) -> StoredObject:
    return StoredObject(item["Key"], item["Size"], item.get("ETag", "").strip('"'))


def list_dataset(client: S3Client, layout: Layout) -> Iterator[StoredObject]:
    """Images, thumbnails and crops of a data set, as they come. Raises as `list_contents`."""
    folders = (layout.images, layout.thumbnails, layout.crops)
    for page in as_they_come([partial(_contents_by_page, client, layout.bucket, folder) for folder in folders]):
        yield from map(_stored, page)


def list_in_place(store: Store, uri: str) -> Iterator[StoredObject]:
    """Originals that stay where they are, each under its whole URI as a key. `uri`: s3://bucket/prefix, as it stands.

    Raises StoreError.
    """
    bucket, prefix = split_object_uri(uri)
    with store.explaining("list", uri):
        for item in list_objects(store.patient_client(), bucket, prefix):
            yield StoredObject(f"{IN_PLACE}{bucket}/{item.key}", item.size, item.etag)


def list_contents(client: S3Client, bucket: str, prefix: str) -> Iterator[ObjectTypeDef]:
    """Every object below the prefix, once, as the store tells it; in the store's order where it is listed in one go.

    botocore asks for keys URL-encoded, so that any name survives. Raises botocore's errors, and StoreError where a page
    says that there is more, and not where: what it does not show is unknown.
    """
    return itertools.chain.from_iterable(_contents_by_page(client, bucket, prefix))


def _contents_by_page(client: S3Client, bucket: str, prefix: str) -> Iterator[list[ObjectTypeDef]]:
    def pages(**asked: str) -> Iterator[ListObjectsV2OutputTypeDef]:
        return _pages(client, **{"Bucket": bucket, "Prefix": prefix, **asked})

    in_one_go, waited = pages(), 0.0
    seen: set[str] = set()
    for number in itertools.count(1):
        began, busy = time.perf_counter(), time.thread_time()
        page = next(in_one_go, None)
        waited += time.perf_counter() - began - (time.thread_time() - busy)
        if page is None:
            return
        contents = page.get("Contents", [])
        yield contents
        if number < FIRST_PAGES:
            seen.update(item["Key"] for item in contents)
        elif number == FIRST_PAGES and page.get("IsTruncated") and waited > number * LONG_WAIT:
            seen.update(item["Key"] for item in contents)
            parts = cut(prefix, pages)
            if parts.files or len(parts.prefixes) > 1:
                yield from _by_parts(parts, pages, seen)
                return


def _by_parts(parts: Parts, pages: Pages, seen: set[str]) -> Iterator[list[ObjectTypeDef]]:
    """What lies in the parts, and was not seen before."""
    for contents in itertools.chain([parts.files], list_side_by_side(parts.prefixes, pages)):
        yield [item for item in contents if item["Key"] not in seen]
        if contents is parts.files:
            seen.update(item["Key"] for item in contents)


def list_folders(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    """The names up to the next "/" of what lies below the prefix, which ends in "/". Raises as `list_contents`."""
    for page in _pages(client, Bucket=bucket, Prefix=prefix, Delimiter="/"):
        for entry in page.get("CommonPrefixes", ()):
            yield entry["Prefix"].removeprefix(prefix).rstrip("/")


def _pages(client: S3Client, **asked: Any) -> Iterator[ListObjectsV2OutputTypeDef]:
    for page in client.get_paginator("list_objects_v2").paginate(**asked):
        yield page
        if page.get("IsTruncated") and not page.get("NextContinuationToken"):
            # boto3 takes this for the end of the listing.
            raise StoreError(
                f"The store's listing of s3://{asked['Bucket']}/{asked['Prefix']} breaks off: it says that there is "
                "more, not where.\nWhat is there is unknown. Run again; if it stays, report it to the store's operator."
            )
