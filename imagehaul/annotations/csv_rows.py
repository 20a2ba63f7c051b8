"""The rows of a CSV file: commas, UTF-8 with or without its mark, a header in the first line."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from imagehaul.cells import csv_reader
from imagehaul.errors import AnnotationError
from imagehaul.records import AnnotationProblem

_LINE = 2**20


def header(path: Path, shown: str) -> list[str]:
    """Raises AnnotationError where there is none, or where the columns are not separated by commas."""
    first = next(_records(path, shown), (1, []))[1]
    names = [name.strip() for name in first]
    if not any(names):
        raise AnnotationError(f"{shown}: line 1 is empty, and should name the columns.")
    if len(names) == 1:
        for sign, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if sign in names[0]:
                raise AnnotationError(
                    f"{shown}, line 1: the columns are separated by {word}, not commas: {names[0][:80]!r}.\n"
                    "Save it as CSV with commas."
                )
    return names


def rows(path: Path, shown: str, places: Sequence[int]) -> Iterator[tuple[str, Sequence[str]] | AnnotationProblem]:
    """The cells of these columns, by their place in the header from 0, in each row, and where the row begins."""
    records = _records(path, shown)
    columns = len(next(records)[1])
    for line, cells in records:
        if not any(cells):
            continue
        if len(cells) < columns or any(cells[columns:]):
            yield AnnotationProblem(
                "A row with more or fewer cells than the header: left out",
                f"{shown}:{line}: {len(cells)} cells, not {columns}",
            )
            continue
        yield f"{shown}:{line}", [cells[place] for place in places]


def _records(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Each record and the line that it begins in. Raises AnnotationError where the text is no CSV."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv_reader(_lines(file, shown), strict=True)
            line = 1
            try:
                for cells in reader:
                    yield line, cells
                    line = reader.line_num + 1
            except csv.Error as error:
                raise AnnotationError(
                    f"{shown}, line {line}: not valid CSV: {error}. Is a quotation mark missing?"
                ) from error
    except UnicodeDecodeError as error:
        line, mark = _bad_line(path)
        encoding = "UTF-16" if mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "not UTF-8"
        raise AnnotationError(f"{shown}, line {line}: the text is {encoding}.\nSave it as UTF-8.") from error
    except OSError as error:
        raise AnnotationError(f"{shown}: cannot be read: {error.strerror}.") from error


def _lines(file: TextIO, shown: str) -> Iterator[str]:
    """Bounded, so that a file without line ends does not end up in memory."""
    number = 0
    while line := file.readline(_LINE):
        number += 1
        if len(line) == _LINE:
            raise AnnotationError(f"{shown}, line {number}: longer than 1 MiB, which is no row of a table.")
        yield line


def _bad_line(path: Path) -> tuple[int, bytes]:
    """The first line that is not UTF-8, and the file's first two bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line, mark = 1, b""
    with path.open("rb") as file:
        while block := file.read(_LINE):
            mark = mark or block[:2]
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                return line + block.count(b"\n", 0, error.start), mark
            line += block.count(b"\n")
    return line, mark
