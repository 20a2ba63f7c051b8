"""What every export is given, does and leaves: the door to this room. `registry.py` names them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol, Self

from imagehaul.entity import Addresses, Entity


@dataclass(frozen=True, slots=True)
class About:
    """The data set as a whole. `images`: entities to come. `created`, `time`: of the data set and of now, ISO 8601."""

    addresses: Addresses
    images: int
    software: str
    created: str
    time: str

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


class ExportFiles:
    """The files of exports: each is written on the scratch disk, sent when it is whole, and then removed.

    `send(file, name)` brings a file into the store, `name` below the run's export.
    """

    def __init__(self, folder: Path, send: Callable[[Path, str], None]) -> None:
        self._folder, self._send = folder, send
        self._open = ExitStack()
        self._number = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def create(self) -> BinaryIO:
        """A new file, to write and to read. It is closed at the end of the context at the latest."""
        self._number += 1
        return self._open.enter_context((self._folder / f"export-{self._number:06d}").open("w+b"))

    def send(self, file: BinaryIO, name: str) -> None:
        file.close()
        path = Path(file.name)
        self._send(path, name)
        path.unlink()


Opener = Callable[[About, ExportFiles], Export]
