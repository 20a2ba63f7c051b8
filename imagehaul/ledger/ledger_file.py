"""The ledger of a run as Parquet: one file with the rows of its source, and one with those of all others."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

from imagehaul.arrow import import_arrow
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import COLUMNS, arrow_schema

ROWS_AT_ONCE = 2_500
ROWS_IN_GROUP = 4 * ROWS_AT_ONCE
"""Of the Parquet file. DuckDB takes 40 MB more to hand out 20,000 rows at once."""


def write_ledger(catalog: Catalog, file: Path, table: Literal["proven", "other"] = "proven") -> None:
    """All rows, sorted by path, an image before its thumbnail and crops."""
    import_arrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    query = f"""
        SELECT {", ".join(COLUMNS)} FROM {table} WHERE source_path >= $low AND ($high IS NULL OR source_path < $high)
        ORDER BY source_path, source_name, CASE kind WHEN 'image' THEN 0 WHEN 'thumbnail' THEN 1 ELSE 2 END, key
    """
    with pq.ParquetWriter(file, arrow_schema(), compression="zstd") as parquet:
        for part in catalog.ranges(table, "source_path"):
            batches = catalog.batches(query, part, ROWS_AT_ONCE)
            while group := list(itertools.islice(batches, ROWS_IN_GROUP // ROWS_AT_ONCE)):
                parquet.write_table(pa.Table.from_batches(group).cast(arrow_schema()))
                group.clear()  # Or the next is read beside it.
