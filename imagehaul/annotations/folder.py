"""A folder of label files, one for each image: its files as a stream, their bytes, and whose they are."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagehaul.errors import AnnotationError
from imagehaul.records import AnnotationProblem

MAX_BYTES = 64 * 2**20
"""A label file tells of one image; what is larger than this is something else."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """`path`: relative to the folder that was given, `/` between its parts. `shown`: as messages name it."""

    file: Path
    path: str
    shown: str

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.path)[1].lower()

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.path)[0]


def label_files(root: Path, shown: str) -> Iterator[LabelFile | AnnotationProblem]:
    """All files below `root`, in no order and never all in memory; links to folders are not followed.

    Raises AnnotationError where a folder cannot be read whole.
    """
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    path = prefix + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(f"{path}/")
                    elif not _is_utf8(path):
                        yield AnnotationProblem("The name is not UTF-8: not read", f"{shown}/{_bytes_shown(path)}")
                    elif entry.is_dir():
                        yield AnnotationProblem("A link to a folder: not followed", f"{shown}/{path}")
                    else:
                        yield LabelFile(root / path, path, f"{shown}/{path}")
        except OSError as error:
            folder = _bytes_shown(f"{shown}/{prefix}".rstrip("/"))
            raise AnnotationError(
                f"The annotations cannot be read: {folder}: {error.strerror}.\n"
                "Grant read permission, or name another folder."
            ) from error


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _bytes_shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def content(label_file: LabelFile) -> bytes:
    """Raises AnnotationError where the file cannot be read, or is no file for one image."""
    try:
        with label_file.file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise AnnotationError(f"{label_file.shown}: cannot be read: {error.strerror}.") from error
    if len(data) > MAX_BYTES:
        raise AnnotationError(f"{label_file.shown}: larger than 64 MiB, which is no file for one image.")
    return data


def image_of(stem: str, folder: str | None, labels: str, images: str) -> tuple[str, str | None]:
    """The stem of the image that a label file is about, and the folder which that is relative to.

    Where the last folder called `labels` stands in the path, its image lies in one called `images`:
    `labels/train/a.txt` is about `images/train/a.jpg`. Elsewhere both have the same relative path.
    """
    parts = (f"{folder}/{stem}" if folder else stem).split("/")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == labels:
            parts[index] = images
            return "/".join(parts), "" if folder is not None else None
    return stem, folder
