"""The engine through boto3: bodies, parts, and files that change under its hands."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagehaul.records import ObjectOptions, SendResult, Upload
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer import boto3_engine as transfer_boto3
from imagehaul.transfer.boto3_engine import Boto3Sender
from imagehaul.transfer.engines import choose_engine
from imagehaul.transfer.local_file import Slice
from tests.support.answering import Answer, Request
from tests.support.misbehaving import STORED, Misbehaving
from tests.support.sending import QUICK, content_of, outcomes, plain_client, stored, upload_of, uploads_of

pytestmark = pytest.mark.every_store

PLAIN = ObjectOptions()
BAD_DIGEST = Answer(400, b"<Error><Code>BadDigest</Code><Message>Other bytes.</Message></Error>")


def monitor() -> StallMonitor:
    return StallMonitor(threading.Event(), 10.0, refusals=8)


def send(store: Store, bucket: str, uploads: list[Upload], options: ObjectOptions = PLAIN) -> list[SendResult]:
    return Boto3Sender(store, bucket, options, 4).send(uploads, monitor())


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> int:
    """The least that S3 allows for a part that is not the last."""
    size = 5 * 1024 * 1024
    monkeypatch.setattr(transfer_boto3, "PART_SIZE", size)
    return size


def big_file(folder: Path, size: int) -> Upload:
    file = folder / "big"
    file.write_bytes(os.urandom(1024) * (size // 1024) + bytes(size % 1024))
    return upload_of(file, "big.tiff", "image/tiff")


# -- one request -----------------------------------------------------------------------------------------------------


def test_a_small_body_is_sent_in_one_go_without_asking_leave(tmp_path: Path) -> None:
    with Misbehaving(lambda _: STORED) as server:
        send(server.store, "bucket", uploads_of(tmp_path, ["a.jpg"]))

    assert [request.method for request in server.requests] == ["PUT"]
    assert "expect" not in server.requests[0].headers


def test_where_an_etag_is_no_md5_a_checksum_is_asked_for(tmp_path: Path) -> None:
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    with Misbehaving(lambda _: STORED) as server:
        send(server.store, "bucket", [upload], ObjectOptions(sse="aws:kms"))

    assert base64.b64decode(server.requests[0].headers["x-amz-checksum-sha256"]).hex() == upload.sha256


def test_a_file_with_other_bytes_of_the_same_number_is_refused_by_the_store_and_named(
    store: Store, bucket: str, tmp_path: Path
) -> None:
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    Path(upload.file).write_bytes(content_of(upload)[::-1])

    assert outcomes(send(store, bucket, [upload])) == [("failed", "SOURCE_CHANGED")]
    assert stored(store, bucket) == {}


def test_bytes_that_were_damaged_on_their_way_are_worth_another_attempt(tmp_path: Path) -> None:
    with Misbehaving(lambda _: BAD_DIGEST) as server:
        sent = send(server.store, "bucket", uploads_of(tmp_path, ["a.jpg"]))

    assert outcomes(sent) == [("failed", "STORE_BUSY")]


@pytest.mark.parametrize(("short", "expected"), [(2, ("sent", "")), (99, ("failed", "MACHINE_BUSY"))])
def test_a_file_that_this_machine_has_no_handle_for_is_tried_again_and_not_rejected(
    store: Store,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    short: int,
    expected: tuple[str, str],
) -> None:
    upload, opened, left = big_file(tmp_path, 10), Path.open, [short]

    def open_if_it_can(path: Path, *mode: Any, **how: Any) -> Any:
        if str(path) == upload.file and left[0]:
            left[0] -= 1
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return opened(path, *mode, **how)

    monkeypatch.setattr(Path, "open", open_if_it_can)
    sent = choose_engine(store, bucket, "boto3", 4, PLAIN, QUICK).send([upload], tmp_path)
    assert outcomes(sent) == [expected]


def test_a_file_that_shrinks_while_it_is_sent_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(3_000_000))
    upload = upload_of(file, "a.tiff")

    def answer(_: Request) -> Answer | None:
        file.write_bytes(b"less")
        return None

    with Misbehaving(answer) as server:
        assert outcomes(send(server.store, "bucket", [upload])) == [("failed", "SOURCE_CHANGED")]


def test_one_silent_object_does_not_hold_up_the_others(tmp_path: Path) -> None:
    over = threading.Event()

    def answer(request: Request) -> Answer:
        if request.path.endswith("/1"):
            over.wait(30)
        return STORED

    with Misbehaving(answer) as server:
        sender = Boto3Sender(server.store, "bucket", ObjectOptions(), 2)
        sent = sender.send(uploads_of(tmp_path, list("0123456789")), StallMonitor(threading.Event(), 1.0, refusals=8))
        over.set()

    assert [item.outcome for item in sent].count("sent") == 9
    assert sent[1].outcome == "unknown"


# -- parts -----------------------------------------------------------------------------------------------------------


def test_the_parts_of_a_large_file_arrive_as_one_object(
    store: Store, bucket: str, tmp_path: Path, small_parts: int
) -> None:
    upload = big_file(tmp_path, 2 * small_parts + 7)

    assert outcomes(send(store, bucket, [upload], ObjectOptions(cache_control="no-cache"))) == [("sent", "")]

    head = plain_client(store).head_object(Bucket=bucket, Key="big.tiff")
    content = content_of(upload)
    parts = [content[start : start + small_parts] for start in range(0, len(content), small_parts)]
    digest = hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()
    assert head["ETag"] == f'"{digest}-3"'
    assert (head["ContentType"], head["CacheControl"]) == ("image/tiff", "no-cache")
    assert stored(store, bucket)["big.tiff"] == content


def test_a_large_file_that_changed_is_aborted_and_named(
    store: Store, bucket: str, tmp_path: Path, small_parts: int
) -> None:
    upload = big_file(tmp_path, small_parts + 7)
    with Path(upload.file).open("r+b") as file:
        file.write(b"other bytes")

    assert outcomes(send(store, bucket, [upload])) == [("failed", "SOURCE_CHANGED")]
    assert stored(store, bucket) == {}
    assert not plain_client(store).list_multipart_uploads(Bucket=bucket).get("Uploads")


BEGUN = Answer(200, b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>")
SORRY = Answer(200, b"<Error><Code>InternalError</Code><Message>Sorry.</Message></Error>")


def in_parts(part: Answer, complete: Answer) -> Callable[[Request], Answer]:
    """What a store answers to a part, and to the request that makes one object of them."""
    answers = {"PUT": part, "POST": complete, "DELETE": Answer(204)}
    return lambda request: BEGUN if "uploads" in request.path else answers[request.method]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [(in_parts(Answer(400), SORRY), ("failed", "STORE_REFUSED")), (in_parts(STORED, SORRY), ("failed", "STORE_BUSY"))],
    ids=["a part is refused", "200 with an error inside"],
)
def test_an_upload_in_parts_that_fails_is_aborted(
    tmp_path: Path, small_parts: int, answer: Callable[[Request], Answer], outcome: tuple[str, str]
) -> None:
    with Misbehaving(answer) as server:
        sent = send(server.store, "bucket", [big_file(tmp_path, small_parts + 7)])

    assert outcomes(sent) == [outcome]
    deleted = [request.path for request in server.requests if request.method == "DELETE"]
    assert deleted == ["/bucket/big.tiff?uploadId=u1"]


def test_each_part_is_sent_with_its_md5(tmp_path: Path, small_parts: int) -> None:
    upload = big_file(tmp_path, small_parts + 7)
    with Misbehaving(in_parts(STORED, Answer(200, b"<CompleteMultipartUploadResult/>"))) as server:
        assert outcomes(send(server.store, "bucket", [upload])) == [("sent", "")]

    sent = [request.headers["content-md5"] for request in server.requests if "partNumber" in request.path]
    content = content_of(upload)
    parts = content[:small_parts], content[small_parts:]
    assert sent == [base64.b64encode(hashlib.md5(part).digest()).decode() for part in parts]


# -- a slice as a body -----------------------------------------------------------------------------------------------


def test_a_slice_reads_like_a_file_of_its_own() -> None:
    moved: list[int] = []
    part = Slice(io.BytesIO(b"0123456789"), 2, 5, moved.append)

    assert (part.read(2), part.tell(), part.read(), part.read()) == (b"23", 2, b"456", b"")
    assert (part.seek(0, os.SEEK_END), part.seek(-1, os.SEEK_CUR), part.read(None)) == (5, 4, b"6")
    assert sum(moved) == 6


def test_a_slice_that_is_not_there_any_more_is_no_short_read() -> None:
    with pytest.raises(OSError, match="ended before its time"):
        Slice(io.BytesIO(b"0123"), 2, 5, lambda _: None).read()
