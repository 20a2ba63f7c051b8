"""Tables of boxes or of labels, as CSV or Parquet: `object_annotations` and `image_annotations`.

https://docs.visual-layer.com/docs/Creating-Datasets/importing-annotations
"""

from __future__ import annotations

import itertools
import posixpath
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from imagehaul.annotations import csv_rows, parquet_rows
from imagehaul.annotations.boxes import coordinate
from imagehaul.cells import is_bracketed, items_of, text
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.text import legible

OBJECT_COLUMNS = ("filename", "col_x", "row_y", "width", "height", "label")
IMAGE_COLUMNS = ("filename", "label", "caption")
_CONVERTED = ("filename", "row_x", "col_y", "width", "height", "label")
"""As Visual Layer's own COCO converter writes them: row_x is the box's x all the same."""

Row = tuple[str, Sequence[Any]] | AnnotationProblem
"""Where it stands, and the cells of the columns that were asked for."""


def read_table(path: Path, shown: str, folder: str | None) -> tuple[str, Iterator[Annotation | AnnotationProblem]]:
    """What the table holds, and a stream of it. Raises AnnotationError where the columns are not as documented."""
    parquet = path.suffix.lower() == ".parquet"
    header = parquet_rows.header(path, shown) if parquet else csv_rows.header(path, shown)
    problems, columns, boxes = _understand(path.stem, header, shown)
    rows: Iterator[Row] = (parquet_rows if parquet else csv_rows).rows(path, shown, columns)
    if boxes:
        return "object table", itertools.chain(problems, _objects(rows, folder))
    return "image table", itertools.chain(problems, _labels(rows, columns, folder))


def _understand(stem: str, header: list[str], shown: str) -> tuple[list[AnnotationProblem], Sequence[str], bool]:
    """What is to be said of the columns, those that are read, and whether it is a table of boxes."""
    if twice := [name for name, count in Counter(header).items() if name and count > 1]:
        raise AnnotationError(f"{shown}: two columns are called {legible(', '.join(twice))}.\nLeave one of them out.")
    boxes = stem == "object_annotations" or (
        stem != "image_annotations" and bool({*OBJECT_COLUMNS[1:5], *_CONVERTED[1:3]} & set(header))
    )
    problems: list[AnnotationProblem] = []
    columns: Sequence[str] = OBJECT_COLUMNS
    if not boxes:
        columns = tuple(name for name in IMAGE_COLUMNS if name in header)
        missing = [name for name in IMAGE_COLUMNS[:2] if name not in header]
        if missing == ["label"] and "caption" in header:
            missing = []
    elif {"row_x", "col_y"} <= set(header) and not {"col_x", "row_y"} & set(header):
        columns = _CONVERTED
        missing = [name for name in columns if name not in header]
        reason = "The columns are spelt row_x, col_y and not col_x, row_y: row_x is read as x, col_y as y"
        problems.append(AnnotationProblem(reason, shown, used=True))
    else:
        missing = [name for name in columns if name not in header]
    if missing:
        expected = ",".join(OBJECT_COLUMNS) if boxes else ",".join(IMAGE_COLUMNS[:2]) + "[,caption]"
        if not boxes and stem != "image_annotations":
            expected += f" for labels, {','.join(OBJECT_COLUMNS)} for boxes"
        found = ", ".join(repr(name) for name in header[:20])
        raise AnnotationError(
            f"{shown}: missing column{'s' * (len(missing) > 1)} {', '.join(missing)}; found {found[:300]}.\n"
            f"The header must be {expected}."
        )
    if others := [name for name in header if name and name not in columns]:
        problems.append(AnnotationProblem("Columns that are not read", f"{shown}: {', '.join(others)[:200]}", True))
    return problems, columns, boxes


def _objects(rows: Iterator[Row], folder: str | None) -> Iterator[Annotation | AnnotationProblem]:
    for row in rows:
        if isinstance(row, AnnotationProblem):
            yield row
            continue
        where, (filename, *corner_and_size, label_cell) = row
        reference, label = _reference(filename), text(label_cell).strip()
        if not reference:
            yield _nameless(where)
        elif not all(map(_is_empty, corner_and_size)):
            x, y, width, height = map(coordinate, corner_and_size)
            box = Box(x, y, width, height, label)
            yield Annotation(reference, "path", "box", label, where, folder, box)
        elif label:
            # So the same converter writes a label of the whole image.
            reason = "A row without any coordinate: its label is read as one of the whole image"
            yield AnnotationProblem(reason, where, used=True)
            yield Annotation(reference, "path", "label", label, where, folder)
        else:
            yield AnnotationProblem("A row with neither box nor label: left out", where)


def _labels(
    rows: Iterator[Row], columns: Sequence[str], folder: str | None
) -> Iterator[Annotation | AnnotationProblem]:
    for row in rows:
        if isinstance(row, AnnotationProblem):
            yield row
            continue
        where, cells = row
        values = dict(zip(columns, cells, strict=True))
        reference = _reference(values["filename"])
        if not reference:
            yield _nameless(where)
            continue
        labels = _list(values.get("label"))
        if labels is None:
            reason = "A label in brackets that is no list: it is one label as it stands"
            yield AnnotationProblem(reason, f"{where}: {text(values['label'])[:60]!r}", used=True)
            labels = [text(values["label"])]
        for label in filter(None, (text(label).strip() for label in labels)):
            yield Annotation(reference, "path", "label", label, where, folder)
        if caption := text(values.get("caption")).strip():
            yield Annotation(reference, "path", "caption", caption, where, folder)


def _reference(cell: Any) -> str:
    name = text(cell)
    return posixpath.normpath(name) if name.strip() else ""


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or cell != cell


def _nameless(where: str) -> AnnotationProblem:
    return AnnotationProblem("A row without a filename: left out", where)


def _list(value: Any) -> list[Any] | None:
    """One label or a list of them. None: brackets without a list."""
    return items_of(value) if isinstance(value, list) or is_bracketed(value) else [text(value)]
