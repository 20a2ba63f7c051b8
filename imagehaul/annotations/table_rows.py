"""The rows of a table of boxes or of labels: what each says of its image."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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


def objects(rows: Iterator[Row], columns: Columns, location: Location, reader: MetadataReader, words: bool) -> Items:
    """Of a table of boxes. `words`: the cells are a CSV's."""
    places = location.places()
    for row in rows:
        if isinstance(row, AnnotationProblem):
            yield row
            continue
        where, values = row[0], dict(zip(columns.all, row[1], strict=True))
        reference, problem = _reference(values[columns.filename], where)
        if problem:
            yield problem
            continue
        yield from _split(values, columns, reference, where, places)
        labels, problem = _texts(values[columns.texts[0]], "label", where)
        if problem:
            yield problem
        if len(labels) > 1:
            yield AnnotationProblem("A box with several labels: it counts once for each", where, used=True)
        sides = [values[name] for name in columns.place]
        metadata = reader.read({name: values[name] for name in columns.metadata}, where, words)
        wide, high = [pixels(values[name]) for name in columns.size] or (0, 0)
        for label in labels or [""]:
            if not all(map(_is_empty, sides)):
                x, y, width, height = from_corners(*sides) if columns.corners else map(coordinate, sides)
                box = Box(x, y, width, height, label)
                yield Annotation(reference, "path", "box", label, where, places, box, wide, high, metadata=metadata)
            elif label:
                # So the same converter writes a label of the whole image.
                reason = "A row without any coordinate: its label is read as one of the whole image"
                yield AnnotationProblem(reason, where, used=True)
                yield Annotation(reference, "path", "label", label, where, places)
            else:
                yield AnnotationProblem("A row with neither box nor label: left out", where)


def images(rows: Iterator[Row], columns: Columns, location: Location, reader: MetadataReader, words: bool) -> Items:
    """Of a table of labels and captions."""
    places = location.places()
    for row in rows:
        if isinstance(row, AnnotationProblem):
            yield row
            continue
        where, values = row[0], dict(zip(columns.all, row[1], strict=True))
        reference, problem = _reference(values[columns.filename], where)
        if problem:
            yield problem
            continue
        yield from _split(values, columns, reference, where, places)
        for kind in columns.texts:
            texts, problem = _texts(values[kind], kind, where)
            if problem:
                yield problem
            for said in texts:
                yield Annotation(reference, "path", "caption" if kind == "caption" else "label", said, where, places)
        if metadata := reader.read({name: values[name] for name in columns.metadata}, where, words):
            yield Annotation(reference, "path", "metadata", "", where, places, metadata=metadata)


def _split(
    values: dict[str, Any], columns: Columns, reference: str, where: str, places: tuple[str, ...]
) -> Iterator[Annotation]:
    if columns.split and is_plain(values[columns.split]) and (split := text(values[columns.split]).strip()):
        yield Annotation(reference, "path", "split", split, where, places)


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
