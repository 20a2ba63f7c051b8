"""What the store lists: the one witness that a delivery is proven by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from imagehaul.errors import StoreError
from imagehaul.records import StoredObject

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ListObjectsV2OutputTypeDef


def list_objects(client: S3Client, bucket: str, prefix: str) -> Iterator[StoredObject]:
    """Every object below the prefix, page by page. botocore asks for keys URL-encoded, so that any name survives.

    Raises StoreError where a page says that there is more, and not where: what it does not show is unknown.
    """
    for page in _pages(client, Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            yield StoredObject(item["Key"], item["Size"], item.get("ETag", "").strip('"'))


def list_folders(client: S3Client, bucket: str, prefix: str) -> Iterator[str]:
    """The names up to the next "/" of what lies below the prefix, which ends in "/". Raises as `list_objects`."""
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


def read_contents(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Takes the objects out of a page of a listing, and leaves the rest of it to botocore, errors too.

    A handler of botocore's event `before-parse`. botocore itself needs 0.25 ms for an object, most
    of it for the time, and a listing of 100,000 half a minute. Keys stay URL-encoded: botocore decodes them later.
    """
    if response_dict["status_code"] != 200:
        return
    body = response_dict["body"]
    try:
        contents, rest = _read_plain(body) or _read_any(body)
    except (ElementTree.ParseError, KeyError, ValueError):
        return  # botocore has the words for what is no listing
    if contents:
        response_dict["body"] = rest
        customized_response_dict["Contents"] = contents


_FIELDS = [re.compile(rf"<{name}>([^<]*)</{name}>") for name in ("Key", "Size", "ETag", "LastModified")]
_Page = tuple[list[dict[str, Any]], bytes]


def _read_plain(body: bytes) -> _Page | None:
    """The objects and the rest of a page that is written as stores mostly do, at a fraction of a parser's time.

    None where anything in it asks for a parser: references other than to quotes, comments, prefixes of names, something
    between two objects, one that lacks a field.
    """
    text = body.decode().replace("&quot;", '"').replace("&#34;", '"')
    before, opened, after = text.partition("<Contents>")
    objects, closed, behind = after.rpartition("</Contents>")
    if not (opened and closed) or "&" in text or "<!" in text:
        return None
    count = objects.count("</Contents><Contents>") + 1
    columns = [field.findall(objects) for field in _FIELDS]
    if objects.count("<Contents") + 1 != count or any(len(column) != count for column in columns):
        return None
    return [_object(*fields) for fields in zip(*columns, strict=True)], (before + behind).encode()


def _read_any(body: bytes) -> _Page:
    """By a parser of XML. Raises ParseError, KeyError and ValueError."""
    page = ElementTree.fromstring(body)
    objects = [element for element in page if element.tag.endswith("Contents")]
    contents = []
    for item in objects:
        fields = {field.tag.rpartition("}")[2]: field.text or "" for field in item}
        contents.append(_object(fields["Key"], fields["Size"], fields.get("ETag", ""), fields["LastModified"]))
        page.remove(item)
    return contents, ElementTree.tostring(page)


def _object(key: str, size: str, etag: str, modified: str) -> dict[str, Any]:
    return {"Key": key, "Size": int(size), "ETag": etag, "LastModified": datetime.fromisoformat(modified)}
