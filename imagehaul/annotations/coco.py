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
from collections.abc import Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from imagehaul.annotations.boxes import NO_BOX, coordinate, hull, pixels
from imagehaul.annotations.json_events import json_events
from imagehaul.cells import text
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.text import legible

_ARRAYS = ("images", "categories", "annotations")
_EXPECTED = "A COCO file is one object with the lists images, categories and annotations."
_OTHER = object()
"""Stands for a map or list that is not looked into."""

_BEGINNINGS = frozenset({"start_map", "start_array"})
_ENDS = frozenset({"end_map", "end_array"})
_MAX_DEPTH = 64

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


def read_coco(path: Path, shown: str, folder: str | None, scratch: Path) -> Iterator[Annotation | AnnotationProblem]:
    """Raises AnnotationError, with line and byte, where the file is no JSON; and where it is no COCO."""
    try:
        with (
            tempfile.TemporaryDirectory(dir=scratch, prefix="coco-") as room,
            closing(sqlite3.connect(Path(room) / "join.sqlite", check_same_thread=False)) as database,
        ):
            database.executescript(f"PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; {_TABLES}")
            yield from _load(database, path, shown)
            yield from _joined(database, shown, folder)
    except OSError as error:
        raise AnnotationError(f"{shown}: cannot be read: {error.strerror}: {error.filename or path}.") from error
    except sqlite3.Error as error:
        raise AnnotationError(
            f"{shown}: its annotations cannot be joined in {scratch}: {error}.\n"
            "Free room there, or name another SCRATCH folder."
        ) from error


def _joined(database: sqlite3.Connection, shown: str, folder: str | None) -> Iterator[Annotation | AnnotationProblem]:
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
            folder=folder,
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
    with json_events(path, shown) as events:
        for array, fields in _objects(events, found, shown):
            if array == "annotations":
                problem = _add_annotation(database, next(numbers), fields, shown)
            else:
                problem = _add_named(database, array, fields, shown)
            if problem:
                yield problem
    if missing := {"images", "annotations"} - found:
        listed = legible(", ".join(sorted(found)[:10])) or "nothing"
        raise AnnotationError(f"{shown}: no {' and no '.join(sorted(missing))} in it, but {listed}.\n{_EXPECTED}")


def _add_annotation(
    database: sqlite3.Connection, number: int, fields: dict[str, Any], shown: str
) -> AnnotationProblem | None:
    identity, bounds = _identity(fields.get("id")) or f"number {number}", _bounds(fields)
    joined = _identity(fields.get("image_id")), _identity(fields.get("category_id"))
    caption, boxed = text(fields.get("caption")), bounds is not None
    database.execute(_ADD_ANNOTATION, (number, identity, *joined, caption, boxed, *(bounds or NO_BOX)))
    if not boxed and fields.get("segmentation") is _OTHER:
        reason = "A mask without a bbox: its category is read as a label of the whole image"
        return AnnotationProblem(reason, f"{shown}: annotation {identity}", used=True)
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
    return hull(polygons) if isinstance(polygons, list) and polygons else None


def _objects(events: Iterable[tuple[str, Any]], found: set[str], shown: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the three arrays, with its plain values and the numbers of its `bbox` and `segmentation`.

    Depth 1 is the file's object, 2 an array in it, 3 an object in that, 4 and 5 the lists of numbers.
    `found` gets the names at depth 1.
    """
    depth, array, key = 0, "", ""
    fields: dict[str, Any] = {}
    numbers: list[float] | None = None
    for event, value in events:
        if event == "map_key":
            if depth == 3:
                key = value
            elif depth == 1:
                found.add(value)
                array = value if value in _ARRAYS else ""
        elif event in _BEGINNINGS:
            depth += 1
            if depth < 4 and (array or depth == 1) and event != ("start_array" if depth == 2 else "start_map"):
                raise _misshapen(shown, depth, array)
            if depth > _MAX_DEPTH:
                raise AnnotationError(f"{shown}: nested more than {_MAX_DEPTH} deep.\n{_EXPECTED}")
            if depth == 3:
                fields = {}
            elif depth == 4 and array:
                numbers = [] if event == "start_array" and key in ("bbox", "segmentation") else None
                fields[key] = _OTHER if numbers is None else numbers
            elif numbers is not None and (key == "bbox" or depth > 5 or event == "start_map"):
                numbers.append(math.nan)
        elif event in _ENDS:
            if depth == 3 and array:
                yield array, fields
            elif depth == 4:
                numbers = None
            elif depth == 5 and numbers is not None and len(numbers) % 2:
                numbers.append(math.nan)
            depth -= 1
        elif numbers is not None:
            numbers.append(value if event == "number" else coordinate(value))
        elif depth == 3:
            if array:
                fields[key] = value
        elif depth < 3 and (array or depth == 0):
            raise _misshapen(shown, depth + 1, array)


def _misshapen(shown: str, depth: int, array: str) -> AnnotationError:
    wrong = {1: "its top is no object", 2: f"{array} is no list", 3: f"something in {array} is no object"}
    return AnnotationError(f"{shown}: {wrong[depth]}.\n{_EXPECTED}")
