"""What a store does to names is found out by trying, and leaves nothing behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.records import ObjectOptions
from imagehaul.store import probe as store_probe
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles
from imagehaul.store.listing import list_objects
from imagehaul.store.probe import checks_crc64, keeps_backslashes, probe_writing
from tests.support.answering import Answer, Request
from tests.support.conditions import fresh_store
from tests.support.misbehaving import STORED, Misbehaving

pytestmark = pytest.mark.every_store


@pytest.mark.needs("backslashes become slashes")
def test_the_embedded_store_turns_backslashes_into_slashes(store: Store, bucket: str) -> None:
    client = store.client()
    assert not keeps_backslashes(OwnFiles(client, ObjectOptions()), Layout(bucket, "", "birds"))
    assert list(list_objects(client, bucket, "")) == []


class Keys:
    """A store that keeps every name, or refuses to: no real one at hand does either."""

    class exceptions:
        ClientError = ClientError

    def __init__(self, refuses: str = "", may_delete: bool = True) -> None:
        self.refuses, self.may_delete = refuses, may_delete
        self.keys: set[str] = set()

    def put_object(self, Key: str, **_: Any) -> dict[str, str]:
        if self.refuses:
            answer: Any = {"Error": {"Code": self.refuses}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise ClientError(answer, "PutObject")
        self.keys.add(Key)
        return {"ETag": ""}

    def get_paginator(self, _: str) -> Keys:
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[Any]:
        found = [{"Key": key, "Size": 0, "ETag": '""'} for key in self.keys if key.startswith(Prefix)]
        return [{"Contents": found}]

    def delete_object(self, Bucket: str, Key: str) -> None:
        if not self.may_delete:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObject")
        self.keys.discard(Key)


def probe(keys: Keys) -> bool:
    return keeps_backslashes(OwnFiles(cast(Any, keys), ObjectOptions()), Layout("b", "", "birds"))


def test_a_store_that_keeps_them_is_told_from_it() -> None:
    keys = Keys()
    assert probe(keys)
    assert keys.keys == set()


def test_a_key_that_may_not_delete_leaves_the_probe_and_works() -> None:
    keys = Keys(may_delete=False)
    assert probe(keys)
    assert len(keys.keys) == 1


def test_a_store_that_refuses_such_a_name_does_not_keep_it() -> None:
    assert not probe(Keys(refuses="XMinioInvalidObjectName"))


def test_a_store_that_refuses_everything_is_an_error() -> None:
    with pytest.raises(ClientError):
        probe(Keys(refuses="AccessDenied"))


# -- what objects are to get ------------------------------------------------------------------------------------------


@pytest.mark.needs("conditional writes")
def test_a_store_in_order_is_found_out_and_the_probe_is_gone(store: Store, bucket: str) -> None:
    options = ObjectOptions(cache_control="max-age=60", storage_class="STANDARD")
    assert probe_writing(store, bucket, "some/prefix/", options) == Capabilities()
    assert list(list_objects(store.client(), bucket, "")) == []


def refusing(store: Store, header: str, code: str) -> Store:
    """The store, as one that refuses a header of a PUT: the embedded one takes any."""
    changed = fresh_store(store)
    client = changed.patient_client()

    def refuse(params: dict[str, Any], **_: object) -> None:
        if header in params["headers"]:
            answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": 400}}
            raise client.exceptions.ClientError(answer, "PutObject")

    client.meta.events.register("before-call.s3.PutObject", refuse)
    return changed


@pytest.mark.needs("storage classes")
@pytest.mark.parametrize(
    ("header", "code", "said"),
    [
        ("Cache-Control", "InvalidArgument", "CACHE_CONTROL=no-store"),
        ("x-amz-storage-class", "InvalidStorageClass", "STORAGE_CLASS=STANDARD_IA"),
        ("x-amz-server-side-encryption", "NotImplemented", "SSE=aws:kms with SSE_KMS_KEY_ID=key-1"),
        ("x-amz-server-side-encryption-aws-kms-key-id", "AccessDenied", "SSE=aws:kms with SSE_KMS_KEY_ID=key-1"),
        ("x-amz-checksum-sha256", "InvalidRequest", "a SHA-256 checksum"),
    ],
)
def test_a_setting_that_the_store_refuses_is_named(
    store: Store, bucket: str, header: str, code: str, said: str
) -> None:
    """SeaweedFS has no KMS here, so that a header which is let through may be refused for that: by its own name too."""
    options = ObjectOptions("no-store", "STANDARD_IA", "aws:kms", "key-1")
    changed = refusing(store, header, code)
    changed.patient_client().meta.events.register("before-call.s3.PutObject", without_kms)
    with pytest.raises(StoreError) as refused:
        probe_writing(changed, bucket, "", options)
    assert str(refused.value).startswith(f"The store at {store.url} refuses {said}: {code}")
    assert list(list_objects(store.client(), bucket, "")) == []


def without_kms(params: dict[str, Any], **_: object) -> None:
    for name in ("x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"):
        params["headers"].pop(name, None)


def test_keys_that_may_not_write_are_not_blamed_on_a_setting(
    store: Store, bucket: str, identities: dict[str, AccessKey]
) -> None:
    reader = replace(store, credentials=identities["read"])
    with pytest.raises(StoreError) as refused:
        probe_writing(reader, bucket, "", ObjectOptions(cache_control="no-store"))
    assert refused.value.code == "ACCESS_DENIED"
    assert "s3:PutObject" in str(refused.value)


@pytest.mark.needs("bucket policies")
def test_keys_that_may_not_delete_are_good_and_a_mark_stays(store: Store, bucket: str) -> None:
    deny(store, bucket, "s3:DeleteObject", "*")
    probe_writing(store, bucket, "data/", ObjectOptions())
    (left,) = list_objects(store.client(), bucket, "")
    assert left.key.startswith("data/.imagehaul/probe-")


@pytest.mark.needs("bucket policies")
def test_a_policy_that_denies_one_prefix(store: Store, bucket: str) -> None:
    deny(store, bucket, "s3:PutObject", "closed/*")
    probe_writing(store, bucket, "open/", ObjectOptions())
    with pytest.raises(StoreError) as refused:
        probe_writing(store, bucket, "closed/", ObjectOptions())
    assert refused.value.code == "ACCESS_DENIED"


def deny(store: Store, bucket: str, action: str, resource: str) -> None:
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/{resource}"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    store.client().put_bucket_policy(Bucket=bucket, Policy=policy)


# -- checksums that the store compares ---------------------------------------------------------------------------------


def crc64_nvme(data: bytes) -> bytes:
    """Bit by bit, as the catalogue has it. https://reveng.sourceforge.io/crc-catalogue/17plus.htm#crc.cat.crc-64-nvme"""
    register = 2**64 - 1
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x9A6C9329AC4BC9B5 if register & 1 else 0)
    return (register ^ 2**64 - 1).to_bytes(8, "big")


def test_the_known_checksums_are_those_of_the_catalogue() -> None:
    assert crc64_nvme(b"123456789").hex() == "ae8b14860a799888"
    assert base64.b64decode(store_probe._CRC64) == crc64_nvme(store_probe._BODY)
    assert base64.b64decode(store_probe._CRC64_OF_NOTHING) == crc64_nvme(b"")


def seen_by(store: Store, change: Callable[[dict[str, str]], None]) -> Store:
    """The store behind something that changes the headers of a PUT."""
    changed = fresh_store(store)
    changed.patient_client().meta.events.register(
        "before-call.s3.PutObject", lambda params, **_: change(params["headers"])
    )
    return changed


@pytest.mark.needs("CRC-64 is compared")
def test_a_store_that_compares_a_crc_is_found_out_and_the_probe_is_gone(store: Store, bucket: str) -> None:
    assert checks_crc64(store, bucket, "some/", ObjectOptions())
    assert list(list_objects(store.client(), bucket, "")) == []


def test_a_store_that_takes_no_notice_of_a_crc_is_not_relied_upon(store: Store, bucket: str) -> None:
    def leave_out(headers: dict[str, str]) -> None:
        for name in [name for name in headers if "checksum" in name.lower()]:
            del headers[name]

    ignorant = seen_by(store, leave_out)
    assert not checks_crc64(ignorant, bucket, "", ObjectOptions())
    assert list(list_objects(store.client(), bucket, "")) == []


def test_a_store_that_refuses_every_crc_is_not_relied_upon(store: Store, bucket: str) -> None:
    assert not checks_crc64(refusing(store, "x-amz-checksum-crc64nvme", "NotImplemented"), bucket, "", ObjectOptions())


def test_a_store_whose_etags_are_no_md5s_needs_a_digest_for_its_proof() -> None:
    def answer(request: Request) -> Answer:
        right = request.headers.get("x-amz-checksum-crc64nvme") == store_probe._CRC64
        return STORED if right or request.method != "PUT" else Answer(400, b"<Error><Code>BadDigest</Code></Error>")

    with Misbehaving(answer) as server:
        assert not checks_crc64(server.store, "bucket", "", ObjectOptions())
