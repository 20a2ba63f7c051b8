"""Single objects of the store, looked at one by one: whether their bytes are the known ones."""

from __future__ import annotations

import itertools
import re
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from imagehaul.store.content import read_content, stored_sha256
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import classify, is_missing
from imagehaul.store.explanations import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

PAUSES = (2.0,)
"""Seconds between two attempts to read an object. The client has its own, which end where the body begins."""
AHEAD = 4
"""Objects in hand for each worker, so that a large one holds nobody up."""

Fault = Literal["", "missing", "changed", "unread"]


@dataclass(frozen=True, slots=True)
class Listed:
    """An object that is listed with the right size. Hashes in hex, "" = not known; `etag`: the ledger's."""

    key: str
    kind: str
    source_path: str
    size: int
    md5: str
    sha256: str
    etag: str
    held_etag: str
    same_etag: bool

    @property
    def expected_md5(self) -> str:
        """A copy that the store itself made has no other hash than its ETag, where that is an MD5."""
        return self.md5 or (self.etag if re.fullmatch("[0-9a-f]{32}", self.etag) else "")


@dataclass(frozen=True, slots=True)
class Reader:
    """Looks at single objects, in any thread."""

    store: Store
    client: S3Client
    bucket: str
    content: bool

    def look(self, listed: Listed) -> tuple[Fault, str]:
        """What is wrong with the object, and why; "" where it is proven. Raises StoreError for the whole store."""
        for pause in (*PAUSES, None):
            try:
                return self._compare(listed)
            except Exception as error:
                verdict = classify(error)
                if is_missing(error):
                    return "missing", "The store lists it, and does not have it."
                if verdict.action == "retry" and pause is not None:
                    time.sleep(pause)
                    continue
                if verdict.action == "stop":
                    raise explain(error, "read", f"s3://{self.bucket}/{listed.key}", self.store.url) from error
                if verdict.action == "retry":
                    # Is it this object, or is the store out of reach?
                    with self.store.explaining("read", f"s3://{self.bucket}/{listed.key}"):
                        self.client.list_objects_v2(Bucket=self.bucket, Prefix=listed.key, MaxKeys=1)
                return "unread", f"It cannot be read: {verdict.reported or verdict.code}."
        raise AssertionError("The last attempt returns or raises.")

    def _compare(self, listed: Listed) -> tuple[Fault, str]:
        if not self.content and listed.sha256 and (kept := stored_sha256(self.client, self.bucket, listed.key)):
            return ("", "") if kept == listed.sha256 else ("changed", "The store gives another SHA-256.")
        found = read_content(self.client, self.bucket, listed.key)
        if found.size != listed.size:
            return "changed", f"It gives {found.size} bytes, and the ledger says {listed.size}."
        if listed.sha256:
            return ("", "") if found.sha256 == listed.sha256 else ("changed", "Its bytes have another SHA-256.")
        if listed.expected_md5:
            return ("", "") if found.md5 == listed.expected_md5 else ("changed", "Its bytes have another MD5.")
        if listed.same_etag:
            return "", ""
        return "changed", f"Its ETag was {listed.etag} and is {listed.held_etag}, and no hash of its bytes is known."


def look_at(objects: Iterator[Listed], reader: Reader, workers: int) -> Iterator[tuple[Listed, Fault, str]]:
    """What is wrong with each object, and why: side by side, in the objects' order, with few of them in hand."""
    with ThreadPoolExecutor(workers, thread_name_prefix="verify") as threads:
        in_hand: deque[tuple[Listed, Future[tuple[Fault, str]]]] = deque()
        try:
            while True:
                for item in itertools.islice(objects, AHEAD * workers - len(in_hand)):
                    in_hand.append((item, threads.submit(reader.look, item)))
                if not in_hand:
                    return
                item, future = in_hand.popleft()
                yield item, *future.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
