"""What a format of annotations is to the registry: how it is found, how it is known, how it is read."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from imagehaul.annotations.folder import LabelFile
from imagehaul.annotations.place import Place
from imagehaul.metadata import MetadataReader
from imagehaul.records import Annotation, AnnotationProblem

Items: TypeAlias = Iterator[Annotation | AnnotationProblem]


@dataclass(frozen=True, slots=True)
class TableMetadata:
    """What has columns of its own: the rows of tables of images, and of tables of objects."""

    images: MetadataReader = field(default_factory=lambda: MetadataReader("image"))
    objects: MetadataReader = field(default_factory=lambda: MetadataReader("object"))


@dataclass(frozen=True, slots=True)
class Location:
    """One file or folder of annotations, on this machine.

    `folder`: what holds it (a folder: itself) relative to the source, "" for the source itself, None = outside.
    `shown`: as messages name it. `scratch`: a folder for joins. `source_name`: the source's own last folder.
    """

    path: Path
    shown: str
    folder: str | None
    scratch: Path
    metadata: TableMetadata = field(default_factory=TableMetadata)
    source_name: str = ""

    @property
    def root(self) -> str:
        """The folder, as messages name it."""
        return self.shown if self.path.is_dir() else posixpath.dirname(self.shown)

    def places(self, *others: str) -> tuple[str, ...]:
        """The folders of the source in which a name is looked for, best first; `others` come between."""
        seen_from = () if self.folder is None else (self.folder,)
        return tuple(dict.fromkeys((*seen_from, *others, "")))


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in a place under one of a format's own names. Paths are relative to the place.

    `says`: what two of would count twice. `documented`: by the exact name that Visual Layer documents, and not by
    the layout of a data set. `needs`: what is read along with it.
    """

    path: str
    says: Literal["boxes", "labels"] = "boxes"
    documented: bool = False
    needs: tuple[str, ...] = ()


def _nothing(_place: Place) -> list[Found]:
    return []


@dataclass(frozen=True, slots=True)
class AnnotationFormat:
    """`name`: for people. `suffixes`: of files that it reads under any name. `find`: what a place holds under the
    format's own names.

    `claims`: whether a file is one of its label files, where each image has one, and a folder of them is read as one;
    None: one file tells of all images. `beside`: names of files without which label files are not understood.
    `read`: what the location holds, in words, and a stream of it; raises AnnotationError.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Location], tuple[str, Items]]
    find: Callable[[Place], list[Found]] = _nothing
    claims: Callable[[LabelFile], bool] | None = None
    beside: tuple[str, ...] = ()
