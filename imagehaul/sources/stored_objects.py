"""Single objects of a store as a source's entries: looked at, fetched, compared."""

from __future__ import annotations

import errno
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagehaul.errors import Code, SettingsError, SourceError
from imagehaul.layout import split_object_uri, split_s3_uri
from imagehaul.records import SourceFile
from imagehaul.sources.source import Entry, Fetched
from imagehaul.store.download import Download, download
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, is_missing
from imagehaul.store.explanations import explain
from imagehaul.store.files import fetch_files
from imagehaul.text import printable

HEADER_BYTES = 64 * 1024
"""What is read of an object of which nothing is rendered: enough for nearly every header."""

_MD5 = re.compile(r"[0-9a-f]{32}")


def etag_is_md5(etag: str) -> bool:
    """Whether a copy will have it again; a multipart ETag is another one then."""
    return bool(_MD5.fullmatch(etag))


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Of a URI that somebody wrote. The key is "" where there is none, or where the bucket's name is none."""
    bucket, key = split_object_uri(uri)
    try:
        split_s3_uri(f"s3://{bucket}")
    except SettingsError:
        return bucket, ""
    return bucket, key


def version_of(answer: Mapping[str, Any], bucket: str, key: str) -> str:
    """By what the store says of an object, in a listing or by HEAD. Raises `SourceError` where it names no ETag."""
    if etag := str(answer.get("ETag", "")).strip('"'):
        return etag
    raise SourceError(
        f"The store names no ETag of s3://{bucket}/{key}, so that nobody could tell when the object is another one. "
        "Copy the source to this machine or to another store, and deliver it from there."
    )


def look(store: Store, bucket: str, key: str) -> SourceFile:
    """Size and ETag of the object, or the code that says why it cannot be delivered.

    Raises `StoreError` for what concerns all objects: the store, its keys; `SourceError` as `version_of`.
    """
    if not key or key.endswith("/"):
        return SourceFile("", 0, "", Code.URL_UNSUPPORTED, "It names no object.")
    client = store.client()
    try:
        head = client.head_object(Bucket=bucket, Key=key)
    except Exception as error:
        if is_missing(error):
            return SourceFile("", 0, "", Code.SOURCE_MISSING, "There is no such object.")
        error = _with_reason(store, bucket, key, error)
        verdict = classify(error)
        if verdict.may_be_of_one_object or verdict.action == "reject":
            return SourceFile("", 0, "", Code.UNREADABLE, printable(f"The store says {verdict.reported}."))
        raise explain(error, "read", f"s3://{bucket}/{key}", store.url) from None
    return SourceFile("", head["ContentLength"], version_of(head, bucket, key))


def _with_reason(store: Store, bucket: str, key: str, error: Exception) -> Exception:
    """The answer to a HEAD has no body: whether keys are unknown, or this object is denied, only a GET tells."""
    if classify(error).reported != "403":
        return error
    try:
        store.client().get_object(Bucket=bucket, Key=key, Range="bytes=0-0")
    except Exception as told:
        return told
    return error


def has_changed(store: Store, bucket: str, key: str, entry: Entry) -> bool:
    """Whether it is another than it was listed as, or gone."""
    try:
        now = look(store, bucket, key)
    except SourceError:
        return True
    return (now.size, now.version) != (entry.size, entry.version)


@dataclass(frozen=True, slots=True)
class ObjectWanted:
    """`etag`: what it must still be. `whole`: all bytes are needed, else the beginning."""

    bucket: str
    key: str
    size: int
    etag: str
    whole: bool


def fetch(store: Store, wanted: Sequence[ObjectWanted], folder: Path, workers: int) -> dict[tuple[str, str], Fetched]:
    """By bucket and key: an object that several entries name is fetched once."""
    merged: dict[tuple[str, str], ObjectWanted] = {}
    for item in wanted:
        where = item.bucket, item.key
        if where not in merged or item.whole:
            merged[where] = item
    found: dict[tuple[str, str], Fetched] = {}
    for bucket in sorted({item.bucket for item in merged.values()}):
        downloads = [
            Download(
                key=item.key,
                file=folder / f"{'whole' if item.whole else 'header'}-{number}",
                etag=item.etag,
                size=item.size,
                first_bytes=0 if item.whole else HEADER_BYTES,
            )
            for number, item in enumerate(merged.values())
            if item.bucket == bucket
        ]
        for one, result in zip(downloads, download(store, bucket, downloads, workers), strict=True):
            found[bucket, one.key] = (
                Fetched(file=str(one.file), partial=one.first_bytes > 0)
                if result.outcome == "sent"
                else Fetched(code=result.code, message=result.message)
            )
    return found


def fetch_one(store: Store, bucket: str, key: str, folder: Path) -> Path:
    """The whole object as it is now, under its own base name's suffix. Raises what boto3 raises."""
    file = folder / f"object{Path(key).suffix}"
    fetch_files(store.client(), bucket, [key], [file])
    return file


def scratch_fault(file: Path, error: OSError) -> Fetched:
    """The answer where a file of our own cannot be written."""
    code = Code.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else Code.SCRATCH_UNWRITABLE
    return Fetched(code=code, message=printable(f"{file}: {error.strerror}"))
