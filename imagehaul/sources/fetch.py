"""How a batch gets at the files of its images: in a folder, or in the store."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagehaul.records import PlannedImage
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.transfer.copier import Download, download

HEADER_BYTES = 64 * 1024
"""What is read of an image in the store of which nothing is rendered: enough for nearly every header."""

READ_AT_ONCE = 1 << 20

_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Fetched:
    """A local file with the image's bytes, or the beginning of them (`partial`); or the code that says why not.

    `version`: as in `PictureJob`.
    """

    file: str = ""
    version: str = ""
    partial: bool = False
    code: str = ""
    message: str = ""


class Fetcher(Protocol):
    """What a batch asks of it. `fetch`: one answer for each image; `whole` says of which all bytes are needed."""

    def fetch(self, images: Sequence[PlannedImage], whole: Sequence[bool], folder: Path) -> list[Fetched]: ...

    def in_store(self, image: PlannedImage) -> tuple[str, str] | None: ...

    def has_md5(self, image: PlannedImage) -> bool: ...

    def has_changed(self, path: str, size: int, version: str) -> bool: ...

    def sha256_of(self, path: str) -> str: ...


@dataclass(frozen=True, slots=True)
class FolderFetcher:
    root: Path

    def fetch(self, images: Sequence[PlannedImage], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        root = f"{self.root}".rstrip("/")
        return [Fetched(f"{root}/{image.path}", image.version) for image in images]

    def in_store(self, image: PlannedImage) -> tuple[str, str] | None:
        return None

    def has_md5(self, image: PlannedImage) -> bool:
        return True

    def has_changed(self, path: str, size: int, version: str) -> bool:
        try:
            now = (self.root / path).stat()
        except OSError:
            return True
        return (now.st_size, str(now.st_mtime_ns)) != (size, version)

    def sha256_of(self, path: str) -> str:
        with (self.root / path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, slots=True)
class PrefixFetcher:
    """`prefix` is "" or ends in `/`. The store copies its objects by itself; only what is looked at is downloaded."""

    store: Store
    bucket: str
    prefix: str
    workers: int

    def fetch(self, images: Sequence[PlannedImage], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        wanted = [
            Download(
                key=self.prefix + image.path,
                file=folder / f"{'whole' if all_of_it else 'header'}-{index}",
                etag=image.version,
                size=image.size,
                first_bytes=0 if all_of_it else HEADER_BYTES,
            )
            for index, (image, all_of_it) in enumerate(zip(images, whole, strict=True))
        ]
        results = download(self.store, self.bucket, wanted, self.workers)
        return [
            Fetched(file=str(item.file), partial=item.first_bytes > 0)
            if result.outcome == "sent"
            else Fetched(code=result.code, message=result.message)
            for item, result in zip(wanted, results, strict=True)
        ]

    def in_store(self, image: PlannedImage) -> tuple[str, str] | None:
        return self.bucket, self.prefix + image.path

    def has_md5(self, image: PlannedImage) -> bool:
        """Whether the ETag is one that the copy will have again; a multipart ETag is not."""
        return bool(_MD5.fullmatch(image.version))

    def has_changed(self, path: str, size: int, version: str) -> bool:
        client = self.store.client()
        try:
            head = client.head_object(Bucket=self.bucket, Key=self.prefix + path)
        except client.exceptions.ClientError as error:
            if is_missing(error):
                return True
            raise
        return (head["ContentLength"], head["ETag"].strip('"')) != (size, version)

    def sha256_of(self, path: str) -> str:
        sha256 = hashlib.sha256()
        body = self.store.client().get_object(Bucket=self.bucket, Key=self.prefix + path)["Body"]
        for chunk in body.iter_chunks(READ_AT_ONCE):
            sha256.update(chunk)
        return sha256.hexdigest()
