"""The batches of a run: handed out as jobs, and their rows gathered as they come."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from imagehaul.delivery.batch import lost_rows
from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult
from imagehaul.delivery.planning import worker_count
from imagehaul.delivery.run import HeldDataset, Run, WorkResult
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.registry import OpenRunner
from imagehaul.delivery.runners.runner import Runner, WorkerLostError
from imagehaul.delivery.staging import Stager, refuse_elsewhere
from imagehaul.errors import HaulError, SettingsError, StoreError
from imagehaul.ledger.fence import Fence, now
from imagehaul.ledger.packing import Packer
from imagehaul.ledger.plan import Plan, first_of_work, with_secret_address
from imagehaul.ledger.planned import planned_images
from imagehaul.ledger.rows import write_part
from imagehaul.records import BatchReference
from imagehaul.store.explanations import explain
from imagehaul.store.obstore_options import NOTHING_FOUND_OUT, ObstoreOptions
from imagehaul.store.probe import checks_crc64
from imagehaul.store.reference import StoreReference
from imagehaul.text import counted
from imagehaul.version import software


def work_through(
    held: HeldDataset, plan: Plan, run_batches: RunBatches, open_runner: OpenRunner, starter: ProcessStarter
) -> WorkResult:
    """Renders and sends all batches. Raises HaulError where they cannot be run at all, or the lease was lost."""
    run = held.run
    _refuse_secrets_elsewhere(run)
    refuse_elsewhere(run.source, run.settings.task_runner)
    run.progress.stage(f"Delivering {counted(plan.work, 'image')}")
    parts = run.scratch / "parts"
    parts.mkdir()
    context = context_of(held)
    runner = open_runner(run.settings, context, run.store, starter, plan.batches)
    gathered = _Gathered(held, context, runner, Packer(run.catalog, plan.batches))
    try:
        if held.lease:
            held.lease.on_lost = runner.stop
        run.progress.expect(plan.work, sum(batch.size for batch in plan.batches))
        threading.Thread(target=_import_exports, name="imports", daemon=True).start()
        with closing(run_batches(plan.batches, gathered.work_on, runner.slots, gathered.interrupt)) as results:
            for result in filter(None, results):
                gathered.keep(result, parts)
    finally:
        end(runner, held)
    return gathered.result()


def _import_exports() -> None:
    """What the publication needs, in 0.1 s that this process would wait for batches; later, all cores would wait."""
    from imagehaul.arrow import pc  # noqa: F401


def _refuse_secrets_elsewhere(run: Run) -> None:
    """A cluster's scheduler sees what is in a job. Raises `SettingsError`."""
    if run.settings.task_runner == "processes":
        return
    if path := with_secret_address(run.catalog):
        raise SettingsError(
            f"The address of {path!r} holds a user or a query, which may be a secret, and the scheduler of "
            f"TASK_RUNNER={run.settings.task_runner} would see it.\nDeliver this list with TASK_RUNNER=processes."
        )


def end(runner: Runner, held: HeldDataset) -> None:
    """Ends what is at work. Where a batch elsewhere may still be, the lease runs out by itself."""
    # Nothing is begun while the store is asked, which may take long, or be cut off by another Ctrl-C.
    runner.stop()
    if held.lease and runner.name != "processes":
        try:
            held.lease.stop_workers()
        except StoreError as error:
            held.run.progress.say(f"The workers could not be told to stop: {error}")
    if not runner.close() and held.lease:
        held.lease.leave()


def context_of(held: HeldDataset) -> BatchContext:
    run, settings = held.run, held.run.settings
    return BatchContext(
        run=run.name,
        software=software(),
        source=run.described,
        store=run.store.reference or StoreReference(),
        mapping=run.mapping,
        wanted=run.wanted,
        render=settings.render_options(),
        objects=settings.object_options(),
        engine=settings.engine,
        transfer_workers=settings.transfer_workers,
        renderers=worker_count(settings),
        cores=0,
        scratch=str(run.scratch),
        fence=Fence(held.lease.token, held.lease.seconds) if held.lease else None,
        probe=first_of_work(run.catalog),
        obstore=_options_of_obstore(run) if settings.engine == "obstore" else NOTHING_FOUND_OUT,
    )


def _options_of_obstore(run: Run) -> ObstoreOptions:
    bucket = run.layout.bucket
    crc64 = checks_crc64(run.store, bucket, run.layout.root, run.settings.object_options())
    return ObstoreOptions(crc64, run.store.address(bucket))


def _may_send(held: HeldDataset) -> bool:
    return now() < held.holds_until()


class _Gathered:
    """The results of a run's batches, as they come. The leader keeps files and counts, and reads no row."""

    def __init__(self, held: HeldDataset, context: BatchContext, runner: Runner, packer: Packer) -> None:
        self._held = held
        self._packer = packer
        self._runner = runner
        self._context = context
        self._parts: list[Path] = []
        self._warnings: list[str] = []
        self._engine = "none"
        self._stopped: StoreError | None = None
        self._interrupted = False
        self._stager = Stager(held.run.source, self._sends_no_more)

    def work_on(self, reference: BatchReference) -> BatchResult | None:
        """None where the store has stopped the run: what a batch that was waiting meets then is no news.

        Raises LockedError where another run has taken the data set, which stops all batches.
        """
        try:
            return None if self._stopped else self._run(reference)
        except HaulError:
            if self._stopped:
                return None
            if self._held.lease and self._held.lease.lost:
                self._held.lease.check()
            raise

    def interrupt(self) -> None:
        """Ends what is at work; batches that wait for their turn see it."""
        self._interrupted = True
        end(self._runner, self._held)

    def _sends_no_more(self) -> bool:
        return self._stopped is not None or self._interrupted or not _may_send(self._held)

    def _run(self, reference: BatchReference) -> BatchResult:
        planned = self._packer.pack(reference)
        job = BatchJob(self._context, reference.number, reference.images, reference.size, planned)
        try:
            with self._stager.staged(reference.number, planned):
                result = self._runner.run(job)
        except WorkerLostError as lost:
            return self._lost(job, lost)
        if result.stopped:
            return result
        return replace(result, warning="\n".join(filter(None, (result.warning, self._keep_journal(result)))))

    def keep(self, result: BatchResult, parts: Path) -> None:
        """Raises LockedError where the data set is another run's by now."""
        run: Run = self._held.run
        if self._held.lease:
            self._held.lease.check()
        if result.reason and result.engine != self._engine:
            self._engine = result.engine
            run.progress.say(result.reason)
        if result.stopped and not self._stopped:
            self._stopped = result.stopped
            self._warnings.append(run.warn(str(result.stopped)))
            self._runner.stop()
        if result.warning and result.warning not in self._warnings:
            self._warnings.append(run.warn(result.warning))
        part = parts / f"part-{result.number:05d}.parquet"
        part.write_bytes(result.rows)
        self._parts.append(part)
        run.progress.advance(result.images, result.size)

    def _keep_journal(self, result: BatchResult) -> str:
        """What a killed run leaves to the next. It is a help for a rerun, not the delivery: the words of a fault."""
        run = self._held.run
        try:
            run.runs.keep_journal(run.name, run.mapping.source_name, result.number, result.rows)
        except Exception as error:
            journal = run.layout.uri(run.layout.journal(run.name, run.mapping.source_name))
            return str(explain(error, "write", f"the journal {journal}", run.store.url))
        return ""

    def _lost(self, job: BatchJob, lost: WorkerLostError) -> BatchResult:
        """The answer for a batch on which worker after worker died: its images fail, and the run goes on."""
        run = self._held.run
        message = f"One worker after the other ended while it worked on its batch. Last words: {lost}."
        file = run.scratch / f"lost-{job.number:05d}.parquet"
        write_part(lost_rows(planned_images(job.planned), run.mapping, run.name, message), file)
        return BatchResult(job.number, job.images, job.size, file.read_bytes(), warning=message)

    def result(self) -> WorkResult:
        parts = tuple(sorted(self._parts))
        return WorkResult(parts, self._engine, self._runner.name, self._stopped, tuple(self._warnings))
