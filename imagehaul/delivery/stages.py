"""The stages of one delivery, and what they share. `imagehaul/delivery/chain.py` puts them in order."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imagehaul.delivery.annotations import gather_annotations
from imagehaul.delivery.batch import BatchOutcome, BatchWork
from imagehaul.delivery.recipes import wanted_of
from imagehaul.delivery.summary import Summary
from imagehaul.errors import StoreError
from imagehaul.layout import Layout, new_run_name
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts, count_outcome
from imagehaul.ledger.inventory import (
    drop_broken,
    has_backslashes,
    load_listing,
    load_prior,
    load_source,
    near_collisions,
    refuse_collisions,
    reject_backslashes,
)
from imagehaul.ledger.lease import Lease
from imagehaul.ledger.matching import Matches, match_annotations
from imagehaul.ledger.plan import Plan, make_plan, preview_of, read_batch
from imagehaul.ledger.proof import (
    collect_outcome,
    name_changed_sources,
    name_what_was_not_looked_at,
    prove,
    was_attempted,
)
from imagehaul.ledger.runs import Current, Runs, read_current
from imagehaul.mapping import Mapping
from imagehaul.progress import Progress, human_bytes
from imagehaul.records import BatchReference, Request
from imagehaul.rendering.pool import RenderPool
from imagehaul.settings import Settings
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import SourceDescriptor, SourceTools, sha256_of
from imagehaul.store.conditional_writes import Capabilities, find_capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import explain
from imagehaul.store.listing import list_objects
from imagehaul.store.multipart import abort_unfinished_uploads
from imagehaul.store.probe import keeps_backslashes
from imagehaul.transfer.engines import Lane, choose_lane

if TYPE_CHECKING:
    from imagehaul.delivery.batch_threads import RunBatches


@dataclass
class Delivery:
    """One run of one data set, from its first stage to its last; each method is a stage."""

    request: Request
    settings: Settings
    store: Store
    progress: Progress
    run: str
    scratch: Path
    stack: ExitStack
    lease: Lease | None = None
    began: float = field(default_factory=time.monotonic)
    report: ScanReport = field(default_factory=ScanReport)
    warnings: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    matches: Matches | None = None
    current: Current | None = None
    stopped: StoreError | None = None
    engine: str = "none"
    capabilities: Capabilities = field(default_factory=Capabilities)

    def __post_init__(self) -> None:
        self.layout = Layout.of(self.settings.remote_save, self.request.dataset)
        self.mapping: Mapping = self.settings.mapping(self.layout)
        self.source: SourceDescriptor = describe_source(
            self.request.source, self.settings.source_options(), self.settings.scratch
        )
        self.opened = open_source(self.source, SourceTools(self.store, self.settings.transfer_workers, self.layout))
        self.catalog = Catalog(self.scratch)
        self.stack.callback(self.catalog.close)
        self.wanted = wanted_of(self.request, self.settings)
        self.client = self.store.client()
        self.runs = Runs(self.layout, self.client)
        self.stop = threading.Event()

    def check_store(self) -> None:
        """Raises `StoreError` before any work where the store, the keys or a bucket are not what they should be."""
        self.progress.stage(f"Checking {self.layout.uri(self.layout.root)}")
        self.store.check(self.layout.bucket, self.layout.root, write=not self.request.dry_run)
        if bucket := self.settings.export_entities_result_bucket:
            self.store.check(bucket, f"{self.request.dataset}/", write=not self.request.dry_run)
        if not self.request.dry_run:
            with self.store.explaining(f"write to {self.layout.uri(self.layout.root)}"):
                self.capabilities = find_capabilities(self.client, self.layout.bucket, self.layout.marks)
            if not self.capabilities.exclusive:
                self.progress.say(
                    f"Conditional writes: {self.capabilities.conditional_writes}; lock: advisory. Two runs that begin "
                    "within the same seconds are told apart by looking twice."
                )

    def clean_up(self) -> None:
        """Ends the multipart uploads that a killed run of this data set left. The lock says that it is dead."""
        aborted, problem = abort_unfinished_uploads(
            self.store, self.layout.bucket, self.layout.root, started_before=datetime.now(UTC)
        )
        if aborted:
            self.progress.say(f"{len(aborted)} unfinished uploads of a killed run were ended, such as {aborted[0]}.")
        if problem:
            self.progress.say(f"Uploads that a killed run left may still be there. {problem}")

    # -- inventory ---------------------------------------------------------------------------------------------------

    def take_inventory(self) -> None:
        """What the source holds, what annotations say of it, what the store holds, what earlier runs left."""
        with self.stage("inventory", f"Listing {self.source}"):
            load_source(self.catalog, scan_source(self.opened, self.source, self.report), self.mapping)
            for warning in self.report.warnings():
                self.warn(warning)
            self._check_names()
        with self.stage("annotations", "Reading annotations"):
            self._read_annotations()
        root = self.layout.uri(self.layout.root)
        with self.stage("listing", f"Listing {root}"), self.store.explaining(f"read {root}"):
            self.current = read_current(self.client, self.layout)
            earlier = self.runs.earlier(self.current, self.scratch)
            if earlier and self.run <= earlier[-1].run:
                self.run = new_run_name(after=earlier[-1].run)
            load_prior(self.catalog, earlier)
            self._list_store()
            if self.request.broken:
                drop_broken(self.catalog, self.request.broken)

    def _check_names(self) -> None:
        asked = has_backslashes(self.catalog) and not self.request.dry_run
        if asked and not keeps_backslashes(self.client, self.layout):
            reject_backslashes(self.catalog)
        refuse_collisions(self.catalog, self.mapping)
        groups, examples = near_collisions(self.catalog)
        if groups:
            first, second = examples[0]
            self.warn(
                f"{groups} groups of names differ in upper and lower case or in Unicode composition alone, such as "
                f"{first!r} and {second!r}. They are kept apart here, and would be one file on macOS or Windows."
            )

    def _read_annotations(self) -> None:
        found = gather_annotations(
            self.request.annotations, self.source, self.store, self.catalog, self.scratch / "annotations"
        )
        for line in found.lines:
            self.progress.say(line)
        for warning in found.warnings:
            self.warn(warning)
        self.matches = matches = match_annotations(self.catalog)
        if matches.unknown or matches.ambiguous:
            examples = "; ".join(matches.examples)
            self.warn(
                f"Of the annotations, {matches.unknown:,} name no image of the source, and {matches.ambiguous:,} more "
                f"than one. For example {examples}."
            )
        if self.settings.makes_crops and not matches.boxes:
            self.warn(
                f"SAVE_THUMBNAILS_METHOD={self.settings.save_thumbnails_method} asks for crops, and there is no "
                "annotated box: none are made. Give the boxes with --annotations."
            )

    def _list_store(self) -> None:
        layout = self.layout
        prefixes = (layout.images, layout.thumbnails, layout.crops)
        load_listing(
            self.catalog,
            (item for prefix in prefixes for item in list_objects(self.client, layout.bucket, prefix)),
            layout,
        )

    # -- plan --------------------------------------------------------------------------------------------------------

    def make_plan(self) -> Plan:
        with self.stage("plan", "Comparing the source with the store"):
            plan = make_plan(
                self.catalog, self.mapping, self.wanted, self.settings.batch_size, worker_count(self.settings)
            )
        self.progress.say(
            f"{plan.planned:,} images ({human_bytes(plan.planned_bytes)}): {plan.new:,} new, {plan.changed:,} changed, "
            f"{plan.redo:,} to complete, {plan.carried:,} unchanged, {plan.rejected:,} rejected"
            + (f", {plan.vanished:,} gone from the source" if plan.vanished else "")
        )
        return plan

    def preview(self, plan: Plan) -> Summary:
        """What a dry run shows, and what a person is asked to approve."""
        mapped, rejected = preview_of(self.catalog, most=10)
        notes = [f"{path} → {self.layout.uri(self.mapping.image_key(name))}" for path, name in mapped]
        notes += [f"rejected: {path} ({code})" for path, code in rejected]
        return Summary(
            dataset=self.request.dataset,
            run=self.run,
            source=str(self.source),
            counts=Counts(plan.planned, unchanged=plan.carried, rejected=plan.rejected, pending=plan.work + plan.held),
            new=plan.new,
            changed=plan.changed,
            vanished=plan.vanished,
            seconds=time.monotonic() - self.began,
            engine="none",
            ledger="",
            exports={},
            published=False,
            dry_run=True,
            pending_bytes=sum(batch.size for batch in plan.batches),
            current_run=self.current.run if self.current else "",
            warnings=tuple(self.warnings),
            notes=tuple(notes),
            stages=dict(self.seconds),
        )

    # -- work --------------------------------------------------------------------------------------------------------

    def work_through(self, plan: Plan, run_batches: RunBatches) -> None:
        """Renders and sends all batches, and keeps their rows in the run's journal as they come."""
        if not plan.batches:
            return
        settings = self.settings
        workers = worker_count(settings)
        (self.scratch / "parts").mkdir()
        with self.stage("work", f"Delivering {plan.work:,} images"), ExitStack() as tools:
            lane = tools.enter_context(self._lane())
            pool = tools.enter_context(RenderPool(settings.render_options(), workers))
            work = BatchWork(self.opened, self.mapping, self.wanted, pool, lane, self.run, self.scratch, self.stop)

            def work_on(reference: BatchReference) -> BatchOutcome | None:
                return None if self.stop.is_set() else work(read_batch(self.catalog, reference))

            def stop_sending() -> None:
                self.stop.set()
                lane.close()

            def interrupt() -> None:
                stop_sending()
                pool.close()

            if self.lease:
                self.lease.on_lost = stop_sending
            self.progress.expect(plan.work, sum(batch.size for batch in plan.batches))
            with closing(run_batches(plan.batches, work_on, workers + 2, interrupt)) as outcomes:
                for outcome in filter(None, outcomes):
                    self._keep(outcome)

    def _lane(self) -> Lane:
        lane = choose_lane(
            self.store,
            self.layout.bucket,
            self.settings.engine,
            self.settings.transfer_workers,
            self.settings.object_options(),
            may_send=lambda: self.lease is None or self.lease.holds,
        )
        self.engine = lane.name
        self.progress.say(lane.reason)
        return lane

    def _keep(self, outcome: BatchOutcome) -> None:
        if self.lease:
            self.lease.check()
        if outcome.stopped and not self.stopped:
            self.stopped = outcome.stopped
            self.warn(str(outcome.stopped))
        if not self.stopped:
            key = f"{self.layout.journal(self.run)}{outcome.part.name}"
            try:
                self.runs.upload(outcome.part, key)
            except Exception as error:
                # The journal is a help for a rerun, not the delivery.
                self.warn(str(explain(error, f"write the journal {self.layout.uri(key)}", self.store.url)))
        self.progress.advance(outcome.images, outcome.size)

    # -- proof -------------------------------------------------------------------------------------------------------

    def prove(self) -> Counts:
        """Every row gets its final status by what the store lists now, whatever the senders said."""
        with self.stage("proof", "Proving by a listing of the store"):
            parts = sorted((self.scratch / "parts").glob("*.parquet"))
            collect_outcome(self.catalog, parts, self.mapping, self.wanted.thumbnails)
            try:
                if was_attempted(self.catalog):
                    self._list_store()
                self._judge(self.settings.proof == "read_back")
                name_changed_sources(self.catalog, self.opened.has_changed)
            except Exception as error:
                # What cannot be proven is not delivered; the rows say so.
                problem = explain(error, f"list {self.layout.uri(self.layout.root)}", self.store.url)
                self.stop_by(problem)
                load_listing(self.catalog, (), self.layout)
                self._judge(read_back=False)
                name_what_was_not_looked_at(self.catalog, problem)
            return count_outcome(self.catalog)

    def _judge(self, read_back: bool) -> None:
        workers = self.settings.transfer_workers
        prove(
            self.catalog,
            self.client,
            self.layout.bucket,
            workers,
            read_back,
            lambda entry: sha256_of(self.opened, entry, self.scratch),
        )

    # -- shared ------------------------------------------------------------------------------------------------------

    @contextmanager
    def stage(self, name: str, line: str) -> Iterator[None]:
        self.progress.stage(line)
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = round(time.monotonic() - began, 3)

    def warn(self, line: str) -> None:
        self.warnings.append(line)
        self.progress.warn(line)

    def stop_by(self, error: StoreError) -> None:
        if not self.stopped:
            self.stopped = error
        self.warn(str(error))


def worker_count(settings: Settings) -> int:
    return settings.workers or os.cpu_count() or 1
