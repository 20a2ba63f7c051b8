"""What a store makes of conditional writes, found out by trying."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest

from imagehaul.store.conditional_writes import Capabilities, find_capabilities, put_if
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects
from tests.support.conditions import Manner, client_in_manner


@pytest.mark.parametrize(
    ("manner", "if_match", "if_none_match", "words"),
    [
        ("as it is", "quoted", True, "yes"),
        ("bare", "bare", True, "yes, without quotes"),
        ("versioned", "none", False, "no"),
        ("unknown", "none", False, "no"),
        ("ignores", "none", False, "no"),
        ("ignores If-Match", "none", True, "for new keys only"),
        ("ignores If-None-Match", "quoted", False, "yes"),
    ],
)
def test_the_store_is_found_out_as_it_is(
    store: Store, bucket: str, manner: Manner, if_match: str, if_none_match: bool, words: str
) -> None:
    found = find_capabilities(client_in_manner(store, manner), bucket, "a/.imagehaul/")
    assert astuple(found) == (if_match, if_none_match)
    assert found.conditional_writes == words
    assert found.exclusive == (if_match != "none")
    assert list(list_objects(store.client(), bucket, "")) == [], "The probe is removed."


def test_a_store_that_ignores_conditions_is_not_taken_for_one_that_lets_right_ones_through(
    store: Store, bucket: str
) -> None:
    assert not find_capabilities(client_in_manner(store, "ignores If-Match"), bucket, "").exclusive


def test_a_key_that_may_not_delete_can_find_out(store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_in_manner(store, "as it is")

    def deny(**_: Any) -> None:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise client.exceptions.ClientError(answer, "DeleteObject")

    monkeypatch.setattr(client, "delete_object", deny)
    assert find_capabilities(client, bucket, "") == Capabilities()


def test_a_refusal_of_an_unconditional_write_is_an_error(store: Store) -> None:
    client = store.client()
    with pytest.raises(client.exceptions.ClientError, match="NoSuchBucket"):
        put_if(client, {}, Bucket="no-such-bucket", Key="a", Body=b"")


def test_a_condition_on_what_is_gone_is_refused(store: Store, bucket: str) -> None:
    condition = Capabilities().condition('"00000000000000000000000000000000"')
    assert put_if(store.client(), condition, Bucket=bucket, Key="a", Body=b"") == ""
