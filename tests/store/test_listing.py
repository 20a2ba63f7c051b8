"""What a real store lists comes through whole, whatever the keys hold."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import pytest

from imagehaul.records import StoredObject
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects
from imagehaul.store.listing_xml import read_contents

pytestmark = pytest.mark.every_store

ODD = [
    "a b.jpg",
    "a+b.jpg",
    "a%20b.jpg",
    "a&b=c?d#e.jpg",
    "é/e\u0301/日本.jpg",
    "😀.jpg",
    'it\'s "quoted" <b>.jpg',
    "line\nbreak.jpg",
    "~-_.!*'(),;:@$[]{}|^`.jpg",
]


def test_keys_sizes_and_etags_are_those_that_were_sent(store: Store, bucket: str) -> None:
    client = store.client()
    expected = set()
    for name in ODD:
        body = name.encode()
        client.put_object(Bucket=bucket, Key=f"birds/{name}", Body=body)
        expected.add(StoredObject(f"birds/{name}", len(body), hashlib.md5(body).hexdigest()))
    assert set(list_objects(client, bucket, "birds/")) == expected


def test_more_than_a_page_of_them_is_listed_once_each(store: Store, bucket: str) -> None:
    client = store.client()
    keys = [f"birds/{number:04}" for number in range(1003)]
    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b""), keys))
    assert [item.key for item in list_objects(client, bucket, "birds/")] == keys


def test_a_page_has_the_times_that_the_store_gives(store: Store, bucket: str) -> None:
    client = store.client()
    client.put_object(Bucket=bucket, Key="birds/a.jpg", Body=b"x")
    (listed,) = client.list_objects_v2(Bucket=bucket)["Contents"]
    # A header tells whole seconds; some listings tell more.
    head = client.head_object(Bucket=bucket, Key="birds/a.jpg")
    assert listed["LastModified"].replace(microsecond=0) == head["LastModified"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html><p>no listing"),
        (200, b"<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>"),
        (200, b"<ListBucketResult><Contents><Key>a</Key><Size>many</Size></Contents></ListBucketResult>"),
        (403, b"<Error><Code>AccessDenied</Code></Error>"),
    ],
)
def test_what_is_no_page_of_a_listing_is_left_to_botocore(status: int, body: bytes) -> None:
    answer, contents = {"status_code": status, "body": body}, dict[str, object]()
    read_contents(answer, contents)
    assert (answer["body"], contents) == (body, {})


OBJECT = (
    "<Contents><Key>{}</Key><LastModified>2026-11-26T10:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    "<Size>1</Size></Contents>"
)
PAGE = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Prefix>p</Prefix>{}</ListBucketResult>'
FOLDER = "<CommonPrefixes><Prefix>p/b/</Prefix></CommonPrefixes>"


@pytest.mark.parametrize(
    ("objects", "keys", "left"),
    [
        (OBJECT.format("a") + OBJECT.format("b"), ["a", "b"], ["p"]),
        (FOLDER + OBJECT.format("a"), ["a"], ["p", "p/b/"]),
        (OBJECT.format("a") + FOLDER + OBJECT.format("b"), ["a", "b"], ["p", "p/b/"]),
        (OBJECT.format("a") + "\n" + OBJECT.format("b"), ["a", "b"], ["p"]),
        (OBJECT.format("a&amp;b") + OBJECT.format("&#xe9;"), ["a&b", "é"], ["p"]),
        ("<!-- " + OBJECT.format("no") + " -->" + OBJECT.format("a"), ["a"], ["p"]),
        (OBJECT.format("<![CDATA[<a>]]>"), ["<a>"], ["p"]),
        (OBJECT.format("a").replace("<Size>", "<Size >"), ["a"], ["p"]),
    ],
)
def test_a_page_is_read_the_same_however_a_store_writes_it(objects: str, keys: list[str], left: list[str]) -> None:
    answer, read = {"status_code": 200, "body": PAGE.format(objects).encode()}, dict[str, Any]()
    read_contents(answer, read)
    assert [item["Key"] for item in read["Contents"]] == keys
    assert all((item["Size"], item["ETag"]) == (1, '"e"') for item in read["Contents"])
    rest = ElementTree.fromstring(answer["body"])
    assert [element.text for element in rest.iter() if element.tag.endswith("}Prefix")] == left


def test_a_prefix_that_begins_alike_is_another(store: Store, bucket: str) -> None:
    client = store.client()
    for key in ("img/a.jpg", "img2/a.jpg", "img"):
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert [item.key for item in list_objects(client, bucket, "img/")] == ["img/a.jpg"]
    assert len(list(list_objects(client, bucket, ""))) == 3


def test_nothing_there_is_an_empty_listing(store: Store, bucket: str) -> None:
    assert list(list_objects(store.client(), bucket, "birds/")) == []
