"""COCO: one JSON file, `images`, `categories` and `annotations` joined by their ids, boxes as [x, y, width, height].

https://cocodataset.org/#format-data. Without `bbox` and `segmentation`, a category is the whole image's label;
`caption` is a caption. The file is read once, as a stream, and joined in a database on the scratch disk.
"""

from __future__ import annotations

import itertools
import math
import posixpath
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from imagehaul.annotations.boxes import NO_BOX, hull, pixels
from imagehaul.annotations.coco_objects import EXPECTED, OTHER, coco_objects
from imagehaul.annotations.format import AnnotationFormat, Found, Items, Location
from imagehaul.annotations.json_events import LargeNumberError, json_events
from imagehaul.annotations.place import Place, below
from imagehaul.annotations.rle import Mask, box_of
from imagehaul.cells import text
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.splits import LAYOUT_FOLDERS, split_in_name, split_of_folder
from imagehaul.text import printable

_INSTANCES = "instances_"
_IN_A_FOLDER = "_annotations.coco.json"
"""As Roboflow exports it, one for each split."""
_FOLDERS = 100
"""A place with more folders than this is asked for the file in those alone that have a split's name."""

_TABLES = """
    CREATE TABLE image (id TEXT PRIMARY KEY, file TEXT, width INTEGER, height INTEGER) WITHOUT ROWID;
    CREATE TABLE category (id TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID;
    CREATE TABLE annotation (number INTEGER PRIMARY KEY, id TEXT, image TEXT, category TEXT, caption TEXT,
                             boxed INTEGER, x REAL, y REAL, width REAL, height REAL);
"""
# One id on two images (files merged without new ids) would put boxes on the wrong one: such an id counts for none.
_ADD_IMAGE = """
    INSERT INTO image VALUES (?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET file = NULL WHERE file IS NOT excluded.file
"""
_ADD_CATEGORY = """
    INSERT INTO category VALUES (?, ?)
    ON CONFLICT (id) DO UPDATE SET name = NULL WHERE name IS NOT excluded.name
"""
_ADD_ANNOTATION = "INSERT INTO annotation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_JOIN = """
    SELECT a.id, a.image, a.category, a.caption, a.boxed, a.x, a.y, a.width, a.height,
           i.id IS NOT NULL, i.file, i.width, i.height, c.name
    FROM annotation a LEFT JOIN image i ON i.id = a.image LEFT JOIN category c ON c.id = a.category
    ORDER BY a.number
"""


_SAME_FILE = "SELECT file, count(*) FROM image WHERE file <> '' GROUP BY file HAVING count(*) > 1"


def find(place: Place) -> list[Found]:
    """`annotations.json`; `annotations/instances_*.json`, as COCO is laid out; a file in each split's folder."""
    found = [Found("annotations.json", documented=True)] if place.is_file("annotations.json") else []
    found += [
        Found(f"annotations/{name}")
        for name in place.files("annotations")
        if name.startswith(_INSTANCES) and name.endswith(".json")
    ]
    folders = place.folders("")
    if len(folders) > _FOLDERS:
        folders = list(filter(split_of_folder, folders))
    files = [_IN_A_FOLDER, *(f"{folder}/{_IN_A_FOLDER}" for folder in folders)]
    return found + [Found(file) for file in files if place.is_file(file)]


def read(location: Location) -> tuple[str, Items]:
    return "COCO", _read(location)


def _read(location: Location) -> Items:
    """Raises AnnotationError, with line and byte, where the file is not valid JSON; and where it is no COCO."""
    path, shown, scratch = location.path, location.shown, location.scratch
    try:
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="coco-") as room,
            closing(sqlite3.connect(Path(room) / "join.sqlite", check_same_thread=False)) as database,
        ):
            database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES}")
            yield from _load(database, path, shown)
            split, places = _split(location)
            for file, count in database.execute(_SAME_FILE):
                reason = "Several ids of images have one file_name: what is said of each is said of that picture"
                yield AnnotationProblem(reason, f"{shown}: {count} ids of {file}", used=True)
            if split:
                for (file,) in database.execute("SELECT DISTINCT file FROM image WHERE file <> ''"):
                    yield Annotation(posixpath.normpath(file), "path", "split", split, shown, places)
            yield from _joined(database, shown, places)
    except OSError as error:
        raise AnnotationError(f"{shown}: cannot be read: {error.strerror}: {error.filename or path}.") from error
    except sqlite3.Error as error:
        raise AnnotationError(
            f"{shown}: its annotations cannot be joined in {scratch}: {error}.\n"
            "Free room there, or name another SCRATCH folder."
        ) from error


def _split(location: Location) -> tuple[str, tuple[str, ...]]:
    """The split that the file is about, "" for none, and the folders in which its pictures may lie.

    `instances_train2017.json` is about the pictures in `train2017` or `images/train2017`, seen from the folder that
    holds `annotations`; a file in a folder `train` is about those beside it.
    """
    stem, around = posixpath.splitext(posixpath.basename(location.shown))[0], posixpath.basename(location.root)
    word = stem.removeprefix(_INSTANCES) if stem.startswith(_INSTANCES) else split_in_name(stem)
    split = split_of_folder(word) or ("" if word == "default" else word) or split_of_folder(around)
    beside = location.folder or ""
    above = posixpath.dirname(beside) if posixpath.basename(beside) in LAYOUT_FOLDERS else beside
    others = []
    for folder in dict.fromkeys((above, "")):
        for name in dict.fromkeys(filter(None, (word, split_of_folder(word)))):
            others += [below(folder, name), below(folder, "images", name), below(folder, name, "images")]
        if around in LAYOUT_FOLDERS:
            others.append(below(folder, "images"))
    places = location.places(*others)
    source = split_of_folder(location.source_name)
    if split and source not in ("", split) and location.folder != "":
        # The source is the folder of another split: a picture of the same name in it is another picture.
        places = tuple(place for place in places if place)
    return split, places


def _joined(database: sqlite3.Connection, shown: str, places: tuple[str, ...]) -> Items:
    for row in database.execute(_JOIN):
        identity, image, category, caption, boxed, *bounds, known, file, width, height, name = row
        origin = f"{shown}: annotation {identity}"
        if not file:
            reason = (
                "An image_id that images does not have"
                if not known
                else "An image_id that several images have"
                if file is None
                else "An image without file_name"
            )
            yield AnnotationProblem(f"{reason}: left out", f"{origin}: image_id {image}")
            continue
        if not boxed and category is None and not caption:
            yield AnnotationProblem("An annotation without category_id, bbox and caption: left out", origin)
            continue
        if category is not None and not name:
            name = category
            yield AnnotationProblem(
                "A category_id that has no name, or two: the number is the label",
                f"{origin}: category_id {category}",
                used=True,
            )
        label = name or ""
        annotation = partial(
            Annotation,
            reference=posixpath.normpath(file),
            match="path",
            origin=origin,
            places=places,
            image_width=width,
            image_height=height,
        )
        if caption:
            yield annotation(kind="caption", text=caption)
        if boxed:
            # SQLite keeps NaN as NULL.
            x, y, w, h = (math.nan if bound is None else bound for bound in bounds)
            box = Box(x, y, w, h, label)
            yield annotation(kind="box", text=label, box=box)
        elif category is not None:
            yield annotation(kind="label", text=label)


def _load(database: sqlite3.Connection, path: Path, shown: str) -> Iterator[AnnotationProblem]:
    found: set[str] = set()
    numbers = itertools.count(1)
    for array, fields in _objects(path, shown, found):
        if array == "annotations":
            problem = _add_annotation(database, next(numbers), fields, shown)
        else:
            problem = _add_named(database, array, fields, shown)
        if problem:
            yield problem
    if missing := {"images", "annotations"} - found:
        listed = printable(", ".join(sorted(found)[:10])) or "nothing"
        raise AnnotationError(f"{shown}: no {' and no '.join(sorted(missing))} in it, but {listed}.\n{EXPECTED}")


def _objects(path: Path, shown: str, found: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """See `coco_objects`. Behind a large number the file is read anew, and what was given is not given again."""
    given = 0
    try:
        with json_events(path, shown) as events:
            for item in coco_objects(events, found, shown):
                yield item
                given += 1
    except LargeNumberError:
        with json_events(path, shown, large_as_text=True) as events:
            yield from itertools.islice(coco_objects(events, found, shown), given, None)


def _add_annotation(
    database: sqlite3.Connection, number: int, fields: dict[str, Any], shown: str
) -> AnnotationProblem | None:
    identity, bounds = _identity(fields.get("id")) or f"number {number}", _bounds(fields)
    joined = _identity(fields.get("image_id")), _identity(fields.get("category_id"))
    caption, boxed = text(fields.get("caption")), bounds is not None
    if not boxed and not caption and fields.get("keypoints") is OTHER:
        return AnnotationProblem("Keypoints without a box: left out", f"{shown}: annotation {identity}")
    database.execute(_ADD_ANNOTATION, (number, identity, *joined, caption, boxed, *(bounds or NO_BOX)))
    return None


def _add_named(
    database: sqlite3.Connection, array: str, fields: dict[str, Any], shown: str
) -> AnnotationProblem | None:
    name = text(fields.get("file_name" if array == "images" else "name"))
    identity = _identity(fields.get("id"))
    if identity is None:
        return AnnotationProblem(f"One of the {array} without an id: left out", f"{shown}: {name or 'nameless'}")
    if array == "images":
        size = pixels(fields.get("width")), pixels(fields.get("height"))
        database.execute(_ADD_IMAGE, (identity, name, *size))
    else:
        database.execute(_ADD_CATEGORY, (identity, name))
    return None


def _identity(value: Any) -> str | None:
    """Ids are compared as text, so that 7, 7.0 (as pandas writes it) and "7" are one."""
    return text(value) or None


def _bounds(fields: dict[str, Any]) -> tuple[float, ...] | None:
    bbox, polygons = fields.get("bbox"), fields.get("segmentation")
    if bbox is not None:
        return tuple(bbox) if isinstance(bbox, list) and len(bbox) == 4 else NO_BOX
    if isinstance(polygons, Mask):
        return box_of(polygons)
    return hull(polygons) if isinstance(polygons, list) and polygons else None


FORMAT = AnnotationFormat(
    name="COCO's annotations.json (or a .json file under any name)", suffixes=(".json",), read=read, find=find
)
