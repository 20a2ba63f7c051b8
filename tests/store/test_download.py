"""Downloads: whole objects or their beginning, and never other bytes than were listed."""

from __future__ import annotations

import hashlib
import io
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagehaul.errors import StoreError
from imagehaul.records import SendResult
from imagehaul.sources.local_file import version_of
from imagehaul.store.download import Download, download
from imagehaul.store.endpoint import Store
from tests.support.answering import Answer, Request
from tests.support.misbehaving import BUSY, STORED, Misbehaving
from tests.support.sending import QUICK, outcomes, plain_client

pytestmark = pytest.mark.every_store

NAMES = ["a.jpg", "a b+c%20&?.jpg", "ü/中文.jpg", "new\nline.jpg", "x" * 255]


@pytest.fixture
def source(store: Store) -> str:
    """A bucket with an object under each of `NAMES` whose bytes are its name."""
    name = f"source-{uuid.uuid4().hex[:12]}"
    client = plain_client(store)
    client.create_bucket(Bucket=name)
    for key in NAMES:
        client.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def etag_of(key: str) -> str:
    return hashlib.md5(key.encode()).hexdigest()


def wanted(folder: Path, key: str, number: int = 0, first_bytes: int = 0) -> Download:
    return Download(key, folder / str(number), etag_of(key), len(key.encode()), first_bytes)


def fetch(store: Store, bucket: str, *items: Download) -> list[SendResult]:
    return download(store, bucket, items, 8, QUICK)


def test_every_name_comes_byte_for_byte(store: Store, source: str, tmp_path: Path) -> None:
    items = [wanted(tmp_path, name, number) for number, name in enumerate(NAMES)]

    assert outcomes(fetch(store, source, *items)) == [("sent", "")] * len(NAMES)
    assert [item.file.read_bytes() for item in items] == [name.encode() for name in NAMES]


@pytest.mark.parametrize(("first", "content"), [(1, b"a"), (3, b"a.j"), (5, b"a.jpg"), (9, b"a.jpg"), (0, b"a.jpg")])
def test_the_beginning_alone_can_be_had(store: Store, source: str, tmp_path: Path, first: int, content: bytes) -> None:
    item = wanted(tmp_path, "a.jpg", first_bytes=first)

    assert outcomes(fetch(store, source, item)) == [("sent", "")]
    assert item.file.read_bytes() == content


@pytest.mark.parametrize("first", [0, 100])
def test_an_empty_object_is_an_empty_file(store: Store, source: str, tmp_path: Path, first: int) -> None:
    plain_client(store).put_object(Bucket=source, Key="empty", Body=b"")
    item = Download("empty", tmp_path / "file", etag_of(""), 0, first)

    assert outcomes(fetch(store, source, item)) == [("sent", "")]
    assert item.file.read_bytes() == b""


def test_an_object_that_changed_or_went_away_is_named_and_leaves_no_file(
    store: Store, source: str, tmp_path: Path
) -> None:
    plain_client(store).put_object(Bucket=source, Key="a.jpg", Body=b"other bytes")

    sent = fetch(store, source, wanted(tmp_path, "a.jpg", 1), wanted(tmp_path, "gone", 2))

    assert outcomes(sent) == [("failed", "SOURCE_CHANGED"), ("failed", "SOURCE_GONE")]
    assert list(tmp_path.iterdir()) == []


def object_of(content: bytes, length: int, etag: str) -> Answer:
    headers = {"Content-Length": str(length), "ETag": f'"{etag}"', "Connection": "close"}
    return Answer(200, content, headers)


@pytest.mark.parametrize("bad", [object_of(b"a.j", 5, etag_of("a.jpg")), BUSY], ids=["cut off in the middle", "busy"])
def test_a_download_that_broke_off_is_made_again(tmp_path: Path, bad: Answer) -> None:
    answers = [bad, bad]

    def answer(request: Request) -> Answer:
        if "list-type" in request.path:
            return STORED
        return answers.pop() if answers else object_of(b"a.jpg", 5, etag_of("a.jpg"))

    item = wanted(tmp_path, "a.jpg")
    with Misbehaving(answer) as server:
        assert outcomes(fetch(server.store, "bucket", item)) == [("sent", "")]

    assert item.file.read_bytes() == b"a.jpg"


@pytest.mark.parametrize(
    "answer",
    [object_of(b"a.jpg", 5, "another"), object_of(b"more bytes", 10, etag_of("a.jpg"))],
    ids=["another ETag", "another size"],
)
def test_a_store_that_takes_no_notice_of_the_condition_deceives_nobody(tmp_path: Path, answer: Answer) -> None:
    with Misbehaving(lambda _: answer) as server:
        sent = fetch(server.store, "bucket", wanted(tmp_path, "a.jpg"))

    assert outcomes(sent) == [("failed", "SOURCE_CHANGED")]


def test_one_object_that_may_not_be_read_does_not_stop_the_run(tmp_path: Path) -> None:
    denied = Answer(403, b"<Error><Code>AccessDenied</Code><Message>Not this one.</Message></Error>")

    def answer(request: Request) -> Answer:
        return denied if request.path.endswith("denied") else object_of(b"a.jpg", 5, etag_of("a.jpg"))

    with Misbehaving(answer) as server:
        sent = fetch(server.store, "bucket", wanted(tmp_path, "denied", 1), wanted(tmp_path, "a.jpg", 2))

    assert outcomes(sent) == [("rejected", "UNREADABLE"), ("sent", "")]


@pytest.mark.parametrize("length", [5, 3], ids=["whole", "cut off"])
def test_an_answer_that_comes_after_the_next_attempt_s_changes_nothing(tmp_path: Path, length: int) -> None:
    over = threading.Event()
    late = [object_of(b"a.jpg"[:length], 5, etag_of("a.jpg"))]

    def answer(request: Request) -> Answer:
        if "list-type" in request.path:
            return STORED
        if late:
            said = late.pop()
            over.wait(30)
            return said
        return object_of(b"a.jpg", 5, etag_of("a.jpg"))

    with Misbehaving(answer) as server:
        delivered_once(server.store, tmp_path, over)


@pytest.mark.parametrize("rest", [b".jpg", b""], ids=["whole", "cut off"])
def test_a_body_that_goes_on_after_the_next_attempt_s_changes_nothing(tmp_path: Path, rest: bytes) -> None:
    over = threading.Event()
    halted: list[HaltingBody] = []

    def halt(parsed: dict[str, Any], **_: object) -> None:
        if not halted:
            halted.append(HaltingBody(over, rest))
            parsed["Body"] = halted[0]

    def answer(request: Request) -> Answer:
        return STORED if "list-type" in request.path else object_of(b"a.jpg", 5, etag_of("a.jpg"))

    with Misbehaving(answer) as server:
        server.store.client().meta.events.register("after-call.s3.GetObject", halt)
        delivered_once(server.store, tmp_path, over)


class HaltingBody(io.BytesIO):
    """One byte; and the rest when it is `over`."""

    def __init__(self, over: threading.Event, rest: bytes) -> None:
        super().__init__()
        self._over, self._rest = over, rest

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        yield b"a"
        self._over.wait(30)
        yield self._rest


def delivered_once(store: Store, folder: Path, over: threading.Event) -> None:
    """The first attempt stalls, the next one delivers; and nothing changes in the folder when the first is `over`."""
    item = wanted(folder, "a.jpg")
    before = set(threading.enumerate())
    assert outcomes(download(store, "bucket", [item], 8, replace(QUICK, stall_seconds=0.5))) == [("sent", "")]
    then = version_of(item.file.stat())
    over.set()
    deadline = time.monotonic() + 20
    while any("work_through" in thread.name for thread in set(threading.enumerate()) - before):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert item.file.read_bytes() == b"a.jpg"
    assert version_of(item.file.stat()) == then
    assert list(folder.iterdir()) == [item.file]


def test_a_full_scratch_disk_is_no_trouble_of_the_store(
    store: Store, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = wanted(tmp_path, "a.jpg")
    monkeypatch.setattr(Path, "open", lambda _, mode: os.fdopen(os.open("/dev/full", os.O_WRONLY), mode))

    assert outcomes(fetch(store, source, item)) == [("failed", "DISK_FULL")]
    assert list(tmp_path.iterdir()) == []


def test_a_scratch_folder_that_is_gone_is_no_trouble_of_the_store(store: Store, source: str, tmp_path: Path) -> None:
    item = replace(wanted(tmp_path, "a.jpg"), file=tmp_path / "no" / "folder")

    assert outcomes(fetch(store, source, item)) == [("failed", "SCRATCH_UNWRITABLE")]


def test_keys_that_the_store_does_not_know_stop_the_run(tmp_path: Path) -> None:
    unknown = Answer(403, b"<Error><Code>InvalidAccessKeyId</Code><Message>Who?</Message></Error>")
    with Misbehaving(lambda _: unknown) as server, pytest.raises(StoreError) as caught:
        fetch(server.store, "bucket", wanted(tmp_path, "a.jpg"))

    assert caught.value.code == "ACCESS_DENIED"
