"""The rows of a list of pictures, as a stream: a line each, a table of CSV or TSV, Parquet, or JSON Lines."""

from __future__ import annotations

import codecs
import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from imagehaul.cells import csv_reader, distinct_names
from imagehaul.errors import SourceError
from imagehaul.text import printable

SUFFIXES = (".txt", ".csv", ".tsv", ".parquet", ".jsonl")
LOCATION_COLUMNS = ("path", "uri", "url", "filename", "file_path", "image")
"""The first of these that is there names the picture, whatever its case."""
NAME_COLUMNS = ("key", "name")
"""What the picture is to be called."""
_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_ROWS_AT_ONCE = 4_096


@dataclass(frozen=True, slots=True)
class Row:
    """`number`: counted from 1, as an editor counts lines where a row is a line. `location`: where the picture lies,
    "" = the row does not say it. `name`: what it is to be called, "" = by its location. `problem`: why not even that
    can be read. `cells`: the columns that mean nothing to a delivery."""

    number: int
    location: str
    name: str = ""
    problem: str = ""
    cells: Mapping[str, Any] | None = None


def read_rows(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    """`shown`: the list's name in messages; its suffix says what it is. `column`: which one names the pictures,
    "" = by its name. `said`: what the user is to know of the list is added to it.

    Raises `SourceError` where the list cannot be read as what it should be, or has no such column.
    """
    suffix = Path(shown.lower()).suffix
    reader: Callable[[Path, str, str, list[str]], Iterator[Row]] = _READERS[suffix]
    try:
        with file.open("rb") as stream:
            if stream.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise SourceError(f"The text of the list {shown!r} is UTF-16. Save it as UTF-8.")
        yield from reader(file, shown, column, said)
    except OSError as error:
        raise SourceError(f"The list {shown!r} cannot be read: {error.strerror or error}.") from None


def _lines(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    if column:
        raise SourceError(f"The list {shown!r} has a picture in each line and no columns: leave --column out.")
    for number, line in _decoded_lines(file):
        if isinstance(line, bytes):
            yield _not_utf8(number)
        elif line.strip():
            yield Row(number, line.strip())


def _not_utf8(number: int) -> Row:
    return Row(number, "", problem=f"Line {number} is not UTF-8.")


def _decoded_lines(file: Path) -> Iterator[tuple[int, str | bytes]]:
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            line = raw.rstrip(b"\r\n")
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError:
                yield number, line


def _csv(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    yield from _separated(file, shown, column, said, ",")


def _tsv(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    yield from _separated(file, shown, column, said, "\t")


def _separated(file: Path, shown: str, column: str, said: list[str], separator: str) -> Iterator[Row]:
    # Bytes that are not UTF-8 spoil their own row, and no other.
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
        reader = csv_reader(stream, separator)
        try:
            header = next(reader, None)
            if header is None:
                return
            header = [name.strip() for name in header]
            _check_header(header, shown, column, separator)
            columns = _Columns.among(header, shown, column)
            header = columns.told_apart(header, shown, said)
            for cells in reader:
                if len(cells) > len(header):
                    words = f"Line {reader.line_num} has {len(cells)} cells, and the header {len(header)}."
                    yield Row(reader.line_num, "", problem=words)
                elif not _is_unicode("".join(cells)):
                    yield _not_utf8(reader.line_num)
                elif cells:
                    yield columns.row(reader.line_num, dict(zip(header, cells, strict=False)))
        except csv.Error as error:
            raise SourceError(f"The list {shown!r} cannot be read, line {reader.line_num}: {error}.") from None


def _check_header(header: list[str], shown: str, column: str, separator: str) -> None:
    """Raises `SourceError` where its names are not UTF-8, or one name alone that holds another separator."""
    if not _is_unicode("".join(header)):
        raise SourceError(f"The names of the columns of the list {shown!r} are not UTF-8. Save it as UTF-8.")
    if len(header) != 1 or header[0] == column:
        return
    for sign, word in _SEPARATORS.items():
        if sign in header[0]:
            raise SourceError(
                f"The columns of the list {shown!r} are separated by {word}, not {_SEPARATORS[separator]}: "
                f"{header[0][:80]!r}. Save it with {_SEPARATORS[separator]}."
            )


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _json_lines(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    columns: _Columns | None = None
    for number, line in _decoded_lines(file):
        if isinstance(line, bytes):
            yield _not_utf8(number)
            continue
        if not line.strip():
            continue
        try:
            read = json.loads(line)
        except (ValueError, RecursionError):
            yield Row(number, "", problem=f"Line {number} is not valid JSON.")
            continue
        # Half of a character can be escaped alone, and is no text that anything could keep.
        if "\\u" in line and not _is_unicode(json.dumps(read, ensure_ascii=False)):
            yield Row(number, "", problem=f"Line {number} has half of a character, as \\ud83d is: it is not Unicode.")
        elif isinstance(read, str):
            yield Row(number, read.strip())
        elif isinstance(read, dict):
            columns = columns or _Columns.among(read, shown, column)
            # Where it has no value, a column may be left out.
            name = columns.name or next((name for name in NAME_COLUMNS if name in read), "")
            yield replace(columns, name=name).row(number, read)
        else:
            yield Row(number, "", problem=f"Line {number} is neither an object nor a text.")


def _parquet(file: Path, shown: str, column: str, said: list[str]) -> Iterator[Row]:
    from imagehaul.arrow import pa, pq

    try:
        table = pq.ParquetFile(file)
        header = table.schema_arrow.names
        columns = _Columns.among(header, shown, column)
        header = columns.told_apart(header, shown, said)
        kind = table.schema_arrow.field(columns.location).type
        if pa.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise SourceError(
                f"Column {columns.location!r} of the list {shown!r} is of the type {kind}: it must be text."
            )
        number = 0
        for batch in table.iter_batches(_ROWS_AT_ONCE):
            for cells in batch.rename_columns(header).to_pylist():
                number += 1
                yield columns.row(number, cells)
    except pa.ArrowException as error:
        raise SourceError(f"The list {shown!r} is not valid Parquet: {printable(str(error))}.") from None
    except UnicodeDecodeError:
        raise SourceError(f"The list {shown!r} holds text that is not UTF-8: write it anew.") from None
    except (ValueError, OverflowError) as error:
        # A time with nanoseconds, or of a year beyond 9999.
        why = printable(str(error).split(". ")[0].rstrip("."))
        raise SourceError(f"The list {shown!r} holds a value that cannot be read: {why}. Leave it out.") from None


@dataclass(frozen=True, slots=True)
class _Columns:
    """Which columns of a list mean something."""

    names: tuple[str, ...]
    location: str
    name: str

    @classmethod
    def among(cls, names: Iterable[str], shown: str, column: str) -> _Columns:
        """Raises `SourceError` where none names the pictures."""
        there = dict.fromkeys(names)
        lowered = {name.lower(): name for name in reversed(there)}
        known = next((lowered[n] for n in LOCATION_COLUMNS if n in lowered), "")
        location = column or known
        if location not in there or not location:
            wanted = repr(column) if column else f"one of {', '.join(LOCATION_COLUMNS)}"
            raise SourceError(
                f"The list {shown!r} has no column {wanted}. "
                f"It has {', '.join(map(printable, there)) or 'none'}: name one with --column."
            )
        name = next((lowered[n] for n in NAME_COLUMNS if n in lowered and lowered[n] != location), "")
        return cls(tuple(there), location, name)

    def told_apart(self, header: Sequence[str], shown: str, said: list[str]) -> list[str]:
        """The header with a suffix for the second of two columns of one name.

        Raises `SourceError` where the name means something here.
        """
        names = distinct_names(header)
        for name, unique in zip(header, names, strict=True):
            if unique != name:
                two = f"Two columns of the list {shown!r} are called {name!r}"
                if name in (self.location, self.name):
                    raise SourceError(f"{two}: leave one of them out.")
                said.append(f"{two}: the second is read as {unique!r}.")
        return names

    def row(self, number: int, cells: Mapping[str, Any]) -> Row:
        location, name = cells.get(self.location), cells.get(self.name) if self.name else None
        # A column without a name, as a comma at the end of each line makes one, says nothing.
        rest = {key: value for key, value in cells.items() if key not in (self.location, self.name, "")}
        if location is not None and not isinstance(location, str):
            return Row(number, "", problem=f"Row {number} has no text in column {self.location!r}.", cells=rest)
        if isinstance(name, list | dict | bytes):  # A number is a name; the text that Python makes of these is none.
            return Row(number, "", problem=f"Row {number} has no text in column {self.name!r}.", cells=rest)
        return Row(number, (location or "").strip(), "" if name is None else str(name).strip(), cells=rest)


_READERS: dict[str, Callable[[Path, str, str, list[str]], Iterator[Row]]] = {
    ".txt": _lines,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _parquet,
    ".jsonl": _json_lines,
}
