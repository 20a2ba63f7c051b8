"""What web servers said of a list's URLs, kept for the next run, which asks whether that still holds (`If-None-Match`).

It lies in the order of the list, as the next run reads it, so that neither has to hold all of it: rows that were added,
removed or moved within `WINDOW` rows are found all the same, and others are asked about as if they were new. A URL is
known by a hash, since it may hold a secret.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imagehaul.sources.source import SourceMemory
from imagehaul.sources.web import Looked
from imagehaul.url_secrets import without_secrets

WINDOW = 20_000
"""Rows that are held while others are looked for."""
_ROWS = 10_000
_FIELDS = ("url", "size", "version", "suffix")


class WebMemory:
    """`memory`: None = nothing is kept. `name`: the list's. All calls are made in the order of its rows."""

    def __init__(self, memory: SourceMemory | None, name: str, folder: Path) -> None:
        self._memory = memory
        self._name = f"list-{hashlib.sha256(name.encode()).hexdigest()[:32]}.parquet"
        self._kept, self._written = folder / "kept.parquet", folder / "written.parquet"
        self._rows: Iterator[tuple[Any, ...]] = iter(())
        self._window: dict[str, Looked] = {}
        self._new: list[tuple[Any, ...]] = []
        self._writer: Any = None

    def __enter__(self) -> Self:
        if self._memory and self._memory.load(self._name, self._kept):
            self._rows = _rows(self._kept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Kept where the list was read to its end."""
        if self._writer:
            if kind is None:
                self._write()
            self._writer.close()
            same = self._kept.exists() and filecmp.cmp(self._kept, self._written, shallow=False)
            if kind is None and self._memory and not same:
                self._memory.save(self._name, self._written)

    def recall(self, url: str) -> Looked | None:
        asked = _hashed(url)
        while asked not in self._window:
            row = next(self._rows, None)
            if row is None:
                return None
            if len(self._window) >= WINDOW:
                del self._window[next(iter(self._window))]
            said, *looked = row
            self._window[said] = Looked(*looked)
        return self._window.pop(asked)

    def keep(self, url: str, looked: Looked) -> None:
        if self._memory and looked.etag:
            self._new.append((_hashed(url), looked.size, looked.version, looked.suffix))
            if len(self._new) == _ROWS or not self._writer:
                self._write()

    def _write(self) -> None:
        from imagehaul.arrow import pa, pq

        types = (pa.string(), pa.int64(), pa.string(), pa.string())
        schema = pa.schema(list(zip(_FIELDS, types, strict=True)))
        self._writer = self._writer or pq.ParquetWriter(self._written, schema, compression="zstd")
        columns: Sequence[Sequence[Any]] = list(zip(*self._new, strict=True)) or [()] * len(_FIELDS)
        self._writer.write_table(pa.table([pa.array(c, t) for c, t in zip(columns, types, strict=True)], schema=schema))
        self._new.clear()


def _hashed(url: str) -> str:
    return hashlib.sha256(without_secrets(url).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _rows(file: Path) -> Iterator[tuple[Any, ...]]:
    """Nothing more from where it is not what it should be: it saves the servers some work, and nothing else."""
    from imagehaul.arrow import pa, pq

    with suppress(pa.ArrowException, KeyError, OSError):
        for batch in pq.ParquetFile(file).iter_batches(_ROWS):
            yield from zip(*(batch[name].to_pylist() for name in _FIELDS), strict=True)
