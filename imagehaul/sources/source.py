"""What a source of images is: how it is described, how it is opened, and what it then does.

    describe_source   SOURCE, as the user wrote it → `SourceDescriptor`, which can be pickled and holds no secret
    open_source       descriptor and tools → `Source`; in the process that leads a run, and in every worker
    Source            `scan` lists it; `fetch`, `has_changed` and `copy_from` work on what was listed

`imagehaul/sources/registry.py` has the two functions, and one line for each kind.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from imagehaul.errors import SourceError
from imagehaul.layout import Layout, split_s3_uri
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources.scan_report import ScanReport
from imagehaul.store.endpoint import Store


@dataclass(frozen=True, slots=True)
class SourceDescriptor:
    """One source, as a plain record that travels with a batch. `type`: its name in the registry.

    `uri`: an absolute path, or `s3://bucket/prefix/`.
    """

    type: str
    uri: str
    options: SourceOptions = field(default_factory=SourceOptions)

    def __str__(self) -> str:
        return self.uri

    @property
    def folder(self) -> Path | None:
        """Where annotations may lie beside the images, on this machine; None where that is in a store."""
        return Path(self.uri) if self.type == "folder" else None

    @property
    def prefix(self) -> tuple[str, str] | None:
        """The same in a store: bucket and prefix, the latter "" or ending in `/`."""
        return split_s3_uri(self.uri) if self.type == "prefix" else None


class SourceMemory(Protocol):
    """Small files that a scan leaves for the next run. What is lost costs a run some time, and nothing else."""

    def load(self, name: str, file: Path) -> bool:
        """Writes what was kept under the name into the file; False where there is nothing."""
        ...

    def save(self, name: str, file: Path) -> None: ...


@dataclass(frozen=True, slots=True)
class SourceTools:
    """What the process that opens a source has of its own.

    `store`: where the source lies, if it lies in one. `workers`: objects that are fetched at the same time.
    `layout`: the data set that is delivered, so that a scan leaves it out. `scratch`: for temporary files, None = the
    system's folder. `can_copy`: the target's store can read the source by itself. `memory`: what earlier scans left,
    None = nothing is kept. `tells_of_images`: whether a file of that name may be annotations, which an archive has to
    unpack for others.
    """

    store: Store | None = None
    workers: int = 32
    layout: Layout | None = None
    scratch: Path | None = None
    can_copy: bool = True
    memory: SourceMemory | None = None
    tells_of_images: Callable[[str], bool] = lambda name: False

    def need_store(self) -> Store:
        """Raises `SourceError` where the source lies in a store and none is given."""
        if self.store is None:
            raise SourceError("The source lies in an object store, and none is given.")
        return self.store


class Entry(Protocol):
    """What a source knows its own entry by, later than the scan: a `SourceFile` or a `PlannedImage`."""

    @property
    def path(self) -> str: ...

    @property
    def location(self) -> str: ...

    @property
    def size(self) -> int: ...

    @property
    def version(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A local file with the image's bytes, or the beginning of them (`partial`); or the code that says why not.

    `version`: as in `PictureJob`. `size`: in bytes, where the scan could not know it; -1 = as planned.
    """

    file: str = ""
    version: str = ""
    partial: bool = False
    code: str = ""
    message: str = ""
    size: int = -1


@dataclass(frozen=True, slots=True)
class CopyOrigin:
    """The object that a store can copy by itself, as long as its ETag is `etag`.

    `etag_is_md5`: the copy will have the same one; a multipart ETag says nothing that a copy will have again.
    """

    bucket: str
    key: str
    etag: str
    etag_is_md5: bool


@runtime_checkable
class Staging(Protocol):
    """A source that can be read in order alone: one reader lays out what each batch needs before its turn."""

    @property
    def is_sequential(self) -> bool: ...

    def stage(self, entries: Sequence[Entry]) -> list[Path]:
        """The files, to be removed after the batch. `entries`: in the order of the scan, and of all earlier calls."""
        ...


class Source(Protocol):
    """An opened source."""

    def scan(self, report: ScanReport) -> Iterator[SourceFile]:
        """Every image, as a stream, each path once; `report` counts what was left out.

        Raises `SourceError` where it cannot be listed whole: what it holds is unknown then, and not gone.
        """
        ...

    def fetch(self, entries: Sequence[Entry], whole: Sequence[bool], folder: Path) -> list[Fetched]:
        """One answer for each; `whole` says of which all bytes are needed. `folder`: for what must be downloaded."""
        ...

    def has_changed(self, entry: Entry) -> bool:
        """Whether it is another now than it was when it was listed, or gone."""
        ...

    def copy_from(self, entry: Entry) -> CopyOrigin | None:
        """Where the target's store can copy it from; None where its bytes have to go through us."""
        ...


@dataclass(frozen=True, slots=True)
class SourceType:
    """A line of the registry. `recognizes`: whether a SOURCE has this kind's form.

    `describe` raises `SourceError` where it cannot be one. Its third parameter is the folder for temporary
    files, "" = the system's.
    """

    name: str
    recognizes: Callable[[str], bool]
    describe: Callable[[str, SourceOptions, str], SourceDescriptor]
    open: Callable[[SourceDescriptor, SourceTools], Source]


def sha256_of(source: Source, entry: Entry, scratch: Path) -> str:
    """In hex, of the bytes that the source has; "" where it no longer has those that were listed."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        [fetched] = source.fetch([entry], [True], Path(folder))
        if fetched.code:
            return ""
        with open(fetched.file, "rb") as file:  # noqa: PTH123 (a name with surrogates stays as it is)
            return hashlib.file_digest(file, "sha256").hexdigest()
