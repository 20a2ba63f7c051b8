"""What every export is given, what it does and what it leaves. `registry.py` names them all."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from imagehaul.entity import Addresses, Entity, Images, Reject
from imagehaul.metadata import MetadataColumn
from imagehaul.records import BoxSpace


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the data set comes from: its run, its sources, and in a line each what was found of its quality."""

    run: str = ""
    sources: tuple[str, ...] = ()
    quality: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """The data set as a whole. `images`: entities to come. `classes`: the labels of their boxes, in a stable order.

    `created`, `time`: when the data set was first published, and now, in ISO 8601. `rejects`: reads what was not sent.
    `columns`: the metadata that entities and their boxes may have, typed and named. `proofs`: images by their proof.
    """

    addresses: Addresses
    images: int
    classes: tuple[str, ...]
    software: str
    created: str
    time: str
    box_space: BoxSpace
    rejects: Callable[[], Iterator[Reject]]
    columns: tuple[MetadataColumn, ...] = ()
    origin: Origin = Origin()
    proofs: Mapping[str, int] = field(default_factory=dict)

    @property
    def dataset(self) -> str:
        return self.addresses.layout.dataset


@dataclass(frozen=True, slots=True)
class Exported:
    """What one export came to.

    `name`: of its file below the run's export, or of its folder, which ends in `/`. `left_out`: what the format
    cannot carry, in words for many of them ("captions"), and how many there were.
    """

    name: str
    left_out: Counter[str] = field(default_factory=Counter)


class Export(Protocol):
    """One format at work. It is opened with an `Opener`, is given each entity once, in order, and is closed.

    Whatever it keeps in memory must not grow with the number of entities.
    """

    def write(self, entity: Entity) -> None: ...

    def close(self) -> Exported:
        """Sends what is not sent yet."""


class ColumnExport(Protocol):
    """The same for a format that is written by column, many images at a time."""

    def write_images(self, images: Images) -> None: ...

    def close(self) -> Exported: ...


class ExportFiles:
    """The files of exports: each is written on the scratch disk, sent when it is whole, and then removed.

    `send(file, name)` brings a file into the store, `name` below the run's export. `read(key)` gives the bytes of an
    object of the data set; threads may call it side by side. `sha256`: in hex, of each file that was sent, by name.
    """

    def __init__(self, folder: Path, send: Callable[[Path, str], None], read: Callable[[str], bytes]) -> None:
        self._folder, self._send, self.read = folder, send, read
        self.sha256: dict[str, str] = {}
        self._open: set[BinaryIO] = set()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind:
            return  # Writers that end now would still write to their files.
        for file in self._open:
            file.close()
            Path(file.name).unlink()

    def create(self) -> BinaryIO:
        """A new file, to write and to read. One that is not sent is removed at the end."""
        self._number += 1
        file = (self._folder / f"export-{self._number:06d}").open("w+b")
        self._open.add(file)
        return file

    def send(self, file: BinaryIO, name: str) -> None:
        file.close()
        self._open.discard(file)
        path = Path(file.name)
        with path.open("rb") as content:
            self.sha256[name] = hashlib.file_digest(content, "sha256").hexdigest()
        self._send(path, name)
        path.unlink()


Opener = Callable[[About, ExportFiles], Export]
ColumnOpener = Callable[[About, ExportFiles], ColumnExport]
