"""The ledger of a run as one Parquet file, sorted."""

from __future__ import annotations

import itertools
from pathlib import Path

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import COLUMNS, arrow_schema

ROWS_AT_ONCE = 5_000
ROWS_IN_GROUP = 4 * ROWS_AT_ONCE
"""Of the Parquet file. DuckDB takes 40 MB more to hand out as many rows at once."""


def write_ledger(catalog: Catalog, file: Path) -> None:
    """All proven rows, sorted by source path, an image before its thumbnail and crops."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    query = f"""
        SELECT {", ".join(COLUMNS)} FROM proven WHERE source_path >= $low AND ($high IS NULL OR source_path < $high)
        ORDER BY source_path, CASE kind WHEN 'image' THEN 0 WHEN 'thumbnail' THEN 1 ELSE 2 END, key
    """
    with pq.ParquetWriter(file, arrow_schema(), compression="zstd") as parquet:
        for part in catalog.ranges("proven", "source_path"):
            batches = catalog.batches(query, part, ROWS_AT_ONCE)
            while group := list(itertools.islice(batches, ROWS_IN_GROUP // ROWS_AT_ONCE)):
                parquet.write_table(pa.Table.from_batches(group).cast(arrow_schema()))
