"""What a store does to names is found out by trying, and leaves nothing behind."""

from __future__ import annotations

from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from imagehaul.layout import Layout
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects
from imagehaul.store.probe import keeps_backslashes


def test_the_embedded_store_turns_backslashes_into_slashes(store: Store, bucket: str) -> None:
    client = store.client()
    assert not keeps_backslashes(client, Layout(bucket, "", "birds"))
    assert list(list_objects(client, bucket, "")) == []


class Keys:
    """A store that keeps every name, or refuses to: no real one at hand does either."""

    class exceptions:
        ClientError = ClientError

    def __init__(self, refuses: str = "", may_delete: bool = True) -> None:
        self.refuses, self.may_delete = refuses, may_delete
        self.keys: set[str] = set()

    def put_object(self, Bucket: str, Key: str, Body: bytes) -> None:
        if self.refuses:
            raise ClientError({"Error": {"Code": self.refuses}}, "PutObject")
        self.keys.add(Key)

    def get_paginator(self, _: str) -> Keys:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[Any]:
        found = [{"Key": key, "Size": 0, "ETag": '""'} for key in self.keys if key.startswith(Prefix)]
        return [{"Contents": found}]

    def delete_object(self, Bucket: str, Key: str) -> None:
        if not self.may_delete:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObject")
        self.keys.discard(Key)


def probe(keys: Keys) -> bool:
    return keeps_backslashes(cast(Any, keys), Layout("b", "", "birds"))


def test_a_store_that_keeps_them_is_told_from_it() -> None:
    keys = Keys()
    assert probe(keys)
    assert keys.keys == set()


def test_a_key_that_may_not_delete_leaves_the_probe_and_works() -> None:
    keys = Keys(may_delete=False)
    assert probe(keys)
    assert len(keys.keys) == 1


def test_a_store_that_refuses_such_a_name_does_not_keep_it() -> None:
    assert not probe(Keys(refuses="XMinioInvalidObjectName"))


def test_a_store_that_refuses_everything_is_an_error() -> None:
    with pytest.raises(ClientError):
        probe(Keys(refuses="AccessDenied"))
