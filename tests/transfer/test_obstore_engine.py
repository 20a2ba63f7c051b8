"""The engine through obstore: what it never sends, what a sender that lies, dies or hangs can do, and its walls."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import trustme

from imagehaul.records import ObjectOptions, SendResult, Upload
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer import obstore_engine as transfer_obstore
from imagehaul.transfer.engines import choose_engine
from imagehaul.transfer.obstore_engine import ObstoreSender, ObstoreUnusableError, find_obstore
from tests.support.answering import Answer, Answering, Request
from tests.support.fault_proxy import FaultProxy, flips_on_the_way
from tests.support.misbehaving import STORED, Misbehaving, silent_until
from tests.support.sending import QUICK, content_of, outcomes, plain_client, sender_of, stored, upload_of, uploads_of

pytestmark = pytest.mark.every_store
AWS = Store(region="eu-west-1", credentials=AccessKey("key", "secret"))


def monitor(stall_seconds: float = 10.0) -> StallMonitor:
    return StallMonitor(threading.Event(), stall_seconds, refusals=8)


def sender(
    store: Store, bucket: str = "bucket", options: ObjectOptions | None = None, retries: int = 0
) -> ObstoreSender:
    return ObstoreSender(find_obstore(), store, bucket, options or ObjectOptions(), 4, retries)


@pytest.fixture
def silent_store() -> Iterator[Misbehaving]:
    over = threading.Event()
    with Misbehaving(silent_until(over)) as server:
        yield server
        over.set()


# -- what it sends, and what it leaves to boto3 ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["a//b", "/a", "a/", "./a", "a/../b", "..", "", "a/.", "a\nb", "a\tb", "a\0b", "\x1b", "\x7f", "b\udcff"]
)
def test_a_key_that_it_would_change_or_refuse_is_left_to_boto3(tmp_path: Path, key: str) -> None:
    good, other = uploads_of(tmp_path, ["good", "other"])
    with Misbehaving(lambda _: STORED) as server:
        said = sender(server.store).send([replace(other, key=key), good], tmp_path, monitor())

    assert said == {"good": SendResult("good", "sent")}
    assert [request.path for request in server.requests] == ["/bucket/good"]


def test_large_files_are_left_to_boto3_since_it_holds_them_in_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as stream:
        stream.truncate(8 * 1024 * 1024 + 1)
    with Misbehaving(lambda _: STORED) as server:
        assert sender(server.store).send([upload_of(tmp_path / "large", "large")], tmp_path, monitor()) == {}

    assert server.requests == []


def test_a_file_that_was_changed_never_leaves_the_machine(tmp_path: Path) -> None:
    """Of the same size and time too; the other two engines have the store refuse it. A copy is hashed, and goes."""
    changed, cut, gone, good, copy = uploads = uploads_of(tmp_path, ["changed", "cut", "gone", "good", "copy"])
    before = Path(changed.file).stat()
    Path(changed.file).write_bytes(content_of(changed)[::-1])
    os.utime(changed.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    shutil.copy2(copy.file, f"{copy.file} again")
    uploads[4] = replace(copy, file=f"{copy.file} again")
    Path(cut.file).write_bytes(content_of(cut)[:-1])
    Path(gone.file).unlink()
    with Misbehaving(lambda _: STORED) as server:
        said = sender(server.store).send(uploads, tmp_path, monitor())

    assert sorted(said) == [copy.key, good.key]
    assert sorted(request.path for request in server.requests) == ["/bucket/copy", "/bucket/good"]


class Careless:
    """A store that takes what was damaged on its way, with the ETag of what it got. `hit`: how often."""

    def __init__(self, uploads: list[Upload], damaged: str) -> None:
        self.md5 = {f"/bucket/{upload.key}": upload.md5 for upload in uploads}
        self.damaged, self.hit = f"/bucket/{damaged}", 0

    def __call__(self, request: Request) -> Answer:
        damages = request.path == self.damaged and not self.hit
        self.hit += damages
        return Answer(200, b"", {"ETag": '"0123456789abcdef0123456789abcdef"' if damages else self.md5[request.path]})


def test_what_arrived_as_other_bytes_is_sent_again_where_the_store_does_not_compare(tmp_path: Path) -> None:
    uploads = uploads_of(tmp_path, ["a.jpg", "b.jpg"])
    with Misbehaving(Careless(uploads, "a.jpg")) as server:
        sent = choose_engine(server.store, "bucket", "obstore", 8, ObjectOptions(), QUICK).send(uploads, tmp_path)

    assert outcomes(sent) == [("sent", "")] * 2
    assert sorted(request.path for request in server.requests) == ["/bucket/a.jpg", "/bucket/a.jpg", "/bucket/b.jpg"]


def test_a_byte_that_flips_on_its_way_is_refused_by_the_store(store: Store, bucket: str, tmp_path: Path) -> None:
    uploads = uploads_of(tmp_path, ["a.jpg", "b.jpg"])
    with FaultProxy(store, lambda exchange: flips_on_the_way if exchange.key == "a.jpg" else None) as proxy:
        said = sender(proxy.store, bucket).send(uploads, tmp_path, monitor())
        proxy.store.renew()  # its clients go

    assert said["b.jpg"] == SendResult("b.jpg", "sent")
    assert (said["a.jpg"].outcome, said["a.jpg"].code) == ("failed", "STORE_BUSY")
    assert list(stored(store, bucket)) == ["b.jpg"]


def test_a_store_whose_etags_are_no_md5s_is_left_to_the_proof(tmp_path: Path) -> None:
    with Misbehaving(lambda _: STORED) as server:
        said = sender(server.store).send(uploads_of(tmp_path, ["a.jpg", "b.jpg"]), tmp_path, monitor())

    assert sorted(said) == ["a.jpg", "b.jpg"]
    assert len(server.requests) == 2


def test_every_body_goes_with_its_checksum_which_is_the_proof_where_an_etag_is_none(tmp_path: Path) -> None:
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    with Misbehaving(lambda _: STORED) as server:
        sender(server.store).send([upload], tmp_path, monitor())

    headers = server.requests[0].headers
    assert base64.b64decode(headers["x-amz-checksum-sha256"]).hex() == upload.sha256
    assert headers["x-amz-content-sha256"] == upload.sha256
    assert headers["user-agent"].startswith("imagehaul/")


def test_temporary_keys_are_sent_with_their_token(tmp_path: Path) -> None:
    with Misbehaving(lambda _: STORED) as server:
        store = replace(server.store, credentials=AccessKey("key", "secret", "the-token"))
        sender(store).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())

    assert server.requests[0].headers["x-amz-security-token"] == "the-token"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_store_cannot_send_it_on_to_another(tmp_path: Path, status: int) -> None:
    with Misbehaving(lambda _: STORED) as other:
        on = Answer(status, b"", {"Location": f"{other.store.url}/bucket/a.jpg"})
        with Misbehaving(lambda _: on) as server:
            assert sender(server.store).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor()) == {}

    assert other.requests == []


def test_where_it_does_follow_a_redirect_no_token_goes_out_in_the_clear(tmp_path: Path) -> None:
    """303, which no S3 server gives to an upload, is followed by a GET; from https it leads to no http."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    with Misbehaving(lambda _: STORED) as other:
        on = Answer(303, b"", {"Location": f"{other.store.url}/bucket/a.jpg"})
        with Answering(on, tls) as server:
            keys = AccessKey("key", "secret", "the-token")
            store = Store(url=server.url, credentials=keys, ca=authority.cert_pem.bytes().decode())
            assert sender(store).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor()) == {}

    assert other.requests == []


def test_a_store_that_cannot_be_reached_is_soon_left_alone(tmp_path: Path) -> None:
    with Misbehaving(lambda _: None) as server:
        said = sender(server.store).send(uploads_of(tmp_path, [f"{n}" for n in range(200)]), tmp_path, monitor())

    assert said == {}
    assert 8 <= len(server.requests) < 100


# -- its environment -------------------------------------------------------------------------------------------------


def test_no_variable_of_ours_reaches_it(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_ENDPOINT",
        "AWS_BUCKET",
        "AWS_PROXY_URL",
        "PYTHONPATH",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("AWS_SKIP_SIGNATURE", "AWS_UNSIGNED_PAYLOAD", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_S3_EXPRESS"):
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("AWS_REGION", "nowhere")
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")

    said = sender(store, bucket).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())

    assert said == {"a.jpg": SendResult("a.jpg", "sent")}


def test_a_ca_is_trusted_where_the_store_names_it_and_nowhere_else(
    tls_store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, other = tmp_path / "ca.pem", replace(tls_store, ca=trustme.CA().cert_pem.bytes().decode())
    right.write_text(tls_store.ca)
    uploads = uploads_of(tmp_path, ["a.jpg"])
    monkeypatch.setenv("SSL_CERT_FILE", str(right))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("AWS_CA_BUNDLE", str(right))
    monkeypatch.setenv("AWS_ALLOW_INVALID_CERTIFICATES", "true")

    assert list(sender(tls_store, bucket).send(uploads, tmp_path, monitor())) == ["a.jpg"]
    assert sender(other, bucket).send(uploads, tmp_path, monitor()) == {}


@pytest.mark.parametrize(
    "store",
    [
        AWS,
        replace(AWS, region="us-east-1"),
        replace(AWS, region="cn-north-1"),
        replace(AWS, addressing="path"),
        replace(AWS, url="http://store:9000"),
        replace(AWS, url="https://store:9000", addressing="virtual"),
        replace(AWS, url="https://gate/s3"),
    ],
)
@pytest.mark.parametrize("bucket", ["bucket", "dotted.bucket"])
def test_it_writes_to_the_address_that_boto3_writes_to(store: Store, bucket: str) -> None:
    url, in_host = store.address(bucket)
    if in_host and "." in bucket:
        with pytest.raises(ObstoreUnusableError, match="bucket with a dot"):
            sender(store, bucket).check()
        return

    def stop(request: Any, **_: Any) -> None:
        raise KeyboardInterrupt(request.url)

    client = store.client()
    client.meta.events.register("before-send.s3", stop)
    with pytest.raises(KeyboardInterrupt) as stopped:
        client.put_object(Bucket=bucket, Key="key")
    signed = urlsplit(str(stopped.value))

    ours = urlsplit(f"{url}/key" if in_host else f"{url}/{bucket}/key")
    assert ours.path == signed.path
    # us-east-1 has two names.
    assert ours.netloc.replace(".us-east-1", "") == signed.netloc.replace(".us-east-1", "")


def test_secrets_are_in_no_argument_and_not_in_its_orders(silent_store: Misbehaving, tmp_path: Path) -> None:
    secret, token = "the-secret-key", "the-session-token"
    store = replace(silent_store.store, credentials=AccessKey("AKEXAMPLE", secret, token))
    uploads = uploads_of(tmp_path, ["a.jpg"])
    stop = threading.Event()
    work = threading.Thread(target=sender(store).send, args=(uploads, tmp_path, StallMonitor(stop, 60.0, refusals=8)))
    work.start()
    child = sender_of(os.getpid(), "obstore")
    while not silent_store.requests:
        time.sleep(0.01)

    assert child.environ()["AWS_SECRET_ACCESS_KEY"] == secret
    orders = next(tmp_path.glob("orders-*")).read_bytes()
    assert b"a.jpg" in orders
    for word in ("AKEXAMPLE", secret, token):
        assert word not in " ".join(child.cmdline())
        assert word.encode() not in orders
    stop.set()
    work.join()
    assert [file.name for file in tmp_path.iterdir()] == ["file 0"]


def test_a_silent_store_ends_it_with_the_watch(silent_store: Misbehaving, tmp_path: Path) -> None:
    began = time.monotonic()

    assert sender(silent_store.store).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor(1.0)) == {}

    assert time.monotonic() - began < 10
    assert not [child for child in psutil.Process().children() if "obstore_program" in " ".join(child.cmdline())]


# -- a sender that cannot be trusted ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "script",
    [
        "",
        "import sys; sys.exit(3)",
        "print('all is well')",
        "print('0'); print('1 0 0'); print(' sent'); print('-1 sent'); print('7 sent'); print('1e0 sent')",
        "import os; os.write(1, bytes(range(256)) * 100)",
        "import os; os.kill(os.getpid(), 9)",
        "import os, time; os.close(1); os.close(2)",
        "raise RuntimeError('panic')",
    ],
)
def test_what_it_does_not_answer_for_is_sent_all_the_same(
    store: Store, bucket: str, tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = uploads_of(tmp_path, ["a.jpg", "b/c.jpg"])
    engine = replace(choose_engine(store, bucket, "obstore", 8, ObjectOptions(), QUICK), fast=sender(store, bucket))
    (tmp_path / "sender.py").write_text(script)
    monkeypatch.setattr(transfer_obstore, "_SENDER", tmp_path / "sender.py")

    assert outcomes(engine.send(uploads, tmp_path)) == [("sent", "")] * 2
    assert stored(store, bucket) == {upload.key: content_of(upload) for upload in uploads}


def test_killed_alone_it_leaves_the_rest_to_boto3(tmp_path: Path) -> None:
    calm = threading.Event()

    def answer(_: object) -> Answer:
        calm.wait(60)
        return STORED

    with Misbehaving(answer) as server:
        engine = choose_engine(server.store, "bucket", "obstore", 8, ObjectOptions(), QUICK)
        answers: list[SendResult] = []
        work = threading.Thread(target=lambda: answers.extend(engine.send(uploads_of(tmp_path, ["a", "b"]), tmp_path)))
        work.start()
        child = sender_of(os.getpid(), "obstore")
        while not server.requests:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        calm.set()
        work.join()

    assert outcomes(answers) == [("sent", "")] * 2


def test_what_it_claims_is_its_word_and_no_proof(
    store: Store, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sender.py").write_text("input(); print('0 sent')")  # It hears its orders, and does nothing.
    monkeypatch.setattr(transfer_obstore, "_SENDER", tmp_path / "sender.py")

    said = sender(store, bucket).send(uploads_of(tmp_path, ["a.jpg"]), tmp_path, monitor())

    assert said == {"a.jpg": SendResult("a.jpg", "sent")}
    assert plain_client(store).list_objects_v2(Bucket=bucket)["KeyCount"] == 0
