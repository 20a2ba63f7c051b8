"""What stands in one cell of a table, or in one value of a JSON file, and what its columns are called."""

from __future__ import annotations

import ast
import csv
import itertools
import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _csv import Reader

_LONGEST = 16 * 1024 * 1024
"""Characters of a cell of CSV, such as a polygon: none is that long, unless a quotation mark is missing."""


def csv_reader(lines: Iterable[str], separator: str = ",", strict: bool = False) -> Reader:
    """Every reader of CSV comes from here: the limit is the whole process's, and is the same for all."""
    csv.field_size_limit(_LONGEST)
    return csv.reader(lines, delimiter=separator, strict=strict)


def text(value: Any) -> str:
    """A label, caption or name; "" for nothing. A whole float is a number that pandas had to widen."""
    if isinstance(value, str) and value.isascii():
        return value
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bytes):  # Some writers of Parquet do not mark text as text.
        return value.decode("utf-8", "replace")
    # JSON can carry half a character (a lone surrogate), which no database takes.
    return str(value).encode("utf-8", "replace").decode()


def type_in_words(value: Any) -> str:
    """What a cell holds that is neither text nor number: `a struct of bytes, path`."""
    if isinstance(value, dict):
        return f"a struct of {', '.join(map(str, value))[:100]}" if value else "an empty struct"
    if isinstance(value, list):
        inner = next((item for item in value if isinstance(item, list | dict)), None)
        return "a list" if inner is None else f"a list with {type_in_words(inner)} in it"
    return "bytes" if isinstance(value, bytes) else type(value).__name__


def is_plain(value: Any) -> bool:
    """Whether a text can be made of it without an accident."""
    return not isinstance(value, list | dict | tuple | set)


_ITEM = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|-?[\d.]+)"""
_PYTHON_LIST = re.compile(rf"\[\s*{_ITEM}(\s*,\s*{_ITEM})*\s*,?\s*\]", re.DOTALL)


def is_bracketed(value: Any) -> bool:
    return isinstance(value, str) and value.strip().startswith("[") and value.strip().endswith("]")


def items_of(value: Any) -> list[Any] | None:
    """The items of a list of plain values: of Parquet, of JSON, or as Python prints it. None: it is no such list."""
    if isinstance(value, list):
        return value if all(map(is_plain, value)) else None
    if not is_bracketed(value):
        return None
    words = value.strip()
    try:
        items = json.loads(words)
    except (ValueError, RecursionError):
        # Python would join ['a' 'b'], as NumPy prints a list, to one item: so no word without its comma.
        if not _PYTHON_LIST.fullmatch(words):
            return None
        return [_unquoted(item) for item in re.findall(_ITEM, words, re.DOTALL)]
    return items if isinstance(items, list) and all(map(is_plain, items)) else None


def _unquoted(item: str) -> str:
    try:
        return str(ast.literal_eval(item)) if item[0] in "'\"" else item
    except (ValueError, SyntaxError):
        return item


def distinct_names(header: Sequence[str]) -> list[str]:
    """The names of a table's columns, with a suffix for the second of one name: `more`, `more_2`. "" stays."""
    names: list[str] = []
    for name in header:
        unique = name
        for number in itertools.count(2):
            if not name or unique not in names:
                break
            unique = f"{name}_{number}"
        names.append(unique)
    return names
