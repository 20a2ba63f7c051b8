"""Uploads in parts that were begun and never ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from imagehaul.store.endpoint import Store
from imagehaul.store.multipart import abort_unfinished_uploads
from tests.support.answering import Answer
from tests.support.misbehaving import Misbehaving
from tests.support.sending import plain_client

pytestmark = pytest.mark.every_store

LATER = datetime.now(UTC) + timedelta(days=1)


def unfinished(store: Store, bucket: str) -> list[str]:
    return sorted(item["Key"] for item in plain_client(store).list_multipart_uploads(Bucket=bucket).get("Uploads", []))


def test_what_a_killed_run_left_below_its_prefix_is_ended_and_nothing_else(store: Store, bucket: str) -> None:
    client = plain_client(store)
    for key in ("set/images/a.tiff", "set/images/b.tiff", "set2/images/c.tiff", "other.tiff"):
        client.create_multipart_upload(Bucket=bucket, Key=key)

    aborted, problem = abort_unfinished_uploads(store, bucket, "set/", LATER)

    assert (sorted(aborted), problem) == (["set/images/a.tiff", "set/images/b.tiff"], "")
    assert unfinished(store, bucket) == ["other.tiff", "set2/images/c.tiff"]


def test_an_upload_that_another_run_has_just_begun_goes_on(store: Store, bucket: str) -> None:
    plain_client(store).create_multipart_upload(Bucket=bucket, Key="set/images/a.tiff")

    aborted, problem = abort_unfinished_uploads(store, bucket, "set/", datetime.now(UTC) - timedelta(hours=1))

    assert (aborted, problem) == ([], "")
    assert unfinished(store, bucket) == ["set/images/a.tiff"]


def test_a_store_that_cannot_list_them_is_said_and_is_no_failure() -> None:
    refusal = Answer(501, b"<Error><Code>NotImplemented</Code><Message>Not here.</Message></Error>")
    with Misbehaving(lambda _: refusal) as server:
        aborted, problem = abort_unfinished_uploads(server.store, "bucket", "set/", LATER)

    assert aborted == []
    assert "Not here" in problem
