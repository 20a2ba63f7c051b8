"""Sources in the store: copies that it makes by itself, and downloads."""

from __future__ import annotations

import hashlib
import os
import threading
import uuid
from dataclasses import replace
from typing import Any

import pytest

from imagehaul.errors import StoreError
from imagehaul.records import PART_SIZE, Copy, ObjectOptions, SendResult
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.copier import Copier
from imagehaul.transfer.engines import choose_engine
from tests.support.answering import Answer, Request
from tests.support.conditions import fresh_store
from tests.support.misbehaving import Misbehaving
from tests.support.sending import QUICK, outcomes, plain_client, stored

pytestmark = pytest.mark.every_store

NAMES = ["a.jpg", "a b+c%20&?.jpg", "ü/中文.jpg", "new\nline.jpg", "x" * 255]
PLAIN = ObjectOptions()


@pytest.fixture
def source(store: Store) -> str:
    """Another bucket, with an object under each of `NAMES` whose bytes are its name."""
    name = f"source-{uuid.uuid4().hex[:12]}"
    client = plain_client(store)
    client.create_bucket(Bucket=name)
    for key in NAMES:
        client.put_object(Bucket=name, Key=key, Body=key.encode(), ContentType="text/html", CacheControl="private")
    return name


def etag_of(key: str) -> str:
    return hashlib.md5(key.encode()).hexdigest()


def copy_of(source: str, key: str) -> Copy:
    return Copy(f"set/images/{key}", source, key, etag_of(key), "image/jpeg", len(key.encode()))


def copy(store: Store, bucket: str, copies: list[Copy], options: ObjectOptions = PLAIN) -> list[SendResult]:
    return choose_engine(store, bucket, "boto3", 8, options, QUICK).copy(copies)


# -- copies ----------------------------------------------------------------------------------------------------------


def test_the_store_copies_every_name_byte_for_byte(store: Store, bucket: str, source: str) -> None:
    assert outcomes(copy(store, bucket, [copy_of(source, name) for name in NAMES])) == [("sent", "")] * len(NAMES)

    assert stored(store, bucket) == {f"set/images/{name}": name.encode() for name in NAMES}


@pytest.mark.needs("storage classes")
def test_a_copy_is_described_anew(store: Store, bucket: str, source: str) -> None:
    copy(store, bucket, [copy_of(source, "a.jpg")], ObjectOptions(cache_control="public", storage_class="STANDARD_IA"))

    head = plain_client(store).head_object(Bucket=bucket, Key="set/images/a.jpg")
    assert (head["ContentType"], head["CacheControl"], head["StorageClass"]) == ("image/jpeg", "public", "STANDARD_IA")


@pytest.mark.needs("copied tags")
def test_a_copy_keeps_what_its_source_says_of_itself_and_the_settings_win(
    store: Store, bucket: str, source: str
) -> None:
    client = plain_client(store)
    client.put_object(
        Bucket=source,
        Key="a.jpg",
        Body=b"a.jpg",
        CacheControl="private",
        ContentDisposition="inline",
        ContentLanguage="de",
        Metadata={"camera": "left"},
        Tagging="split=train",
    )
    for options, cache in ((PLAIN, "private"), (ObjectOptions(cache_control="public"), "public")):
        assert outcomes(copy(store, bucket, [copy_of(source, "a.jpg")], options)) == [("sent", "")]
        head = client.head_object(Bucket=bucket, Key="set/images/a.jpg")
        assert (head["CacheControl"], head["ContentDisposition"], head["ContentLanguage"]) == (cache, "inline", "de")
        assert (head["Metadata"], head["ContentType"]) == ({"camera": "left"}, "image/jpeg")
        tags = client.get_object_tagging(Bucket=bucket, Key="set/images/a.jpg")["TagSet"]
        assert tags == [{"Key": "split", "Value": "train"}]


def test_a_copy_keeps_nothing_where_that_is_asked_for(store: Store, bucket: str, source: str) -> None:
    client = plain_client(store)
    client.put_object(Bucket=source, Key="a.jpg", Body=b"a.jpg", CacheControl="private", Metadata={"camera": "left"})
    copy(store, bucket, [copy_of(source, "a.jpg")], ObjectOptions(keep_source_metadata=False))
    head = client.head_object(Bucket=bucket, Key="set/images/a.jpg")
    assert (head.get("CacheControl"), head["Metadata"]) == (None, {})


def test_tags_that_may_not_be_read_are_said_once_and_fail_nothing(
    store: Store, bucket: str, source: str, caplog: pytest.LogCaptureFixture
) -> None:
    changed = fresh_store(store)
    client = changed.client()

    def deny(params: dict[str, Any], **_: object) -> None:
        if params["headers"].get("x-amz-tagging-directive") == "COPY":
            answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise client.exceptions.ClientError(answer, "CopyObject")

    client.meta.events.register("before-call.s3.CopyObject", deny)
    copies = [copy_of(source, name) for name in NAMES]
    assert outcomes(copy(changed, bucket, copies)) == [("sent", "")] * len(NAMES)
    assert caplog.text.count("The tags of source objects are not kept") == 1


def test_a_condition_that_is_refused_though_it_is_met_is_looked_into(store: Store, bucket: str, source: str) -> None:
    """As Swift does for what was uploaded in parts: 412, each time."""
    changed = fresh_store(store)
    client = changed.client()

    def refuse(params: dict[str, Any], **_: object) -> None:
        if "x-amz-copy-source-if-match" in params["headers"]:
            answer: Any = {"Error": {"Code": "PreconditionFailed"}, "ResponseMetadata": {"HTTPStatusCode": 412}}
            raise client.exceptions.ClientError(answer, "CopyObject")

    client.meta.events.register("before-call.s3.CopyObject", refuse)
    plain_client(store).put_object(Bucket=source, Key=NAMES[1], Body=b"other bytes")
    copies = [copy_of(source, name) for name in NAMES[:2]]
    assert outcomes(copy(changed, bucket, copies)) == [("sent", ""), ("failed", "SOURCE_CHANGED")]


def test_a_source_object_that_changed_or_went_away_is_named(store: Store, bucket: str, source: str) -> None:
    plain_client(store).put_object(Bucket=source, Key="a.jpg", Body=b"other bytes")
    gone = replace(copy_of(source, "a.jpg"), key="gone", source_key="gone")

    sent = copy(store, bucket, [copy_of(source, "a.jpg"), gone, copy_of(source, NAMES[1])])

    assert outcomes(sent) == [("failed", "SOURCE_CHANGED"), ("failed", "SOURCE_GONE"), ("sent", "")]
    assert list(stored(store, bucket)) == [f"set/images/{NAMES[1]}"]


def test_an_object_too_large_for_one_request_is_copied_in_parts(store: Store, bucket: str, source: str) -> None:
    part = 5 * 1024 * 1024
    content = os.urandom(2 * part + 7)
    etag = plain_client(store).put_object(Bucket=source, Key="big", Body=content)["ETag"].strip('"')
    big = Copy("big", source, "big", etag, "image/tiff", len(content))
    copier = Copier(store, bucket, PLAIN, 2, largest=part, part=part)

    assert outcomes(copier.copy([big], StallMonitor(threading.Event(), 30.0, 8))) == [("sent", "")]

    head = plain_client(store).head_object(Bucket=bucket, Key="big")
    assert head["ContentType"] == "image/tiff"
    assert head["ETag"].endswith('-3"')
    assert stored(store, bucket)["big"] == content


def test_no_request_copies_more_than_a_slow_store_does_in_a_minute() -> None:
    """One that says nothing until the copy is whole is asked again after that."""
    asked: list[str] = []
    answers = {
        "HEAD": Answer(200, b"", {"ETag": '"0"'}),
        "POST": Answer(200, b"<R><UploadId>1</UploadId><ETag>0</ETag></R>"),
        "PUT": Answer(200, b"<CopyPartResult><ETag>0</ETag></CopyPartResult>"),
        "GET": Answer(200, b"<Tagging><TagSet></TagSet></Tagging>"),
    }

    def answer(request: Request) -> Answer:
        if request.method == "PUT":
            asked.append(request.headers.get("x-amz-copy-source-range", "all"))
        return answers[request.method]

    most = 128 * 1024**2
    with Misbehaving(answer) as server:
        copier = Copier(server.store, "bucket", PLAIN, 2)
        for size in (most, most + 1, 512 * 1024**2):
            asked.clear()
            item = replace(copy_of("source", "a.jpg"), source_etag="0", size=size)
            assert outcomes(copier.copy([item], StallMonitor(threading.Event(), 30.0, 8))) == [("sent", "")]
            ranges = [tuple(map(int, which.removeprefix("bytes=").split("-"))) for which in asked if which != "all"]
            if size == most:
                assert asked == ["all"]
                continue
            assert (ranges[0][0], ranges[-1][1]) == (0, size - 1)
            # As of a file that is sent: the ETag then follows from the bytes.
            assert {last + 1 - first for first, last in ranges[:-1]} == {PART_SIZE}


def test_a_copy_that_the_store_calls_done_and_was_not_is_no_success(source: str) -> None:
    """S3 says 200 as soon as it begins, and names what went wrong in the body."""
    sorry = Answer(200, b"<Error><Code>InternalError</Code><Message>Sorry.</Message></Error>")
    found = Answer(200, b"", {"ETag": f'"{etag_of("a.jpg")}"'})
    with Misbehaving(lambda request: found if request.method == "HEAD" else sorry) as server:
        copier = Copier(server.store, "bucket", PLAIN, 2)
        sent = copier.copy([copy_of("source", "a.jpg")], StallMonitor(threading.Event(), 30.0, 8))

    assert outcomes(sent) == [("failed", "STORE_BUSY")]


def test_a_bucket_that_is_not_there_stops_the_copies() -> None:
    missing = Answer(404, b"<Error><Code>NoSuchBucket</Code><Message>Which?</Message></Error>")
    with Misbehaving(lambda _: missing) as server, pytest.raises(StoreError) as caught:
        copy(server.store, "no-such-bucket", [copy_of("source", "a.jpg")])

    assert caught.value.code == "BUCKET_MISSING"
