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
    """One dict for each row; an empty cell is left out, and `settings` has the columns of settings.

    Those may be named as the flags are, in upper or lower case. `more`: other columns that are known.
    Raises `SettingsError`.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            rows = [{(name or "").lower(): value for name, value in row.items()} for row in reader]
            columns = [name.lower() for name in reader.fieldnames or ()]
    except OSError as error:
        raise SettingsError(f"The catalog {file} cannot be read: {error.strerror}.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"The catalog {file} is not CSV in UTF-8: {error}.") from None
    if missing := [name for name in COLUMNS[:2] if name not in columns]:
        raise SettingsError(f"The catalog {file} has no column {missing[0]}. It has {', '.join(columns) or 'none'}.")
    settings = Settings.model_fields.keys() - {"object_store_url"}
    if unknown := [name for name in columns if name not in {*COLUMNS, *more, *settings}]:
        raise SettingsError(f"The catalog {file} has a column {unknown[0]!r}, which is no setting of a delivery.")
    found = []
    for row in rows:
        own = {name: value for name, value in row.items() if name in settings and value}
        found.append({name: value for name, value in row.items() if name not in settings and value} | {"settings": own})
    return found
