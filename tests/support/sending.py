"""What the tests of the transfer share: uploads of files, and a look into the store that is not ours."""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import psutil

from imagehaul.records import SendResult, Upload
from imagehaul.sources.local_file import version_of
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import Patience

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

QUICK = Patience(stall_seconds=5.0, pauses=(0.01, 0.01, 0.01), retries=1, probe_seconds=10.0)
NOWHERE = Store(url="http://127.0.0.1:9", credentials=AccessKey("key", "secret"))


def upload_of(file: Path, key: str, content_type: str = "image/jpeg") -> Upload:
    md5, sha256 = hashlib.md5(), hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1024 * 1024):
            md5.update(block)
            sha256.update(block)
    status = file.stat()
    version = version_of(status)
    return Upload(key, str(file), content_type, status.st_size, md5.hexdigest(), sha256.hexdigest(), version)


def uploads_of(folder: Path, keys: Sequence[str]) -> list[Upload]:
    """Makes a file for each key, whose bytes are like no other's."""
    uploads: list[Upload] = []
    for number, key in enumerate(keys):
        file = folder / f"file {number}"
        file.write_bytes(f"{number} {key}".encode())
        uploads.append(upload_of(file, key))
    return uploads


def plain_client(store: Store) -> S3Client:
    """boto3 as anybody would set it up."""
    assert isinstance(store.credentials, AccessKey)
    return _plain_client(store.url, store.credentials)


@functools.cache
def _plain_client(url: str, keys: AccessKey) -> S3Client:
    client: S3Client = boto3.client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
    )
    return client


def stored(store: Store, bucket: str) -> dict[str, bytes]:
    client = plain_client(store)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def content_of(upload: Upload) -> bytes:
    return Path(upload.file).read_bytes()


def outcomes(answers: Sequence[SendResult]) -> list[tuple[str, str]]:
    return [(sent.outcome, sent.code) for sent in answers]


def sender_of(pid: int, engine: str) -> psutil.Process:
    """The program that sends for the process `pid` by "s5cmd" or "obstore", as soon as it works."""
    name = {"s5cmd": "s5cmd", "obstore": "obstore_program.py"}[engine]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        for child in psutil.Process(pid).children(recursive=True):
            if any(Path(word).name == name for word in child.cmdline()):
                return child
        time.sleep(0.01)
    raise AssertionError(f"no sender works by {engine}")
