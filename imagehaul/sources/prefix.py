"""`s3://bucket/prefix` as the source: every object below it whose key has an image's suffix."""

from __future__ import annotations

import functools
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from imagehaul.errors import Code, SourceError
from imagehaul.layout import DATASET_NAME, RUN_NAME, Layout, split_s3_uri
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources import stored_objects
from imagehaul.sources.archive_file import refuse_unread
from imagehaul.sources.filters import Selection
from imagehaul.sources.formats import SNIFFED, is_apple_double, suffix_of
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, Entry, Fetched, Source, SourceDescriptor, SourceTools, SourceType
from imagehaul.sources.stored_objects import ObjectWanted, etag_is_md5, version_of
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.explanations import explain, words_of
from imagehaul.store.listing import list_contents

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import ObjectTypeDef

_ROWS_AT_ONCE = 1000
_LOOKS_AT_ONCE = 16
_PAUSES = (1.0, 4.0)
"""Seconds before a look whose answer broke off is taken again; for all else the client waits by itself."""
_OWN = re.compile(r"([^/]+)/(?:(?:images|thumbnails|crops|runs|exports|\.imagehaul)/|current\.json\Z)")


@dataclass(frozen=True, slots=True)
class PrefixSource:
    """`prefix` is "" or ends in `/`. The store copies its objects by itself; only what is looked at is downloaded."""

    store: Store
    bucket: str
    prefix: str
    selection: Selection
    workers: int
    layout: Layout | None = None
    can_copy: bool = True

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        client = self.store.patient_client()
        yield from list_prefix(client, self.bucket, self.prefix, self.selection, report, self.layout)
        if not (report.images or report.other_files or report.excluded):
            self._refuse_object(self.prefix.rstrip("/"))

    def _refuse_object(self, key: str) -> None:
        """Raises `SourceError` where the prefix names one object: `img/a.jpg/` has nothing in it, but it is there."""
        if key and not stored_objects.look(self.store, self.bucket, key).code:
            refuse_unread(f"s3://{self.bucket}/{key}")
            folder, _, name = key.rpartition("/")
            raise SourceError(
                f"s3://{self.bucket}/{key} is one object, and no prefix. Deliver s3://{self.bucket}/{folder} with "
                f"INCLUDE={name}, or write the URI into a list (.txt)."
            )

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        wanted = [
            ObjectWanted(self.bucket, self.prefix + entry.path, entry.size, entry.version, all_of_it)
            for entry, all_of_it in zip(entries, whole, strict=True)
        ]
        found = stored_objects.fetch(self.store, wanted, folder, self.workers)
        return [found[item.bucket, item.key] for item in wanted]

    def has_changed(self, entry: Entry) -> bool:
        return stored_objects.has_changed(self.store, self.bucket, self.prefix + entry.path, entry)

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        if not self.can_copy:
            return None
        return CopyOrigin(self.bucket, self.prefix + entry.path, entry.version, etag_is_md5(entry.version))


def _describe(source: str, options: SourceOptions, scratch: str) -> SourceDescriptor:
    bucket, prefix = split_s3_uri(f"s3://{source[5:]}")
    return SourceDescriptor("prefix", f"s3://{bucket}/{prefix}", options)


def _open(descriptor: SourceDescriptor, tools: SourceTools) -> Source:
    bucket, prefix = split_s3_uri(descriptor.uri)
    selection = Selection(descriptor.options.include, descriptor.options.exclude, descriptor.options.suffixes)
    return PrefixSource(tools.need_store(), bucket, prefix, selection, tools.workers, tools.layout, tools.can_copy)


TYPE = SourceType("prefix", lambda source: source[:5].lower() == "s3://", _describe, _open)


def list_prefix(
    client: S3Client, bucket: str, prefix: str, selection: Selection, report: ScanReport, layout: Layout | None
) -> Iterator[SourceFile]:
    """Streamed, a page of the listing at a time.

    Where the prefix contains REMOTE_SAVE, what imagehaul wrote under any data set there is left out and counted.
    Raises `SourceError` where the source is this data set's own folder, or the store names no ETags; `StoreError` where
    it does not list the source whole.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    if layout and layout.bucket == bucket and prefix.startswith(layout.root):
        raise SourceError(
            f"The source s3://{bucket}/{prefix} is where the data set {layout.dataset!r} is stored. "
            "Take another source, or deliver it under another --dataset."
        )
    try:
        yield from _rows(client, bucket, prefix, selection, report, layout)
    except (BotoCoreError, ClientError) as error:
        raise explain(error, "list", f"s3://{bucket}/{prefix}", client.meta.endpoint_url) from None


def _rows(
    client: S3Client, bucket: str, prefix: str, selection: Selection, report: ScanReport, layout: Layout | None
) -> Iterator[SourceFile]:
    is_own = _own(client, bucket, prefix, layout)
    contents = list_contents(client, bucket, prefix)
    with ThreadPoolExecutor(_LOOKS_AT_ONCE, thread_name_prefix="looks") as threads:
        while some := list(itertools.islice(contents, _ROWS_AT_ONCE)):
            own = {item["Key"] for item in some if is_own(item["Key"])}
            unclear = [
                item
                for item in some
                if item["Key"] not in own and _is_unclear(item["Key"].removeprefix(prefix), selection)
            ]
            looks = threads.map(lambda item: _look(client, bucket, item), unclear)
            looked = dict(zip((item["Key"] for item in unclear), looks, strict=True))
            for item in some:
                path, look = item["Key"].removeprefix(prefix), looked.get(item["Key"], _Look())
                if item["Key"] in own:
                    report.own_objects.add(item["Key"])
                elif not (look.code or selection.is_image(path) or suffix_of(look.beginning)):
                    if not path.endswith("/"):  # The mark of a folder.
                        report.leave_out(path)
                elif is_apple_double(look.beginning):
                    report.apple_doubles.add(path)
                elif not selection.takes(path):
                    report.excluded += 1
                else:
                    yield _row(path, bucket, item, look)


def _is_unclear(path: str, selection: Selection) -> bool:
    """Whether its first bytes are looked at: the name does not say what it is, or may be one of macOS's own files."""
    if not selection.is_image(path):
        return selection.may_be_image(path)
    return path.rpartition("/")[2].startswith("._")


class _Look(NamedTuple):
    """The first bytes of an object, or the code and the words that say why it could not be looked at."""

    beginning: bytes = b""
    code: str = ""
    message: str = ""


def _look(client: S3Client, bucket: str, item: ObjectTypeDef) -> _Look:
    """Raises `StoreError` for what concerns all objects."""
    if not item["Size"]:
        return _Look()
    try:
        return _Look(_beginning(client, bucket, item["Key"]))
    except Exception as error:
        verdict = classify(error)
        if verdict.may_be_of_one_object:
            return _Look(code=Code.UNREADABLE, message=f"The store says {verdict.reported}.")
        if verdict.action in ("stop", "retry"):
            raise explain(error, "read", f"s3://{bucket}/{item['Key']}", client.meta.endpoint_url) from None
        return _Look(code=verdict.code, message=words_of(verdict, str(error)))


def _beginning(client: S3Client, bucket: str, key: str) -> bytes:
    for pause in (*_PAUSES, None):
        body = client.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{SNIFFED - 1}")["Body"]
        content = b""
        try:
            # That it broke off is told by the read after the last byte that came.
            while len(content) < SNIFFED and (more := body.read(SNIFFED - len(content))):
                content += more
            return content
        except Exception as error:
            if pause is None or classify(error).action != "retry":
                raise
            time.sleep(pause)
    raise AssertionError("The last look returns or raises.")


def _row(path: str, bucket: str, item: ObjectTypeDef, look: _Look) -> SourceFile:
    code, message = look.code, look.message
    if any(part in ("", ".", "..") for part in path.split("/")):
        code, message = Code.NAME_UNSUPPORTED, Code.NAME_UNSUPPORTED.meaning
    return SourceFile(path, item["Size"], version_of(item, bucket, item["Key"]), code, message)


def own_objects(bucket: str, prefix: str, layout: Layout, is_dataset: Callable[[str], bool]) -> Callable[[str], bool]:
    """Tells what imagehaul wrote under REMOTE_SAVE from what only looks like it.

    `photos/images/a.jpg` is a user's own where `is_dataset("photos")` does not hold; it is asked once for each
    name, and never for `layout.dataset`. A source inside of a data set, such as its `images/`, is read whole.
    """
    within = prefix.startswith(layout.prefix) and _OWN.match(prefix, len(layout.prefix))
    if bucket != layout.bucket or within:
        return lambda key: False
    known = functools.cache(is_dataset)

    def is_own(key: str) -> bool:
        found = key.startswith(layout.prefix) and _OWN.match(key, len(layout.prefix))
        if not found or not DATASET_NAME.fullmatch(found[1]):
            return False
        return found[1] == layout.dataset or known(found[1])

    return is_own


def _own(client: S3Client, bucket: str, prefix: str, layout: Layout | None) -> Callable[[str], bool]:
    if layout is None:
        return lambda key: False
    return own_objects(bucket, prefix, layout, lambda name: _is_dataset(client, layout, name))


def _is_dataset(client: S3Client, layout: Layout, name: str) -> bool:
    """A data set has a pointer, our marks or a run."""
    other = Layout(layout.bucket, layout.prefix, name)
    for prefix in (other.current, other.marks):
        page = client.list_objects_v2(Bucket=layout.bucket, Prefix=prefix, MaxKeys=1)
        if any(item["Key"] == other.current or prefix == other.marks for item in page.get("Contents", ())):
            return True
    runs = client.list_objects_v2(Bucket=layout.bucket, Prefix=other.runs, Delimiter="/", MaxKeys=10)
    names = (entry["Prefix"].removeprefix(other.runs) for entry in runs.get("CommonPrefixes", ()))
    return any(RUN_NAME.fullmatch(run.rstrip("/")) for run in names)
