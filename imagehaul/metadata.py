"""Metadata: the columns of a user's table that mean nothing to a delivery, and travel into the index with a type.

A list of sources and tables of annotations have such columns alike. A `MetadataReader` is shown each row, gives back
the text in which the row's values are kept until the export, and knows at the end what type each column has. Memory
grows with the columns, and not with the rows.

A column has one of six types: text, whole number (64 bits), number, time, switch, list of texts. Cells of CSV are
judged by their words, cells of Parquet and JSON by the type that they have there. Whole numbers among numbers are
numbers; any other two types in one column make it text, and that is said. An empty cell is no value.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Literal

from imagehaul.cells import is_bracketed, is_plain, items_of, text, type_in_words
from imagehaul.text import printable

ColumnType = Literal["text", "integer", "number", "time", "boolean", "texts"]
Place = Literal["source", "image", "object"]
"""Whose row it is: a source's in a list, an image's or an object's (a box's) in a table of annotations."""

PREFIX = "meta_"
"""Before the name of each such column in `metadata.parquet`."""

_WORDS: dict[ColumnType, str] = {
    "text": "text",
    "integer": "whole numbers",
    "number": "numbers",
    "time": "times",
    "boolean": "switches",
    "texts": "lists",
}

# A number that begins with 0 is a code of somebody's, such as 007 or 01234.
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,18})")
_NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_LONG = 1 << 63
_PLACES: dict[Place, str] = {
    "source": "the list of sources",
    "image": "the images' annotations",
    "object": "the objects' annotations",
}


@dataclass(frozen=True, slots=True)
class MetadataColumn:
    """`name`: as the user's table has it. `exported`: as the index has it, where names collided; `PREFIX` apart."""

    place: Place
    name: str
    type: ColumnType
    exported: str = ""


@dataclass(slots=True)
class _Seen:
    """`types`: each type that was met in the column, with a value and where it stood. `unusable`: likewise, and how
    often."""

    types: dict[ColumnType, tuple[str, str]] = field(default_factory=dict)
    unusable: dict[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def type(self) -> ColumnType:
        kinds = set(self.types)
        if kinds == {"integer", "number"}:
            return "number"
        return kinds.pop() if len(kinds) == 1 else "text"

    @property
    def disagrees(self) -> bool:
        return len(set(self.types) - ({"integer"} if "number" in self.types else set())) > 1


class MetadataReader:
    """The columns of all tables of one place: two files with a column of one name have it in common."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._seen: dict[str, _Seen] = {}

    def add_columns(self, names: Iterable[str]) -> None:
        """So that a column is known, and has its place in the order, even where no row says anything in it."""
        for name in names:
            self._seen.setdefault(name, _Seen())

    def read(self, row: Mapping[str, Any], where: str, words: bool = False) -> str:
        """The row's values as text to keep, "" for none. `words`: the cells are a CSV's, and none has a type.

        `where` names the row in what is said of the columns.
        """
        kept = {}
        for name, cell in row.items():
            if cell is None or cell == "":
                continue
            seen = self._seen.setdefault(name, _Seen())
            kind, value = _judge_words(cell) if words else _judge(cell)
            if kind is None:
                sort = type_in_words(cell)
                count, example = seen.unusable.get(sort, (0, where))
                seen.unusable[sort] = count + 1, example
            elif value is not None:
                kept[name] = value
                if kind not in seen.types:
                    seen.types[kind] = printable(_as_text(value))[:40], where
        return json.dumps(kept, ensure_ascii=False) if kept else ""

    def columns(self) -> list[MetadataColumn]:
        """In the order in which they were met; the types are known once all rows were read."""
        return [MetadataColumn(self.place, name, seen.type) for name, seen in self._seen.items()]

    def warnings(self) -> list[str]:
        """A line for each column whose values disagree, and for each sort of value that no column can hold."""
        lines = []
        for name, seen in self._seen.items():
            column = f"Column {printable(name)!r} of the metadata holds"
            if seen.disagrees:
                held = " and ".join(f"{_WORDS[kind]} ({value}, {where})" for kind, (value, where) in seen.types.items())
                lines.append(f"{column} {held}: all of it is text.")
            lines += [
                f"{column} {sort}, which no column of the index can hold: left out ({count:,} times, e.g. {where})."
                for sort, (count, where) in seen.unusable.items()
            ]
        return lines


def name_columns(
    columns: Iterable[MetadataColumn], others: Iterable[MetadataColumn] = ()
) -> tuple[tuple[MetadataColumn, ...], tuple[MetadataColumn, ...], list[str]]:
    """Gives each column the name that it has in the index, and says which got a suffix since another has that name.

    Upper and lower case are one, as they are for most programs that read Parquet. `others`: those that the data set's
    other sources have in the index; they keep their names. One that is of images, or of objects, here as there is one
    column; its type holds what both say.
    """
    named: list[MetadataColumn] = []
    lines = []
    known = {column.exported.casefold(): column for column in others}
    taken: dict[str, MetadataColumn] = dict(known)
    shared: set[str] = set()
    for column in columns:
        exported = column.name
        there = known.get(exported.casefold())
        if there and exported.casefold() not in shared and (there.place == "object") == (column.place == "object"):
            kind = _common_type(column.type, there.type)
            if kind == "text" and column.type != there.type:
                lines.append(
                    f"Column {printable(exported)!r} of the metadata holds {_WORDS[column.type]}, and "
                    f"{_WORDS[there.type]} in the data set's other sources: all of it is text."
                )
            shared.add(exported.casefold())
            known[exported.casefold()] = replace(there, type=kind)
            named.append(replace(column, exported=there.exported, type=kind))
            continue
        for number in itertools.count(2):
            if exported.casefold() not in taken:
                break
            exported = f"{column.name}_{number}"
        if exported != column.name:
            other = taken[column.name.casefold()]
            lines.append(
                f"Two columns of metadata have one name: {printable(other.name)!r} of {_PLACES[other.place]} keeps it, "
                f"and {printable(column.name)!r} of {_PLACES[column.place]} is {printable(PREFIX + exported)!r}."
            )
        named.append(replace(column, exported=exported))
        taken[exported.casefold()] = column
    return tuple(named), tuple(known.values()), lines


def _common_type(one: ColumnType, other: ColumnType) -> ColumnType:
    if one == other:
        return one
    return "number" if {one, other} == {"integer", "number"} else "text"


def typed_values(kept: str, columns: Mapping[str, MetadataColumn]) -> dict[str, Any]:
    """What a row says, by the columns' names in the index, each value of its column's type; times are in UTC.

    `kept`: as `MetadataReader.read` gave it. `columns`: of the row's place, by their own names.
    """
    if not kept:
        return {}
    said = {}
    for name, value in json.loads(kept).items():
        column = columns[name]
        if (typed := _converted(value, column.type)) is not None:
            said[column.exported or name] = typed
    return said


def _judge(cell: Any) -> tuple[ColumnType | None, Any]:
    """The type of one cell, and its value as JSON can hold it: None where it says nothing. No type: unusable."""
    if isinstance(cell, bool):
        return "boolean", cell
    if isinstance(cell, int):
        return ("integer", cell) if -_LONG <= cell < _LONG else ("text", str(cell))
    if isinstance(cell, float | Decimal):
        return "number", float(cell) if math.isfinite(cell) else None
    if isinstance(cell, datetime | date):
        return "time", cell.isoformat()
    if isinstance(cell, bytes):
        try:
            return "text", cell.decode()
        except UnicodeDecodeError:
            return None, None
    if isinstance(cell, list):
        items = items_of(cell)
        return (None, None) if items is None else ("texts", [_as_text(item) for item in items if item is not None])
    return ("text", text(cell)) if is_plain(cell) else (None, None)


def _judge_words(cell: str) -> tuple[ColumnType, str]:
    """The same for a cell of CSV, which is kept as it stands until its column's type is known."""
    words = cell.strip()
    kind: ColumnType = "text"
    if _INTEGER.fullmatch(words):
        kind = "integer" if -_LONG <= int(words) < _LONG else "text"
    elif _NUMBER.fullmatch(words):
        kind = "number"
    elif words.lower() in ("true", "false"):
        kind = "boolean"
    elif _DATE.match(words) and _time(words):
        kind = "time"
    elif is_bracketed(words) and items_of(words) is not None:
        kind = "texts"
    return kind, cell


def _converted(value: Any, kind: ColumnType) -> Any:
    if kind == "text":
        return _as_text(value)
    if kind == "texts":
        return [_as_text(item) for item in items_of(value) or () if item is not None]
    if kind == "boolean":
        return value if isinstance(value, bool) else value.strip().lower() == "true"
    if kind == "time":
        return _time(value.strip())
    if kind == "integer":
        return int(value)
    number = float(value)
    return number if math.isfinite(number) else None


def _time(words: str) -> datetime | None:
    """ISO 8601, a date alone is its midnight; without an offset it is UTC."""
    try:
        time = datetime.fromisoformat(words)
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else text(value)
