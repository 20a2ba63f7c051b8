"""A run's own files reach the store whole, and come back whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagehaul.records import ObjectOptions
from imagehaul.store import files as stored_files
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles, fetch_files

pytestmark = pytest.mark.every_store


@pytest.mark.parametrize("size", [0, 1, 5 * 2**20 - 1, 5 * 2**20, 5 * 2**20 + 1, 11 * 2**20])
def test_a_file_of_any_size_comes_back_as_it_was(
    size: int, store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_files, "UPLOAD_PART", 5 * 2**20)
    there, back = tmp_path / "there.parquet", tmp_path / "back.parquet"
    there.write_bytes(os.urandom(size))
    OwnFiles(store.client(), ObjectOptions()).send(there, bucket, "a/b.parquet")
    fetch_files(store.client(), bucket, ["a/b.parquet"], [back])
    assert back.read_bytes() == there.read_bytes()


def test_the_store_says_what_kind_of_file_it_is(store: Store, bucket: str, tmp_path: Path) -> None:
    for name in ("metadata.json", "part.parquet"):
        (tmp_path / name).write_bytes(b"{}")
        OwnFiles(store.client(), ObjectOptions()).send(tmp_path / name, bucket, name)
    types = [
        store.client().head_object(Bucket=bucket, Key=key)["ContentType"] for key in ("metadata.json", "part.parquet")
    ]
    assert types == ["application/json", "application/vnd.apache.parquet"]


def test_what_the_store_refuses_is_raised(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"rows")
    client = store.client()
    with pytest.raises(client.exceptions.NoSuchBucket):
        OwnFiles(client, ObjectOptions()).send(tmp_path / "a.parquet", "no-such-bucket", "a.parquet")
    with pytest.raises(client.exceptions.ClientError):
        fetch_files(client, "no-such-bucket", ["a"], [tmp_path / "b"])


def test_a_part_that_fails_leaves_no_upload_behind(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_files, "UPLOAD_PART", 5 * 2**20)
    monkeypatch.setattr(stored_files, "md5_header", lambda body: "AAAAAAAAAAAAAAAAAAAAAA==")
    (tmp_path / "a.parquet").write_bytes(os.urandom(6 * 2**20))
    client = store.client()
    with pytest.raises(client.exceptions.ClientError, match="BadDigest"):
        OwnFiles(client, ObjectOptions()).send(tmp_path / "a.parquet", bucket, "a.parquet")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
