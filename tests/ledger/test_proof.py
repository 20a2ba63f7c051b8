"""What is delivered, unchanged, rejected or failed: by the store's own word, and by nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from botocore.exceptions import ClientError

import imagehaul.ledger.catalog
from imagehaul.errors import StoreError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import count_outcome
from imagehaul.ledger.inventory import load_listing, load_source
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.plan import make_plan
from imagehaul.ledger.proof import collect_outcome, name_changed_sources, prove
from imagehaul.ledger.rows import COLUMNS, LedgerRow, write_part
from imagehaul.records import SendResult, SourceFile, StoredObject
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects
from tests.support.simulated import LAYOUT, MAPPING, WANTED, Site, box, md5, said, sha256

pytestmark = pytest.mark.every_store


@pytest.fixture(autouse=True, params=[200_000, 2], ids=["one range", "ranges of two rows"])
def rows_sorted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large data set is compared with the listing a range of keys at a time."""
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", request.param)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Two pictures, the first with one box."""
    site = Site(tmp_path, annotations=said("a.jpg", box()))
    site.write("a.jpg", "first")
    site.write("b.jpg", "second")
    return site


def key(kind: str, name: str) -> str:
    return f"{LAYOUT.root}{kind}/{name}"


IMAGE, THUMBNAIL, CROP = key("images", "a.jpg"), key("thumbnails", "a.jpg.jpg"), key("crops", f"a.jpg/{box().id}.jpg")


# -- by the listing --------------------------------------------------------------------------------------------------


def test_what_was_sent_and_is_listed_with_its_md5_is_delivered(site: Site) -> None:
    run = site.deliver()
    assert run.status == {"a.jpg": "delivered", "b.jpg": "delivered"}
    assert {(row.status, row.proof, row.run) for row in run.rows} == {("delivered", "etag-md5", run.name)}
    assert (run.counts.objects, run.counts.bytes) == (5, sum(item.size for item in site.store.values()))


def test_what_stands_since_an_earlier_run_is_unchanged_and_keeps_the_run_that_sent_it(site: Site) -> None:
    first = site.deliver()
    second = site.deliver()
    assert {(row.status, row.run, row.proof) for row in second.rows} == {("unchanged", first.name, "etag-md5")}
    assert (second.counts.unchanged, second.counts.objects, second.counts.bytes) == (2, 0, 0)


def test_what_was_found_there_already_is_unchanged(site: Site) -> None:
    site.deliver()
    site.earlier = []
    run = site.deliver()
    assert (run.plan.new, run.counts.unchanged, run.counts.objects) == (2, 2, 0)


def test_what_the_sender_calls_sent_and_the_store_does_not_list_is_failed(site: Site) -> None:
    run = site.run()
    run.work()
    lost = site.store.pop(IMAGE)
    run.prove()
    assert run.status == {"a.jpg": "failed NOT_PROVEN", "b.jpg": "delivered"}
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.message, row.proof, row.retryable, row.etag) == (
        "The store does not list the object.",
        "",
        True,
        lost.etag,
    )


@pytest.mark.parametrize("code", ["STORE_BUSY", "NO_REPORT", "STORE_UNAVAILABLE", "CREDENTIALS_EXPIRED"])
def test_what_the_sender_calls_failed_and_the_store_lists_rightly_is_delivered(code: str, site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(IMAGE, "failed", code, "said the sender")])
    run.prove(listed=[*site.store.values(), StoredObject(IMAGE, 5, md5("first"))])
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.status, row.code, row.message, row.retryable) == ("delivered", "", "", False)
    assert run.counts.objects == 5


def test_what_the_sender_calls_failed_keeps_its_reason_where_the_store_agrees(site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(IMAGE, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert (row.status, row.code, row.message, row.retryable) == ("failed", "STORE_BUSY", "SlowDown", True)


def test_a_failure_to_send_again_is_not_healed_by_what_lay_there_before(site: Site) -> None:
    site.deliver()
    run = site.run(rerun="all")
    run.work(misses=[SendResult(IMAGE, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    assert run.status == {"a.jpg": "failed STORE_BUSY", "b.jpg": "delivered"}


def test_a_carried_object_that_vanished_before_the_last_listing_is_failed(site: Site) -> None:
    site.deliver()
    run = site.run()
    assert run.plan.carried == 2
    run.prove(listed=[item for item in site.store.values() if item.key != THUMBNAIL])
    assert run.status == {"a.jpg": "failed RENDITION_FAILED", "b.jpg": "unchanged"}


@pytest.mark.parametrize("rendition", [THUMBNAIL, CROP])
def test_a_failed_rendition_makes_its_image_failed_and_is_named(rendition: str, site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(rendition, "failed", "STORE_BUSY", "SlowDown")])
    run.prove()
    assert run.status == {"a.jpg": "failed RENDITION_FAILED", "b.jpg": "delivered"}
    (row,) = (row for row in run.rows if row.key == IMAGE)
    assert row.message.endswith(f"{rendition}: STORE_BUSY")
    assert run.counts.objects == 4, "the image itself was sent and proven, all the same"


def test_a_rejected_rendition_leaves_its_image_delivered(site: Site) -> None:
    run = site.run()
    run.work(misses=[SendResult(CROP, "rejected", "KEY_TOO_LONG", "KeyTooLongError")])
    run.prove()
    assert run.status["a.jpg"] == "delivered"
    assert [(row.status, row.code) for row in run.rows if row.key == CROP] == [("rejected", "KEY_TOO_LONG")]


# -- every image has its row -----------------------------------------------------------------------------------------


def test_images_whose_batch_never_ran_are_failed_and_say_so(site: Site) -> None:
    for number in range(4):
        site.write(f"more/{number}.jpg", "more")
    run = site.run()
    run.work(batches=1)
    run.prove()
    assert sorted(run.status.values()) == ["delivered"] * 2 + ["failed NOT_ATTEMPTED"] * 4
    assert (run.counts.planned, run.counts.failed) == (6, 4)


def test_names_and_files_that_cannot_be_sent_are_rejected_rows_with_their_reason(site: Site) -> None:
    run = site.run(rejected=[SourceFile("gone.jpg", 0, "", "LINK_DANGLING", "It leads to nothing.")])
    run.work()
    run.prove()
    (row,) = (row for row in run.rows if row.source_path == "gone.jpg")
    assert (row.status, row.code, row.message, row.key) == ("rejected", "LINK_DANGLING", "It leads to nothing.", "")
    assert row.retryable
    assert run.counts.planned == 3


@pytest.mark.parametrize(
    ("damage", "said_of_it"),
    [
        ("DELETE FROM proven WHERE source_path = 'b.jpg'", "'b.jpg' has 0 rows"),
        ("INSERT INTO proven SELECT * FROM proven WHERE source_path = 'a.jpg'", "'a.jpg' has 2 rows"),
        ("UPDATE proven SET source_path = 'c.jpg' WHERE source_path = 'b.jpg'", "'b.jpg' has 0 rows"),
        ("UPDATE proven SET source_path = 'a.jpg' WHERE kind = 'image'", "'a.jpg' has 2 rows"),
        ("UPDATE proven SET status = 'sent'", "do not add up"),
    ],
)
def test_a_missing_doubled_or_foreign_row_is_found_even_where_the_sums_agree(
    damage: str, said_of_it: str, site: Site
) -> None:
    run = site.run()
    run.work()
    run.prove()
    run.catalog.execute(damage)
    with pytest.raises(AssertionError, match=said_of_it):
        count_outcome(run.catalog)


# -- a source that moves ---------------------------------------------------------------------------------------------


def test_other_bytes_under_the_key_are_blamed_on_a_source_that_changed_meanwhile(site: Site) -> None:
    run = site.run()
    run.work()
    site.write("a.jpg", "moved on")
    for path in ("a.jpg", "b.jpg"):
        name = key("images", path)
        site.store[name] = replace(site.store[name], size=8, etag=md5("moved on"))
    run.prove()
    assert run.status == {"a.jpg": "failed SOURCE_CHANGED", "b.jpg": "failed NOT_PROVEN"}
    (row,) = (row for row in run.rows if row.key == key("images", "b.jpg"))
    assert row.message == f"The store lists 8 bytes with the ETag {md5('moved on')}."


def test_a_listing_that_could_not_be_had_asks_for_no_source(site: Site) -> None:
    run = site.run()
    run.work()
    run.prove(listed=[])
    asked: list[str] = []

    def has_changed(path: str, size: int, version: str) -> bool:
        asked.append(path)
        return True

    name_changed_sources(run.catalog, has_changed)
    assert asked == []
    assert set(run.status.values()) == {"failed NOT_PROVEN"}


# -- where the ETag says nothing -------------------------------------------------------------------------------------


class Bucket:
    """Rows of an outcome, held against a real store that gives them ETags as the test says."""

    def __init__(self, store: Store, bucket: str, folder: Path) -> None:
        self.store, self.bucket, self.folder = store, bucket, folder
        self.client = store.client()
        self.asked: list[str] = []

    def put(self, name: str, body: bytes, **options: Any) -> str:
        self.client.put_object(Bucket=self.bucket, Key=MAPPING.image_key(name), Body=body, **options)
        return MAPPING.image_key(name)

    def put_in_parts(self, name: str, parts: Sequence[bytes]) -> None:
        where = {"Bucket": self.bucket, "Key": MAPPING.image_key(name)}
        upload = self.client.create_multipart_upload(**where)["UploadId"]
        done: list[Any] = []
        for number, part in enumerate(parts, start=1):
            sent = self.client.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)
            done.append({"PartNumber": number, "ETag": sent["ETag"]})
        self.client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": done})

    def prove(self, *rows: LedgerRow, read_back: bool = False, source: bytes = b"") -> list[LedgerRow]:
        with closing(Catalog(self.folder)) as catalog:
            load_source(catalog, (SourceFile(row.source_path, row.source_size, "1") for row in rows), MAPPING)
            match_annotations(catalog)
            make_plan(catalog, MAPPING, WANTED, 10, 1)
            write_part(rows, self.folder / "part.parquet")
            collect_outcome(catalog, [self.folder / "part.parquet"], MAPPING, True)
            load_listing(catalog, list_objects(self.client, self.bucket, LAYOUT.images), LAYOUT)

            def source_sha256(file: SourceFile) -> str:
                self.asked.append(file.path)
                return hashlib.sha256(source).hexdigest()

            prove(catalog, self.client, self.bucket, 4, read_back, source_sha256)
            count_outcome(catalog)
            query = f"SELECT {', '.join(COLUMNS)} FROM proven ORDER BY source_path"
            return [LedgerRow(*row) for row in catalog.rows(query)]


def row(name: str, body: bytes, **changes: Any) -> LedgerRow:
    text = body.decode()
    whole = LedgerRow(name, "image", MAPPING.image_key(name), "sent", size=len(body), source_size=len(body))
    return replace(whole, **{"md5": md5(text), "sha256": sha256(text), "etag": md5(text), **changes})


@pytest.fixture
def real(store: Store, bucket: str, tmp_path: Path) -> Bucket:
    return Bucket(store, bucket, tmp_path)


def test_bytes_are_read_back_where_neither_etag_nor_checksum_tells(real: Bucket) -> None:
    real.put_in_parts("parts.jpg", [b"one part"])
    (proven,) = real.prove(row("parts.jpg", b"one part"))
    assert (proven.status, proven.proof) == ("delivered", "read-back")
    assert proven.etag.endswith("-1"), "the ledger keeps the ETag that the store gives"


def test_size_alone_never_proves(real: Bucket) -> None:
    real.put("a.jpg", b"other bytes")
    (proven,) = real.prove(row("a.jpg", b"these bytes"))
    assert (proven.status, proven.code, proven.proof) == ("failed", "NOT_PROVEN", "")
    assert proven.message.endswith("Read back, its bytes are not the planned ones.")


def test_an_object_with_the_md5_as_its_etag_is_proven_whatever_was_expected(real: Bucket) -> None:
    """A large object that the store copied in one piece, for instance."""
    real.put("a.jpg", b"bytes")
    (proven,) = real.prove(row("a.jpg", b"bytes", etag="0123-2"))
    assert (proven.status, proven.proof, proven.etag) == ("delivered", "etag-md5", md5("bytes"))


def test_a_multipart_etag_at_the_known_part_size_proves(real: Bucket) -> None:
    real.put_in_parts("a.jpg", [b"bytes"])
    etag = f"{hashlib.md5(hashlib.md5(b'bytes').digest()).hexdigest()}-1"
    (proven,) = real.prove(row("a.jpg", b"bytes", etag=etag))
    assert (proven.status, proven.proof) == ("delivered", "etag-multipart")


def test_a_read_back_on_demand_reads_what_was_sent_in_spite_of_its_etag(real: Bucket) -> None:
    for name in ("sent.jpg", "there.jpg"):
        real.put(name, b"bytes")
    proven = real.prove(row("sent.jpg", b"bytes"), row("there.jpg", b"bytes", status="present"), read_back=True)
    assert [(item.status, item.proof) for item in proven] == [("delivered", "read-back"), ("unchanged", "etag-md5")]


def test_a_read_back_finds_bytes_that_an_etag_hides(real: Bucket) -> None:
    real.put("a.jpg", b"bytes")
    (proven,) = real.prove(row("a.jpg", b"bytes", sha256=sha256("other")), read_back=True)
    assert (proven.status, proven.code) == ("failed", "NOT_PROVEN")


def test_a_copy_by_the_store_is_proven_by_the_etag_of_its_source(real: Bucket) -> None:
    real.put("a.jpg", b"bytes")
    (proven,) = real.prove(row("a.jpg", b"bytes", md5="", sha256=""))
    assert (proven.status, proven.proof, real.asked) == ("delivered", "etag-of-source", [])


@pytest.mark.parametrize(("source", "status"), [(b"bytes", "delivered read-back"), (b"other", "failed ")])
def test_a_copy_of_which_no_hash_is_known_is_compared_with_its_source(source: bytes, status: str, real: Bucket) -> None:
    """The bucket's default encryption gives it an ETag that says nothing."""
    real.put("a.jpg", b"bytes")
    (proven,) = real.prove(row("a.jpg", b"bytes", md5="", sha256="", etag="opaque"), source=source)
    assert (f"{proven.status} {proven.proof}", real.asked) == (status, ["a.jpg"])


class Answers:
    """A client that answers as the test wants: the real store knows no checksums, and never fails on demand."""

    def __init__(self, head: dict[str, str] | Exception, body: Callable[[], Iterator[bytes]]) -> None:
        self.head, self.body, self.reads = head, body, 0

    def head_object(self, **_: Any) -> dict[str, str]:
        if isinstance(self.head, Exception):
            raise self.head
        return self.head

    def get_object(self, **_: Any) -> dict[str, Any]:
        self.reads += 1
        return {"Body": self}

    def iter_chunks(self, _: int) -> Iterator[bytes]:
        return self.body()


@pytest.fixture
def doubtful(site: Site) -> Callable[[Answers], str]:
    def status(client: Answers) -> str:
        run = site.run(thumbnails=False, crops=False)
        run.work(etag=lambda hashed: "opaque")
        site.store = {name: item for name, item in site.store.items() if name == key("images", "b.jpg")}
        collect_outcome(run.catalog, run.parts, MAPPING, True)
        load_listing(run.catalog, site.store.values(), LAYOUT)
        prove(run.catalog, cast(Any, client), "bucket", 2, False, lambda path: "")
        found = run.catalog.one("SELECT status || ' ' || proof FROM proven WHERE source_path = 'b.jpg'")
        return str(found[0]).strip()

    return status


def read(*chunks: bytes | Exception) -> Callable[[], Iterator[bytes]]:
    """A body; the errors come one a reading."""
    errors = [chunk for chunk in chunks if isinstance(chunk, Exception)]

    def body() -> Iterator[bytes]:
        if errors:
            raise errors.pop(0)
        yield from (chunk for chunk in chunks if isinstance(chunk, bytes))

    return body


def checksum_of(text: str) -> dict[str, str]:
    return {"ChecksumSHA256": base64.b64encode(bytes.fromhex(sha256(text))).decode()}


def test_the_checksum_that_the_store_keeps_proves_without_a_download(doubtful: Callable[[Answers], str]) -> None:
    answers = Answers(checksum_of("second"), read())
    assert (doubtful(answers), answers.reads) == ("delivered checksum", 0)


def test_another_checksum_disproves_without_a_download(doubtful: Callable[[Answers], str]) -> None:
    answers = Answers(checksum_of("other"), read(b"second"))
    assert (doubtful(answers), answers.reads) == ("failed", 0)


def test_a_checksum_of_parts_says_nothing_and_the_bytes_are_read(doubtful: Callable[[Answers], str]) -> None:
    answers = Answers({"ChecksumSHA256": checksum_of("other")["ChecksumSHA256"] + "-3"}, read(b"sec", b"ond"))
    assert (doubtful(answers), answers.reads) == ("delivered read-back", 1)


def test_a_line_that_breaks_while_reading_back_is_tried_again(
    doubtful: Callable[[Answers], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.ledger.proof.PAUSES", (0.0, 0.0))
    answers = Answers({}, read(ConnectionError("reset"), ConnectionError("reset"), b"second"))
    assert (doubtful(answers), answers.reads) == ("delivered read-back", 3)


def test_a_store_that_is_gone_ends_the_proof(
    doubtful: Callable[[Answers], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagehaul.ledger.proof.PAUSES", (0.0,))
    with pytest.raises(ConnectionError):
        doubtful(Answers(ConnectionError("refused"), read()))


def test_one_object_that_cannot_be_read_spoils_no_other(doubtful: Callable[[Answers], str]) -> None:
    """An archived object, for instance, must be restored before it can be read."""
    archived = ClientError({"Error": {"Code": "InvalidObjectState"}}, "GetObject")
    assert doubtful(Answers(archived, read())) == "failed"


def test_keys_that_may_not_read_end_the_proof(doubtful: Callable[[Answers], str]) -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied"}}, "HeadObject")
    with pytest.raises((ClientError, StoreError)):
        doubtful(Answers(denied, read()))
