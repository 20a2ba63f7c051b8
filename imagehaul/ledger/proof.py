"""The proof: what the store itself says it holds, and which rows of the ledger that makes true.

A row becomes `delivered` or `unchanged` by the listing alone, whatever a sender said. Equal size and ETag prove an
object where the ETag follows from its bytes (an MD5, or a multipart ETag at the known part size). Where it does
not, the checksum that was asked for at upload proves it, by HEAD, and else its bytes, read back. Size alone is
never proof.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagehaul.errors import Code, StoreError, Trait
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import COLUMNS
from imagehaul.mapping import Mapping
from imagehaul.records import SourceFile
from imagehaul.store.content import read_content, stored_sha256
from imagehaul.store.errors import classify

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

DOUBTS_AT_ONCE = 1_000
PAUSES = (0.5, 4.0)
"""Seconds between the attempts to look at an object."""


def collect_outcome(catalog: Catalog, parts: Iterable[Path], mapping: Mapping, thumbnails: bool) -> None:
    """Fills `outcome`: the rows of this run's batches, those carried over, and those never sent."""
    columns = ", ".join(COLUMNS)
    catalog.clear("outcome")
    if files := [str(part) for part in parts]:
        catalog.execute(f"INSERT INTO outcome SELECT {columns} FROM read_parquet(?)", [files])
    status = "CASE status WHEN 'rejected' THEN 'rejected' ELSE 'unchanged' END"
    carried = ", ".join(status if name == "status" else name for name in COLUMNS)
    catalog.execute(
        f"""
        INSERT INTO outcome SELECT {carried} FROM prior
        WHERE (kind = 'image' OR kind = 'thumbnail' AND {thumbnails})
          AND EXISTS (SELECT 1 FROM plan WHERE path = source_path AND decision = 'carry')
        """
    )
    catalog.execute(
        f"""
        INSERT INTO outcome SELECT {carried} FROM prior
        WHERE kind = 'crop' AND EXISTS (
            SELECT 1 FROM box JOIN plan USING (path)
            WHERE path = source_path AND crop_id = crop_id_of(key) AND decision = 'carry')
        """
    )
    never_sent = {name: {"VARCHAR": "''", "BOOLEAN": "FALSE"}.get(kind, "0") for name, kind in COLUMNS.items()} | {
        "source_path": "s.path",
        "kind": "'image'",
        "key": "CASE s.name WHEN '' THEN '' ELSE $images || substr(s.name, $start + 1) END",
        "source_size": "s.size",
        "source_version": "s.version",
        "source_name": "$source",
        "status": "CASE s.decision WHEN 'reject' THEN 'rejected' ELSE 'failed' END",
        "code": "CASE s.decision WHEN 'reject' THEN s.code WHEN 'hold' THEN 'HELD_BACK' ELSE 'NOT_ATTEMPTED' END",
        "message": "CASE s.decision WHEN 'reject' THEN s.message WHEN 'hold' THEN $held ELSE $not_attempted END",
    }
    catalog.execute(
        f"""
        INSERT INTO outcome SELECT {", ".join(never_sent[name] for name in COLUMNS)} FROM plan s
        WHERE s.decision IN ('reject', 'hold') OR s.decision = 'work'
              AND NOT EXISTS (SELECT 1 FROM outcome o WHERE o.kind = 'image' AND o.source_path = s.path)
        """,
        {
            "images": mapping.image_root,
            "start": mapping.image_start,
            "source": mapping.source_name,
            "held": Code.HELD_BACK.meaning,
            "not_attempted": Code.NOT_ATTEMPTED.meaning,
        },
    )


@dataclass(frozen=True, slots=True)
class Doubt:
    """An object that is there with the right size and an ETag that says nothing about its bytes.

    With neither hash known (a copy that the store made by itself), the source's bytes are what it must equal.
    """

    key: str
    source: SourceFile
    sha256: str
    md5: str


@dataclass(frozen=True, slots=True)
class ObjectChecker:
    """Looks at single objects of `bucket`.

    `source_sha256`: of the source's bytes, in hex, read now; "" where they are others than were listed.
    """

    client: S3Client
    bucket: str
    read_back: bool
    source_sha256: Callable[[SourceFile], str]

    def look(self, doubt: Doubt) -> tuple[str, str, str]:
        """Key, proof ("" = the bytes are not proven) and message. Raises what concerns the whole store."""
        for pause in (*PAUSES, None):
            try:
                proof = self._prove(doubt)
            except Exception as error:
                verdict = classify(error)
                if verdict.action == "retry" and pause is not None:
                    time.sleep(pause)
                elif verdict.action == "stop" or verdict.code == Code.STORE_UNAVAILABLE:
                    raise
                else:
                    return doubt.key, "", f"It could not be read back: {verdict.reported or verdict.code}."
            else:
                return doubt.key, proof, "" if proof else "Read back, its bytes are not the planned ones."
        raise AssertionError("The last attempt returns or raises.")

    def _prove(self, doubt: Doubt) -> str:
        expected = doubt.sha256 or ("" if doubt.md5 else self.source_sha256(doubt.source))
        if not (expected or doubt.md5):
            return ""
        if expected and not self.read_back and (kept := stored_sha256(self.client, self.bucket, doubt.key)):
            return "checksum" if kept == expected else ""
        found = read_content(self.client, self.bucket, doubt.key)
        same = found.sha256 == expected if expected else found.md5 == doubt.md5
        return "read-back" if same else ""


_WITHIN = "key >= $low AND ($high IS NULL OR key < $high)"
_SEEN = f"""
    SELECT o.*, l.key IS NOT NULL AS listed, l.size AS seen_size, l.etag AS seen_etag, w.recipe AS recipe_before,
           o.status IN ('sent', 'present', 'unchanged', 'in_place')
               OR o.status = 'failed' AND NOT list_contains($nothing_sent, o.code)
                  AND l.etag IS DISTINCT FROM w.etag AS claimed,
           coalesce(l.size = o.size AND l.etag IN (o.etag, nullif(o.md5, '')), FALSE)
               AND NOT ($read_back AND o.status IN ('sent', 'failed')) AS matches
    FROM (FROM outcome WHERE {_WITHIN}) o
    LEFT JOIN (FROM listing WHERE {_WITHIN}) l ON l.key = o.key AND o.key <> ''
    LEFT JOIN (FROM work_present WHERE {_WITHIN}) w ON w.key = o.key AND w.etag = l.etag
"""
"""Each row of `outcome` beside what the store lists under its key, for a range of keys.

`claimed`: the row says that the object is there; `matches`: the listing shows the same. Of a row whose sender failed, a
listing that shows what it showed before the run says nothing: the headers that the object was to get may be missing.
"""
_DOUBTS = f"""
    SELECT s.key, sha256, md5, source_path, source_size, source_version, coalesce(f.location, '')
    FROM ({_SEEN}) s LEFT JOIN source f ON f.path = source_path
    WHERE claimed AND NOT matches AND seen_size = s.size AND NOT starts_with(s.key, 's3://')
"""


def prove(
    catalog: Catalog,
    client: S3Client,
    bucket: str,
    workers: int,
    read_back: bool,
    source_sha256: Callable[[SourceFile], str],
) -> None:
    """Fills `proven`: the rows of `outcome` with their final status, by the catalog's listing of the store.

    `workers`: objects that are looked at at a time. `read_back`: what was sent in this run is read, whatever its ETag
    says. `source_sha256`: as in `ObjectChecker`; asked where no hash of an object is known and its ETag says nothing.
    """
    rules = {"read_back": read_back, "nothing_sent": Code.all_with(Trait.NOTHING_SENT)}
    parts = catalog.ranges("outcome", "key")
    doubts = itertools.chain.from_iterable(catalog.rows(_DOUBTS, {**part, **rules}) for part in parts)
    catalog.clear("looked_at")
    checker = ObjectChecker(client, bucket, read_back, source_sha256)
    catalog.load("looked_at", _findings(checker, map(_doubt, doubts), workers))
    catalog.clear("proven")
    for part in parts:
        catalog.append("proven", _proven(), {**part, **rules, "retryable": Code.all_with(Trait.RETRYABLE)})
    _fail_incomplete_images(catalog)


def _proven() -> str:
    """A query for the rows of the ledger with their final status."""
    final = {
        "status": "CASE WHEN NOT claimed THEN j.status WHEN NOT shown THEN 'failed' "
        "WHEN j.status IN ('present', 'unchanged') THEN 'unchanged' ELSE 'delivered' END",
        "etag": "CASE WHEN shown THEN seen_etag ELSE j.etag END",
        "recipe": "CASE WHEN j.status = 'failed' AND recipe_before <> '' THEN recipe_before ELSE j.recipe END",
        "proof": "CASE WHEN NOT shown THEN '' WHEN starts_with(j.key, 's3://') THEN 'in-place' "
        "WHEN found <> '' THEN found WHEN seen_etag = j.md5 THEN 'etag-md5' "
        "WHEN j.status = 'unchanged' AND j.proof <> '' THEN j.proof WHEN j.md5 = '' THEN 'etag-of-source' "
        "WHEN contains(seen_etag, '-') THEN 'etag-multipart' ELSE 'etag-known' END",
        "code": "CASE WHEN NOT claimed THEN j.code WHEN NOT shown AND j.status <> 'failed' THEN 'NOT_PROVEN' "
        "WHEN shown AND j.status = 'failed' THEN '' ELSE j.code END",
        "message": "CASE WHEN NOT claimed THEN j.message WHEN shown AND j.status = 'failed' THEN '' "
        "WHEN shown OR j.status = 'failed' THEN j.message WHEN NOT listed THEN 'The store does not list the object.' "
        "ELSE trim('The store lists ' || seen_size || ' bytes with the ETag ' || seen_etag || '. ' || looked) END",
    }
    return f"""
        WITH judged AS (
            SELECT s.*, coalesce(f.proof, '') AS found, coalesce(f.message, '') AS looked,
                   claimed AND (matches OR found <> '') AS shown
            FROM ({_SEEN}) s LEFT JOIN looked_at f ON f.key = s.key AND s.key <> ''
        ), final AS (
            SELECT {", ".join(f"{final.get(name, f'j.{name}')} AS {name}" for name in COLUMNS)},
                   shown AND j.status IN ('sent', 'failed') AS sent FROM judged j
        )
        SELECT * REPLACE (list_contains($retryable, code) AS retryable) FROM final
    """


def _fail_incomplete_images(catalog: Catalog) -> None:
    """An image is whole only with all its renditions."""
    catalog.execute(
        """
        UPDATE proven SET status = 'failed', code = 'RENDITION_FAILED', retryable = TRUE, message = b.message
        FROM (SELECT source_path, min(kind || ' ' || key || ': ' || code) AS message
              FROM proven WHERE kind <> 'image' AND status = 'failed' GROUP BY source_path) b
        WHERE proven.source_path = b.source_path AND proven.kind = 'image'
              AND proven.status IN ('delivered', 'unchanged')
        """
    )


def _doubt(row: tuple[Any, ...]) -> Doubt:
    key, sha256, md5, path, size, version, location = row
    return Doubt(key, SourceFile(path, size, version, location=location), sha256, md5)


def was_attempted(catalog: Catalog) -> bool:
    """Whether anything was sent in this run, or failed to be: else the listing of the inventory still tells all."""
    (attempted,) = catalog.one("SELECT count(*) > 0 FROM outcome WHERE status IN ('sent', 'failed')")
    return bool(attempted)


def name_what_was_not_looked_at(catalog: Catalog, problem: StoreError) -> None:
    """The proof itself failed: what it would have shown is unknown, and no row may say that the store lacks it."""
    catalog.execute(
        "UPDATE proven SET code = ?, message = ?, retryable = TRUE WHERE code = 'NOT_PROVEN'",
        [problem.code, f"It was not looked at. {str(problem).splitlines()[0]}"],
    )


def name_changed_sources(catalog: Catalog, has_changed: Callable[[SourceFile], bool]) -> None:
    """An object with other bytes than planned, whose source is no longer what it was: the source moved."""
    suspects = catalog.rows(
        "SELECT source_path, source_size, source_version, coalesce(s.location, '') FROM proven "
        "JOIN listing USING (key) LEFT JOIN source s ON s.path = source_path "
        "WHERE proven.kind = 'image' AND proven.code = 'NOT_PROVEN'"
    )
    catalog.clear("moved")
    files = (SourceFile(path, size, version, location=location) for path, size, version, location in suspects)
    catalog.load("moved", ((file.path,) for file in files if has_changed(file)))
    catalog.execute(
        "UPDATE proven SET code = 'SOURCE_CHANGED', message = ? FROM moved "
        "WHERE proven.source_path = moved.source_path AND code = 'NOT_PROVEN'",
        [Code.SOURCE_CHANGED.meaning],
    )


def _findings(checker: ObjectChecker, doubts: Iterator[Doubt], workers: int) -> Iterator[tuple[str, str, str]]:
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="proof") as threads:
        try:
            while some := list(itertools.islice(doubts, DOUBTS_AT_ONCE)):
                yield from threads.map(checker.look, some)
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
