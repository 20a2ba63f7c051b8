"""What scans of a source leave for the next run, among the data set's marks in the store."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from imagehaul.layout import Layout
from imagehaul.records import ObjectOptions
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.store.explanations import explain
from imagehaul.store.files import OwnFiles

_CHUNK = 1024 * 1024
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredMemory:
    """`options`: what objects get. `writes`: False in a dry run, which leaves nothing."""

    store: Store
    layout: Layout
    options: ObjectOptions
    writes: bool

    def load(self, name: str, file: Path) -> bool:
        key = self._key(name)
        try:
            body = self.store.client().get_object(Bucket=self.layout.bucket, Key=key)["Body"]
            with file.open("wb") as out:
                for chunk in body.iter_chunks(_CHUNK):
                    out.write(chunk)
        except Exception as error:
            if not is_missing(error):
                # It saves time, and nothing else.
                _LOG.info("%s", explain(error, "read", self.layout.uri(key), self.store.url))
            return False
        return True

    def save(self, name: str, file: Path) -> None:
        key = self._key(name)
        if not self.writes:
            return
        try:
            OwnFiles(self.store.client(), self.options).send(file, self.layout.bucket, key)
        except Exception as error:
            _LOG.info("%s", explain(error, "write", self.layout.uri(key), self.store.url))

    def _key(self, name: str) -> str:
        return f"{self.layout.marks}sources/{name}"
