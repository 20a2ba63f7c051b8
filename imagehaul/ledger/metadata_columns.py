"""The columns of metadata that tables of the user's have, as the working tables keep them until the export."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from imagehaul.ledger.catalog import Catalog
from imagehaul.metadata import MetadataColumn, name_columns

Table = Literal["metadata_column", "other_metadata_column"]
"""Those of this run's source and its annotations, and those of the data set's other sources."""


def add_metadata_columns(catalog: Catalog, columns: Iterable[MetadataColumn], table: Table = "metadata_column") -> None:
    catalog.load(table, ((column.place, column.name, column.type, column.exported) for column in columns))


def name_metadata_columns(catalog: Catalog) -> list[str]:
    """Gives all of them their names in the index, once they are all there; the lines say which got a suffix."""
    columns, others, lines = name_columns(metadata_columns(catalog), metadata_columns(catalog, "other_metadata_column"))
    tables: dict[Table, Iterable[MetadataColumn]] = {"metadata_column": columns, "other_metadata_column": others}
    for table, named in tables.items():
        catalog.clear(table)
        add_metadata_columns(catalog, named, table)
    return lines


def exported_columns(catalog: Catalog) -> tuple[MetadataColumn, ...]:
    """Those of the index: of columns that sources share, one."""
    every = (*metadata_columns(catalog), *metadata_columns(catalog, "other_metadata_column"))
    return tuple({column.exported or column.name: column for column in reversed(every)}.values())[::-1]


def metadata_columns(catalog: Catalog, table: Table = "metadata_column") -> tuple[MetadataColumn, ...]:
    """Those of sources first, then those of images and of objects, each in the order of the tables."""
    rows = catalog.rows(f"SELECT place, name, type, exported FROM {table} ORDER BY rowid")
    order = ("source", "image", "object")
    return tuple(sorted((MetadataColumn(*row) for row in rows), key=lambda column: order.index(column.place)))
