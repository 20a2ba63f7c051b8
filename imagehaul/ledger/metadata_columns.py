"""The columns of metadata that tables of the user's have, as the working tables keep them until the export."""

from __future__ import annotations

from collections.abc import Iterable

from imagehaul.ledger.catalog import Catalog
from imagehaul.metadata import MetadataColumn, name_columns


def add_metadata_columns(catalog: Catalog, columns: Iterable[MetadataColumn]) -> None:
    catalog.load("metadata_column", ((column.place, column.name, column.type, column.exported) for column in columns))


def name_metadata_columns(catalog: Catalog) -> list[str]:
    """Gives all of them their names in the index, once they are all there; the lines say which got a suffix."""
    columns, lines = name_columns(metadata_columns(catalog))
    catalog.clear("metadata_column")
    add_metadata_columns(catalog, columns)
    return lines


def metadata_columns(catalog: Catalog) -> tuple[MetadataColumn, ...]:
    """Those of sources first, then those of images and of objects, each in the order of the tables."""
    rows = catalog.rows("SELECT place, name, type, exported FROM metadata_column ORDER BY rowid")
    order = ("source", "image", "object")
    return tuple(sorted((MetadataColumn(*row) for row in rows), key=lambda column: order.index(column.place)))
