"""The job that travels: what a batch is asked, and what it answers. Plain records, without a key of any store.

plan ─► BatchJob ─► a process, here or on another machine: `imagehaul.delivery.worker.run_batch` ─► BatchResult
"""

from __future__ import annotations

from dataclasses import dataclass

from imagehaul.errors import HaulError, StoreError
from imagehaul.ledger.fence import Fence
from imagehaul.ledger.plan import Wanted
from imagehaul.mapping import Mapping
from imagehaul.records import EngineName, ObjectOptions, PlannedImage, RenderOptions
from imagehaul.sources.source import SourceDescriptor
from imagehaul.store.obstore_options import NOTHING_FOUND_OUT, ObstoreOptions
from imagehaul.store.reference import StoreReference


@dataclass(frozen=True)
class BatchContext:
    """What all batches of a run share.

    `software`: the version of the program that leads; a worker of another one refuses. `transfer_workers`: objects
    that one process sends at the same time. `renderers`: processes that one process renders with. `cores`: of the
    processor, for one process and what it starts; 0 = all that it may use. `scratch`: a folder for temporary files,
    "" = the worker's own temporary folder. `fence`: None where nothing is locked. `probe`: one image that every worker
    has to find in the source as the plan saw it. `obstore`: what the process that leads found out for it.
    """

    run: str
    software: str
    source: SourceDescriptor
    store: StoreReference
    mapping: Mapping
    wanted: Wanted
    render: RenderOptions
    objects: ObjectOptions
    engine: EngineName
    transfer_workers: int
    renderers: int
    cores: int
    scratch: str
    fence: Fence | None
    probe: PlannedImage | None = None
    obstore: ObstoreOptions = NOTHING_FOUND_OUT


@dataclass(frozen=True)
class BatchJob:
    """`planned`: the images with their boxes and with what the store has of them, as Arrow's bytes: a leader neither
    makes nor reads a record for each image. `images`: how many. `size`: bytes of their files. `attempt`: from 1; 0 = an
    engine tries again by itself, and does not say so."""

    context: BatchContext
    number: int
    images: int
    size: int
    planned: bytes
    attempt: int = 1


@dataclass(frozen=True)
class BatchResult:
    """`rows`: the batch's part of the ledger, as a Parquet file. `images`, `size`: as in the job.

    `engine`: what sent, and `reason`: one sentence on why. `stopped`: why nothing more can be sent by anybody.
    `warning`: what a person should know of besides; the rows are whole in spite of it.
    """

    number: int
    images: int
    size: int
    rows: bytes
    engine: str = "none"
    reason: str = ""
    stopped: StoreError | None = None
    warning: str = ""


def stopped_run() -> HaulError:
    """What a batch ends with that has not been worked on, or not to its end, when the run is stopped."""
    return HaulError("The run was stopped before its end. Run again: what is there is not sent twice.")
