"""What of a batch is in the store already, because another worker had begun the batch and died."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


class Expected(NamedTuple):
    """An object that is to be sent: size in bytes, and the ETag that it will have."""

    key: str
    size: int
    etag: str


def arrived(
    client: S3Client, bucket: str, expected: Sequence[Expected], threads: int, surely_begun: bool
) -> frozenset[str]:
    """The keys under which such an object lies by now. One request for each object, by so many threads.

    Not `surely_begun`: the first object is asked for alone, and where it is not there none is. What cannot be looked at
    counts as not there: sending it says what is wrong with it.
    """

    from botocore.exceptions import BotoCoreError, ClientError

    def is_there(item: Expected) -> bool:
        try:
            head = client.head_object(Bucket=bucket, Key=item.key)
        except (BotoCoreError, ClientError):
            return False
        return (head["ContentLength"], head["ETag"].strip('"')) == (item.size, item.etag)

    if not expected or not (surely_begun or is_there(expected[0])):
        return frozenset()
    with ThreadPoolExecutor(threads, "look") as pool:
        found = pool.map(is_there, expected)
        return frozenset(item.key for item, there in zip(expected, found, strict=True) if there)
