"""The proven images with their annotations, as exports want them: sorted by path, one pass, memory that stays flat."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from imagehaul.entity import Addresses, Entity, Reject, Statement
from imagehaul.ledger.catalog import Catalog, Range
from imagehaul.records import Box, BoxSpace

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


def count_entities(catalog: Catalog) -> int:
    count, *_ = catalog.one("SELECT count(*) FROM proven WHERE kind = 'image' AND status IN ('delivered', 'unchanged')")
    return int(count)


def classes_of_boxes(catalog: Catalog) -> tuple[str, ...]:
    """The labels of the boxes that exports show, sorted."""
    return tuple(
        text
        for (text,) in catalog.rows("SELECT DISTINCT text FROM annotation WHERE kind = 'box' AND usable ORDER BY 1")
    )


def rejects(catalog: Catalog) -> Iterator[Reject]:
    """Sorted by path."""
    query = """
        SELECT source_path, code, message FROM proven
        WHERE kind = 'image' AND status NOT IN ('delivered', 'unchanged')
            AND source_path >= $low AND ($high IS NULL OR source_path < $high)
        ORDER BY source_path
    """
    for part in catalog.ranges("proven", "source_path"):
        yield from (Reject(*row) for row in catalog.rows(query, part))


def entities(catalog: Catalog, addresses: Addresses, box_space: BoxSpace) -> Iterator[Entity]:
    """Sorted by path: a merge of two sorted streams. DuckDB and Python sort text alike, by code points.

    The same box said twice is one object.
    """
    for part in catalog.ranges("proven", "source_path"):
        yield from _entities_of(part, catalog, addresses, box_space)


def _entities_of(part: Range, catalog: Catalog, addresses: Addresses, box_space: BoxSpace) -> Iterator[Entity]:
    annotations = itertools.groupby(catalog.rows(_ANNOTATIONS, part), key=lambda row: str(row[0]))
    place, said = next(annotations, _NO_MORE)
    images = catalog.rows(_IMAGES, part)
    for path, media_id, key, true_format, content_type, width, height, turned, size, sha256, thumbnail in images:
        while place is not None and place < path:
            place, said = next(annotations, _NO_MORE)
        space = (height, width) if turned and box_space == "stored" else (width, height)
        url, thumbnail_url = addresses.url(key), addresses.url(thumbnail)
        yield Entity(
            path=path,
            media_id=media_id,
            key=key,
            format=true_format,
            content_type=content_type,
            width=width,
            height=height,
            box_width=space[0],
            box_height=space[1],
            size=size,
            sha256=sha256,
            thumbnail=thumbnail,
            url=thumbnail_url if thumbnail and not addresses.serve_original else url,
            image_url=url,
            thumbnail_url=thumbnail_url,
            statements=tuple(_statements(said, space, addresses)) if place == path else (),
        )


_NO_MORE: tuple[str | None, Iterator[tuple[Any, ...]]] = (None, iter(()))


def _statements(rows: Iterable[tuple[Any, ...]], space: tuple[int, int], addresses: Addresses) -> Iterator[Statement]:
    """`space`: width and height of the picture that boxes lie in, 0 where nobody could decode it."""
    boxes: set[str] = set()
    for _, kind, text, x, y, width, height, fraction, crop_id, crop in rows:
        # A share of a picture of unknown size is no place.
        unknown = fraction and not space[0]
        if kind == "box" and (unknown or crop_id in boxes):
            continue
        boxes.add(crop_id)
        box = Box(x, y, width, height, text, fraction).in_pixels(*space)
        yield Statement(kind, text, box, crop_id, crop, addresses.url(crop))
