"""What every export is given, what it does and what it leaves. `registry.py` names them all."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import BinaryIO, Protocol, Self

from imagehaul.entity import Addresses, Entity, Images, Reject
from imagehaul.metadata import MetadataColumn
from imagehaul.records import BoxSpace

FILES_AT_ONCE = 4
"""So many finished files are on their way, or wait for it on the scratch disk."""
LARGE = 16 * 1024 * 1024
"""Bytes from which on a file is the only one of its kind on its way, since a part of it is held in memory."""


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

    `send(file, name)` brings a file into the store, `name` below the run's export; threads call it side by side, while
    the next files are written. `read(key)` gives the bytes of an object of the data set, as often at a time.
    `sha256`: in hex, of each file that was sent, by name. All files are in the store when the block ends, which raises
    what `send` raised.
    """

    def __init__(self, folder: Path, send: Callable[[Path, str], None], read: Callable[[str], bytes]) -> None:
        self._folder, self._send, self.read = folder, send, read
        self.sha256: dict[str, str] = {}
        self._open: set[BinaryIO] = set()
        self._number = 0
        self._whole: SimpleQueue[tuple[Path, str] | None] = SimpleQueue()
        self._room, self._one_large = threading.Semaphore(FILES_AT_ONCE), threading.Lock()
        self._threads: list[threading.Thread] = []
        self._failed: BaseException | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for _thread in self._threads:
            self._whole.put(None)
        if kind:
            return  # Writers that end now would still write to their files; and nobody waits for what is on its way.
        for thread in self._threads:
            thread.join()
        self._raise_failed()
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
        """Waits where others are still on their way. Raises what an earlier one has raised."""
        file.close()
        self._open.discard(file)
        path = Path(file.name)
        with path.open("rb") as content:
            self.sha256[name] = hashlib.file_digest(content, "sha256").hexdigest()
        self._room.acquire()
        self._raise_failed()
        self._whole.put((path, name))
        if len(self._threads) < FILES_AT_ONCE:
            # As daemons: an upload that nobody waits for must not keep an interrupted run.
            self._threads.append(threading.Thread(target=self._send_whole, name="exports", daemon=True))
            self._threads[-1].start()

    def _send_whole(self) -> None:
        while item := self._whole.get():
            path, name = item
            try:
                with self._one_large if path.stat().st_size > LARGE else nullcontext():
                    self._send(path, name)
                path.unlink()
            except BaseException as error:  # Raised again where the block ends, or the next file is sent.
                self._failed = self._failed or error
            finally:
                self._room.release()

    def _raise_failed(self) -> None:
        if self._failed:
            raise self._failed


Opener = Callable[[About, ExportFiles], Export]
ColumnOpener = Callable[[About, ExportFiles], ColumnExport]
