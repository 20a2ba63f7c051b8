"""What annotation files say, as rows of the table `statement`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from imagehaul.ledger.catalog import Catalog
from imagehaul.records import Annotation

_LARGEST_PICTURE = 1 << 31
"""Pixels on a side: what says more is no size."""
_NO_BOX = (0.0, 0.0, 0.0, 0.0, False, "")


def load_annotations(catalog: Catalog, annotations: Iterable[Annotation]) -> None:
    """Fills `statement` and `place`: the folders that references are seen from, of which there are few."""
    places: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}

    def rows() -> Iterator[tuple[Any, ...]]:
        for ordinal, item in enumerate(annotations):
            box = item.box
            geometry = (box.x, box.y, box.width, box.height, box.fraction, box.id) if box else _NO_BOX
            yield (
                ordinal,
                clean(item.reference),
                item.match,
                places.setdefault((item.places, item.apart), len(places)),
                item.kind,
                clean(item.text),
                *geometry,
                item.image_width if item.image_width < _LARGEST_PICTURE else 0,
                item.image_height if item.image_height < _LARGEST_PICTURE else 0,
                clean(item.origin),
                clean(item.metadata),
            )

    catalog.load("statement", rows())
    catalog.load(
        "place",
        (
            (number, rank, clean(folder), clean("/".join(apart)))
            for (folders, apart), number in places.items()
            for rank, folder in enumerate(folders)
        ),
    )


def clean(text: str) -> str:
    """A lone surrogate, as JSON may hold one, is no text that a table can keep."""
    return text.encode("utf-8", "replace").decode()
