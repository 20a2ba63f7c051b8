"""Which image each statement of an annotation file is about."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagehaul.ledger.catalog import Catalog
from imagehaul.records import Annotation

EXAMPLES = 3
_LARGEST_PICTURE = 1 << 31
"""Pixels on a side: what says more is no size."""


@dataclass(frozen=True, slots=True)
class Matches:
    """Counts of statements, but for `images`: those that at least one is about.

    `unknown`: no image has that name; `ambiguous`: several have. With examples, as reference and origin.
    `unusable`: boxes with no area or with coordinates that are no finite numbers, which no export can show.
    """

    statements: int
    boxes: int
    images: int
    unknown: int
    ambiguous: int
    examples: tuple[str, ...]
    unusable: int = 0


def load_annotations(catalog: Catalog, annotations: Iterable[Annotation]) -> int:
    def rows() -> Iterator[tuple[Any, ...]]:
        for ordinal, item in enumerate(annotations):
            box = item.box
            geometry = (box.x, box.y, box.width, box.height, box.fraction, box.id) if box else _NO_BOX
            yield (
                ordinal,
                _clean(item.reference),
                item.match,
                candidates_of(item),
                posixpath.basename(_clean(item.reference)),
                item.kind,
                _clean(item.text),
                *geometry,
                item.image_width if item.image_width < _LARGEST_PICTURE else 0,
                item.image_height if item.image_height < _LARGEST_PICTURE else 0,
                _clean(item.origin),
            )

    return catalog.load("statement", rows())


_NO_BOX = (0.0, 0.0, 0.0, 0.0, False, "")


def _clean(text: str) -> str:
    """A lone surrogate, as JSON may hold one, is no text that a table can keep."""
    return text.encode("utf-8", "replace").decode()


def candidates_of(item: Annotation) -> list[str]:
    """Paths relative to the source: seen from the annotation file's folder first, then from the source."""
    reference = _clean(item.reference)
    seen = [posixpath.normpath(reference)]
    if item.folder is not None:
        seen.insert(0, posixpath.normpath(posixpath.join(item.folder, reference)))
    return list(dict.fromkeys(seen))


def match_annotations(catalog: Catalog) -> Matches:
    """Fills the table `annotation` (`path` is the image's), and says what found no image."""
    catalog.fill(
        "stem",
        """
        SELECT path, regexp_replace(path, '\\.[^./]*$', '') AS stem,
               regexp_replace(regexp_extract(path, '[^/]*$'), '\\.[^.]*$', '') AS base
        FROM source WHERE EXISTS (SELECT 1 FROM statement WHERE match = 'stem')
        """,
    )
    # A reference is resolved once, however many boxes stand on it.
    catalog.fill(
        "reference",
        """
        WITH asked AS (
            SELECT DISTINCT match, reference, candidates, base FROM statement
        ), candidate AS (
            SELECT match, reference, candidates, unnest(candidates) AS name,
                   generate_subscripts(candidates, 1) AS rank FROM asked
        ), found AS (
            SELECT c.match, c.reference, c.candidates, s.path, c.rank
            FROM candidate c JOIN source s ON c.match = 'path' AND s.path = c.name
            UNION ALL
            SELECT c.match, c.reference, c.candidates, s.path, c.rank
            FROM candidate c JOIN stem s ON c.match = 'stem' AND s.stem = c.name
            UNION ALL
            SELECT a.match, a.reference, a.candidates, s.path, 9
            FROM asked a JOIN stem s ON a.match = 'stem' AND s.base = a.base
        ), best AS (
            SELECT * FROM found
            QUALIFY rank = min(rank) OVER (PARTITION BY match, reference, candidates)
        )
        SELECT match, reference, candidates, min(path) AS path, count(*) AS images
        FROM best GROUP BY match, reference, candidates
        """,
    )
    catalog.fill(
        "resolved",
        """
        SELECT s.*, r.path, coalesce(r.images, 0) AS images,
               kind <> 'box' OR width > 0 AND height > 0
                   AND greatest(abs(x), abs(y), width, height) < 9007199254740992 AS usable
        FROM statement s LEFT JOIN reference r USING (match, reference, candidates)
        """,
    )
    catalog.fill("annotation", "SELECT * FROM resolved WHERE images = 1")
    return _matches(catalog)


def _matches(catalog: Catalog) -> Matches:
    counts = catalog.one(
        """
        SELECT count(*), count(*) FILTER (kind = 'box'), count(DISTINCT path) FILTER (images = 1),
               count(*) FILTER (images = 0), count(*) FILTER (images > 1), count(*) FILTER (NOT usable) FROM resolved
        """
    )
    statements, boxes, images, unknown, ambiguous, unusable = counts
    examples = [
        f"{reference!r} ({origin}): {'several images have that name' if images else 'no image has that name'}"
        for reference, origin, images in catalog.rows(
            "SELECT reference, min(origin), min(images) FROM resolved WHERE images <> 1 "
            f"GROUP BY reference ORDER BY min(ordinal) LIMIT {EXAMPLES}"
        )
    ]
    return Matches(statements, boxes, images, unknown, ambiguous, tuple(examples), unusable)
