"""What stands beside YOLO's label files: the names of the classes, and the folders of each split.

https://docs.ultralytics.com/datasets/detect/#ultralytics-yolo-format
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagehaul.annotations.folder import LabelFile
from imagehaul.annotations.place import Place, below
from imagehaul.errors import AnnotationError
from imagehaul.text import printable

YAML_FILES = ("data.yaml", "data.yml", "dataset.yaml")
NAME_FILES = (*YAML_FILES, "classes.txt", "obj.names")
SPLITS = ("train", "val", "test")
_NAMES_BYTES = 2**20
_NESTED = 100
"""More than any such file is. Without a limit 100,000 brackets take seconds: the time grows with their square."""


@dataclass(frozen=True, slots=True)
class ClassNames:
    """`pose`: the lines carry keypoints behind the box, which look like a polygon's points."""

    names: dict[int, str] = field(default_factory=dict)
    pose: bool = False


@dataclass(frozen=True, slots=True)
class Split:
    """Folders relative to the YAML file's; `labels` may be the same as `images`."""

    name: str
    images: str
    labels: str


class NearestNames:
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
        if file.suffix in (".yaml", ".yml"):
            if (found := _from_yaml(read_yaml(file), file)) is not None:
                return found
        else:
            lines = _content(file).split("\n")
            return ClassNames({i: line.strip() for i, line in enumerate(lines) if line.strip()})
    return None


def read_yaml(file: Path) -> dict[str, Any]:
    """Raises AnnotationError where the file cannot be read or is no YAML; all values are texts."""
    from ruamel.yaml import YAML
    from ruamel.yaml.composer import MaxDepthExceededError
    from ruamel.yaml.error import YAMLError

    text = _content(file)
    try:
        # All scalars as strings, or a class called "1.0" or "null" would change its name. The parser in C
        # crashes the process on deep nesting.
        yaml = YAML(typ="base", pure=True)
        yaml.max_depth = _NESTED
        content = yaml.load(text)
    except (MaxDepthExceededError, RecursionError) as error:
        raise AnnotationError(
            f"The class names cannot be read: {file} is nested more than {_NESTED} deep{_where(error)}. "
            "Is it the file that it should be?"
        ) from error
    except YAMLError as error:
        reason = getattr(error, "problem", None) or error
        reason = printable(" ".join(f"{reason}{_where(error)}".split()))
        raise AnnotationError(f"The class names cannot be read: {file} is not valid YAML: {reason}.") from error
    return content if isinstance(content, dict) else {}


def _where(error: Exception) -> str:
    """In the editor's numbers. The rest of ruamel's words is for whoever calls it from Python."""
    mark = getattr(error, "problem_mark", None)
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""


def _content(file: Path) -> str:
    if file.exists() and not file.is_file():
        # To open a pipe would wait for whoever writes into it.
        raise AnnotationError(f"The class names cannot be read: {file} is a pipe or a device.")
    try:
        with file.open("rb") as opened:
            data = opened.read(_NAMES_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationError(f"The class names cannot be read: {file}: {error}.") from error
    if len(data) > _NAMES_BYTES:
        raise AnnotationError(f"The class names cannot be read: {file} is larger than 1 MiB.")
    return text


def _from_yaml(content: dict[str, Any], file: Path) -> ClassNames | None:
    if "names" not in content:
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


def splits_of(content: dict[str, Any], place: Place) -> Iterator[tuple[str, str, Split | None]]:
    """Each folder that the YAML names for a split, as the split, the word that stands there, and what it is here.

    None where neither its labels nor its images are there. `place`: the folder that holds the YAML.
    """
    root = content.get("path", "")
    for name in SPLITS:
        words = content.get(name) or ()
        for word in (words,) if isinstance(words, str) else words:
            if isinstance(word, str) and word.strip():
                yield name, word, _split(name, word.strip(), root if isinstance(root, str) else "", place)


def _split(name: str, word: str, root: str, place: Place) -> Split | None:
    """`path` is often that of another machine, and Roboflow's `../train/images` lies beside the YAML file."""
    word = word.replace("\\", "/").rstrip("/")
    inside = word.lstrip("./") if word.startswith(("../", "./")) else word
    for images in dict.fromkeys((below(root, word), below(word), below(inside))):
        if images.startswith(("..", "/")):
            continue
        labels = labels_beside(images)
        if place.is_folder(labels) or place.is_folder(images):
            return Split(name, images, labels)
    return None


def labels_beside(images: str) -> str:
    """As Ultralytics does it: the last folder `images` of the path is one called `labels`."""
    parts = images.split("/")
    for index in range(len(parts) - 1, -1, -1):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return "/".join(parts)
