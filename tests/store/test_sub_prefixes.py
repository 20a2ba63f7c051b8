"""A long listing goes by sub-prefix, and shows each object once, whatever the store and the keys are like."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from imagehaul.store import listing, sub_prefixes
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_contents, list_objects
from imagehaul.store.sub_prefixes import cut, grouped_by_beginning, list_side_by_side

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

pytestmark = pytest.mark.every_store

FOLDERS = ("a b", "a", "c+d", "é", "日本", "😀", "Z", "m%20")
KEYS = sorted(
    [f"in/{folder}/{number:02}.jpg" for folder in FOLDERS for number in range(9)]
    + [f"in/deep/one/two/{number}/x.jpg" for number in range(5)]
    + [f"in/{number}.jpg" for number in range(4)]
    + [f"in/flat/{number:02}.jpg" for number in range(40)]
    + ["in/a/sub/x.jpg", "in/~", "in/é.jpg"]
)
OTHERS = ["in2/a/00.jpg", "im/a/00.jpg"]
AT_ONCE = 7
"""Objects a page of these listings."""


@pytest.fixture(scope="module")
def where(buckets_ahead: Callable[[], str], store: Store) -> str:
    """A bucket with objects in folders and beside them."""
    bucket, client = buckets_ahead(), store.client()
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b"x"), [*KEYS, *OTHERS]))
    return bucket


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    """One that gets small pages, and for whom every wait is long."""
    monkeypatch.setattr(listing, "LONG_WAIT", -1.0)
    monkeypatch.setattr(listing, "FIRST_PAGES", 2)

    def ask_for_less(params: dict[str, Any], **_: Any) -> None:
        params.setdefault("MaxKeys", AT_ONCE)

    client, event = store.patient_client(), "before-parameter-build.s3.ListObjectsV2"
    client.meta.events.register(event, ask_for_less)
    yield client
    client.meta.events.unregister(event, ask_for_less)


@pytest.fixture
def asked(client: S3Client) -> Iterator[list[dict[str, Any]]]:
    """What each request for a page asked for."""
    asked: list[dict[str, Any]] = []

    def note(params: dict[str, Any], **_: Any) -> None:
        asked.append(params["query_string"])

    client.meta.events.register("before-call.s3.ListObjectsV2", note)
    yield asked
    client.meta.events.unregister("before-call.s3.ListObjectsV2", note)


def pages_of(client: S3Client, bucket: str) -> Callable[..., Iterator[Any]]:
    return lambda **asked: iter(client.get_paginator("list_objects_v2").paginate(Bucket=bucket, **asked))


def test_each_object_is_listed_once(client: S3Client, where: str, asked: list[dict[str, Any]]) -> None:
    assert sorted(item.key for item in list_objects(client, where, "in/")) == KEYS
    assert {"in/Z/", "in/😀/", "in/flat/"} <= {request["prefix"] for request in asked if "delimiter" not in request}


def test_the_first_pages_come_as_the_store_has_them_and_not_again(client: S3Client, where: str) -> None:
    first = client.list_objects_v2(Bucket=where, Prefix="in/", MaxKeys=2 * AT_ONCE)["Contents"]
    listed = [item["Key"] for item in list_contents(client, where, "in/")]
    assert listed[: 2 * AT_ONCE] == [item["Key"] for item in first]
    assert sorted(listed) == KEYS


def test_a_quick_store_is_listed_in_one_go(
    client: S3Client, where: str, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LONG_WAIT", 60.0)
    assert sorted(item.key for item in list_objects(client, where, "in/")) == KEYS
    assert {request["prefix"] for request in asked} == {"in/"}
    assert len(asked) == -(-len(KEYS) // AT_ONCE)


def test_a_flat_folder_is_listed_in_one_go(client: S3Client, where: str, asked: list[dict[str, Any]]) -> None:
    listed = [item.key for item in list_objects(client, where, "in/flat/")]
    assert listed == [key for key in KEYS if key.startswith("in/flat/")]
    looked = [request for request in asked if "delimiter" in request]
    assert len(looked) == 1


@pytest.mark.parametrize("enough", [1, 8, 16, 1000])
def test_wherever_it_is_cut_each_object_lies_in_one_part(
    client: S3Client, where: str, enough: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`in/flat/` and others are more than a page of files."""
    monkeypatch.setattr(sub_prefixes, "_ENOUGH", enough)
    parts = cut("in/", pages_of(client, where))
    files = {item["Key"] for item in parts.files}
    assert all(sum(map(key.startswith, parts.prefixes)) == 1 for key in KEYS if key not in files)
    assert "in/flat/" in parts.prefixes
    assert ("in/deep/" in parts.prefixes) == (enough <= 8)


def test_few_folders_are_looked_into_until_there_are_enough(client: S3Client, where: str) -> None:
    parts = cut("in/deep/", pages_of(client, where))
    assert [item["Key"] for item in parts.files] == [key for key in KEYS if key.startswith("in/deep/")]
    assert parts.prefixes == []


def test_folders_without_end_are_not_walked_through() -> None:
    asked: list[str] = []

    def pages(Prefix: str, Delimiter: str) -> Iterator[Any]:
        while True:
            asked.append(Prefix)
            yield {"CommonPrefixes": [{"Prefix": f"{Prefix}{len(asked)}/"}], "IsTruncated": True}

    assert cut("in/", pages).prefixes == ["in/"]
    assert asked == ["in/"] * 32


@pytest.mark.parametrize(
    ("folders", "most", "groups"),
    [
        (["in/a/", "in/b/"], 8, ["in/a/", "in/b/"]),
        (["in/a/", "in/a b/", "in/ab/"], 8, ["in/a b/", "in/a/", "in/ab/"]),
        (["in/a/", "in/b/"], 1, ["in/"]),
        (["in/train/"], 8, ["in/train/"]),
        ([f"in/{number:04}/" for number in range(3000)], 8, [f"in/{n}" for n in ("00", "01", "02")]),
        ([f"in/{number:04}/" for number in range(400)], 4, ["in/00", "in/01", "in/02", "in/03"]),
        ([f"in/{chr(0x4E00 + number)}/" for number in range(500)], 32, ["in/"]),
    ],
)
def test_folders_are_grouped_by_how_their_names_begin(folders: list[str], most: int, groups: list[str]) -> None:
    found = grouped_by_beginning(folders, most)
    assert len(found) <= 2 * most
    assert all(sum(folder.startswith(group) for group in found) == 1 for folder in folders)
    if len(folders) <= 500:
        assert found == groups


def test_many_folders_become_groups_of_like_size() -> None:
    folders = [f"in/{number:05}/" for number in range(0, 99_999, 13)]
    groups = grouped_by_beginning(folders, sub_prefixes.PARTS)
    sizes = [sum(folder.startswith(group) for folder in folders) for group in groups]
    assert sum(sizes) == len(folders)
    assert len(groups) >= sub_prefixes.PARTS
    assert max(sizes) <= len(folders) / 10


def test_an_error_in_one_part_ends_all_and_is_told(client: S3Client, where: str) -> None:
    pages = pages_of(client, where)

    def one_fails(**asked: Any) -> Iterator[Any]:
        if asked["Prefix"] == "in/c+d/":
            raise ConnectionError("it broke")
        return pages(**asked)

    with pytest.raises(ConnectionError, match="it broke"):
        list(list_side_by_side(["in/a/", "in/a b/", "in/c+d/", "in/é/"], one_fails))
    assert not listing_threads()


def test_who_stops_reading_stops_the_listings() -> None:
    given = itertools.count()

    def endless(**_: Any) -> Iterator[Any]:
        while True:
            yield {"Contents": [{"Key": f"{next(given):012}"}]}

    contents = list_side_by_side(["a", "b"], endless)
    assert next(contents)
    contents.close()
    assert next(given) < 10 * sub_prefixes.SIDE_BY_SIDE
    assert not listing_threads()


def listing_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("listing")]
