"""The proven images with their annotations, as exports want them: sorted by path, one pass, memory that stays flat."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from imagehaul.entity import Addresses, Images, Issue, Reject, Statement
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.metadata_columns import metadata_columns
from imagehaul.ledger.other_sources import parts_of_index
from imagehaul.metadata import MetadataColumn, Place, typed_values
from imagehaul.records import Box, BoxSpace

if TYPE_CHECKING:
    from imagehaul.arrow import pa

IMAGES_AT_ONCE = 2_000

Columns: TypeAlias = dict[Place, dict[str, MetadataColumn]]
"""Of each place, by their own names."""

_IMAGES = """
    WITH part AS (
        SELECT * FROM indexed WHERE source_name = $source AND source_path >= $low
            AND ($high IS NULL OR source_path < $high) AND status IN ('delivered', 'unchanged')
    )
    SELECT i.source_name, i.source_path AS path, i.media_id, i.key, i.format, i.content_type, i.width, i.height,
           CASE WHEN $stored AND i.orientation >= 5 THEN i.height ELSE i.width END AS box_width,
           CASE WHEN $stored AND i.orientation >= 5 THEN i.width ELSE i.height END AS box_height,
           i.size, i.sha256, coalesce(t.key, '') AS thumbnail, coalesce(s.split, '') AS split,
           coalesce(o.metadata, '') AS metadata, i.phash, i.brightness, i.contrast, i.sharpness, i.entropy, q.issues
    FROM part i LEFT JOIN part t ON t.source_path = i.source_path AND t.kind = 'thumbnail'
    LEFT JOIN said_split s ON s.path = i.source_path AND s.source_name = $source
    LEFT JOIN source o ON o.path = i.source_path AND o.metadata <> '' AND $own
    LEFT JOIN (
        SELECT source_path, list([kind, confidence::VARCHAR, group_id, threshold::VARCHAR] ORDER BY kind) AS issues
        FROM issue WHERE source_name = $source AND source_path >= $low AND ($high IS NULL OR source_path < $high)
        GROUP BY source_path
    ) q ON q.source_path = i.source_path
    WHERE i.kind = 'image' ORDER BY i.source_path
"""
# A box without an area is no region that a UX can show: the delivery counts it, and its crop is a rejected row.
_ANNOTATIONS = """
    WITH crop AS (
        SELECT source_path, key FROM indexed WHERE source_name = $source AND source_path >= $low
            AND ($high IS NULL OR source_path < $high) AND kind = 'crop' AND status IN ('delivered', 'unchanged')
    )
    SELECT a.path, a.kind, a.text, a.x, a.y, a.width, a.height, a.fraction, a.crop_id, coalesce(c.key, '') AS crop,
           a.metadata
    FROM said a
    LEFT JOIN crop c ON a.kind = 'box' AND c.source_path = a.path AND crop_id_of(c.key) = a.crop_id
    WHERE a.source_name = $source AND a.path >= $low AND ($high IS NULL OR a.path < $high) ORDER BY a.path, a.ordinal
"""


def count_entities(catalog: Catalog) -> int:
    count, *_ = catalog.one(
        "SELECT count(*) FROM indexed WHERE kind = 'image' AND status IN ('delivered', 'unchanged')"
    )
    return int(count)


def classes_of_boxes(catalog: Catalog) -> tuple[str, ...]:
    """The labels of the boxes that exports show, sorted."""
    return tuple(text for (text,) in catalog.rows("SELECT DISTINCT text FROM said WHERE kind = 'box' ORDER BY 1"))


def rejects(catalog: Catalog) -> Iterator[Reject]:
    """Sorted by source and path."""
    query = """
        SELECT source_path, code, message FROM indexed
        WHERE source_name = $source AND kind = 'image' AND status NOT IN ('delivered', 'unchanged')
            AND source_path >= $low AND ($high IS NULL OR source_path < $high)
        ORDER BY source_path
    """
    for part in parts_of_index(catalog):
        yield from (Reject(*row) for row in catalog.rows(query, part))


def images(catalog: Catalog, addresses: Addresses, box_space: BoxSpace) -> Iterator[Images]:
    """Sorted by source and path: a merge of two sorted streams. DuckDB and Python sort text alike, by code points.

    The same box said twice is one object. Of two rows of metadata, the first that says something of a column counts.
    """
    columns_of = {True: _by_place(metadata_columns(catalog))}
    columns_of[False] = _by_place(metadata_columns(catalog, "other_metadata_column"))
    own = next(catalog.rows("SELECT source_name FROM proven LIMIT 1"), ("",))[0]
    for part in parts_of_index(catalog):
        of_run = part["source"] == own
        columns = columns_of[of_run]
        annotations = itertools.groupby(catalog.rows(_ANNOTATIONS, part), key=lambda row: str(row[0]))
        place, said = next(annotations, _NO_MORE)
        asked = {**part, "stored": box_space == "stored", "own": of_run}
        for batch in catalog.batches(_IMAGES, asked, IMAGES_AT_ONCE):
            if not batch.num_rows:
                continue
            found = _found(batch, addresses, columns["source"])
            paths = found.columns["path"].to_pylist()
            numbers = {path: number for number, path in enumerate(paths)} if place is not None else {}
            while place is not None and place <= paths[-1]:
                if (number := numbers.get(place)) is not None:
                    metadata = found.metadata.setdefault(number, {})
                    about = _without_metadata(said, metadata, columns["image"])
                    space = found.columns["box_width"][number].as_py(), found.columns["box_height"][number].as_py()
                    found.statements[number] = tuple(_statements(about, space, addresses, columns["object"]))
                place, said = next(annotations, _NO_MORE)
            yield found


def _by_place(columns: Iterable[MetadataColumn]) -> Columns:
    found: Columns = {"source": {}, "image": {}, "object": {}}
    for column in columns:
        found[column.place][column.name] = column
    return found


_NO_MORE: tuple[str | None, Iterator[tuple[Any, ...]]] = (None, iter(()))


def _found(batch: pa.RecordBatch, addresses: Addresses, columns: Mapping[str, MetadataColumn]) -> Images:
    """With what the source itself says of the images, and nothing of what annotations say."""
    from imagehaul.arrow import pa

    table = pa.Table.from_batches([batch])
    listed = enumerate(table["metadata"].to_pylist()) if columns else ()
    urls, thumbnails = (addresses.urls(table[name].to_pylist()) for name in ("key", "thumbnail"))
    shown = urls if addresses.serve_original else [small or url for small, url in zip(thumbnails, urls, strict=True)]
    for name, values in (("url", shown), ("image_url", urls), ("thumbnail_url", thumbnails)):
        table = table.append_column(name, pa.array(values, pa.string()))
    metadata = {number: typed_values(kept, columns) for number, kept in listed if kept}
    issues = {
        number: tuple(Issue(kind, float(sure), group, float(limit)) for kind, sure, group, limit in found)
        for number, found in enumerate(table["issues"].to_pylist())
        if found
    }
    return Images(table.drop_columns(["metadata", "issues"]), {}, metadata, issues)


def _without_metadata(
    rows: Iterable[tuple[Any, ...]], metadata: dict[str, Any], columns: Mapping[str, MetadataColumn]
) -> Iterator[tuple[Any, ...]]:
    """Takes the image's metadata out of what is said of it."""
    for row in rows:
        if row[1] == "metadata":
            metadata |= typed_values(row[-1], columns) | metadata
        else:
            yield row


def _statements(
    rows: Iterable[tuple[Any, ...]], space: tuple[int, int], addresses: Addresses, columns: Mapping[str, MetadataColumn]
) -> Iterator[Statement]:
    """`space`: width and height of the picture that boxes lie in, 0 where nobody could decode it."""
    boxes: set[str] = set()
    for _, kind, text, x, y, width, height, fraction, crop_id, crop, metadata in rows:
        # A share of a picture of unknown size is no place.
        unknown = fraction and not space[0]
        if kind == "box" and (unknown or crop_id in boxes):
            continue
        boxes.add(crop_id)
        box = Box(x, y, width, height, text, fraction).in_pixels(*space)
        yield Statement(kind, text, box, crop_id, crop, addresses.url(crop), typed_values(metadata, columns))
