"""What a store makes of conditional writes, found out by trying."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any, cast

import pytest

from imagehaul.store.conditional_writes import Capabilities, find_capabilities, put_if
from imagehaul.store.endpoint import Store
from tests.support.conditions import Manner, store_in_manner

pytestmark = pytest.mark.every_store


def found_out(store: Store, bucket: str) -> Capabilities:
    return find_capabilities(store.client(), {"Bucket": bucket, "Key": "probe", "Body": b""})


@pytest.mark.needs("conditional writes")
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
    found = found_out(store_in_manner(store, manner), bucket)
    assert astuple(found) == (if_match, if_none_match)
    assert found.conditional_writes == words
    assert found.exclusive == (if_match != "none")


@pytest.mark.needs("conditional writes")
@pytest.mark.parametrize(
    ("manner", "if_match"), [("as it is", "quoted"), ("bare", "bare"), ("ignores If-Match", "none")]
)
def test_an_answer_that_is_lost_makes_no_other_store_of_it(
    store: Store, bucket: str, manner: Manner, if_match: str
) -> None:
    changed = store_in_manner(store, manner)
    lost = [True]

    def send_again(**_: object) -> int | None:
        """After 0 seconds, as where the first answer never came."""
        return 0 if lost and lost.pop() else None

    changed.client().meta.events.register_first("needs-retry.s3.PutObject", cast(Any, send_again))
    assert astuple(found_out(changed, bucket)) == (if_match, True)
    assert not lost


def test_a_refusal_of_an_unconditional_write_is_an_error(store: Store) -> None:
    client = store.client()
    with pytest.raises(client.exceptions.ClientError, match="NoSuchBucket"):
        put_if(client, {}, Bucket="no-such-bucket", Key="a", Body=b"")


def test_a_condition_on_what_is_gone_is_refused(store: Store, bucket: str) -> None:
    condition = Capabilities().condition('"00000000000000000000000000000000"')
    assert put_if(store.client(), condition, Bucket=bucket, Key="a", Body=b"") == ""
