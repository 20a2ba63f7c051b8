"""Tables of boxes or of labels, as CSV or Parquet: what their columns are.

https://docs.visual-layer.com/docs/Creating-Datasets/importing-annotations has `object_annotations` and
`image_annotations`. Corners (`xmin`, `ymin`, `xmax`, `ymax`) are what TensorFlow's converters and Roboflow write; there
`width` and `height` are the picture's. Columns that mean nothing here are metadata of the row.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

from imagehaul.annotations import csv_rows, parquet_rows
from imagehaul.annotations.format import AnnotationFormat, Found, Items, Location
from imagehaul.annotations.place import Place
from imagehaul.annotations.table_rows import Columns, read_rows
from imagehaul.cells import distinct_names
from imagehaul.errors import AnnotationError
from imagehaul.records import AnnotationProblem
from imagehaul.text import printable

OBJECT_FILES = ("object_annotations.csv", "object_annotations.parquet")
IMAGE_FILES = ("image_annotations.csv", "image_annotations.parquet")

CORNER_AND_SIZE = ("col_x", "row_y", "width", "height")
CONVERTED = ("row_x", "col_y", "width", "height")
"""As Visual Layer's own COCO converter writes them: row_x is the box's x all the same."""
CORNERS = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"),
)
_OBJECT_HEADER = ("filename", *CORNER_AND_SIZE, "label")
_IMAGE_HEADER = ("filename", "label", "caption")

_NO_TYPE = "A column of a type that no column of the index can have: not read"


def find(place: Place) -> list[Found]:
    boxes = [Found(name, documented=True) for name in OBJECT_FILES if place.is_file(name)]
    return boxes + [Found(name, "labels", documented=True) for name in IMAGE_FILES if place.is_file(name)]


def read(location: Location) -> tuple[str, Items]:
    """Raises AnnotationError where the columns are not as documented."""
    path, shown = location.path, location.shown
    parquet = path.suffix.lower() == ".parquet"
    file = parquet_rows if parquet else csv_rows
    header = file.header(path, shown)
    columns, said, boxes = _understand(location, header)
    names, renamed = _told_apart(header, set(columns.all), shown)
    unusable = parquet_rows.without_text(path, shown) if parquet else {}
    others = [name for name in names if name and name not in columns.all]
    columns = replace(columns, metadata=tuple(name for name in others if name not in unusable))
    said = (
        said
        + renamed
        + [AnnotationProblem(_NO_TYPE, f"{shown}: {name}: {kind}") for name in others if (kind := unusable.get(name))]
    )
    rows = file.rows(path, shown, [names.index(name) for name in columns.all])
    reader = location.metadata.objects if boxes else location.metadata.images
    reader.add_columns(columns.metadata)
    items = read_rows(rows, columns, location, reader, words=not parquet)
    return "object table" if boxes else "image table", itertools.chain(said, items)


def _told_apart(header: Sequence[str], known: set[str], shown: str) -> tuple[list[str], list[AnnotationProblem]]:
    """The header with a suffix for the second of two columns of one name.

    Raises AnnotationError where the name means something here.
    """
    names = distinct_names(header)
    said: list[AnnotationProblem] = []
    for name, unique in zip(header, names, strict=True):
        if unique != name:
            if name in known:
                raise AnnotationError(f"{shown}: two columns are called {printable(name)}.\nLeave one of them out.")
            said.append(AnnotationProblem(f"Two columns of one name: the second is {unique}", shown, used=True))
    return names, said


def _understand(location: Location, header: Sequence[str]) -> tuple[Columns, list[AnnotationProblem], bool]:
    """What the columns are, what is to be said of them, and whether it is a table of boxes."""
    stem, names = location.path.stem, set(header)
    corners = next((spelling for spelling in CORNERS if names >= set(spelling)), ())
    boxes = stem == "object_annotations" or (
        stem != "image_annotations" and bool(corners or names & {*CORNER_AND_SIZE, *CONVERTED})
    )
    said: list[AnnotationProblem] = []
    if not boxes:
        needed: Sequence[str] = ("filename", "label")
        if "label" not in names and "caption" in names:
            needed = ("filename", "caption")
        columns = Columns("filename", tuple(name for name in _IMAGE_HEADER[1:] if name in names))
    else:
        label = "class" if "label" not in names and "class" in names else "label"
        place: Sequence[str] = CORNER_AND_SIZE
        size: tuple[str, ...] = ()
        if not names & {"col_x", "row_y"}:
            if names >= {"row_x", "col_y"}:
                place = CONVERTED
                reason = "The columns are spelt row_x, col_y and not col_x, row_y: row_x is read as x, col_y as y"
                said.append(AnnotationProblem(reason, location.shown, used=True))
            elif corners:
                place = corners
                size = ("width", "height") if names >= {"width", "height"} else ()
        needed = ("filename", *place, label)
        columns = Columns("filename", (label,), tuple(place), place in CORNERS, size)
    if missing := [name for name in needed if name not in names]:
        raise _missing(missing, header, location, boxes)
    return replace(columns, split="split" if "split" in names else ""), said, boxes


def _missing(missing: list[str], header: Sequence[str], location: Location, boxes: bool) -> AnnotationError:
    expected = ",".join(_OBJECT_HEADER) if boxes else ",".join(_IMAGE_HEADER[:2]) + "[,caption]"
    if not boxes and location.path.stem != "image_annotations":
        expected += f" for labels, {','.join(_OBJECT_HEADER)} for boxes"
    found = ", ".join(repr(name) for name in header[:20])
    return AnnotationError(
        f"{location.shown}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; found {found[:300]}.\n"
        f"The header must be {expected}."
    )


FORMAT = AnnotationFormat(
    name=f"{', '.join(OBJECT_FILES + IMAGE_FILES)} (or a .csv or .parquet file under any name)",
    suffixes=(".csv", ".parquet"),
    read=read,
    find=find,
)
