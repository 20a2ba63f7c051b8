"""Reads the published index of a data set with DuckDB: how many objects of each label there are, and their mean size.

    export OBJECT_STORE_URL=http://minio:9000 AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
    python examples/read_an_export.py s3://bucket/prefix/photos/

Any reader does the same: `current.json` names the run to read and where its exports are; docs/contracts.md has the
columns of `metadata.parquet`.
"""

from __future__ import annotations

import json
import os
import sys

import duckdb
import s3fs

LABELS = """
    SELECT label, count(*) AS objects, round(avg(box_width * box_height)) AS mean_pixels
    FROM read_parquet(?) WHERE entity_type = 'object' GROUP BY label ORDER BY objects DESC, label
"""


def labels_of(dataset: str) -> list[tuple[str, int, float]]:
    """`dataset`: the URI of its folder."""
    files = s3fs.S3FileSystem(endpoint_url=os.environ.get("OBJECT_STORE_URL") or None)
    with files.open(f"{dataset.rstrip('/')}/current.json") as file:
        current = json.load(file)
    with duckdb.connect() as database:
        # DuckDB's own reader of S3 would be downloaded; this one is here already.
        database.register_filesystem(files)
        return database.execute(LABELS, [current["exports"]["parquet"]]).fetchall()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        found = labels_of(sys.argv[1])
    except FileNotFoundError:
        sys.exit(f"{sys.argv[1]} holds no current.json. Is it the folder of a data set that was published?")
    for label, objects, pixels in found:
        print(f"{label}: {objects} objects of {pixels:g} pixels")
