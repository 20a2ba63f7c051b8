"""`metadata.parquet`: a row for each image and each object in it. `docs/contracts.md` describes the columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from imagehaul.entity import MEASURES, Addresses, Images, Statement
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.parquet_file import ParquetFile
from imagehaul.metadata import PREFIX, ColumnType, MetadataColumn

if TYPE_CHECKING:
    from imagehaul.arrow import pa

NAME = "metadata.parquet"

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
    "phash": "string",
    "brightness": "double",
    "contrast": "double",
    "sharpness": "double",
    "entropy": "double",
    "issues": "list<string>",
    "exact_duplicate_group": "string",
    "near_duplicate_group": "string",
    "source_name": "string",
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
        self._addresses = about.addresses
        self._schema = parquet_schema(about.columns)
        self._file = ParquetFile(files, self._schema)

    def write_images(self, images: Images) -> None:
        rows = _rows_of_images(images, self._addresses, self._schema)
        boxes = [(place, said) for place, about in images.statements.items() for said in about if said.kind == "box"]
        if boxes:
            rows = _with_objects(rows, boxes, self._addresses)
        self._file.write(rows)

    def close(self) -> Exported:
        self._file.close(NAME)
        return Exported(NAME)


def parquet_schema(metadata: Iterable[MetadataColumn] = ()) -> pa.Schema:
    """The columns that every export has, then those of the user's own metadata."""
    from imagehaul.arrow import pa

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


def _rows_of_images(images: Images, addresses: Addresses, schema: pa.Schema) -> pa.Table:
    """A missing value is null."""
    from imagehaul.arrow import pa, pc

    found, number = images.columns, len(images.columns)
    uris = pa.array(map(addresses.uri, found["key"].to_pylist()), pa.string())
    thumbnail_uris = pa.array(map(addresses.uri, found["thumbnail"].to_pylist()), pa.string())
    columns = {
        "entity_type": pa.repeat("image", number),
        "entity_id": found["media_id"],
        "image_filename": pc.replace_substring_regex(found["path"], pattern="^(?s:.*)/", replacement=""),
        "file_path": found["path"],
        "uri": uris,
        "image_key": found["key"],
        "image_uri": uris,
        "thumbnail_key": _or_null(found["thumbnail"]),
        "thumbnail_uri": _or_null(thumbnail_uris),
        "thumbnail_url": _or_null(found["thumbnail_url"]),
        "file_size": found["size"],
        "labels": _texts(images, "label"),
        "captions": _texts(images, "caption"),
        "split": _or_null(found["split"]),
    }
    measured = pc.not_equal(found["phash"], "")
    columns |= {name: pc.if_else(measured, found[name], None) for name in MEASURES}
    about = [images.issues.get(place, ()) for place in range(number)]
    columns["issues"] = pa.array([[issue.kind for issue in issues] for issues in about], pa.list_(pa.string()))
    for name in ("exact_duplicate", "near_duplicate"):
        groups = [next((issue.group_id for issue in issues if issue.kind == f"{name}s"), None) for issues in about]
        columns[f"{name}_group"] = pa.array(groups, pa.string())
    same = ("media_id", "key", "url", "image_url", "format", "content_type", "width", "height", "sha256", "source_name")
    columns |= {name: found[name] for name in same}
    for field in schema:
        if field.name.startswith(PREFIX):
            name = field.name.removeprefix(PREFIX)
            values = [images.metadata.get(place, {}).get(name) for place in range(number)]
            columns[field.name] = pa.array(values, field.type)
    return pa.table([columns.get(name, pa.nulls(number)) for name in schema.names], schema.names).cast(schema)


def _or_null(texts: Any) -> Any:
    from imagehaul.arrow import pc

    return pc.if_else(pc.equal(texts, ""), None, texts)


def _texts(images: Images, kind: str) -> pa.Array:
    """For each image what is said of it in this way."""
    from imagehaul.arrow import pa

    of = {place: [said.text for said in about if said.kind == kind] for place, about in images.statements.items()}
    return pa.array([of.get(place, ()) for place in range(len(images.columns))], pa.list_(pa.string()))


def _with_objects(rows: pa.Table, boxes: Sequence[tuple[int, Statement]], addresses: Addresses) -> pa.Table:
    """The rows with one for each box behind its image's. `boxes`: in order, with the place of their images."""
    from imagehaul.arrow import pa

    places = [place for place, _ in boxes]
    about = [said for _, said in boxes]
    objects = rows.take(pa.array(places))
    media_ids = objects["media_id"].to_pylist()
    changed: dict[str, list[Any]] = {
        "entity_type": ["object"] * len(boxes),
        "entity_id": [f"{media_id}/{said.crop_id}" for media_id, said in zip(media_ids, about, strict=True)],
        "key": [said.crop or None for said in about],
        "uri": [addresses.uri(said.crop) or None for said in about],
        "url": [said.crop_url or None for said in about],
        "label": [said.text for said in about],
        "labels": [[]] * len(boxes),
        "captions": [[]] * len(boxes),
        "box_x": [said.box.x for said in about],
        "box_y": [said.box.y for said in about],
        "box_width": [said.box.width for said in about],
        "box_height": [said.box.height for said in about],
    }
    for name in rows.schema.names:
        if name.startswith(PREFIX):
            # What is said of the image holds for its objects, where they say nothing else.
            of_images = objects[name].to_pylist()
            own = name.removeprefix(PREFIX)
            changed[name] = [said.metadata.get(own, value) for said, value in zip(about, of_images, strict=True)]
    for name, values in changed.items():
        field = rows.schema.field(name)
        objects = objects.set_column(rows.schema.get_field_index(name), field, pa.array(values, field.type))
    order = sorted(range(len(rows) + len(boxes)), key=lambda row: row if row < len(rows) else places[row - len(rows)])
    return pa.concat_tables([rows, objects]).take(pa.array(order))
