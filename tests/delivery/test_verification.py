"""Whether a data set that was delivered long ago is still whole, told by the store alone."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from imagehaul.delivery.verification import Verification, VerificationRun, verify
from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.store import read_back
from imagehaul.store.clients import ClientPatience
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.delivering import Lines, Target, draw

BOTH_WAYS = pytest.mark.parametrize("content", [False, True], ids=["by listing", "with content"])
RUN = "20261122T101500Z-1f3a9c"


class Answer(io.BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


Verify = Callable[..., Verification]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return drawn(tmp_path / "source")


def drawn(folder: Path) -> Path:
    for number in range(4):
        draw(folder / f"f/picture {number}.png", seed=number)
    draw(folder / "odd $x%2F+'ü\n.png")
    return folder


@pytest.fixture(scope="module")
def delivered(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Target:
    """Five images with their thumbnails."""
    target = Target(store, f"test-{uuid.uuid4().hex[:12]}")
    store.client().create_bucket(Bucket=target.bucket)
    assert target.deliver(drawn(tmp_path_factory.mktemp("delivered"))).published
    return target


@pytest.fixture
def target(store: Store, bucket: str, delivered: Target) -> Target:
    """A copy of what was delivered, to be damaged."""
    for key in delivered.all_keys():
        body = store.client().get_object(Bucket=delivered.bucket, Key=key)["Body"].read()
        if key.endswith("current.json"):
            body = body.replace(delivered.bucket.encode(), bucket.encode())
        store.client().put_object(Bucket=bucket, Key=key, Body=body)
    return Target(store, bucket)


@pytest.fixture
def verified(tmp_path_factory: pytest.TempPathFactory) -> Verify:
    def run(target: Target, content: bool = False, **options: Any) -> Verification:
        layout = Layout(target.bucket, target.prefix, target.dataset)
        options = {"workers": 4, "progress": Lines(), "folder": tmp_path_factory.mktemp("verify"), **options}
        return verify(VerificationRun(options.pop("store", target.store), layout, content=content, **options))

    return run


def put(target: Target, key: str, body: bytes) -> None:
    target.store.client().put_object(Bucket=target.bucket, Key=target.root + key, Body=body)


def delete(target: Target, key: str) -> None:
    target.store.client().delete_object(Bucket=target.bucket, Key=target.root + key)


def change_ledger(target: Target, **changes: Any) -> None:
    """Says something else in every row of the ledger."""
    [key] = target.listed(f"runs/{target.current()['run']}/ledger/")
    rows = [{**row, **changes} for row in pq.read_table(io.BytesIO(target.read(key))).to_pylist()]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    put(target, key, out.getvalue())


def problems(verification: Verification) -> dict[str, list[str]]:
    """Read from the file of findings, in which all of them are."""
    found: dict[str, list[str]] = {}
    for row in pq.read_table(verification.findings).to_pylist():
        found.setdefault(row["problem"], []).append(row["key"].split("/set/")[1])
    return found


@BOTH_WAYS
def test_what_was_delivered_is_proven_with_its_odd_names(target: Target, verified: Verify, content: bool) -> None:
    found = verified(target, content)
    assert (found.objects, found.proven, found.exit_status) == (10, 10, 0)
    assert found.run == target.current()["run"]
    assert found.bytes == sum(row["size"] for row in target.ledger())
    assert problems(found) == {}


@pytest.mark.every_store
@BOTH_WAYS
def test_missing_changed_and_extra_objects_are_counted_and_named(
    target: Target, verified: Verify, content: bool
) -> None:
    delete(target, "images/f/picture 0.png")
    delete(target, "thumbnails/f/picture 1.png.jpg")
    put(target, "images/f/picture 2.png", b"shorter")
    before = target.read("images/f/picture 3.png")
    put(target, "images/f/picture 3.png", before[:-1] + b"?")
    put(target, "images/stranger.jpg", b"?")
    put(target, "crops/stranger/0.jpg", b"?")
    found = verified(target, content)
    assert problems(found) == {
        "missing": ["images/f/picture 0.png", "thumbnails/f/picture 1.png.jpg"],
        "changed": ["images/f/picture 2.png", "images/f/picture 3.png"],
        "extra": ["crops/stranger/0.jpg", "images/stranger.jpg"],
    }
    assert (found.objects, found.proven, found.missing, found.changed, found.extra) == (10, 6, 2, 2, 2)
    assert found.exit_status == 1
    examples = {item.key.split("/set/")[1]: item for item in found.examples}
    assert examples["images/f/picture 2.png"].source_path == "f/picture 2.png"
    assert "lists 7 bytes" in examples["images/f/picture 2.png"].message
    assert "SHA-256" in examples["images/f/picture 3.png"].message
    assert [examples[key].kind for key in ("images/stranger.jpg", "crops/stranger/0.jpg")] == ["image", "crop"]
    json.dumps(found.as_json())


def test_what_the_ledger_does_not_know_is_no_fault(target: Target, source: Path, verified: Verify) -> None:
    (source / "f/picture 0.png").unlink()
    target.deliver(source, allow_loss=True)
    found = verified(target)
    assert problems(found) == {"extra": ["images/f/picture 0.png", "thumbnails/f/picture 0.png.jpg"]}
    assert (found.proven, found.exit_status) == (8, 0)


def test_a_rejected_image_is_neither_missing_nor_extra(target: Target, source: Path, verified: Verify) -> None:
    (source / "f/picture 0.png").write_bytes(b"broken")
    target.deliver(source, allow_loss=True)
    found = verified(target)
    assert (found.missing, found.changed) == (0, 0)
    assert "images/f/picture 0.png" not in problems(found).get("extra", [])


def test_the_same_bytes_under_another_etag_are_proven(target: Target, verified: Verify) -> None:
    key, client = target.root + "images/f/picture 0.png", target.store.client()
    where = {"Bucket": target.bucket, "Key": key}
    body = client.get_object(**where)["Body"].read()
    upload = client.create_multipart_upload(**where)["UploadId"]
    part = client.upload_part(**where, UploadId=upload, PartNumber=1, Body=body)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)  # type: ignore[arg-type]
    assert "-1" in client.head_object(**where)["ETag"]
    assert verified(target).proven == 10


def test_the_listing_alone_does_not_see_what_its_content_shows(target: Target, verified: Verify) -> None:
    # As if every object had rotten under its ETag: the ledger remembers other bytes.
    change_ledger(target, sha256="0" * 64)
    assert verified(target).proven == 10
    found = verified(target, content=True)
    assert (found.changed, found.proven) == (10, 0)
    assert found.examples[0].message == "Its bytes have another SHA-256."


def test_without_a_sha256_the_md5_is_compared_and_without_any_hash_the_etag_is_all(
    target: Target, verified: Verify
) -> None:
    change_ledger(target, sha256="", md5="")
    found = verified(target, content=True)
    assert (found.proven, found.by_etag) == (10, 0)
    change_ledger(target, sha256="", md5="0" * 32)
    assert verified(target, content=True).changed == 10
    change_ledger(target, sha256="", md5="", etag="opaque-1")
    found = verified(target, content=True)
    assert (found.changed, found.by_etag) == (10, 0)
    assert "no hash of its bytes is known" in found.examples[0].message


@pytest.mark.every_store
def test_a_copy_that_the_store_made_of_a_multipart_object_is_known_by_its_etag_alone(
    store: Store, bucket: str, tmp_path: Path, verified: Verify
) -> None:
    target = Target(store, bucket)
    put(target, "images/a.jpg", b"bytes")
    etag = target.head("images/a.jpg")["ETag"].strip('"')
    row = {"key": f"{target.root}images/a.jpg", "kind": "image", "source_path": "a.jpg", "size": 5, "etag": etag}
    rows = [{**row, "md5": "", "sha256": "", "status": "delivered"}]
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), out)
    put(target, f"runs/{RUN}/ledger/part.parquet", out.getvalue())
    said = {"schema": 1, "run": RUN, "ledger": f"s3://{bucket}/{target.root}runs/{RUN}/ledger/", "counts": {}}
    put(
        target,
        "current.json",
        json.dumps({**said, "exports": {"json": "s3://x/metadata.json"}, "fingerprint": "", "time": ""}).encode(),
    )
    found = verified(target, content=True)
    assert (found.proven, found.by_etag) == (1, 0)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
def test_bytes_that_rotted_on_the_stores_disk_are_found(
    tmp_path: Path, source: Path, verified: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_back, "PAUSES", ())
    body = bytes(range(256)) * 400
    with EmbeddedStore(tmp_path / "store") as server:
        server.make_bucket("rotting")
        target = Target(server.store(), "rotting")
        draw(source / "whole.png")
        (source / "rot.png").write_bytes(draw(source / "rot.png") + body)
        target.deliver(source)
        flipped = 0
        for file in (tmp_path / "store/data").rglob("*.dat"):
            content = file.read_bytes()
            if (at := content.find(body)) >= 0:
                with file.open("r+b") as volume:
                    volume.seek(at + 1000)
                    volume.write(b"rotten")
                flipped += 1
        assert flipped == 1
        assert verified(target).exit_status == 0
        found = verified(target, content=True)
    assert problems(found) in ({"changed": ["images/rot.png"]}, {"unread": ["images/rot.png"]})
    assert found.exit_status == 1


def test_an_object_that_the_store_lists_and_cannot_give_is_unread_and_the_others_are_compared(
    target: Target, verified: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_back, "PAUSES", ())
    monkeypatch.setattr("imagehaul.store.endpoint.TO_WAIT", ClientPatience(attempts=1, pauses=()))
    ailing = Store(target.store.url, credentials=target.store.credentials, region=f"test-{uuid.uuid4().hex}")

    def fail(request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
        # What SeaweedFS says, half a minute later, of an object whose bytes have rotted.
        raw = Answer(b"<Error><Code>InternalError</Code></Error>")
        return AWSResponse(request.url, 500, {}, raw) if "picture%202.png.jpg" in request.url else None

    ailing.patient_client().meta.events.register("before-send.s3.GetObject", fail)
    found = verified(target, content=True, store=ailing)
    assert problems(found) == {"unread": ["thumbnails/f/picture 2.png.jpg"]}
    assert (found.proven, found.unread, found.exit_status) == (9, 1, 1)
    assert found.examples[0].message == "It cannot be read: InternalError."


@pytest.mark.every_store
def test_what_was_lost_is_sent_again_by_a_delivery_of_what_failed_and_nothing_else(
    target: Target, source: Path, verified: Verify
) -> None:
    delete(target, "images/f/picture 0.png")
    put(target, "thumbnails/f/picture 1.png.jpg", b"?")
    repaired = target.deliver(source, rerun="failed")
    assert repaired.counts.objects == 2
    assert verified(target, content=True).proven == 10


def test_an_object_that_goes_away_between_listing_and_reading_is_missing(target: Target, verified: Verify) -> None:
    class Meddler(Lines):
        def expect(self, images: int, size: int, what: str = "images") -> None:
            delete(target, "images/f/picture 0.png")

    found = verified(target, content=True, progress=Meddler())
    assert problems(found) == {"missing": ["images/f/picture 0.png"]}


def test_a_run_that_is_published_meanwhile_is_said(target: Target, source: Path, verified: Verify) -> None:
    class Meddler(Lines):
        def stage(self, name: str) -> None:
            if name.startswith("Listing"):
                draw(source / "new.png", seed=9)
                target.deliver(source)

    found = verified(target, progress=Meddler())
    assert "Another run was published" in found.warnings[0]


def test_exports_that_are_gone_are_said(target: Target, source: Path, verified: Verify) -> None:
    published = target.deliver(source)
    gone = f"exports/{published.run}/metadata.json"
    target.remove(gone)
    found = verified(target)
    assert found.exit_status == 0
    assert f"Gone from the store: s3://{target.bucket}/{target.root}{gone}." in found.warnings[0]


def test_a_data_set_that_was_never_published_is_said(target: Target, verified: Verify) -> None:
    with pytest.raises(StoreError, match="'other' was never published"):
        verified(Target(target.store, target.bucket, dataset="other"))


def test_a_ledger_that_is_gone_or_damaged_is_said(target: Target, verified: Verify) -> None:
    [key] = target.listed(f"runs/{target.current()['run']}/ledger/")
    put(target, key, b"PAR1 no more")
    with pytest.raises(StoreError, match="cannot be read"):
        verified(target)
    delete(target, key)
    with pytest.raises(StoreError, match="is not there, so that nothing can be compared"):
        verified(target)


def test_keys_that_the_store_does_not_take_are_said(target: Target, verified: Verify) -> None:
    stranger = Store(target.store.url, credentials=AccessKey("nobody", "nothing"))
    with pytest.raises(StoreError, match="InvalidAccessKeyId"):
        verified(target, store=stranger)


@BOTH_WAYS
def test_nothing_is_written_to_the_store(target: Target, verified: Verify, content: bool) -> None:
    before = target.all_keys()
    deny = {
        "Effect": "Deny",
        "Principal": "*",
        "Action": ["s3:PutObject", "s3:DeleteObject"],
        "Resource": f"arn:aws:s3:::{target.bucket}/*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    target.store.client().put_bucket_policy(Bucket=target.bucket, Policy=policy)
    assert verified(target, content).proven == 10
    assert target.all_keys() == before


def test_keys_that_may_not_list_are_told_which_permission_they_need(
    delivered: Target, tmp_path: Path, identities: dict[str, AccessKey]
) -> None:
    unlisted = replace(delivered.store, credentials=identities["no list"])
    layout = Layout.of(f"s3://{delivered.bucket}/{delivered.prefix}", delivered.dataset)
    with pytest.raises(StoreError, match=r"refused to read the ledger .*AccessDenied.*\n.*s3:ListBucket"):
        verify(VerificationRun(unlisted, layout, tmp_path, Lines(), 2))
