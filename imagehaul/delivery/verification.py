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
from typing import TYPE_CHECKING, Any

from imagehaul.delivery.lost_exports import lost_exports
from imagehaul.errors import StoreError
from imagehaul.layout import Layout, split_s3_uri
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.comparison import (
    PROBLEMS,
    Finding,
    compare_with_listing,
    count_doubts,
    doubts,
    examples,
    keep_findings,
    load_expected,
    places_in_place,
    tally,
    write_findings,
)
from imagehaul.ledger.inventory import load_listing
from imagehaul.ledger.ledger_file import refuse_partial
from imagehaul.ledger.publications import current_publication, need_source
from imagehaul.ledger.runs import Current, read_current
from imagehaul.mapping import IN_PLACE
from imagehaul.progress import Progress
from imagehaul.store.endpoint import Store
from imagehaul.store.files import fetch_files
from imagehaul.store.listing import list_dataset, list_in_place, list_objects
from imagehaul.store.read_back import Reader, look_at
from imagehaul.text import counted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

EXAMPLES = 10


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
            f"{self.dataset}: {counted(self.objects, 'object')} of run {self.run} {how}: {self.proven:,} proven, "
            f"{', '.join(parts)}"
        )

    def as_json(self) -> dict[str, Any]:
        examples = [asdict(finding) for finding in self.examples]
        said = {
            name: getattr(self, name) for name in self.__slots__ if name not in ("findings", "examples", "warnings")
        }
        return {**said, "seconds": round(self.seconds, 3), "examples": examples, "warnings": list(self.warnings)}


@dataclass(frozen=True, slots=True)
class VerificationRun:
    """One verification of one data set: what it has, and what it looks at.

    `folder`: an empty scratch folder; the findings stay in it. `workers`: objects that are read at a time. `content`:
    all of them are read. `source`: the store in which originals lie that stay where they are, None = the same.
    `source_name`: the one source of the data set that is looked at, "" = all.
    """

    store: Store
    layout: Layout
    folder: Path
    progress: Progress
    workers: int
    content: bool = False
    source: Store | None = None
    source_name: str = ""


def verify(run: VerificationRun) -> Verification:
    """Raises SettingsError where there is no such source, StoreError where nothing was published, or the store cannot
    be asked."""
    began = time.monotonic()
    store, layout, client = run.store, run.layout, run.store.patient_client()
    with closing(Catalog(run.folder)) as catalog:
        with store.explaining("read", layout.uri(layout.current)):
            current = current_publication(client, layout)
        if run.source_name:
            need_source(layout, run.source_name, current)
        compare_publication(catalog, run, current)
        with store.explaining("read", layout.uri(layout.current)):
            now = read_current(client, layout)
        warnings = []
        if now is None or now.run != current.run:
            warnings.append(
                "Another run was published in the meantime, so that some findings may be its doing: verify again."
            )
        warnings += _of_exports(store, current)
        return _summary(catalog, run, current, began, warnings)


def _of_exports(store: Store, current: Current) -> list[str]:
    """What is to be said of them: no ledger holds exports, and they may lie in a bucket that these keys cannot list."""
    try:
        lost = lost_exports(store, current)
    except StoreError as error:
        return [str(error)]
    return [f"Gone from the store: {', '.join(lost)}. Deliver again, and the exports are written anew."] if lost else []


def compare_publication(catalog: Catalog, run: VerificationRun, published: Current) -> None:
    """Fills `finding` with what is not as the ledger of that publication says. Raises StoreError."""
    store, layout, client = run.store, run.layout, run.store.patient_client()
    run.progress.stage(f"Reading the ledger of run {published.run}")
    with store.explaining("read", f"the ledger {published.ledger}"):
        files = download_ledger(client, published, run.folder)
    load_expected(catalog, published.ledger, files, run.source_name)
    refuse_partial(catalog, published, files)
    run.progress.stage(f"Listing {layout.uri(layout.root)}")
    with store.explaining("list", layout.uri(layout.root)):
        objects = list_dataset(client, layout)
        in_place = (item for place in places_in_place(catalog) for item in list_in_place(run.source or store, place))
        load_listing(catalog, itertools.chain(objects, in_place), layout, IN_PLACE)
    compare_with_listing(catalog, run.content)
    reader = Reader(store, client, layout.bucket, run.content)
    keep_findings(catalog, _read(catalog, reader, run.workers, run.progress))


def download_ledger(client: S3Client, current: Current, folder: Path) -> list[Path]:
    """Raises StoreError where it is not there."""
    bucket, prefix = split_s3_uri(current.ledger)
    keys = [item.key for item in list_objects(client, bucket, prefix) if item.key.endswith(".parquet")]
    if not keys:
        raise StoreError(
            f"The ledger {current.ledger} of run {current.run} is not there, so that nothing can be compared.\n"
            "Name another run, or deliver the data set again: what the store still holds is not sent again."
        )
    files = [folder / f"ledger-{number:05d}.parquet" for number in range(len(keys))]
    fetch_files(client, bucket, keys, files)
    return files


def _read(catalog: Catalog, reader: Reader, workers: int, progress: Progress) -> Iterator[Finding]:
    """What is wrong with the objects that must be looked at."""
    number, size = count_doubts(catalog)
    if not number:
        return
    progress.stage(f"Reading {counted(number, 'object')} back")
    progress.expect(number, size, "objects")
    for item, problem, message in look_at(doubts(catalog), reader, workers):
        progress.advance(1, item.size)
        if problem:
            yield Finding(problem, item.kind, item.key, item.source_path, message)


def _summary(
    catalog: Catalog, run: VerificationRun, current: Current, began: float, warnings: list[str]
) -> Verification:
    findings = run.folder / "findings.parquet"
    write_findings(catalog, findings)
    counts = tally(catalog)
    return Verification(
        dataset=run.layout.dataset,
        run=current.run,
        content=run.content,
        objects=counts.objects,
        proven=counts.proven,
        missing=counts.problems["missing"],
        changed=counts.problems["changed"],
        unread=counts.problems["unread"],
        extra=counts.problems["extra"],
        bytes=counts.bytes,
        by_etag=counts.by_etag,
        seconds=time.monotonic() - began,
        findings=findings,
        examples=tuple(examples(catalog, EXAMPLES)),
        warnings=tuple(warnings),
    )
