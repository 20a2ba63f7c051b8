"""The formats of annotations, and what a place holds of them.

A new format is a module with an `AnnotationFormat`, and its line in `FORMATS`.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from imagehaul.annotations import coco, tables, voc, yolo
from imagehaul.annotations.folder import label_files
from imagehaul.annotations.format import AnnotationFormat, Found, Location
from imagehaul.annotations.place import FolderPlace, Place, below
from imagehaul.annotations.reading import Reading
from imagehaul.errors import AnnotationError
from imagehaul.records import AnnotationProblem

FORMATS: tuple[AnnotationFormat, ...] = (tables.FORMAT, coco.FORMAT, voc.FORMAT, yolo.FORMAT)

BESIDE = tuple(dict.fromkeys(name for known in FORMATS for name in known.beside))
"""Names of files that may have to be read with a folder of label files, and may lie in the folder above it."""

_LABEL_FILES = {suffix: known.name for known in FORMATS if known.claims for suffix in known.suffixes}
_FEWEST_LABEL_FILES = 3
"""One or two are a licence, or a word on the images."""
_CLAIMS = {known.name: known.claims for known in FORMATS if known.claims}
_WHOLE = {suffix for known in FORMATS if not known.claims for suffix in known.suffixes}
_SUFFIXES = {suffix for known in FORMATS for suffix in known.suffixes} | {
    posixpath.splitext(name)[1] for name in BESIDE
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What is read of a place, and a line on what is not. `found` may be empty."""

    found: tuple[Found, ...]
    lines: tuple[str, ...] = ()


def known_formats() -> str:
    return f"Known are {'; '.join(known.name for known in FORMATS)}."


def may_tell_of_images(name: str) -> bool:
    """Whether a file in a folder of annotations is worth a download: a label file, a table or a list of classes."""
    return posixpath.splitext(name)[1].lower() in _SUFFIXES


def find_annotations(place: Place) -> Choice:
    """What lies in a place under the names that a format has for it, at most one file or layout for the boxes.

    Names that Visual Layer documents count before layouts of data sets; what does not count is named. Raises
    AnnotationError where two files of documented names would say the same twice.
    """
    layouts: list[list[Found]] = []
    documented: list[Found] = []
    lines: list[str] = []
    for known in FORMATS:
        try:
            found = known.find(place)
        except AnnotationError as error:
            lines.append(f"Not looked at for annotations: {error}")
            continue
        documented += [item for item in found if item.documented]
        layouts.append([item for item in found if not item.documented])
    for says in ("boxes", "labels"):
        if len(rivals := [item.path for item in documented if item.says == says]) > 1:
            raise AnnotationError(
                f"{' and '.join(rivals)} lie side by side, and what both say would count twice.\n"
                "Keep one of them, or name the one that counts with --annotations."
            )
    boxes = any(item.says == "boxes" for item in documented)
    chosen = [] if boxes else next(filter(None, layouts), [])
    if left_out := [item.path for items in layouts for item in items if item not in chosen]:
        lines.append(
            f"{(documented if boxes else chosen)[0].path} tells the boxes, and so these are not read: "
            f"{', '.join(left_out)}. Name what counts with --annotations, which may be given several times."
        )
    return Choice((*documented, *chosen), tuple(lines))


def unread_label_files(left_out: Mapping[str, int], images: int) -> Iterator[str]:
    """Says which files among the images may tell of them: with a label file's suffix, and half as many as the images.

    `left_out`: files that are no images, by their suffixes without the dot.
    """
    for suffix, name in _LABEL_FILES.items():
        count = left_out.get(suffix.removeprefix("."), 0)
        if count >= max(_FEWEST_LABEL_FILES, images / 2):
            yield (
                f"{count:,} {suffix} files among the images may be annotations ({name}), and none was read. "
                "Name their folder with --annotations."
            )


def open_found(location: Location, found: Iterable[Found]) -> Iterator[Reading]:
    """What was found in a place; `location`: the place itself, on this machine."""
    for item in found:
        path = location.path / item.path
        folder = item.path if path.is_dir() else posixpath.dirname(item.path)
        inside = None if location.folder is None else below(location.folder, folder)
        yield _open_one(replace(location, path=path, shown=f"{location.shown}/{item.path}", folder=inside))


def open_annotations(location: Location) -> Iterator[Reading]:
    """What a file says, or all that counts in a folder: streams, whose memory does not grow with them.

    Raises AnnotationError where it is not there, no annotation, or more than one thing.
    """
    if not location.path.exists():
        raise AnnotationError(
            f"There are no annotations at {location.shown}.\nCorrect the path, or leave the option out."
        )
    if not location.path.is_dir():
        yield _open_one(location)
        return
    choice = find_annotations(FolderPlace(location.path))
    if choice.found:
        readings = list(open_found(location, choice.found))
        readings[0].said += choice.lines
        yield from readings
        return
    known, files = _survey(location)
    if known:
        yield _read(known, location)
    else:
        yield from open_found(location, map(Found, files))


def _open_one(location: Location) -> Reading:
    """Raises AnnotationError where the file is of no known format, or no file."""
    if location.path.is_dir():
        known, _ = _survey(location)
        if known:
            return _read(known, location)
    elif location.path.exists() and not location.path.is_file():
        # To open a pipe would wait for whoever writes into it.
        raise AnnotationError(
            f"{location.shown} is a pipe or a device, and annotations are read more than once.\n"
            "Write them to a file, and name that."
        )
    suffix = location.path.suffix.lower()
    for known in FORMATS:
        if suffix in known.suffixes:
            return _read(known, location)
    raise AnnotationError(f"{location.shown}: no known annotation format.\n{known_formats()}")


def _read(known: AnnotationFormat, location: Location) -> Reading:
    kind, items = known.read(location)
    return Reading(kind, location.shown, items)


def _survey(location: Location) -> tuple[AnnotationFormat | None, list[str]]:
    """The format whose label files lie in the folder or below it; else the files in it that one file for all may be.

    Raises AnnotationError where label files of two formats lie there, or nothing that is known.
    """
    claimed: dict[str, str] = {}
    suffixes: Counter[str] = Counter()
    whole: list[str] = []
    for entry in label_files(location.path, location.shown):
        if isinstance(entry, AnnotationProblem):
            continue
        suffixes[entry.suffix] += 1
        claiming = next((name for name, claims in _CLAIMS.items() if name not in claimed and claims(entry)), "")
        if claiming:
            claimed[claiming] = entry.path
        elif "/" not in entry.path and entry.suffix in _WHOLE and entry.path not in BESIDE:
            whole.append(entry.path)
    if len(claimed) > 1:
        two = " and ".join(f"{name} ({path})" for name, path in claimed.items())
        raise AnnotationError(f"{location.shown} holds both {two}.\nName the folder of the one that counts.")
    if claimed:
        return next(known for known in FORMATS if known.name in claimed), []
    if whole:
        return None, sorted(whole)
    found = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in suffixes.most_common(5))
    raise AnnotationError(
        f"{location.shown}: no annotations in this folder; it holds {found or 'no files'}.\n{known_formats()}"
    )
