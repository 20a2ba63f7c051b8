"""The export: the delivered images as entities, for a UX that reads JSON and for tools that read Parquet.

`metadata.json` follows Visual Layer's export format 1.1 (https://docs.visual-layer.com/docs/the-export-format);
`docs/contracts.md` has the columns of `metadata.parquet`. Both are written in one pass over sorted rows, so that
memory does not grow with the data set.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog, Range
from imagehaul.mapping import url_of
from imagehaul.records import Box, BoxSpace

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION = "1.1"
ROWS_AT_ONCE = 2_000

_IMAGES = """
    WITH part AS (
        SELECT * FROM proven WHERE source_path >= $low AND ($high IS NULL OR source_path < $high)
            AND status IN ('delivered', 'unchanged')
    )
    SELECT i.source_path, i.media_id, i.key, i.format, i.content_type, i.width, i.height, i.orientation >= 5, i.size,
           i.sha256, coalesce(t.key, '') AS thumbnail
    FROM part i LEFT JOIN part t ON t.source_path = i.source_path AND t.kind = 'thumbnail'
    WHERE i.kind = 'image' ORDER BY i.source_path
"""
# A box without an area is no region that a UX can show: the delivery counts it, and its crop is a rejected row.
_ANNOTATIONS = """
    WITH crop AS (
        SELECT source_path, key FROM proven WHERE source_path >= $low AND ($high IS NULL OR source_path < $high)
            AND kind = 'crop' AND status IN ('delivered', 'unchanged')
    )
    SELECT a.path, a.kind, a.text, a.x, a.y, a.width, a.height, a.fraction, a.crop_id, coalesce(c.key, '') AS crop
    FROM annotation a
    LEFT JOIN crop c ON a.kind = 'box' AND c.source_path = a.path AND crop_id_of(c.key) = a.crop_id
    WHERE a.usable AND a.path >= $low AND ($high IS NULL OR a.path < $high) ORDER BY a.path, a.ordinal
"""


@dataclass(frozen=True, slots=True)
class Statement:
    """One annotation of one image: its box in pixels, and key and URL of its crop, "" where there is none."""

    kind: str
    text: str
    box: Box
    crop_id: str
    crop: str
    crop_url: str


@dataclass(frozen=True, slots=True)
class Entity:
    """One image of the export with what is said of it. `thumbnail`: its key, "" where there is none.

    `url` is what a UX shows: the thumbnail, or the image itself.
    """

    path: str
    media_id: str
    key: str
    format: str
    content_type: str
    width: int
    height: int
    size: int
    sha256: str
    thumbnail: str
    url: str
    image_url: str
    thumbnail_url: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """`serve_original`: the image URL is the original's even where there is a thumbnail.

    `created`: when the data set was first published, in ISO 8601; "" = now.
    """

    layout: Layout
    cdn_fullpath: str
    serve_original: bool
    box_space: BoxSpace
    software: str
    created: str = ""

    def url(self, key: str) -> str:
        return url_of(key, self.layout, self.cdn_fullpath) if key else ""


@dataclass(frozen=True, slots=True)
class Exported:
    json: Path
    parquet: Path
    images: int
    objects: int


def entities(catalog: Catalog, options: ExportOptions) -> Iterator[Entity]:
    """Sorted by path: a merge of two sorted streams. DuckDB and Python sort text alike, by code points.

    The same box said twice is one object.
    """
    for part in catalog.ranges("proven", "source_path"):
        yield from _entities_of(part, catalog, options)


def _entities_of(part: Range, catalog: Catalog, options: ExportOptions) -> Iterator[Entity]:
    annotations = itertools.groupby(catalog.rows(_ANNOTATIONS, part), key=lambda row: str(row[0]))
    place, said = next(annotations, _NO_MORE)
    images = catalog.rows(_IMAGES, part)
    for path, media_id, key, true_format, content_type, width, height, turned, size, sha256, thumbnail in images:
        while place is not None and place < path:
            place, said = next(annotations, _NO_MORE)
        space = (height, width) if turned and options.box_space == "stored" else (width, height)
        url, thumbnail_url = options.url(key), options.url(thumbnail)
        yield Entity(
            path=path,
            media_id=media_id,
            key=key,
            format=true_format,
            content_type=content_type,
            width=width,
            height=height,
            size=size,
            sha256=sha256,
            thumbnail=thumbnail,
            url=thumbnail_url if thumbnail and not options.serve_original else url,
            image_url=url,
            thumbnail_url=thumbnail_url,
            statements=tuple(_statements(said, space, options)) if place == path else (),
        )


_NO_MORE: tuple[str | None, Iterator[tuple[Any, ...]]] = (None, iter(()))


def _statements(rows: Iterable[tuple[Any, ...]], space: tuple[int, int], options: ExportOptions) -> Iterator[Statement]:
    """`space`: width and height of the picture that boxes lie in, 0 where nobody could decode it."""
    boxes: set[str] = set()
    for _, kind, text, x, y, width, height, fraction, crop_id, crop in rows:
        # A share of a picture of unknown size is no place.
        unknown = fraction and not space[0]
        if kind == "box" and (unknown or crop_id in boxes):
            continue
        boxes.add(crop_id)
        box = Box(x, y, width, height, text, fraction).in_pixels(*space)
        yield Statement(kind, text, box, crop_id, crop, options.url(crop))


def write_export(catalog: Catalog, options: ExportOptions, folder: Path) -> Exported:
    import orjson
    import pyarrow as pa
    import pyarrow.parquet as pq

    total, *_ = catalog.one("SELECT count(*) FROM proven WHERE kind = 'image' AND status IN ('delivered', 'unchanged')")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    info = {
        "schema_version": SCHEMA_VERSION,
        "dataset": options.layout.dataset,
        "description": f"Exported from {options.layout.dataset} by {options.software}",
        "dataset_url": options.layout.uri(options.layout.root),
        "export_time": now,
        "dataset_creation_time": options.created or now,
        "exported_by": options.software,
        "total_media_items": total,
    }
    json_file, parquet_file = folder / "metadata.json", folder / "metadata.parquet"
    images, objects, schema = 0, 0, parquet_schema()
    with json_file.open("wb") as json, pq.ParquetWriter(parquet_file, schema, compression="zstd") as parquet:
        json.write(b'{"info": ' + orjson.dumps(info) + b',\n"media_items": [')
        for some in _chunks(entities(catalog, options)):
            json.write(b"\n" if not images else b",\n")
            json.write(b",\n".join(orjson.dumps(media_item(entity)) for entity in some))
            rows = [row for entity in some for row in parquet_rows(entity, options.layout)]
            parquet.write_table(pa.Table.from_pylist(rows, schema=schema))
            images += len(some)
            objects += len(rows) - len(some)
        json.write(b"\n]}\n")
    return Exported(json_file, parquet_file, images, objects)


def _chunks(stream: Iterable[Entity]) -> Iterator[list[Entity]]:
    """Of `ROWS_AT_ONCE` rows or a few more, however many boxes an image has."""
    chunk: list[Entity] = []
    rows = 0
    for entity in stream:
        chunk.append(entity)
        rows += 1 + len(entity.statements)
        if rows >= ROWS_AT_ONCE:
            yield chunk
            chunk, rows = [], 0
    if chunk:
        yield chunk


def media_item(entity: Entity) -> dict[str, Any]:
    """One entry of `media_items`; `cluster_id` and `uniqueness_score` are for programs that compute them."""
    return {
        "media_id": entity.media_id,
        "media_type": "image",
        "file_name": posixpath.basename(entity.path),
        "file_path": entity.path,
        "file_size": human_size(entity.size),
        "height": entity.height,
        "width": entity.width,
        "url": entity.url,
        "cluster_id": None,
        "uniqueness_score": None,
        "metadata_items": [_metadata_item(statement) for statement in entity.statements],
    }


def _metadata_item(said: Statement) -> dict[str, Any]:
    if said.kind == "caption":
        return {"type": "caption", "properties": {"text": said.text, "source": "User"}}
    label = {"category_name": said.text, "source": "User", "original_id": -1}
    if said.kind == "label":
        return {"type": "image_label", "properties": label}
    box = said.box
    properties = {"bbox": [round(box.x), round(box.y), round(box.width), round(box.height)], **label}
    if said.crop:
        properties["url"] = said.crop_url
    return {"type": "object_label", "properties": {**properties, "metadata_items": []}}


def human_size(size: int) -> str:
    """Two decimals and a unit of 1,024, as the format has it: `48.96KB`."""
    amount = float(size)
    for unit in ("B", "KB", "MB", "GB"):
        if amount < 1024:
            return f"{amount:.2f}{unit}"
        amount /= 1024
    return f"{amount:.2f}TB"


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
    "box_x": "double",
    "box_y": "double",
    "box_width": "double",
    "box_height": "double",
}
"""One row for each image (`entity_type` image) and for each object in it (`object`)."""


def parquet_schema() -> pa.Schema:
    import pyarrow as pa

    types = {
        "string": pa.string(),
        "int64": pa.int64(),
        "double": pa.float64(),
        "list<string>": pa.list_(pa.string()),
    }
    return pa.schema([(name, types[kind]) for name, kind in PARQUET_COLUMNS.items()])


def parquet_rows(entity: Entity, layout: Layout) -> Iterator[dict[str, Any]]:
    """The image's row, then one for each of its boxes. A missing value is null."""
    image: dict[str, Any] = {
        "entity_type": "image",
        "entity_id": entity.media_id,
        "media_id": entity.media_id,
        "image_filename": posixpath.basename(entity.path),
        "file_path": entity.path,
        "key": entity.key,
        "uri": layout.uri(entity.key),
        "url": entity.url,
        "image_key": entity.key,
        "image_uri": layout.uri(entity.key),
        "image_url": entity.image_url,
        "thumbnail_key": entity.thumbnail or None,
        "thumbnail_uri": layout.uri(entity.thumbnail) if entity.thumbnail else None,
        "thumbnail_url": entity.thumbnail_url or None,
        "format": entity.format,
        "content_type": entity.content_type,
        "width": entity.width,
        "height": entity.height,
        "file_size": entity.size,
        "sha256": entity.sha256,
        "labels": [said.text for said in entity.statements if said.kind == "label"],
        "captions": [said.text for said in entity.statements if said.kind == "caption"],
    }
    yield image
    for said in entity.statements:
        if said.kind == "box":
            yield {
                **image,
                "entity_type": "object",
                "entity_id": f"{entity.media_id}/{said.crop_id}",
                "key": said.crop or None,
                "uri": layout.uri(said.crop) if said.crop else None,
                "url": said.crop_url or None,
                "label": said.text,
                "labels": [],
                "captions": [],
                "box_x": said.box.x,
                "box_y": said.box.y,
                "box_width": said.box.width,
                "box_height": said.box.height,
            }
