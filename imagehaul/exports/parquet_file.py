"""A Parquet file that is written as its rows come, in row groups of an even size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagehaul.exports.export import ExportFiles

if TYPE_CHECKING:
    from imagehaul.arrow import pa

ROWS_IN_GROUP = 10_000
"""Of each group but the last, at least. The writer keeps 1 kB for each group and column until the file ends, and a
reader begins with as much: for a million images in groups of 2,000 that is 35 MB. To write 20,000 at once takes 30 MB
more than to write 10,000."""


class ParquetFile:
    def __init__(self, files: ExportFiles, schema: pa.Schema) -> None:
        from imagehaul.arrow import pq

        self._files, self._file = files, files.create()
        self._writer = pq.ParquetWriter(self._file, schema, compression="zstd")
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= ROWS_IN_GROUP:
            self._write_group()

    def close(self, name: str) -> None:
        """Sends it under that name."""
        if self._waiting:
            self._write_group()
        self._writer.close()
        self._files.send(self._file, name)

    def _write_group(self) -> None:
        from imagehaul.arrow import pa

        self._writer.write_table(pa.concat_tables(self._waiting))
        self._waiting = []
