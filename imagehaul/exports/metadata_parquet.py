"""`metadata.parquet`: a row for each image and each object in it. `docs/contracts.md` describes the columns."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from imagehaul.entity import Addresses, Entity
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.metadata import PREFIX, ColumnType, MetadataColumn

if TYPE_CHECKING:
    import pyarrow as pa

NAME = "metadata.parquet"
ROWS_AT_ONCE = 2_000

PARQUET_COLUMNS = {
    "entity_type": "string",
    "entity_id": "string",
    "media_id": "string",
    "image_filename": "string",
    "file_path": "string",
    "key": "string",
    "uri": "string",
    "url": "string",
    "image_key": "string",
    "image_uri": "string",
    "image_url": "string",
    "thumbnail_key": "string",
    "thumbnail_uri": "string",
    "thumbnail_url": "string",
    "format": "string",
    "content_type": "string",
    "width": "int64",
    "height": "int64",
    "file_size": "int64",
    "sha256": "string",
    "label": "string",
    "labels": "list<string>",
    "captions": "list<string>",
    "split": "string",
    "box_x": "double",
    "box_y": "double",
    "box_width": "double",
    "box_height": "double",
}
"""One row for each image (`entity_type` image) and for each object in it (`object`)."""
METADATA_TYPES: dict[ColumnType, str] = {
    "text": "string",
    "integer": "int64",
    "number": "double",
    "time": "timestamp",
    "boolean": "boolean",
    "texts": "list<string>",
}


class MetadataParquet:
    def __init__(self, about: About, files: ExportFiles) -> None:
        import pyarrow.parquet as pq

        self._addresses = about.addresses
        self._files, self._file = files, files.create()
        self._schema = parquet_schema(about.columns)
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")

    def write(self, entity: Entity) -> None:
        self._rows += parquet_rows(entity, self._addresses)
        if len(self._rows) >= ROWS_AT_ONCE:
            self._write_rows()

    def close(self) -> Exported:
        self._write_rows()
        self._writer.close()
        self._files.send(self._file, NAME)
        return Exported(NAME)

    def _write_rows(self) -> None:
        import pyarrow as pa

        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows = []


def parquet_schema(metadata: Iterable[MetadataColumn] = ()) -> pa.Schema:
    """The columns that every export has, then those of the user's own metadata."""
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": pa.timestamp("us", tz="UTC"),
        "list<string>": pa.list_(pa.string()),
    }
    columns = PARQUET_COLUMNS | {PREFIX + column.exported: METADATA_TYPES[column.type] for column in metadata}
    return pa.schema([(name, types[kind]) for name, kind in columns.items()])


def parquet_rows(entity: Entity, addresses: Addresses) -> Iterator[dict[str, Any]]:
    """The image's row, then one for each of its boxes. A missing value is null."""
    uri = addresses.uri(entity.key)
    image: dict[str, Any] = {
        "entity_type": "image",
        "entity_id": entity.media_id,
        "media_id": entity.media_id,
        "image_filename": posixpath.basename(entity.path),
        "file_path": entity.path,
        "key": entity.key,
        "uri": uri,
        "url": entity.url,
        "image_key": entity.key,
        "image_uri": uri,
        "image_url": entity.image_url,
        "thumbnail_key": entity.thumbnail or None,
        "thumbnail_uri": addresses.uri(entity.thumbnail) or None,
        "thumbnail_url": entity.thumbnail_url or None,
        "format": entity.format,
        "content_type": entity.content_type,
        "width": entity.width,
        "height": entity.height,
        "file_size": entity.size,
        "sha256": entity.sha256,
        "labels": entity.labels,
        "captions": entity.captions,
        "split": entity.split or None,
        **{PREFIX + name: value for name, value in entity.metadata.items()},
    }
    yield image
    for said in entity.statements:
        if said.kind == "box":
            yield {
                **image,
                "entity_type": "object",
                "entity_id": f"{entity.media_id}/{said.crop_id}",
                "key": said.crop or None,
                "uri": addresses.uri(said.crop) or None,
                "url": said.crop_url or None,
                "label": said.text,
                "labels": [],
                "captions": [],
                "box_x": said.box.x,
                "box_y": said.box.y,
                "box_width": said.box.width,
                "box_height": said.box.height,
                **{PREFIX + name: value for name, value in said.metadata.items()},
            }
