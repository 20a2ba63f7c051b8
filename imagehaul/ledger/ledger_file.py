"""The ledger of a run as Parquet: one file with the rows of its source, and one with those of all others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from imagehaul.errors import StoreError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import COLUMNS, arrow_schema
from imagehaul.ledger.runs import Current

ROWS_AT_ONCE = 2_500
ROWS_IN_GROUP = 4 * ROWS_AT_ONCE
"""Of the Parquet file. DuckDB takes 40 MB more to hand out 20,000 rows at once."""


def refuse_partial(catalog: Catalog, published: Current, files: Sequence[Path]) -> None:
    """Raises `StoreError` where the ledger's files hold fewer rows than that publication says."""
    said = [source.rows for source in published.sources.values()]
    if min(said, default=-1) < 0:
        return  # An older version did not say.
    there, *_ = catalog.one("SELECT count(*) FROM read_parquet($files)", {"files": [str(file) for file in files]})
    if there < sum(said):
        raise StoreError(
            f"The ledger {published.ledger} of run {published.run} holds {there:,} of its {sum(said):,} rows, so that "
            "what the others say cannot be looked at.\n"
            "Restore it from a copy; or deliver the data set's sources again with --allow-loss: what the store still "
            "holds is not sent twice."
        )


def write_ledger(catalog: Catalog, file: Path, table: Literal["proven", "other"] = "proven") -> None:
    """All rows, sorted by path, an image before its thumbnail and crops."""
    from imagehaul.arrow import pa, pq

    query = f"""
        SELECT {", ".join(COLUMNS)} FROM {table} WHERE source_path >= $low AND ($high IS NULL OR source_path < $high)
        ORDER BY source_path, source_name, CASE kind WHEN 'image' THEN 0 WHEN 'thumbnail' THEN 1 ELSE 2 END, key
    """
    with pq.ParquetWriter(file, arrow_schema(), compression="zstd") as parquet:
        for part in catalog.ranges(table, "source_path"):
            batches = catalog.batches(query, part, ROWS_AT_ONCE)
            while group := list(itertools.islice(batches, ROWS_IN_GROUP // ROWS_AT_ONCE)):
                parquet.write_table(pa.Table.from_batches(group))
                group.clear()  # Or the next is read beside it.
