"""The batches of a plan as bytes, for whoever works on them. Several are read from the working tables at once."""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.planned import pack
from imagehaul.records import BatchReference

if TYPE_CHECKING:
    from imagehaul.arrow import pa

BATCHES_READ = 8
"""So many with one query: it costs as much as a few hundred rows."""

_QUERIES = (
    "SELECT ordinal, path, name, size, version, location FROM plan "
    "WHERE decision = 'work' AND ordinal BETWEEN ? AND ? ORDER BY ordinal",
    "SELECT image, x, y, width, height, label, fraction FROM work_box WHERE image BETWEEN ? AND ? "
    "ORDER BY image, ordinal",
    "SELECT image, key, size, etag, md5, known_etag, recipe, run FROM work_present WHERE image BETWEEN ? AND ? "
    "ORDER BY image",
)
"""Images, their boxes, and what the store has of them: each by the images' ordinals, which come first."""


class Packer:
    """Packs the batches of one plan, as `planned_images` reads them. Threads may call it side by side.

    They are asked for in about their order: the last few groups that were read are kept.
    """

    def __init__(self, catalog: Catalog, batches: Sequence[BatchReference]) -> None:
        self._catalog = catalog
        groups = [batches[first : first + BATCHES_READ] for first in range(0, len(batches), BATCHES_READ)]
        self._group_of = {batch.number: group for group in groups for batch in group}
        self._read: dict[int, list[_Table]] = {}
        self._reading = threading.Lock()

    def pack(self, batch: BatchReference) -> bytes:
        with self._reading:
            tables = self._tables(self._group_of[batch.number])
        return pack(*(table.between(batch.first, batch.last) for table in tables))

    def _tables(self, group: Sequence[BatchReference]) -> list[_Table]:
        first, last = group[0].first, group[-1].last
        if first not in self._read:
            if len(self._read) > 1:
                del self._read[next(iter(self._read))]
            self._read[first] = [_Table(self._catalog.table(query, [first, last])) for query in _QUERIES]
        return self._read[first]


class _Table:
    """Rows in the order of their first column, the ordinals."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows
        self._ordinals: list[int] = rows.column(0).to_pylist()

    def between(self, first: int, last: int) -> pa.Table:
        begin = bisect_left(self._ordinals, first)
        return self._rows.slice(begin, bisect_right(self._ordinals, last) - begin)
