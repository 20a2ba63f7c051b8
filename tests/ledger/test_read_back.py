"""What a listing does not prove: checksums, sources of copies, and bytes that are read back."""

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

from imagehaul.errors import StoreError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import count_outcome
from imagehaul.ledger.inventory import load_listing, load_source
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.plan import make_plan
from imagehaul.ledger.proof import collect_outcome, prove
from imagehaul.ledger.rows import COLUMNS, LedgerRow, write_part
from imagehaul.records import SourceFile
from imagehaul.store.endpoint import Store
from imagehaul.store.listing import list_objects
from tests.support.simulated import LAYOUT, MAPPING, WANTED, Site, key, md5, sha256

pytestmark = [pytest.mark.every_store, pytest.mark.usefixtures("rows_sorted")]


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
