"""What a run has, in one frozen record, and what its stages make of it: each step takes records and gives one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagehaul.errors import StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.lease import Lease
from imagehaul.ledger.matching import Matches
from imagehaul.ledger.plan import Wanted
from imagehaul.ledger.runs import Current, Runs
from imagehaul.mapping import Mapping
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import Source, SourceDescriptor
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles
from imagehaul.text import counted

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class Run:
    """One run of one data set. `described`: the source as it travels; `source`: opened.

    `scratch`: its folder for temporary files. `began`: as `time.monotonic` says."""

    name: str
    request: Request
    settings: Settings
    store: Store
    described: SourceDescriptor
    source: Source
    layout: Layout
    mapping: Mapping
    wanted: Wanted
    scratch: Path
    catalog: Catalog
    progress: Progress
    began: float

    @property
    def client(self) -> S3Client:
        """For all but sending: it waits for a store that is away."""
        return self.store.patient_client()

    @property
    def files(self) -> OwnFiles:
        return OwnFiles(self.client, self.settings.object_options())

    @property
    def runs(self) -> Runs:
        return Runs(self.layout, self.files)

    def warn(self, line: str) -> str:
        """Says it now, and gives it back for the step's record."""
        self.progress.warn(line)
        return line


@dataclass(frozen=True)
class HeldDataset:
    """The data set is this run's. `lease`: None in a dry run. `current`: what readers use now.

    `capabilities`: what the store makes of conditional writes.
    `run`: with the name that it keeps, which sorts behind those of `earlier` runs.
    """

    run: Run
    capabilities: Capabilities
    lease: Lease | None
    current: Current | None
    earlier: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether no run has delivered this source to it, or begun to."""
        return self.current is None and not self.earlier

    def holds_until(self) -> float:
        """As `fence.now` counts."""
        return self.lease.holds_until if self.lease else math.inf

    @property
    def found(self) -> str:
        readers = f"readers use run {self.current.run}" if self.current else "nothing is published yet"
        return f"{self.run.layout.uri(self.run.layout.root)} answers, {readers}"


@dataclass(frozen=True)
class Inventory:
    """What the source holds, and what was left out of it. The rows are in the catalog."""

    images: int
    report: ScanReport
    warnings: tuple[str, ...]

    @property
    def found(self) -> str:
        return counted(self.images, "image")


@dataclass(frozen=True)
class MatchedAnnotations:
    """What annotations say of the images. The rows are in the catalog."""

    matches: Matches
    warnings: tuple[str, ...]

    @property
    def found(self) -> str:
        return counted(self.matches.boxes, "box", "boxes")


@dataclass(frozen=True)
class WorkResult:
    """What the batches left: `parts`, the files of their rows. `stopped`: why not all could be worked on.

    `engine`: what sent, "none" where nothing was. `runner`: where batches ran.
    """

    parts: tuple[Path, ...] = ()
    engine: str = "none"
    runner: str = "processes"
    stopped: StoreError | None = None
    warnings: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        return f"{len(self.parts):,} batches, sent by {self.engine}" if self.parts else "nothing to send"


@dataclass(frozen=True)
class Proof:
    """Every image has its final status. `stopped`: why the store could not be looked at."""

    counts: Counts
    stopped: StoreError | None = None
    warnings: tuple[str, ...] = ()

    @property
    def found(self) -> str:
        counts = self.counts
        return (
            f"{counts.delivered:,} delivered, {counts.unchanged:,} unchanged, {counts.rejected:,} rejected, "
            f"{counts.failed:,} failed"
        )
