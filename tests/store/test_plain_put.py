"""One request for a small object, signed by botocore and understood by a real store."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.plain_put import PlainPut
from tests.support.answering import Answer, Answering

pytestmark = pytest.mark.every_store

BODY = b"a small picture"
HEADERS = {"Content-Type": "image/jpeg", "Content-MD5": base64.b64encode(hashlib.md5(BODY).digest()).decode()}


@pytest.mark.parametrize(
    "key", ["a/b.jpg", "a b+c%20?#&=~.jpg", "é/日本 😀.jpg", "line\nbreak.jpg", "'\"<>*[]{}|^`.jpg"]
)
def test_what_it_sends_is_in_the_store_under_its_own_key(key: str, store: Store, bucket: str) -> None:
    assert store.plain_put(bucket).send(key, BODY, {**HEADERS, "Cache-Control": "max-age=60"})
    got = store.client().get_object(Bucket=bucket, Key=key)
    assert (got["Body"].read(), got["ContentType"], got["CacheControl"]) == (BODY, "image/jpeg", "max-age=60")


def test_it_speaks_tls_and_trusts_the_stores_ca_alone(tls_store: Store, bucket: str) -> None:
    assert tls_store.plain_put(bucket).send("a.jpg", BODY, HEADERS)
    assert not replace(tls_store, ca="").plain_put(bucket).send("b.jpg", BODY, HEADERS)


def test_bytes_that_are_not_those_of_the_md5_are_not_kept(store: Store, bucket: str) -> None:
    assert not store.plain_put(bucket).send("a.jpg", b"other bytes", HEADERS)
    assert "Contents" not in store.client().list_objects_v2(Bucket=bucket)


def test_a_refusal_for_good_is_raised_as_boto3_would(store: Store) -> None:
    with pytest.raises(ClientError, match="NoSuchBucket"):
        store.plain_put("no-such-bucket").send("a.jpg", BODY, HEADERS)


def test_keys_that_may_not_write_are_told(store: Store, bucket: str, identities: dict[str, AccessKey]) -> None:
    reader = replace(store, credentials=identities["read"])
    with pytest.raises(ClientError, match="AccessDenied"):
        reader.plain_put(bucket).send("a.jpg", BODY, HEADERS)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b"<Error><Code>SlowDown</Code></Error>"),
        (500, b""),
        (403, b"<Error><Code>ExpiredToken</Code></Error>"),
        (301, b"<Error><Code>PermanentRedirect</Code></Error>"),
    ],
)
def test_what_another_try_may_mend_is_left_to_boto3(status: int, body: bytes) -> None:
    with Answering(Answer(status, body)) as server:
        store = Store(url=server.url, credentials=AccessKey("a", "b"))
        assert not store.plain_put("bucket").send("a.jpg", BODY, HEADERS)


def test_a_store_that_is_not_there_is_left_to_boto3() -> None:
    with Answering(Answer()) as server:
        url = server.url
    assert not Store(url=url, credentials=AccessKey("a", "b")).plain_put("bucket").send("a.jpg", BODY, HEADERS)


@pytest.mark.parametrize(
    ("store", "base"),
    [
        (Store(region="eu-west-1"), "https://images.s3.eu-west-1.amazonaws.com/"),
        (Store(region="eu-west-1", addressing="path"), "https://s3.eu-west-1.amazonaws.com/images/"),
        (Store(url="http://h:9000"), "http://h:9000/images/"),
        (Store(url="http://h:9000", addressing="virtual"), "http://images.h:9000/"),
    ],
)
def test_its_address_is_boto3s(store: Store, base: str) -> None:
    keyed = replace(store, credentials=AccessKey("a", "b"))
    assert keyed.plain_put("images")._base == base
    assert isinstance(keyed.plain_put("images"), PlainPut)
