"""A prefix of a store as a place of annotations: asked by few requests, and downloaded as far as it is read."""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.store.explanations import explain

_AT_ONCE = 500


class StorePlace:
    """`wanted`: which files of a folder are worth a download, by their base names. `scratch`: where they go.

    All raise `StoreError` where the store does not answer as it should.
    """

    def __init__(self, store: Store, bucket: str, prefix: str, scratch: Path, wanted: Callable[[str], bool]) -> None:
        self._store, self._bucket, self._prefix = store, bucket, prefix.rstrip("/")
        self._scratch, self._wanted = scratch, wanted
        self._files = store.filesystem()

    def __str__(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}"

    def is_file(self, path: str) -> bool:
        """By boto3: s3fs takes every error for a file that is not there, and after a HEAD that Swift answers with a
        body (404) its next request fails."""
        with self._explaining(path):
            try:
                self._store.client().head_object(Bucket=self._bucket, Key=self._key(path))
            except Exception as error:
                if is_missing(error):
                    return False
                raise
        return True

    def is_folder(self, path: str) -> bool:
        """One request, however much lies there."""
        key = self._key(path)
        with self._explaining(path):
            page = self._store.client().list_objects_v2(Bucket=self._bucket, Prefix=f"{key}/" if key else "", MaxKeys=1)
        return bool(page.get("Contents"))

    def files(self, folder: str) -> list[str]:
        return self._names(folder, "file")

    def folders(self, folder: str) -> list[str]:
        return self._names(folder, "directory")

    def fetch(self, path: str) -> Path:
        """A folder without what is no annotation; nothing where there is neither file nor folder."""
        local, key = self._scratch / path, self._key(path)
        with self._explaining(path):
            if path and self.is_file(path):
                local.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(f"{self._bucket}/{key}", str(local))
            elif self.is_folder(path):
                self._download(f"{self._bucket}/{key}".rstrip("/"), local)
        return local

    def _download(self, folder: str, local: Path) -> None:
        local.mkdir(parents=True, exist_ok=True)
        names = (key.removeprefix(f"{folder}/") for key in self._files.find(folder))
        wanted = (name for name in names if ".." not in name.split("/") and self._wanted(posixpath.basename(name)))
        while some := list(itertools.islice(wanted, _AT_ONCE)):
            for name in some:
                (local / name).parent.mkdir(parents=True, exist_ok=True)
            self._files.get([f"{folder}/{name}" for name in some], [str(local / name) for name in some])

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}".strip("/")

    def _names(self, folder: str, kind: str) -> list[str]:
        with self._explaining(folder):
            try:
                there = self._files.ls(f"{self._bucket}/{self._key(folder)}", detail=True, refresh=True)
            except FileNotFoundError:
                return []
        names = [posixpath.basename(item["name"].rstrip("/")) for item in there if item["type"] == kind]
        return sorted(filter(None, names))

    @contextmanager
    def _explaining(self, path: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise explain(error, "read", f"annotations at {self}/{path}", self._store.url) from error
