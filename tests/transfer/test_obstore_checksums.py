"""What obstore sends beside a body, so that the store sees other bytes: a SHA-256, or a CRC where that is enough."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from imagehaul.records import ObjectOptions, Upload
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.obstore_options import ObstoreOptions
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.engines import choose_engine
from imagehaul.transfer.obstore_engine import ObstoreSender, find_obstore
from tests.support.answering import Answer, Request
from tests.support.fault_proxy import FaultProxy, flips_on_the_way
from tests.support.misbehaving import STORED, Misbehaving
from tests.support.sending import QUICK, content_of, outcomes, stored, uploads_of

pytestmark = pytest.mark.every_store
KEYS = AccessKey("key", "secret")


def sender(store: Store, bucket: str = "bucket", options: ObjectOptions | None = None) -> ObstoreSender:
    return ObstoreSender(
        find_obstore(), store, bucket, options or ObjectOptions(), 4, 0, found_out=ObstoreOptions(crc64=True)
    )


def sent(by: ObstoreSender, uploads: list[Upload], folder: Path) -> dict[str, str]:
    said = by.send(uploads, folder, StallMonitor(threading.Event(), 10.0, refusals=8))
    by.close()
    return {key: word.outcome for key, word in said.items()}


def test_within_this_machine_a_body_goes_with_a_crc(tmp_path: Path) -> None:
    with Misbehaving(lambda _: STORED) as server:
        sent(sender(server.store), uploads_of(tmp_path, ["a.jpg"]), tmp_path)

    headers = server.requests[0].headers
    assert headers["x-amz-checksum-crc64nvme"]
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"


@pytest.mark.parametrize(
    ("url", "checksum"),
    [
        ("https://minio.example:9000", "crc64nvme"),
        ("http://localhost:9000", "crc64nvme"),
        ("http://minio.example:9000", "sha256"),
        ("http://192.168.1.7:9000", "sha256"),
    ],
)
def test_a_body_that_others_could_change_is_signed(url: str, checksum: str) -> None:
    """A CRC can be made to fit by whoever changes the body."""
    config = sender(Store(url=url, credentials=KEYS))._orders([])["config"]
    assert config["checksum_algorithm"] == checksum
    assert ("unsigned_payload" in config) == (checksum == "crc64nvme")


def test_no_crc_where_nobody_found_that_the_store_compares_it() -> None:
    plain = ObstoreSender(find_obstore(), Store(url="https://a", credentials=KEYS), "bucket", ObjectOptions(), 4, 0)
    assert plain._orders([])["config"]["checksum_algorithm"] == "sha256"


@pytest.mark.needs("CRC-64 is compared")
def test_a_byte_that_flips_on_its_way_is_refused_by_the_store(store: Store, bucket: str, tmp_path: Path) -> None:
    with FaultProxy(store, lambda exchange: flips_on_the_way if exchange.key == "a.jpg" else None) as proxy:
        said = sent(sender(proxy.store, bucket), uploads_of(tmp_path, ["a.jpg", "b.jpg"]), tmp_path)
        proxy.store.renew()  # its clients go

    assert said["b.jpg"] == "sent"
    assert said.get("a.jpg") != "sent"
    assert list(stored(store, bucket)) == ["b.jpg"]


@pytest.mark.needs("CRC-64 is compared")
def test_whole_bodies_arrive(store: Store, bucket: str, tmp_path: Path) -> None:
    uploads = uploads_of(tmp_path, ["a.jpg", "b/c.jpg"])
    with choose_engine(
        store, bucket, "obstore", 8, ObjectOptions(), QUICK, obstore=ObstoreOptions(crc64=True)
    ) as engine:
        assert outcomes(engine.send(uploads, tmp_path)) == [("sent", "")] * 2
    assert stored(store, bucket) == {upload.key: content_of(upload) for upload in uploads}


def test_another_etag_is_no_success_even_where_no_object_has_its_own(tmp_path: Path) -> None:
    """The store's ETags are known to be MD5s: that all are others means that all arrived as other bytes."""

    def answer(_: Request) -> Answer:
        return Answer(200, b"", {"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'})

    with Misbehaving(answer) as server:
        assert sent(sender(server.store), uploads_of(tmp_path, ["a.jpg", "b.jpg"]), tmp_path) == {}
