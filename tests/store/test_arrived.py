"""What of a batch another worker has sent already, asked of the real store."""

from __future__ import annotations

import hashlib

import pytest

from imagehaul.store.arrived import Expected, arrived
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store

pytestmark = pytest.mark.every_store
BODY = b"a picture"
MD5 = hashlib.md5(BODY).hexdigest()


def expected(*names: str, etag: str = MD5) -> list[Expected]:
    return [Expected(name, len(BODY), etag) for name in names]


@pytest.fixture
def filled(store: Store, bucket: str) -> str:
    for name in ("a.jpg", "b b.jpg", "ü/中.jpg"):
        store.client().put_object(Bucket=bucket, Key=name, Body=BODY)
    return bucket


def test_what_lies_there_as_it_should_be_is_told(store: Store, filled: str) -> None:
    asked = expected("a.jpg", "gone.jpg", "b b.jpg", "ü/中.jpg")
    for surely in (True, False):
        assert arrived(store.client(), filled, asked, 4, surely) == {"a.jpg", "b b.jpg", "ü/中.jpg"}


def test_other_bytes_and_another_size_are_not_it(store: Store, filled: str) -> None:
    other = [*expected("a.jpg", etag="0" * 32), Expected("b b.jpg", 1, MD5), *expected("ü/中.jpg")]
    assert arrived(store.client(), filled, other, 4, True) == {"ü/中.jpg"}


def test_a_batch_whose_first_object_is_not_there_was_not_begun(store: Store, filled: str) -> None:
    asked = expected("gone.jpg", "a.jpg")
    assert arrived(store.client(), filled, asked, 4, False) == frozenset()
    assert arrived(store.client(), filled, asked, 4, True) == {"a.jpg"}
    assert arrived(store.client(), filled, [], 4, True) == frozenset()


def test_what_cannot_be_looked_at_is_to_be_sent(store: Store, filled: str) -> None:
    stranger = Store(store.url, credentials=AccessKey("nobody", "has-this-key"))
    assert arrived(stranger.client(), filled, expected("a.jpg"), 4, True) == frozenset()
