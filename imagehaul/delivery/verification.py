"""Whether the store still holds what the published ledger says: by one listing, or byte for byte.

It needs the store alone, and writes nothing there. Equal size and ETag prove an object, as they did when it was
delivered; where the ETag is another one now, its checksum or its bytes decide. With `content` the bytes of every
object are read back, since a store may list what it can no longer give.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from imagehaul.errors import StoreError
from imagehaul.layout import Layout, split_s3_uri
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.runs import Current, read_current
from imagehaul.progress import Progress
from imagehaul.store.endpoint import Store
from imagehaul.store.files import fetch_files
from imagehaul.store.listing import list_objects
from imagehaul.store.read_back import Listed, Reader, look_at

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

Problem = Literal["missing", "changed", "unread", "extra"]
PROBLEMS: tuple[Problem, ...] = ("missing", "changed", "unread", "extra")

EXAMPLES = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as the ledger says. `source_path`: "" for an extra one, which the ledger does not know."""

    problem: Problem
    kind: str
    key: str
    source_path: str
    message: str


@dataclass(frozen=True, slots=True)
class Verification:
    """`objects` of the ledger are proven, missing, changed or unread (there, and not to be read); `extra` come on top.

    `bytes`: of the proven. `by_etag`: proven by the ETag alone, in spite of `content`, since no hash of their bytes is
    known. `findings`: a Parquet file with every finding. `examples`: the first of each problem.
    """

    dataset: str
    run: str
    content: bool
    objects: int
    proven: int
    missing: int
    changed: int
    unread: int
    extra: int
    bytes: int
    by_etag: int
    seconds: float
    findings: Path
    examples: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.objects != self.proven + self.missing + self.changed + self.unread:
            raise AssertionError(f"The counts do not add up: {self}. This is a bug in imagehaul: please report it.")

    @property
    def exit_status(self) -> int:
        """What the ledger does not know harms nobody: a delivery deletes nothing."""
        return 0 if self.proven == self.objects else 1

    @property
    def headline(self) -> str:
        how = "read back and compared" if self.content else "compared with the store's listing"
        parts = [f"{getattr(self, problem):,} {problem}" for problem in PROBLEMS]
        return (
            f"{self.dataset}: {self.objects:,} objects of run {self.run} {how}: {self.proven:,} proven, "
            f"{', '.join(parts)}"
        )

    def as_json(self) -> dict[str, Any]:
        examples = [asdict(finding) for finding in self.examples]
        said = {
            name: getattr(self, name) for name in self.__slots__ if name not in ("findings", "examples", "warnings")
        }
        return {**said, "seconds": round(self.seconds, 3), "examples": examples, "warnings": list(self.warnings)}


def verify(store: Store, layout: Layout, content: bool, workers: int, folder: Path, progress: Progress) -> Verification:
    """`folder`: an empty scratch folder; the findings stay in it. `workers`: objects that are read at a time.

    Raises StoreError where nothing was published, or the store cannot be asked.
    """
    began = time.monotonic()
    client = store.client()
    with closing(Catalog(folder)) as catalog:
        with store.explaining(f"read {layout.uri(layout.current)}"):
            current = read_current(client, layout)
        if current is None:
            raise StoreError(
                f"The data set {layout.dataset!r} was never published: {layout.uri(layout.current)} is not there.\n"
                "Correct the data set's name or REMOTE_SAVE, or deliver it first."
            )
        progress.stage(f"Reading the ledger of run {current.run}")
        with store.explaining(f"read the ledger {current.ledger}"):
            files = _download(client, current, folder)
        _load_ledger(catalog, current, files)
        progress.stage(f"Listing {layout.uri(layout.root)}")
        with store.explaining(f"list {layout.uri(layout.root)}"):
            _load_listing(catalog, client, layout)
        _compare(catalog, layout, content)
        reader = Reader(store, client, layout.bucket, content)
        catalog.load("finding", _read(catalog, reader, workers, progress))
        with store.explaining(f"read {layout.uri(layout.current)}"):
            now = read_current(client, layout)
        warnings = []
        if now is None or now.run != current.run:
            warnings.append(
                "Another run was published in the meantime, so that some findings may be its doing: verify again."
            )
        return _summary(catalog, layout, current, content, folder, began, warnings)


def _download(client: S3Client, current: Current, folder: Path) -> list[Path]:
    bucket, prefix = split_s3_uri(current.ledger)
    keys = [item.key for item in list_objects(client, bucket, prefix) if item.key.endswith(".parquet")]
    if not keys:
        raise StoreError(
            f"The ledger {current.ledger} of the published run is not there, so that nothing can be compared.\n"
            "Deliver the data set again: what the store still holds is not sent again."
        )
    files = [folder / f"ledger-{number:05d}.parquet" for number in range(len(keys))]
    fetch_files(client, bucket, keys, files)
    return files


def _load_ledger(catalog: Catalog, current: Current, files: list[Path]) -> None:
    try:
        catalog.execute(
            """
            CREATE TABLE expected AS
            SELECT key, kind, source_path, size, etag, md5, sha256, status IN ('delivered', 'unchanged') AS stands
            FROM read_parquet(?) WHERE key <> ''
            """,
            [[str(file) for file in files]],
        )
    except catalog.Error as error:
        raise StoreError(
            f"The ledger {current.ledger} cannot be read: {str(error).splitlines()[0]}\n"
            "Restore it from a copy, or remove current.json and deliver again: what is still there is not sent again."
        ) from error


def _load_listing(catalog: Catalog, client: S3Client, layout: Layout) -> None:
    catalog.create("held", "key VARCHAR, size BIGINT, etag VARCHAR")
    folders = (layout.images, layout.thumbnails, layout.crops)
    objects = itertools.chain.from_iterable(list_objects(client, layout.bucket, folder) for folder in folders)
    catalog.load("held", ((item.key, item.size, item.etag) for item in objects))


def _compare(catalog: Catalog, layout: Layout, content: bool) -> None:
    """Fills `finding` with what the listing alone tells, and `doubt` with the objects that must be looked at."""
    catalog.create("finding", "problem VARCHAR, kind VARCHAR, key VARCHAR, source_path VARCHAR, message VARCHAR")
    catalog.execute(
        """
        INSERT INTO finding
        SELECT 'missing', kind, key, source_path, 'The store does not list it.'
        FROM expected ANTI JOIN held USING (key) WHERE stands
        UNION ALL
        SELECT 'changed', kind, key, source_path,
               'The store lists ' || h.size || ' bytes, and the ledger says ' || e.size || '.'
        FROM expected e JOIN held h USING (key) WHERE stands AND h.size <> e.size
        UNION ALL
        SELECT 'extra', CASE WHEN starts_with(key, $images) THEN 'image'
                             WHEN starts_with(key, $thumbnails) THEN 'thumbnail' ELSE 'crop' END,
               key, '', 'The ledger does not know it.'
        FROM held ANTI JOIN expected USING (key)
        """,
        {"images": layout.images, "thumbnails": layout.thumbnails},
    )
    catalog.execute(
        f"""
        CREATE TABLE doubt AS
        SELECT key, kind, source_path, e.size, md5, sha256, e.etag, h.etag AS held_etag,
               coalesce(h.etag IN (e.etag, nullif(md5, '')), FALSE) AS same_etag
        FROM expected e JOIN held h USING (key)
        WHERE stands AND h.size = e.size AND ({content} OR NOT same_etag) ORDER BY key
        """
    )


def _read(
    catalog: Catalog, reader: Reader, workers: int, progress: Progress
) -> Iterator[tuple[str, str, str, str, str]]:
    """The findings among the doubts."""
    number, size = catalog.one("SELECT count(*), coalesce(sum(size), 0) FROM doubt")
    if not number:
        return
    progress.stage(f"Reading {number:,} objects back")
    progress.expect(number, int(size))
    doubts = (Listed(*row) for row in catalog.rows("SELECT * FROM doubt"))
    for item, problem, message in look_at(doubts, reader, workers):
        progress.advance(1, item.size)
        if problem:
            yield problem, item.kind, item.key, item.source_path, message


def _summary(
    catalog: Catalog,
    layout: Layout,
    current: Current,
    content: bool,
    folder: Path,
    began: float,
    warnings: list[str],
) -> Verification:
    findings = folder / "findings.parquet"
    catalog.execute(
        f"COPY (SELECT * FROM finding ORDER BY problem, key) TO '{str(findings).replace(chr(39), chr(39) * 2)}' "
        "(FORMAT parquet, COMPRESSION zstd)"
    )
    counts = dict(catalog.rows("SELECT problem, count(*) FROM finding GROUP BY problem"))
    objects, proven, size = catalog.one(
        """
        SELECT count(*), count(*) FILTER (f.key IS NULL), coalesce(sum(size) FILTER (f.key IS NULL), 0)
        FROM expected e LEFT JOIN finding f ON f.key = e.key WHERE stands
        """
    )
    by_etag, *_ = catalog.one(
        "SELECT count(*) FROM doubt ANTI JOIN finding USING (key) "
        "WHERE same_etag AND sha256 = '' AND md5 = '' AND NOT regexp_full_match(etag, '[0-9a-f]{32}')"
    )
    first = "SELECT * FROM finding WHERE problem = ? ORDER BY key LIMIT ?"
    return Verification(
        dataset=layout.dataset,
        run=current.run,
        content=content,
        objects=objects,
        proven=proven,
        missing=counts.get("missing", 0),
        changed=counts.get("changed", 0),
        unread=counts.get("unread", 0),
        extra=counts.get("extra", 0),
        bytes=int(size),
        by_etag=by_etag,
        seconds=time.monotonic() - began,
        findings=findings,
        examples=tuple(Finding(*row) for problem in PROBLEMS for row in catalog.rows(first, [problem, EXAMPLES])),
        warnings=tuple(warnings),
    )
