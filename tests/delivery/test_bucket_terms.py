"""Who pays and whose the buckets are: said by every request of a delivery, whoever sends it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from imagehaul.bucket_terms import BucketTerms
from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.repair import verify_and_repair
from imagehaul.errors import SettingsError
from imagehaul.records import EngineName, ObjectOptions
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.files import UPLOAD_PART, OwnFiles
from imagehaul.transfer.engines import choose_engine
from tests.support.delivering import Lines, Target, draw
from tests.support.fault_proxy import Exchange, Fault, FaultProxy, says

PAYER, OWNER = "x-amz-request-payer", "x-amz-expected-bucket-owner"
COPIED = "x-amz-copy-source"
ACCOUNT = "123456789012"


class Recorder:
    """A fault that befalls nobody, and remembers what each request said, if it was signed."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str, dict[str, str]]] = []

    def __call__(self, exchange: Exchange) -> None:
        _, _, signed = exchange.headers.get("Authorization", "").partition("SignedHeaders=")
        names = signed.partition(",")[0].split(";")
        bucket = exchange.path.lstrip("/").partition("/")[0]
        headers = {name.lower(): value for name, value in exchange.headers.items() if name.lower() in names}
        self.said.append((exchange.method, bucket, headers))

    def values(self, header: str, bucket: str = "") -> set[str]:
        return {headers.get(header, "") for _, where, headers in self.said if bucket in ("", where)}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(2):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    draw(tmp_path / "source" / "large.bmp", size=(800, 600))  # too large for boto3's plain request
    return tmp_path / "source"


@pytest.mark.parametrize("engine", get_args(EngineName))
def test_every_request_says_who_pays_and_whose_the_bucket_is_where_the_engine_can(
    pictures: Path, store: Store, bucket: str, engine: EngineName
) -> None:
    recorder = Recorder()
    owner = ACCOUNT if engine == "boto3" else ""
    with FaultProxy(store, recorder) as proxy:
        asked = {"transfer_engine": engine, "request_payer": "requester", "expected_bucket_owner": owner}
        summary = Target(proxy.store, bucket).deliver(pictures, settings=asked)
    assert (summary.counts.delivered, summary.engine) == (3, engine)
    assert {method for method, _, _ in recorder.said} >= {"GET", "PUT", "DELETE"}
    assert recorder.values(PAYER) == {"requester"}
    assert recorder.values(OWNER) == {owner}


@pytest.mark.parametrize("engine", ["s5cmd", "obstore"])
def test_boto3_sends_for_an_engine_that_has_no_header_for_the_owner(store: Store, engine: EngineName) -> None:
    owned = store.under(BucketTerms(expected_owner=ACCOUNT, owned=("bkt",)))
    chosen = choose_engine(owned, "bkt", engine, 2, ObjectOptions())
    assert chosen.reason == f"boto3 sends: {engine} has no header for EXPECTED_BUCKET_OWNER."


def test_parts_of_a_large_object_say_it_too(store: Store, bucket: str, tmp_path: Path) -> None:
    recorder, large = Recorder(), tmp_path / "large"
    large.write_bytes(b"\0" * (UPLOAD_PART + 1))
    with FaultProxy(store, recorder) as proxy:
        client = proxy.store.under(BucketTerms("requester", ACCOUNT, (bucket,))).client()
        OwnFiles(client, ObjectOptions()).send(large, bucket, "large")
    assert [method for method, _, _ in recorder.said] == ["POST", "PUT", "PUT", "POST"]
    assert (recorder.values(PAYER), recorder.values(OWNER)) == ({"requester"}, {ACCOUNT})


def test_a_copy_names_the_payer_to_both_buckets_and_the_owner_to_the_target_alone(
    store: Store, bucket: str, buckets_ahead: Callable[[], str], tmp_path: Path
) -> None:
    """HEAD, GET, COPY and tags of a source in another bucket; annotations by s3fs; verification with its repair."""
    elsewhere, recorder = buckets_ahead(), Recorder()
    for number in range(3):
        body = draw(tmp_path / f"{number}.jpg", seed=number)
        store.client().put_object(Bucket=elsewhere, Key=f"in/{number}.jpg", Body=body)
    store.client().put_object(Bucket=elsewhere, Key="boxes/0.txt", Body=b"0 0.5 0.5 0.2 0.2")
    asked = {"request_payer": "requester", "expected_bucket_owner": ACCOUNT}
    with FaultProxy(store, recorder) as proxy:
        target = Target(proxy.store, bucket)
        source, boxes = f"s3://{elsewhere}/in", (f"s3://{elsewhere}/boxes/",)
        assert target.deliver(source, annotations=boxes, settings=asked).counts.delivered == 3
        store.client().delete_object(Bucket=bucket, Key=f"{target.root}images/1.jpg")
        settings = Settings(remote_save=f"s3://{bucket}/{target.prefix}", workers=1, **asked)
        found, _ = verify_and_repair(
            target.dataset, settings, proxy.store, Lines(), in_threads, content=True, repair=source, annotations=boxes
        )
        assert found.exit_status == 0
    assert {method for method, where, _ in recorder.said if where == elsewhere} == {"GET", "HEAD"}
    assert len([headers for _, where, headers in recorder.said if where == bucket and COPIED in headers]) == 4
    assert recorder.values(PAYER) == {"requester"}
    assert recorder.values(OWNER, bucket) == {ACCOUNT}
    assert recorder.values(OWNER, elsewhere) == {""}


def test_a_bucket_of_another_account_is_named_before_anything_is_written(
    pictures: Path, store: Store, bucket: str
) -> None:
    def others(exchange: Exchange) -> Fault | None:
        return says(403, "AccessDenied") if exchange.headers.get(OWNER) == ACCOUNT else None

    with FaultProxy(store, others) as proxy:
        target = Target(proxy.store, bucket)
        with pytest.raises(SettingsError, match=f"does not belong to the account {ACCOUNT}, as EXPECTED_BUCKET_OWNER"):
            target.deliver(pictures, settings={"expected_bucket_owner": ACCOUNT})
        assert target.all_keys() == []


def test_an_account_is_twelve_digits() -> None:
    with pytest.raises(ValueError, match="write its 12 digits"):
        Settings(remote_save="s3://bkt/", expected_bucket_owner="my-account")
