"""A folder of label files, one for each image: its files as a stream, their bytes, and whose they are."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem
from imagehaul.splits import folder_of_split, split_of_folder, told_apart

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


def label_files(root: Path, shown: str, folders: Iterable[str] = ("",)) -> Iterator[LabelFile | AnnotationProblem]:
    """All files below these folders of `root`, in no order and never all in memory; links to folders are not followed.

    Raises AnnotationError where a folder cannot be read whole.
    """
    waiting = [f"{folder}/" if folder else "" for folder in folders]
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
                    elif not entry.is_file() and not entry.is_symlink():
                        yield AnnotationProblem("A pipe or a device: not read", f"{shown}/{path}")
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


@dataclass(frozen=True, slots=True)
class Image:
    """Whose a label file is: the stem of an image's path, where it is looked for, and what no guess may cross."""

    reference: str
    places: tuple[str, ...]
    apart: tuple[str, ...]


def image_of(stem: str, folder: str | None, root: str, labels: str, images: str) -> Image:
    """The image that a label file is about.

    Where the last folder called `labels` stands in the path, its image lies in one called `images`:
    `labels/train/a.txt` is about `images/train/a.jpg`. Elsewhere both have the same relative path. `folder`: what
    holds the label files, relative to the source, None = outside; `root`: the same folder as messages name it.
    """
    apart = told_apart(posixpath.dirname(stem), root if folder is None else folder)
    parts = (f"{folder}/{stem}" if folder else stem).split("/")
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == labels:
            parts[index] = images
            return Image("/".join(parts), ("",), apart)
    return Image(stem, tuple(dict.fromkeys((folder or "", ""))), apart)


def split_folders(folders: Iterable[str], folder: str | None, labels: str, images: str) -> Iterator[Annotation]:
    """Of the folders that hold label files those that have a split's name, as folders of images."""
    for split_folder in sorted(set(filter(None, map(folder_of_split, folders)))):
        image = image_of(f"{split_folder}/any", folder, "", labels, images)
        reference = posixpath.dirname(image.reference)
        split = split_of_folder(posixpath.basename(split_folder))
        yield Annotation(reference, "folder", "split", split, f"the folder {reference}", image.places)
