"""All engines: what they promise, and that they give the same."""

from __future__ import annotations

import base64
import itertools
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from imagehaul.errors import StoreError
from imagehaul.records import PART_SIZE, EngineName, ObjectOptions
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import PATIENCE, Patience
from imagehaul.transfer.engines import Engine, choose_engine
from tests.support.answering import Answer
from tests.support.misbehaving import BUSY, STORED, Misbehaving, silent_until
from tests.support.sending import NOWHERE, QUICK, content_of, outcomes, plain_client, stored, upload_of, uploads_of

pytestmark = pytest.mark.every_store

Open = Callable[..., Engine]
PLAIN = ObjectOptions()
DENIED = Answer(403, b"<Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>")

AWKWARD = [f"a{character}b.jpg" for character in " \"'*?[]{}$#%&+=;:,<>|~!^@`()_-."] + [
    *(
        " lead.jpg",
        "trail ",
        " ",
        "trail.",
        ".hidden.jpg",
        "-dash.jpg",
        "--raw",
        "-",
        "..lookalike",
        "...",
        "a..b",
        "~",
    ),
    *("new\nline.jpg", "tab\t.jpg", "cr\r.jpg", "\x01control.jpg", "\x1b[31mred.jpg", "\x7fdelete.jpg"),
    *("no\xa0break.jpg", "\u3000wide.jpg", "\u2028line.jpg", "\ufeffbom.jpg", "😀.jpg", "\u202ertl.jpg", "中文/图.jpg"),
    *("\u00e9.jpg", "e\u0301.jpg", "Case.jpg", "case.jpg", "x" * 255, "é" * 127 + "x", "/".join(["k" * 250] * 4)),
    *("100%.jpg", "%2F.jpg", "%00.jpg", "a%20b.jpg", "+plus+.jpg", "http:/x/y.jpg", "s3:/bucket/key", "https:"),
    *("cp", "rm *", "cp a s3:/b/c", "$HOME", "$(id)", "a && b", "=cmd()", "<script>", "CON", "same/child"),
]


@pytest.fixture(params=get_args(EngineName))
def engine_name(request: pytest.FixtureRequest) -> EngineName:
    engine: EngineName = request.param
    return engine


@pytest.fixture
def open_engine(engine_name: EngineName) -> Open:
    def open_one(store: Store, bucket: str, options: ObjectOptions = PLAIN, patience: Patience = QUICK) -> Engine:
        engine = choose_engine(store, bucket, engine_name, 8, options, patience)
        assert engine.name == engine_name
        return engine

    return open_one


def test_awkward_names_arrive_byte_for_byte_under_their_own_keys(
    open_engine: Open, store: Store, bucket: str, tmp_path: Path
) -> None:
    # "same" and "same/child" far apart: SeaweedFS may lose the first where both are sent at once (docs/stores.md).
    uploads = uploads_of(tmp_path, [f"set/images/{name}" for name in ("same", *AWKWARD)])
    sent = open_engine(store, bucket).send(uploads, tmp_path)

    assert len(AWKWARD) >= 80
    assert {item.outcome for item in sent} == {"sent"}
    assert stored(store, bucket) == {upload.key: content_of(upload) for upload in uploads}


@pytest.mark.needs("short names")
@pytest.mark.parametrize("name", ["x" * 256, "k" * 250 + "/" + "m" * 1024])
def test_a_name_that_the_store_cannot_hold_is_rejected_and_the_rest_sent(
    open_engine: Open, store: Store, bucket: str, tmp_path: Path, name: str
) -> None:
    uploads = uploads_of(tmp_path, ["before.jpg", name, "later.jpg"])

    sent = open_engine(store, bucket).send(uploads, tmp_path)

    assert outcomes(sent) == [("sent", ""), ("rejected", "KEY_TOO_LONG"), ("sent", "")]


def test_answers_come_in_the_order_of_the_uploads_whatever_their_types(
    open_engine: Open, store: Store, bucket: str, tmp_path: Path
) -> None:
    types = ["image/webp", "image/jpeg", "image/png", "image/gif"]
    uploads = [
        replace(upload, content_type=types[number % 4])
        for number, upload in enumerate(uploads_of(tmp_path, [f"{number}.jpg" for number in range(12)]))
    ]

    sent = open_engine(store, bucket).send(uploads, tmp_path)

    assert [item.key for item in sent] == [upload.key for upload in uploads]
    client = plain_client(store)
    for upload in uploads:
        assert client.head_object(Bucket=bucket, Key=upload.key)["ContentType"] == upload.content_type


def test_nothing_to_send_is_no_error(open_engine: Open, store: Store, bucket: str, tmp_path: Path) -> None:
    assert open_engine(store, bucket).send([], tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, 1024 * 1024, 1024 * 1024 + 1, PART_SIZE - 1, PART_SIZE, PART_SIZE + 1])
def test_every_size_arrives_whole_with_the_etag_that_was_foretold(
    open_engine: Open, store: Store, bucket: str, tmp_path: Path, size: int
) -> None:
    file = tmp_path / "file"
    with file.open("wb") as stream:
        stream.truncate(size)
    upload = upload_of(file, "file.jpg")

    assert outcomes(open_engine(store, bucket).send([upload], tmp_path)) == [("sent", "")]

    head = plain_client(store).head_object(Bucket=bucket, Key="file.jpg")
    assert head["ContentLength"] == size
    assert head["ContentType"] == "image/jpeg"
    etag = head["ETag"].strip('"')
    assert etag.endswith("-2") if size > PART_SIZE else etag == upload.md5


@pytest.mark.needs("storage classes")
def test_all_engines_describe_an_object_in_the_same_way(store: Store, bucket: str, tmp_path: Path) -> None:
    options = ObjectOptions(cache_control="public, max-age=60", storage_class="STANDARD_IA")
    seen: list[dict[str, Any]] = []
    for engine in get_args(EngineName):
        uploads = uploads_of(tmp_path, ["object.png"])
        choose_engine(store, bucket, engine, 4, options).send(uploads, tmp_path)
        head = dict(plain_client(store).head_object(Bucket=bucket, Key="object.png"))
        seen.append({key: value for key, value in head.items() if key not in ("ResponseMetadata", "LastModified")})

    assert seen[0] == seen[1] == seen[2]
    assert (seen[0]["CacheControl"], seen[0]["ContentType"]) == ("public, max-age=60", "image/jpeg")
    assert seen[0]["StorageClass"] == "STANDARD_IA"


def test_encryption_is_asked_for_in_the_store_s_own_words(open_engine: Open, tmp_path: Path) -> None:
    options = ObjectOptions(sse="aws:kms", sse_kms_key_id="key-1")
    with Misbehaving(lambda _: STORED) as server:
        sent = open_engine(server.store, "bucket", options).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)

    assert outcomes(sent) == [("sent", "")]
    [request] = server.requests
    assert request.headers["x-amz-server-side-encryption"] == "aws:kms"
    assert request.headers["x-amz-server-side-encryption-aws-kms-key-id"] == "key-1"


def test_every_body_is_sent_with_its_digest(open_engine: Open, tmp_path: Path) -> None:
    """So that a store refuses what was damaged on its way."""
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    with Misbehaving(lambda _: STORED) as server:
        open_engine(server.store, "bucket").send([upload], tmp_path)

    headers = server.requests[0].headers
    md5, sha256 = headers.get("content-md5", ""), headers["x-amz-content-sha256"]
    assert base64.b64decode(md5).hex() == upload.md5 or sha256 == upload.sha256


# -- the whole run ---------------------------------------------------------------------------------------------------


def test_wrong_keys_stop_the_run(open_engine: Open, store: Store, bucket: str, tmp_path: Path) -> None:
    assert isinstance(store.credentials, AccessKey)
    wrong = replace(store, credentials=AccessKey(store.credentials.access_key, "not-the-secret"))

    with pytest.raises(StoreError, match="secret key") as caught:
        open_engine(wrong, bucket, patience=PATIENCE).send(uploads_of(tmp_path, ["a.jpg", "b.jpg"]), tmp_path)

    assert caught.value.code == "ACCESS_DENIED"


def test_a_bucket_that_is_not_there_stops_the_run(open_engine: Open, store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        open_engine(store, "no-such-bucket", patience=PATIENCE).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path)

    assert caught.value.code == "BUCKET_MISSING"


def test_keys_that_are_denied_one_object_after_another_stop_the_run(
    open_engine: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.store.retry.MOST_DENIED", 40)
    with Misbehaving(lambda _: DENIED) as server:
        engine = open_engine(server.store, "bucket", patience=PATIENCE)
        # Each batch has fewer: what is counted is counted over all of them.
        engine.send(uploads_of(tmp_path, [f"first/{number}" for number in range(30)]), tmp_path)
        with pytest.raises(StoreError, match="denied these keys 40 objects in a row") as caught:
            engine.send(uploads_of(tmp_path, [f"second/{number}" for number in range(200)]), tmp_path)

    assert caught.value.code == "ACCESS_DENIED"
    assert len(server.requests) < 100


def test_what_a_policy_denies_is_named_and_the_rest_is_sent(open_engine: Open, tmp_path: Path) -> None:
    keys = [f"{'open' if number % 3 == 0 else 'closed'}/{number}" for number in range(90)]
    with Misbehaving(lambda request: DENIED if "/closed/" in request.path else STORED) as server:
        sent = open_engine(server.store, "bucket").send(uploads_of(tmp_path, keys), tmp_path)

    assert {(item.key.partition("/")[0], item.outcome, item.code) for item in sent} == {
        ("open", "sent", ""),
        ("closed", "failed", "ACCESS_DENIED"),
    }
    assert len(server.requests) == 90, "What is denied is not asked for again."


def test_a_certificate_that_is_not_trusted_stops_the_run(
    open_engine: Open, tls_store: Store, bucket: str, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="not trusted") as caught:
        open_engine(replace(tls_store, ca=""), bucket, patience=PATIENCE).send(uploads_of(tmp_path, ["a"]), tmp_path)

    assert caught.value.code == "CERTIFICATE"


def test_a_private_ca_is_trusted_where_it_is_given(
    open_engine: Open, tls_store: Store, bucket: str, tmp_path: Path
) -> None:
    assert outcomes(open_engine(tls_store, bucket).send(uploads_of(tmp_path, ["a"]), tmp_path)) == [("sent", "")]


def test_a_store_that_is_not_there_and_does_not_come_back_stops_the_run(open_engine: Open, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be reached") as caught:
        open_engine(NOWHERE, "bucket").send(uploads_of(tmp_path, [f"{n}" for n in range(50)]), tmp_path)

    assert caught.value.code == "STORE_UNAVAILABLE"


def test_a_store_that_comes_back_in_time_gets_everything(open_engine: Open, tmp_path: Path) -> None:
    back_at = time.monotonic() + 2.0
    patience = replace(QUICK, pauses=(0.2, 3.0, 3.0))
    with Misbehaving(lambda _: STORED if time.monotonic() > back_at else None) as server:
        sent = open_engine(server.store, "bucket", patience=patience).send(uploads_of(tmp_path, ["a", "b"]), tmp_path)

    assert outcomes(sent) == [("sent", "")] * 2


def test_a_silent_store_ends_the_run_within_its_time(open_engine: Open, tmp_path: Path) -> None:
    silence = threading.Event()
    patience = replace(QUICK, stall_seconds=1.0, probe_seconds=1.0)
    began = time.monotonic()
    with Misbehaving(silent_until(silence)) as server:
        with pytest.raises(StoreError) as caught:
            open_engine(server.store, "bucket", patience=patience).send(uploads_of(tmp_path, ["a", "b"]), tmp_path)
        silence.set()

    assert caught.value.code == "STORE_UNAVAILABLE"
    assert time.monotonic() - began < 20


def test_closing_the_engine_ends_what_is_under_way(open_engine: Open, tmp_path: Path) -> None:
    silence = threading.Event()
    with Misbehaving(silent_until(silence)) as server:
        engine = open_engine(server.store, "bucket", patience=PATIENCE)
        threading.Timer(0.5, engine.close).start()
        began = time.monotonic()
        with pytest.raises(StoreError) as caught:
            engine.send(uploads_of(tmp_path, ["a", "b"]), tmp_path)
        silence.set()

    assert caught.value.code == "NOT_ATTEMPTED"
    assert time.monotonic() - began < 5


def test_nothing_is_sent_while_the_data_set_is_not_ours(open_engine: Open, tmp_path: Path) -> None:
    refusals = iter(range(3))
    requests: list[int] = []
    with Misbehaving(lambda _: STORED) as server:

        def may_send() -> bool:
            if next(refusals, None) is None:
                return True
            requests.append(len(server.requests))
            return False

        engine = open_engine(server.store, "bucket")
        engine = replace(engine, retry=replace(engine.retry, may_send=may_send))
        sent = engine.send(uploads_of(tmp_path, ["a", "b"]), tmp_path)

    assert outcomes(sent) == [("sent", "")] * 2
    assert requests[:2] == [0, 0]


# -- one object ------------------------------------------------------------------------------------------------------


def test_one_request_in_three_refused_as_busy_leaves_nothing_behind(open_engine: Open, tmp_path: Path) -> None:
    numbers = itertools.count()
    with Misbehaving(lambda _: BUSY if next(numbers) % 3 == 0 else STORED) as server:
        sent = open_engine(server.store, "bucket").send(uploads_of(tmp_path, [f"{n}" for n in range(12)]), tmp_path)

    assert outcomes(sent) == [("sent", "")] * 12


def test_what_stays_busy_is_named_after_all_attempts(open_engine: Open, tmp_path: Path) -> None:
    with Misbehaving(lambda request: BUSY if request.path.endswith("/bad") else STORED) as server:
        sent = open_engine(server.store, "bucket").send(uploads_of(tmp_path, ["good", "bad"]), tmp_path)

    assert outcomes(sent) == [("sent", ""), ("failed", "STORE_BUSY")]
    assert "SlowDown" in sent[1].message
    assert len([request for request in server.requests if request.path.endswith("/bad")]) >= 4


def test_what_the_store_refuses_for_good_is_not_tried_again(open_engine: Open, tmp_path: Path) -> None:
    refusal = Answer(400, b"<Error><Code>InvalidArgument</Code><Message>No such class.</Message></Error>")
    with Misbehaving(lambda _: refusal) as server:
        sent = open_engine(server.store, "bucket").send(uploads_of(tmp_path, ["a"]), tmp_path)

    assert outcomes(sent) == [("failed", "STORE_REFUSED")]
    assert "No such class." in sent[0].message
    assert len(server.requests) == 1


def test_a_file_that_went_away_or_has_another_size_is_named_and_not_sent(
    open_engine: Open, store: Store, bucket: str, tmp_path: Path
) -> None:
    gone, grown, emptied, _ = uploads = uploads_of(tmp_path, ["gone", "grown", "emptied", "whole"])
    Path(gone.file).unlink()
    Path(grown.file).write_bytes(content_of(grown) + b"more")
    Path(emptied.file).write_bytes(b"")

    sent = open_engine(store, bucket).send(uploads, tmp_path)

    assert outcomes(sent) == [
        ("failed", "SOURCE_GONE"),
        ("failed", "SOURCE_CHANGED"),
        ("failed", "SOURCE_CHANGED"),
        ("sent", ""),
    ]
    assert list(stored(store, bucket)) == ["whole"]


def test_a_file_that_cannot_be_read_is_rejected(open_engine: Open, store: Store, bucket: str, tmp_path: Path) -> None:
    """A folder in the file's place, since the tests may run as root, who may read everything."""
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    Path(upload.file).unlink()
    Path(upload.file).mkdir()
    upload = replace(upload, size=Path(upload.file).stat().st_size)

    sent = open_engine(store, bucket).send([upload], tmp_path)

    assert outcomes(sent) == [("rejected", "UNREADABLE")]


def test_a_key_that_is_no_utf8_is_rejected(open_engine: Open, store: Store, bucket: str, tmp_path: Path) -> None:
    bad, good = uploads_of(tmp_path, ["bad", "good"])

    sent = open_engine(store, bucket).send([replace(bad, key="b\udcffd.jpg"), good], tmp_path)

    assert outcomes(sent) == [("rejected", "NAME_NOT_UTF8"), ("sent", "")]


def test_batches_side_by_side_share_one_engine(open_engine: Open, store: Store, bucket: str, tmp_path: Path) -> None:
    uploads = uploads_of(tmp_path, [f"{number}.jpg" for number in range(120)])
    engine = open_engine(store, bucket)

    with ThreadPoolExecutor(6) as batches:
        sent = list(batches.map(lambda start: engine.send(uploads[start : start + 20], tmp_path), range(0, 120, 20)))

    assert {item.outcome for batch in sent for item in batch} == {"sent"}
    assert len(stored(store, bucket)) == 120


def test_200_open_files_are_enough(store: Store, bucket: str, engine_name: EngineName, tmp_path: Path) -> None:
    uploads = uploads_of(tmp_path, [f"{number}.jpg" for number in range(300)])
    script = """
        import pickle, sys
        from pathlib import Path
        from imagehaul.records import ObjectOptions
        from imagehaul.transfer.engines import choose_engine
        store, bucket, engine, uploads = pickle.load(sys.stdin.buffer)
        sent = choose_engine(store, bucket, engine, 256, ObjectOptions()).send(uploads, Path(sys.argv[1]))
        print({(item.outcome, item.code) for item in sent})
    """
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 200; exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        input=pickle.dumps((store, bucket, engine_name, uploads)),
        capture_output=True,
        check=True,
    )

    assert done.stdout.decode().strip() == "{('sent', '')}", done.stderr
    assert done.stderr == b""
    assert len(stored(store, bucket)) == 300
