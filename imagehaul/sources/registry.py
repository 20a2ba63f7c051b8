"""The source of a delivery: a folder, or `s3://bucket/prefix`, listed as a stream."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagehaul.errors import SourceError
from imagehaul.layout import Layout, split_s3_uri
from imagehaul.records import SourceFile
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import list_folder
from imagehaul.sources.prefix import list_prefix
from imagehaul.sources.scan_report import Census

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True, slots=True)
class Source:
    """`folder` is absolute; for an S3 source `bucket` and `prefix` are set, the latter "" or ending in `/`."""

    kind: Literal["folder", "s3"]
    folder: Path = Path()
    bucket: str = ""
    prefix: str = ""

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}" if self.kind == "s3" else str(self.folder)


def check_source(source: str, scratch: str = "") -> Source:
    """What the user named as SOURCE; an S3 source is not asked yet.

    Raises `SourceError` where it cannot be one, or where the folder `scratch` lies in it: what a killed run
    left there would be taken for images.
    """
    if source.startswith("s3://"):
        return Source("s3", Path(), *split_s3_uri(source))
    if "://" in source:
        raise SourceError(f"The source {source!r} is neither a folder nor s3://bucket/prefix. Give one of these.")
    if not source.strip():
        raise SourceError("The source is empty. Give a folder or s3://bucket/prefix.")
    folder = Path(os.path.abspath(os.path.expanduser(source)))  # noqa: PTH100, PTH111 - these never raise
    try:
        folder.stat()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise SourceError(f"The source {str(folder)!r} cannot be read: {why}.") from None
    if not folder.is_dir():
        raise SourceError(f"The source {str(folder)!r} is a file. Give its folder, {str(folder.parent)!r}.")
    if scratch and Path(scratch).resolve().is_relative_to(folder.resolve()):
        raise SourceError(f"SCRATCH={scratch} lies in the source {str(folder)!r}. Name a folder outside of it.")
    return Source("folder", folder)


def list_source(
    source: Source,
    selection: Selection,
    census: Census,
    *,
    follow_links: bool,
    client: S3Client,
    layout: Layout,
) -> Iterator[SourceFile]:
    """Every image of the source, each path once. `census` counts it, and all that was left out.

    Raises `SourceError` where the source cannot be listed whole, is the data set itself, or holds no image.
    """
    if source.kind == "s3":
        files = list_prefix(client, source.bucket, source.prefix, selection, census, layout)
    else:
        files = list_folder(source.folder, selection, census, follow_links)
    for file in files:
        census.images += 1
        yield file
    census.refuse_none(str(source))
