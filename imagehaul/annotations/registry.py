"""What is known about the images already: boxes, labels and captions, whatever format they come in.

A new format is a module that yields `Annotation` and `AnnotationProblem`, and its place in `_open` below.
"""

from __future__ import annotations

import itertools
import os
import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.annotations.coco import read_coco
from imagehaul.annotations.folder import LabelFile, label_files
from imagehaul.annotations.tables import read_table
from imagehaul.annotations.voc import read_voc, read_voc_file
from imagehaul.annotations.yolo import NAME_FILES, read_yolo, read_yolo_file, starts_as_label
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem
from imagehaul.text import legible

EXAMPLES = 3

_BOX_FILES = ("object_annotations.csv", "object_annotations.parquet", "annotations.json")
_LABEL_FILES = ("image_annotations.csv", "image_annotations.parquet")
DOCUMENTED_NAMES = _BOX_FILES + _LABEL_FILES
"""What lies beside the images: https://docs.visual-layer.com/docs/Creating-Datasets/importing-annotations"""

_SUFFIXES = {".csv", ".parquet", ".json", ".xml", ".txt", *(posixpath.splitext(name)[1] for name in NAME_FILES)}

_KNOWN = (
    f"Known are {', '.join(DOCUMENTED_NAMES)} (or a .csv, .parquet or .json file under any name), "
    "a folder of Pascal VOC XML files and one of YOLO text files."
)

_Items = Iterator[Annotation | AnnotationProblem]


@dataclass(slots=True)
class ProblemCount:
    count: int = 0
    used: bool = False
    examples: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Reading:
    """The annotations of one file or folder, to be iterated once; the counts are whole when that is done.

    `problems` by their reason. Iterating raises AnnotationError where the file is broken further on.
    """

    format: str
    shown: str
    items: _Items = field(repr=False)
    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[str, ProblemCount] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Annotation]:
        for item in self.items:
            if isinstance(item, Annotation):
                self.counts[item.kind] += 1
                yield item
            else:
                problem = self.problems.setdefault(item.reason, ProblemCount(used=item.used))
                problem.count += 1
                if len(problem.examples) < EXAMPLES:
                    problem.examples.append(legible(item.where))

    def summary(self) -> str:
        """`boxes.csv (object table): 3 boxes, 1 label`."""
        plurals = {"box": "boxes", "label": "labels", "caption": "captions"}
        counted = [
            f"{count:,} {kind if count == 1 else plurals[kind]}" for kind in plurals if (count := self.counts[kind])
        ]
        return f"{self.shown} ({self.format}): {', '.join(counted) or 'nothing'}"

    def warnings(self) -> list[str]:
        """A line for each sort of problem: how often, and where for example."""
        return [
            f"{reason} ({problem.count:,} times, e.g. {problem.examples[0]})"
            if problem.count > 1
            else f"{reason} ({problem.examples[0]})"
            for reason, problem in self.problems.items()
        ]


def is_annotation_file(name: str) -> bool:
    """Whether a file of this base name tells of the images in its folder and below."""
    return name in DOCUMENTED_NAMES


def may_tell_of_images(name: str) -> bool:
    """Whether a file in a folder of annotations is worth a download: a label file, a table or a list of classes."""
    return posixpath.splitext(name)[1].lower() in _SUFFIXES


def choose_annotations(names: Iterable[str]) -> list[str]:
    """The documented names among these of one folder. Raises AnnotationError where two say the same twice."""
    found = set(names)
    for alike in (_BOX_FILES, _LABEL_FILES):
        if len(rivals := [name for name in alike if name in found]) > 1:
            raise AnnotationError(
                f"{' and '.join(rivals)} lie side by side, and what both say would count twice.\n"
                "Keep one of them, or name the one that counts with --annotations."
            )
    return [name for name in DOCUMENTED_NAMES if name in found]


def find_annotations(folder: Path) -> list[Path]:
    """The annotation files that lie in this folder under their documented names, not below it."""
    there = (name for name in DOCUMENTED_NAMES if os.path.lexists(folder / name))
    return [folder / name for name in choose_annotations(there)]


def folder_in_source(location: Path, source: Path) -> str | None:
    """The folder that `Annotation.folder` speaks of, for a file or folder of annotations."""
    folder = os.path.realpath(location if location.is_dir() else location.parent)
    relative = Path(os.path.relpath(folder, os.path.realpath(source)))
    if ".." in relative.parts:
        return None
    return "" if relative == Path() else relative.as_posix()


def read_annotations(location: Path, scratch: Path, folder: str | None = None, shown: str | None = None) -> Reading:
    """A stream of what a file or a folder says; memory does not grow with either.

    `folder`: where it lies relative to the source, None = outside. `scratch` holds the joins of COCO files.
    `shown` is how messages name it, where it was downloaded. Raises AnnotationError where it is not there,
    no annotation, or more than one thing.
    """
    shown = str(location) if shown is None else shown.rstrip("/")
    if not location.exists():
        raise AnnotationError(f"There are no annotations at {shown}.\nCorrect the path, or leave the option out.")
    kind, items = _open(location, scratch, folder, shown)
    return Reading(kind, shown, items)


def _open(location: Path, scratch: Path, folder: str | None, shown: str) -> tuple[str, _Items]:
    if location.is_dir():
        return _open_folder(location, scratch, folder, shown)
    suffix = location.suffix.lower()
    if suffix in (".csv", ".parquet"):
        return read_table(location, shown, folder)
    if suffix == ".json":
        return "COCO", read_coco(location, shown, folder, scratch)
    if suffix == ".xml":
        return "Pascal VOC", read_voc_file(LabelFile(location, location.name, shown), folder)
    if suffix == ".txt":
        return "YOLO", read_yolo_file(LabelFile(location, location.name, shown), folder)
    mend = "\nFor YOLO, name the folder of the label files." if suffix in (".yaml", ".yml", ".names") else ""
    raise AnnotationError(f"{shown}: no known annotation format.\n{_KNOWN}{mend}")


def _open_folder(root: Path, scratch: Path, folder: str | None, shown: str) -> tuple[str, _Items]:
    if files := find_annotations(root):
        opened = [_open(file, scratch, folder, f"{shown}/{file.name}") for file in files]
        kinds, items = zip(*opened, strict=True)
        return ", ".join(kinds), itertools.chain(*items)
    voc, yolo, suffixes = _survey(root, shown)
    if voc and yolo:
        raise AnnotationError(
            f"{shown} holds both Pascal VOC ({voc}) and YOLO ({yolo}).\nName the folder of the one that counts."
        )
    if voc:
        return "Pascal VOC", read_voc(label_files(root, shown), folder)
    if yolo:
        return "YOLO", read_yolo(label_files(root, shown), root, folder)
    found = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(5))
    raise AnnotationError(f"{shown}: no annotations in this folder; it holds {found or 'no files'}.\n{_KNOWN}")


def _survey(root: Path, shown: str) -> tuple[str, str, Counter[str]]:
    """An XML file, a text file that begins like a label file, and how many files there are of each suffix."""
    voc = yolo = ""
    suffixes: Counter[str] = Counter()
    for entry in label_files(root, shown):
        if isinstance(entry, AnnotationProblem):
            continue
        suffixes[entry.suffix] += 1
        if not voc and entry.suffix == ".xml":
            voc = entry.path
        elif not yolo and entry.suffix == ".txt" and starts_as_label(entry):
            yolo = entry.path
    return voc, yolo, suffixes
