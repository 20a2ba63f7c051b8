"""The ledger: one row for each object, and for each input that was rejected or failed. Parquet.

`docs/contracts.md` describes the columns for readers; `SCHEMA_NUMBER` changes when their meaning does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from imagehaul.errors import Code
from imagehaul.frozen import Changeable
from imagehaul.layout import MAIN_SOURCE
from imagehaul.records import Box, ImageInfo, Kind, Rendition

if TYPE_CHECKING:
    from imagehaul.arrow import pa

SCHEMA_NUMBER = 1

Status = Literal["delivered", "unchanged", "rejected", "failed", "sent", "present", "in_place"]
"""`sent` and `present` stand in a journal only, until the proof: sent in this run, or found there already.
`in_place`: an original that stays where it is, and is new or changed."""

_TYPES = {"int": "BIGINT", "float": "DOUBLE", "bool": "BOOLEAN"}


@dataclass(frozen=True)
class LedgerRow(Changeable):
    """One line of the ledger. "" and 0 stand for "not known" or "does not apply".

    `size`, `md5`, `sha256`, `etag` are the stored object's; `source_size` and `source_version` (time in
    nanoseconds, or ETag) tell whether the source is still the same. `recipe` names the settings that the object's
    bytes and headers depend on. `box_*`: the crop's box as annotated, in pixels; `label` is the box's.
    `run`: the run that sent the object. `phash` to `entropy`: an image's `records.Quality`, "" and 0 = not measured.
    `source_name`: the source of the data set that holds the path.
    """

    source_path: str
    kind: Kind
    key: str
    status: Status
    code: str = ""
    message: str = ""
    retryable: bool = False
    size: int = 0
    md5: str = ""
    sha256: str = ""
    etag: str = ""
    proof: str = ""
    source_size: int = 0
    source_version: str = ""
    media_id: str = ""
    format: str = ""
    content_type: str = ""
    width: int = 0
    height: int = 0
    orientation: int = 0
    mode: str = ""
    frames: int = 0
    checked: str = ""
    box_x: float = 0.0
    box_y: float = 0.0
    box_width: float = 0.0
    box_height: float = 0.0
    label: str = ""
    recipe: str = ""
    run: str = ""
    phash: str = ""
    brightness: float = 0.0
    contrast: float = 0.0
    sharpness: float = 0.0
    entropy: float = 0.0
    source_name: str = MAIN_SOURCE

    def with_problem(self, status: Status, code: str, message: str = "") -> LedgerRow:
        return self.but(status=status, code=code, message=message, retryable=Code[code].retryable)

    def with_info(self, info: ImageInfo) -> LedgerRow:
        known = dict(vars(info))
        measures = known.pop("quality")
        return self.but(**known, **vars(measures)) if measures else self.but(**known)

    def with_rendition(self, rendition: Rendition) -> LedgerRow:
        return self.but(
            size=rendition.size,
            md5=rendition.md5,
            sha256=rendition.sha256,
            etag=rendition.etag,
            content_type=rendition.content_type,
            width=rendition.width,
            height=rendition.height,
        )

    def with_box(self, box: Box) -> LedgerRow:
        return self.but(box_x=box.x, box_y=box.y, box_width=box.width, box_height=box.height, label=box.label)


COLUMNS: dict[str, str] = {field.name: _TYPES.get(str(field.type), "VARCHAR") for field in fields(LedgerRow)}
"""Column name → DuckDB type, in order."""


def arrow_schema() -> pa.Schema:
    from imagehaul.arrow import pa

    types = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "DOUBLE": pa.float64(), "BOOLEAN": pa.bool_()}
    return pa.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


def table_of(rows: Sequence[LedgerRow]) -> pa.Table:
    from imagehaul.arrow import pa

    schema = arrow_schema()
    if not rows:
        return schema.empty_table()
    columns = zip(*map(attrgetter(*COLUMNS), rows), strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_part(rows: Iterable[LedgerRow], file: Path) -> None:
    """Written beside and renamed, so that a part is whole or not there."""
    from imagehaul.arrow import pq

    beside = file.with_suffix(".unfinished")
    pq.write_table(table_of(list(rows)), beside, compression="zstd")
    beside.rename(file)
