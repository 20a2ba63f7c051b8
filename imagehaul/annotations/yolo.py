"""YOLO: a text file for each image, with a line for each object, in shares of the picture's width and height.

https://docs.ultralytics.com/datasets/detect/, /segment, /obb and /pose: `class cx cy w h`, with a confidence
behind it in predictions; `class x1 y1 x2 y2 …` for a polygon or a rotated box, of which the upright hull is taken.
"""

from __future__ import annotations

import math
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from imagehaul.annotations.boxes import coordinate, from_centre, hull
from imagehaul.annotations.folder import LabelFile, content, image_of
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.text import legible

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "obj.names")
_LISTS = {"classes.txt", "train.txt", "val.txt", "valid.txt", "test.txt", "trainval.txt"}
_NAMES_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class ClassNames:
    """`pose`: the lines carry keypoints behind the box, which look like a polygon's points."""

    names: dict[int, str] = field(default_factory=dict)
    pose: bool = False


def read_yolo(
    files: Iterator[LabelFile | AnnotationProblem], root: Path, folder: str | None
) -> Iterator[Annotation | AnnotationProblem]:
    """Label files below `root`; one that cannot be read is a problem that is named, and the others are read.

    Raises AnnotationError where the class names cannot be read.
    """
    names = _NearestNames(root)
    for entry in files:
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
                yield from _boxes(entry, lines, names.of(entry), folder)


def read_yolo_file(entry: LabelFile, folder: str | None) -> Iterator[Annotation | AnnotationProblem]:
    """Raises AnnotationError where the file or the class names cannot be read."""
    yield from _boxes(entry, _lines(entry), _NearestNames(entry.file.parent).of(entry), folder)


def starts_as_label(entry: LabelFile) -> bool:
    """Whether the first line that holds anything is one of a label file."""
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


def _boxes(
    entry: LabelFile, lines: list[str], classes: ClassNames, folder: str | None
) -> Iterator[Annotation | AnnotationProblem]:
    reference, seen_from = image_of(entry.stem, folder, "labels", "images")
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        origin = f"{entry.shown}:{number}"
        identity = coordinate(words[0])
        bounds = _bounds(words, classes.pose)
        if bounds is None or not identity.is_integer() or identity < 0:
            yield AnnotationProblem("Not a line of YOLO (class cx cy w h): left out", f"{origin}: {line[:60]!r}")
            continue
        label = classes.names.get(int(identity), "")
        if not label:
            label = str(int(identity))
            yield AnnotationProblem(
                f"No class name in {', '.join(NAME_FILES)}: the number is the label",
                f"{origin}: class {label}",
                used=True,
            )
        yield Annotation(
            reference=reference,
            match="stem",
            kind="box",
            text=label,
            origin=origin,
            folder=seen_from,
            box=Box(*bounds, label=label, fraction=True),
        )


def _bounds(words: list[str], pose: bool) -> tuple[float, float, float, float] | None:
    count = len(words)
    if count in (5, 6) or (pose and count > 6):
        return from_centre(*words[1:5])
    if count == 10:  # A rotated box and its confidence.
        words = words[:9]
    elif count < 7 or count % 2 == 0:
        return None
    return hull([coordinate(word) for word in words[1:]])


def _lines(entry: LabelFile) -> list[str]:
    try:
        return content(entry).decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{entry.shown}: not UTF-8 text (byte {error.start + 1}).") from error


class _NearestNames:
    """The class names that lie nearest to a label file: in its folder or above it, up to `root`'s parent.

    One level more where `root` is `…/labels/train` or `…/train/labels`, whose `data.yaml` lies there.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._known: dict[Path, ClassNames] = {}
        levels = 2 if "labels" in (self._root.name, self._root.parent.name) else 1
        self._top = [self._root, *self._root.parents][: levels + 1][-1]

    def of(self, entry: LabelFile) -> ClassNames:
        return self._in(self._root / posixpath.dirname(entry.path))

    def _in(self, folder: Path) -> ClassNames:
        if folder not in self._known:
            found = read_class_names(folder)
            if found is None:
                found = ClassNames() if folder == self._top else self._in(folder.parent)
            self._known[folder] = found
        return self._known[folder]


def read_class_names(folder: Path) -> ClassNames | None:
    """Raises AnnotationError where a file of names is there and cannot be understood."""
    for name in NAME_FILES:
        file = folder / name
        if not file.is_file():
            continue
        try:
            with file.open("rb") as opened:
                data = opened.read(_NAMES_BYTES + 1)
            text = data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise AnnotationError(f"The class names cannot be read: {file}: {error}.") from error
        if len(data) > _NAMES_BYTES:
            raise AnnotationError(f"The class names cannot be read: {file} is larger than 1 MiB.")
        if file.suffix not in (".yaml", ".yml"):
            return ClassNames({i: line.strip() for i, line in enumerate(text.split("\n")) if line.strip()})
        if (found := _from_yaml(text, file)) is not None:
            return found
    return None


def _from_yaml(text: str, file: Path) -> ClassNames | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        # All scalars as strings, or a class called "1.0" or "null" would change its name. The parser in C
        # crashes the process on deep nesting.
        content = YAML(typ="base", pure=True).load(text)
    except (YAMLError, RecursionError) as error:
        reason = legible(" ".join(str(error).split()))
        raise AnnotationError(f"The class names cannot be read: {file} is not valid YAML: {reason}") from error
    if not isinstance(content, dict) or "names" not in content:
        return None
    names = content["names"]
    pairs = dict(enumerate(names)) if isinstance(names, list) else names
    if (
        not isinstance(pairs, dict)
        or not all(str(key).isdecimal() and len(str(key)) < 10 for key in pairs)
        or not all(isinstance(name, str) for name in pairs.values())
    ):
        raise AnnotationError(
            f"The class names cannot be read: {file}: `names` must be a list of names, or number: name."
        )
    return ClassNames({int(key): name for key, name in pairs.items()}, pose="kpt_shape" in content)
