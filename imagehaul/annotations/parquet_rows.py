"""The rows of a Parquet file, read in pieces: not even a row group has to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagehaul.errors import AnnotationError

_ROWS = 4096


def header(path: Path, shown: str) -> list[str]:
    import pyarrow.parquet as pq

    with _named(shown), pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def rows(path: Path, shown: str, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The cells of these columns in each row, and the row's number from 1."""
    import pyarrow.parquet as pq

    number = 0
    with _named(shown), pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(columns), use_threads=False):
            cells = [batch.column(name).to_pylist() for name in columns]
            for row in zip(*cells, strict=True):
                number += 1
                yield f"{shown}: row {number}", row


@contextmanager
def _named(shown: str) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnnotationError(f"{shown}: cannot be read as Parquet: {reason}") from error
