"""The rows of a table of boxes or of labels: what each says of its image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from imagehaul.annotations.boxes import coordinate, from_corners, pixels
from imagehaul.annotations.format import Items, Location
from imagehaul.cells import is_bracketed, is_plain, items_of, text, type_in_words
from imagehaul.metadata import MetadataReader
from imagehaul.records import Annotation, AnnotationProblem, Box

Row = tuple[str, Sequence[Any]] | AnnotationProblem
"""Where it stands, and the cells of the columns that were asked for."""


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read. `texts`: label and caption. `place`: of a box; `corners`: two corners, and not one
    and a size. `size`: width and height of the picture. `split`: "" where there is none."""

    filename: str
    texts: tuple[str, ...]
    place: tuple[str, ...] = ()
    corners: bool = False
    size: tuple[str, ...] = ()
    split: str = ""
    metadata: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        split = (self.split,) if self.split else ()
        return (self.filename, *self.texts, *self.place, *self.size, *split, *self.metadata)


@dataclass(frozen=True, slots=True)
class _Said:
    """One row: what its cells say of which image. `cells`: by their columns. `metadata`: as the reader keeps it."""

    where: str
    reference: str
    places: tuple[str, ...]
    cells: dict[str, Any]
    metadata: str


def read_rows(rows: Iterator[Row], columns: Columns, location: Location, reader: MetadataReader, words: bool) -> Items:
    """Of a table of boxes, or of labels and captions. `words`: the cells are a CSV's."""
    places, understand = location.places(), _object if columns.place else _image
    for row in rows:
        if isinstance(row, AnnotationProblem):
            yield row
            continue
        where, cells = row[0], dict(zip(columns.all, row[1], strict=True))
        reference, problem = _reference(cells[columns.filename], where)
        if problem:
            yield problem
            continue
        split = cells[columns.split] if columns.split else None
        if is_plain(split) and (word := text(split).strip()):
            yield Annotation(reference, "path", "split", word, where, places)
        metadata = reader.read({name: cells[name] for name in columns.metadata}, where, words)
        yield from understand(_Said(where, reference, places, cells, metadata), columns)


def _object(said: _Said, columns: Columns) -> Items:
    labels, problem = _texts(said.cells[columns.texts[0]], "label", said.where)
    if problem:
        yield problem
    if len(labels) > 1:
        yield AnnotationProblem("A box with several labels: it counts once for each", said.where, used=True)
    sides = [said.cells[name] for name in columns.place]
    wide, high = [pixels(said.cells[name]) for name in columns.size] or (0, 0)
    for label in labels or [""]:
        about = partial(Annotation, said.reference, "path", text=label, origin=said.where, places=said.places)
        if not all(map(_is_empty, sides)):
            x, y, width, height = from_corners(*sides) if columns.corners else map(coordinate, sides)
            box = Box(x, y, width, height, label)
            yield about(kind="box", box=box, image_width=wide, image_height=high, metadata=said.metadata)
        elif label:
            # So the same converter writes a label of the whole image.
            reason = "A row without any coordinate: its label is read as one of the whole image"
            yield AnnotationProblem(reason, said.where, used=True)
            yield about(kind="label")
        else:
            yield AnnotationProblem("A row with neither box nor label: left out", said.where)


def _image(said: _Said, columns: Columns) -> Items:
    about = partial(Annotation, said.reference, "path", origin=said.where, places=said.places)
    for column in columns.texts:
        texts, problem = _texts(said.cells[column], column, said.where)
        if problem:
            yield problem
        for word in texts:
            yield about(kind="caption" if column == "caption" else "label", text=word)
    if said.metadata:
        yield about(kind="metadata", text="", metadata=said.metadata)


def _reference(cell: Any, where: str) -> tuple[str, AnnotationProblem | None]:
    if not is_plain(cell):
        return "", AnnotationProblem(f"A filename that is {type_in_words(cell)}, and no text: left out", where)
    name = text(cell)
    if not name.strip():
        return "", AnnotationProblem("A row without a filename: left out", where)
    return posixpath.normpath(name), None


def _texts(cell: Any, kind: str, where: str) -> tuple[list[str], AnnotationProblem | None]:
    """One label or caption, or each of a list: of Parquet, or in brackets, as JSON and Python write it."""
    if isinstance(cell, list) or is_bracketed(cell):
        items = items_of(cell)
        if items is not None:
            return [said for item in items if (said := text(item).strip())], None
        if isinstance(cell, str):
            if kind == "caption":
                return [cell.strip()], None
            reason = "A label in brackets that is no list: it is one label as it stands"
            return [cell], AnnotationProblem(reason, f"{where}: {cell[:60]!r}", used=True)
    if not is_plain(cell):
        return [], AnnotationProblem(f"A {kind} that is {type_in_words(cell)}, and no text: left out", where)
    return [said] if (said := text(cell).strip()) else [], None


def _is_empty(cell: Any) -> bool:
    return cell is None or cell == "" or cell != cell
