"""The rows of a Parquet file, read in pieces: not even a row group has to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from imagehaul.errors import AnnotationError

_ROWS = 4096


def header(path: Path, shown: str) -> list[str]:
    from imagehaul.arrow import pq

    with _named(shown), pq.ParquetFile(path) as file:
        return list(file.schema_arrow.names)


def without_text(path: Path, shown: str) -> dict[str, str]:
    """The columns whose type no plain value or list of them has, with that type: pictures in bytes, structs."""
    from imagehaul.arrow import pa, pq

    def is_plain(kind: pa.DataType) -> bool:
        return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))

    with _named(shown), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
    kinds = {field.name: field.type for field in schema}
    items = {name: kind.value_type if hasattr(kind, "value_type") else kind for name, kind in kinds.items()}
    return {name: str(kinds[name]) for name, item in items.items() if not is_plain(item)}


def rows(path: Path, shown: str, places: Sequence[int]) -> Iterator[tuple[str, Sequence[Any]]]:
    """The cells of these columns, by their place in the header from 0, in each row, and the row's number from 1."""
    from imagehaul.arrow import pq

    number = 0
    with _named(shown), pq.ParquetFile(path, buffer_size=2**16, pre_buffer=False) as file:
        header = file.schema_arrow.names
        columns = list(dict.fromkeys(header[place] for place in places))
        # Two columns may have one name: both are read then, one after the other.
        read = [place for wanted in columns for place, name in enumerate(header) if name == wanted]
        for batch in file.iter_batches(batch_size=_ROWS, columns=columns, use_threads=False):
            cells = [batch.column(read.index(place)).to_pylist() for place in places]
            for row in zip(*cells, strict=True):
                number += 1
                yield f"{shown}: row {number}", row


@contextmanager
def _named(shown: str) -> Iterator[None]:
    from imagehaul.arrow import pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        # Of values: text that is not UTF-8, a time with nanoseconds or of a year beyond 9999.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise AnnotationError(f"{shown}: cannot be read as Parquet: {reason}") from error
