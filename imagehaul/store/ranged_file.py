"""An object of a store as a file that can be read anywhere, by ranges, as long as it is the object that was listed."""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING

from imagehaul.errors import Code, StoreError
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify
from imagehaul.store.explanations import explain

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BLOCK = 8 * 1024 * 1024
"""Bytes of a request where an object is read in order."""
_PAUSES = (0.5, 2.0, 8.0)


class RangedFile(io.RawIOBase):
    """Raises StoreError: the object cannot be read, or is another one now (SOURCE_CHANGED)."""

    def __init__(self, store: Store, bucket: str, key: str, size: int, etag: str) -> None:
        self._store, self._bucket, self._key = store, bucket, key
        self._size, self._etag = size, etag
        self._at = 0

    def read_range(self, start: int, length: int) -> bytes:
        """So many bytes, fewer at the object's end."""
        length = min(length, self._size - start)
        if length <= 0:
            return b""
        for pause in (*_PAUSES, None):
            try:
                return self._get(start, length)
            except StoreError:
                raise
            except Exception as error:
                if pause is None or classify(error).action != "retry":
                    raise explain(error, "read", f"s3://{self._bucket}/{self._key}", self._store.url) from error
                time.sleep(pause)
        raise AssertionError("The last attempt returns or raises.")

    def _get(self, start: int, length: int) -> bytes:
        answer = self._store.client().get_object(
            Bucket=self._bucket,
            Key=self._key,
            IfMatch=f'"{self._etag}"',
            Range=f"bytes={start}-{start + length - 1}",
        )
        if answer.get("ETag", "").strip('"') != self._etag:
            raise StoreError(
                f"s3://{self._bucket}/{self._key} changed while it was read. Run again.", Code.SOURCE_CHANGED
            )
        content: bytes = answer["Body"].read()
        if len(content) != length:
            raise ConnectionError(f"{len(content):,} bytes came of {length:,}.")
        return content

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        content = self.read_range(self._at, len(view))
        view[: len(content)] = content
        self._at += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
