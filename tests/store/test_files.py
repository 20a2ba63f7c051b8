"""A run's own files reach the store whole, and come back whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from botocore.exceptions import HTTPClientError

from imagehaul.records import ObjectOptions
from imagehaul.store import files as stored_files
from imagehaul.store.clients import TO_WAIT
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles, fetch_files, read_body
from tests.support.answering import Answer
from tests.support.misbehaving import CUT_OFF, SILENT, Misbehaving, after

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


@pytest.mark.parametrize("broken", [CUT_OFF, SILENT], ids=["cut off", "silent"])
def test_a_body_that_ends_before_its_time_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Answer
) -> None:
    monkeypatch.setattr(stored_files, "_PAUSES", (0.01, 0.01))
    for bad, requests in ((2, 3), (3, 3)):
        with Misbehaving(after([broken] * bad, Answer(200, b"whole"))) as server:
            client = server.store._new_client(TO_WAIT._replace(read=0.5))
            if bad < requests:
                fetch_files(client, "bucket", ["a"], [tmp_path / "a"])
                assert (tmp_path / "a").read_bytes() == b"whole"
            else:
                with pytest.raises(HTTPClientError):
                    read_body(client, "bucket", "a", lambda body: body.read())
            assert len(server.requests) == requests


def test_a_fault_of_this_machine_is_raised_at_once(store: Store, bucket: str, tmp_path: Path) -> None:
    asked = list[object]()
    client = store._new_client(TO_WAIT)
    client.put_object(Bucket=bucket, Key="a", Body=b"a")
    client.meta.events.register("after-call.s3.GetObject", lambda **_: asked.append(1))
    with pytest.raises(FileNotFoundError):
        fetch_files(client, bucket, ["a"], [tmp_path / "no folder" / "a"])
    assert len(asked) == 1
