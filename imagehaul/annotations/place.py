"""A folder in which annotations are looked for, wherever it is: on this machine, in a store, in an archive."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Place(Protocol):
    """Paths are relative to it, with `/` between their parts; "" is the folder itself.

    `files` and `folders` give the names of what lies directly in a folder, in order, and nothing for one that is not
    there. `fetch` gives a file or folder of this machine with the same content; what is fetched keeps its path
    relative to the others.
    """

    def is_file(self, path: str) -> bool: ...

    def is_folder(self, path: str) -> bool: ...

    def files(self, folder: str) -> list[str]: ...

    def folders(self, folder: str) -> list[str]: ...

    def fetch(self, path: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine."""

    root: Path

    def is_file(self, path: str) -> bool:
        """A dangling link too, so that reading it fails and says so."""
        there = self.root / path
        return os.path.lexists(there) and not there.is_dir()

    def is_folder(self, path: str) -> bool:
        return (self.root / path).is_dir()

    def files(self, folder: str) -> list[str]:
        return [name for name, is_folder in self._names(folder) if not is_folder]

    def folders(self, folder: str) -> list[str]:
        return [name for name, is_folder in self._names(folder) if is_folder]

    def fetch(self, path: str) -> Path:
        return self.root / path

    def _names(self, folder: str) -> list[tuple[str, bool]]:
        try:
            with os.scandir(self.root / folder) as entries:
                return sorted((entry.name, _is_folder(entry)) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A link that leads to itself is no folder; whoever needs what it stands for says so.
        return False


def below(folder: str, *names: str) -> str:
    """The path without its detours; "" for the place itself, and one that begins with `..` for what lies outside."""
    path = posixpath.normpath(posixpath.join(folder, *names))
    return "" if path == "." else path
