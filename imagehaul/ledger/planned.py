"""The images of one batch as bytes (Arrow's IPC format, compressed), from the plan's tables to the worker's records.

The leader hands columns on as they are, so that no image costs it a record. Imports no DuckDB.
https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from imagehaul.records import Box, ExistingObject, PlannedImage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imagehaul.arrow import pa


def pack(images: pa.Table, boxes: pa.Table, present: pa.Table) -> bytes:
    """`images`: path, name, size, version and location of `PlannedImage`, behind their ordinals.

    The first column of the other two names these; behind it they have the fields of `Box` and `ExistingObject`. All in
    the order in which they are wanted.
    """
    from imagehaul.arrow import pa

    packed = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    for table in (images, boxes, present):
        with pa.ipc.new_stream(packed, table.schema, options=options) as stream:
            stream.write_table(table)
    return packed.getvalue()


def planned_images(packed: bytes) -> tuple[PlannedImage, ...]:
    from imagehaul.arrow import pa

    source = pa.BufferReader(packed)
    images, boxes, present = (pa.ipc.open_stream(source).read_all() for _ in range(3))
    boxes_of: dict[int, list[Box]] = {}
    for ordinal, *columns in _rows(boxes):
        boxes_of.setdefault(ordinal, []).append(Box(*columns))
    present_of: dict[int, list[ExistingObject]] = {}
    for ordinal, *columns in _rows(present):
        present_of.setdefault(ordinal, []).append(ExistingObject(*columns))
    return tuple(
        PlannedImage(
            path, name, size, version, tuple(boxes_of.get(ordinal, ())), tuple(present_of.get(ordinal, ())), location
        )
        for ordinal, path, name, size, version, location in _rows(images)
    )


def _rows(table: pa.Table) -> Iterator[tuple[Any, ...]]:
    return zip(*(column.to_pylist() for column in table.columns), strict=True)
