"""Where everything of one data set lies in the store."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.errors import SettingsError
from imagehaul.layout import DATASET_NAME, RUN_NAME, Layout, new_run_name, split_s3_uri

LAYOUT = Layout.of("s3://mybucket/sets/", "birds")


@pytest.mark.parametrize(
    ("uri", "bucket", "prefix"),
    [
        ("s3://mybucket", "mybucket", ""),
        ("s3://mybucket/", "mybucket", ""),
        ("s3://mybucket/img", "mybucket", "img/"),
        ("s3://mybucket/img/", "mybucket", "img/"),
        ("s3://my.bucket-1/a b/ü#?%41", "my.bucket-1", "a b/ü#?%41/"),
        ("s3://mybucket//a", "mybucket", "/a/"),
    ],
)
def test_a_uri_is_a_bucket_and_a_prefix_that_ends_in_a_slash(uri: str, bucket: str, prefix: str) -> None:
    assert split_s3_uri(uri) == (bucket, prefix)


@pytest.mark.parametrize(
    "uri", ["", "mybucket", "s3://", "s3:///a", "s3:/mybucket", "S3://mybucket", "s3://a*", "http://minio/b"]
)
def test_what_names_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(SettingsError, match=r"names no bucket\. Write s3://bucket/prefix/"):
        split_s3_uri(uri)


def test_keys_in_a_uri_are_refused_and_not_shown() -> None:
    with pytest.raises(SettingsError, match="leave them out") as caught:
        split_s3_uri("s3://AKIA:s3cr3t@bucket/prefix")
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("name", ["a", "0", "Birds_2026.v1-final", "a" * 100])
def test_data_set_names_that_work(name: str) -> None:
    assert Layout.of("s3://mybucket", name).root == f"{name}/"


@pytest.mark.parametrize("name", ["", ".hidden", "-a", "_a", "a/b", "a b", "ü", "a" * 101, "a\n", "..", "s3://a"])
def test_data_set_names_that_are_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"cannot be used\. Take letters, digits"):
        Layout.of("s3://mybucket", name)


def test_the_keys_of_a_data_set_are_the_contract_with_its_readers() -> None:
    run = "20261122T101500Z-1f3a9c"
    assert (LAYOUT.bucket, LAYOUT.root) == ("mybucket", "sets/birds/")
    assert LAYOUT.images == "sets/birds/images/"
    assert LAYOUT.thumbnails == "sets/birds/thumbnails/"
    assert LAYOUT.crops == "sets/birds/crops/"
    assert LAYOUT.runs == "sets/birds/runs/"
    assert LAYOUT.ledger(run) == f"sets/birds/runs/{run}/ledger/"
    assert LAYOUT.report(run) == f"sets/birds/runs/{run}/report.json"
    assert LAYOUT.exports == "sets/birds/exports/"
    assert LAYOUT.current == "sets/birds/current.json"
    assert LAYOUT.marks == "sets/birds/.imagehaul/"
    assert LAYOUT.uri(LAYOUT.current) == "s3://mybucket/sets/birds/current.json"


def test_a_bucket_root_is_a_target_too() -> None:
    assert Layout.of("s3://mybucket", "birds").images == "birds/images/"


@given(st.from_regex(DATASET_NAME, fullmatch=True), st.from_regex(DATASET_NAME, fullmatch=True))
def test_no_data_set_lies_in_another_one(one: str, other: str) -> None:
    first, second = Layout.of("s3://mybucket/x", one), Layout.of("s3://mybucket/x", other)
    assert first.root.startswith(second.root) == (one == other)


@given(st.text())
def test_a_key_is_found_again_below_the_target(tail: str) -> None:
    assert LAYOUT.below_remote_save(LAYOUT.images + tail) == f"birds/images/{tail}"


def test_a_target_prefix_that_comes_twice_is_taken_off_once() -> None:
    assert LAYOUT.below_remote_save("sets/sets/a.jpg") == "sets/a.jpg"


def test_run_names_are_new_each_time_and_tell_their_own() -> None:
    names = {new_run_name() for _ in range(100)}
    assert len(names) == 100
    assert all(RUN_NAME.fullmatch(name) for name in names)
    assert all(re.fullmatch(r"20\d{6}T[012]\d{5}Z-[0-9a-f]{6}", name) for name in names)


def test_a_run_is_named_behind_another_even_if_the_clock_says_otherwise() -> None:
    after = "29991231T235959Z-ffffff"
    name = new_run_name(after=after)
    assert RUN_NAME.fullmatch(name)
    assert name > after
    assert new_run_name(after="20200101T000000Z-000000")[:4] >= "2026"
