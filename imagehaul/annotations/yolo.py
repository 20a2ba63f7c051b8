"""YOLO: a text file for each image, with a line for each object (`yolo_lines`), and its classes' names beside it."""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterable
from pathlib import Path

from imagehaul.annotations.boxes import coordinate
from imagehaul.annotations.folder import LabelFile, content, image_of, label_files, split_folders
from imagehaul.annotations.format import AnnotationFormat, Found, Items, Location
from imagehaul.annotations.place import FolderPlace, Place, below
from imagehaul.annotations.yolo_lines import read_lines
from imagehaul.annotations.yolo_names import (
    NAME_FILES,
    YAML_FILES,
    ClassNames,
    NearestNames,
    Split,
    read_yaml,
    splits_of,
)
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box

_LISTS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "trainval.txt"}


def find(place: Place) -> list[Found]:
    """A YAML file that names folders of this place for its splits; else `labels`, beside a list of classes."""
    for name in YAML_FILES:
        if place.is_file(name) and "names" in (content := read_yaml(place.fetch(name))):
            splits = [split for _, _, split in splits_of(content, place) if split]
            if splits:
                return [Found(name, needs=tuple(dict.fromkeys(split.labels for split in splits)))]
    if place.is_folder("labels") and any(map(place.is_file, NAME_FILES)):
        return [Found("labels", needs=tuple(filter(place.is_file, NAME_FILES)))]
    return []


def read(location: Location) -> tuple[str, Items]:
    """Raises AnnotationError where the file or the class names cannot be read."""
    if location.path.is_dir():
        return "YOLO", _read_folder(location)
    if location.path.suffix.lower() == ".txt":
        entry = LabelFile(location.path, location.path.name, location.shown)
        return "YOLO", _boxes(entry, _lines(entry), NearestNames(location.path.parent).of(entry), location)
    place = FolderPlace(location.path.parent)
    splits = list(splits_of(read_yaml(location.path), place))
    if not any(split for _, _, split in splits):
        raise AnnotationError(
            f"{location.shown}: names no folder of images or labels that is here.\n"
            "For YOLO, name the folder of the label files."
        )
    return "YOLO", _read_splits(location, place, splits)


def _read_folder(location: Location) -> Items:
    folders: set[str] = set()
    yield from _read_files(location, location.path, [""], folders)
    yield from split_folders(folders, location.folder, "labels", "images")


def _read_splits(location: Location, place: FolderPlace, splits: Iterable[tuple[str, str, Split | None]]) -> Items:
    for name, word, split in splits:
        if split is None:
            yield AnnotationProblem("A split whose folder is not here", f"{location.shown}: {name}: {word}", used=True)
            continue
        images = below(location.folder or "", split.images)
        yield Annotation(images, "folder", "split", name, f"{location.shown}: {name}", ("",))
        if place.is_folder(split.labels):
            yield from _read_files(location, place.root, [split.labels], set())
        else:
            reason = "A split without a folder of labels"
            yield AnnotationProblem(reason, f"{location.shown}: {name}: {split.labels}", used=True)


def _read_files(location: Location, root: Path, below_root: Iterable[str], folders: set[str]) -> Items:
    """The label files in these folders; one that cannot be read is a problem that is named, and the others are read.

    `folders` gets those in which label files lie. Raises AnnotationError where the class names cannot be read.
    """
    names = NearestNames(root)
    for entry in label_files(root, location.root, below_root):
        if isinstance(entry, AnnotationProblem):
            yield entry
        elif entry.suffix == ".txt":
            try:
                lines = _lines(entry)
            except AnnotationError as error:
                yield AnnotationProblem("A text file that cannot be read: left out", str(error))
                continue
            # A picture may be called train.jpg all the same.
            if not _is_list(entry) or _begins_as_label(lines):
                folders.add(posixpath.dirname(entry.path))
                yield from _boxes(entry, lines, names.of(entry), location)


def claims(entry: LabelFile) -> bool:
    """Whether the first line that holds anything is one of a label file."""
    if entry.suffix != ".txt":
        return False
    try:
        return _begins_as_label(_lines(entry))
    except AnnotationError:
        return False


def _begins_as_label(lines: list[str]) -> bool:
    words = next((words for line in lines if (words := line.split())), [])
    return len(words) >= 5 and not any(math.isnan(coordinate(word)) for word in words)


def _is_list(entry: LabelFile) -> bool:
    """The name of what stands beside label files: lists of classes or of images, and what an export says of itself."""
    name = posixpath.basename(entry.path).lower()
    return name in _LISTS or name.startswith(("readme", "license"))


def _boxes(entry: LabelFile, lines: list[str], classes: ClassNames, location: Location) -> Items:
    image = image_of(entry.stem, location.folder, location.root, "labels", "images")
    for line in read_lines(lines, classes.pose):
        origin = f"{entry.shown}:{line.number}"
        if line.bounds is None:
            words = lines[line.number - 1][:60]
            yield AnnotationProblem("Not a line of YOLO (class cx cy w h): left out", f"{origin}: {words!r}")
            continue
        if line.remark:
            yield AnnotationProblem(line.remark, origin, used=True)
        label = classes.names.get(line.identity, "")
        if not label:
            label = str(line.identity)
            yield AnnotationProblem(
                f"No class name in {', '.join(NAME_FILES)}: the number is the label",
                f"{origin}: class {label}",
                used=True,
            )
        yield Annotation(
            reference=image.reference,
            match="stem",
            kind="box",
            text=label,
            origin=origin,
            places=image.places,
            apart=image.apart,
            box=Box(*line.bounds, label=label, fraction=True),
        )


def _lines(entry: LabelFile) -> list[str]:
    try:
        return content(entry).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{entry.shown}: not UTF-8 text (byte {error.start + 1}).") from error


FORMAT = AnnotationFormat(
    name="YOLO",
    suffixes=(".txt", ".yaml", ".yml"),
    read=read,
    find=find,
    claims=claims,
    beside=NAME_FILES,
)
