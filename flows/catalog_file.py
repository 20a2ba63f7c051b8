"""A catalog of data sets: a CSV file with the columns dataset, source, annotations, source_name, and settings."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagehaul.errors import SettingsError
from imagehaul.settings import Settings

COLUMNS = ("dataset", "source", "annotations", "source_name")


def read_catalog(file: Path, more: Sequence[str] = ()) -> list[dict[str, Any]]:
    """One dict for each row that is not empty; an empty cell is left out, and `settings` has the columns of settings.

    A space after a comma is of no cell. Settings may be named as the flags are, in upper or lower case. `more`: other
    columns that are known. Raises `SettingsError`.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True, skipinitialspace=True)
            rows = [
                {name.lower(): value for name, value in _of_the_header(row, reader, file).items()} for row in reader
            ]
            columns = [name.lower() for name in reader.fieldnames or ()]
    except OSError as error:
        raise SettingsError(f"The catalog {file} cannot be read: {error.strerror}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"The catalog {file} is not CSV in UTF-8: {error}.") from None
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise SettingsError(f"The catalog {file} has no column {missing[0]}. It has {', '.join(columns) or 'none'}.")
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise SettingsError(f"The catalog {file} has two columns {twice[0]}, in whatever case: leave one of them out.")
    settings = Settings.model_fields.keys() - {"object_store_url"}
    if unknown := [name for name in columns if name not in {*COLUMNS, *more, *settings}]:
        raise SettingsError(f"The catalog {file} has a column {unknown[0]!r}, which is no setting of a delivery.")
    found = []
    for row in rows:
        if not any(row.values()):
            continue
        own = {name: value for name, value in row.items() if name in settings and value}
        found.append({name: value for name, value in row.items() if name not in settings and value} | {"settings": own})
    return found


def _of_the_header(row: dict[Any, Any], reader: csv.DictReader[str], file: Path) -> dict[str, Any]:
    """Raises `SettingsError` for a row with more cells: of a folder with a comma in its name, a part is in them."""
    beyond = row.pop(reader.restkey, ())
    if any(beyond):
        columns = len(reader.fieldnames or ())
        raise SettingsError(
            f"The catalog {file}, line {reader.line_num}: {columns + len(beyond)} cells, and the header has {columns}. "
            'A cell that holds a comma stands in double quotes, as in photos,"/srv/Smith, J".'
        )
    return row
