"""The bytes of a data set's objects by their keys, for exports that hold pictures.

An original that stays in place has its whole URI for a key, and lies in the store of its source. What that is the
request says of the source that is delivered, and of another one the report of its own last run.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from imagehaul.errors import HaulError, StoreError
from imagehaul.layout import split_object_uri
from imagehaul.ledger.publications import source_store_of
from imagehaul.ledger.runs import PublishedSource, Runs
from imagehaul.mapping import IN_PLACE
from imagehaul.records import SourceOptions
from imagehaul.sources.source_store import source_store
from imagehaul.store.endpoint import Store


class ObjectReader:
    """`sources`: all of the index. `own`: the one that the run delivers, "" = none; `options`: of it."""

    def __init__(
        self, runs: Runs, store: Store, sources: Mapping[str, PublishedSource], own: str, options: SourceOptions
    ) -> None:
        self._runs, self._store, self._own, self._options = runs, store, own, options
        self._in_place = sorted(
            ((source.originals, name, source.run) for name, source in sources.items() if source.originals),
            key=lambda place: len(place[0]),
            reverse=True,
        )
        self._stores: dict[str, Store] = {}
        self._lock = threading.Lock()

    def read(self, key: str) -> bytes:
        """Threads call it side by side. Raises what the client raises, and StoreError for an original in place."""
        if not key.startswith(IN_PLACE):
            return self._runs.read_object(key)
        # Of two roots that lie in each other, the inner one.
        name, run = next(((name, run) for root, name, run in self._in_place if key.startswith(root)), ("", ""))
        bucket, below = split_object_uri(key)
        try:
            store = self._store_of(name, run)
            with store.explaining("read", key):
                return store.patient_client().get_object(Bucket=bucket, Key=below)["Body"].read()
        except HaulError as error:
            moved = "" if name == self._own else ", deliver that source again where its store has moved"
            raise StoreError(
                f"{error}\nThat is an original in place of the source {name!r}, whose bytes the export webdataset "
                f"holds: let this machine read them{moved}, or leave webdataset out of EXPORTS."
            ) from error

    def _store_of(self, name: str, run: str) -> Store:
        """As this run is told of its source, too, where the report of another one's run is gone."""
        with self._lock:
            if name not in self._stores:
                told = {} if name in (self._own, "") else self._told_by(run)
                self._stores[name] = source_store(replace(self._options, **told), self._store)
            return self._stores[name]

    def _told_by(self, run: str) -> dict[str, Any]:
        layout = self._runs.layout
        with self._store.explaining("read", layout.uri(layout.report(run))):
            return source_store_of(self._store.patient_client(), layout, run)
