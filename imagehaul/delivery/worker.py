"""Where batches are worked on: what one process needs for the batches of a run, made once and used for all of them.

Imports neither DuckDB nor Prefect: a worker on another machine is one of many.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from imagehaul.delivery.batch import BatchWork, Stop
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult, stopped_run
from imagehaul.errors import HaulError
from imagehaul.ledger.fence import FenceView
from imagehaul.ledger.planned import planned_images
from imagehaul.ledger.rows import write_part
from imagehaul.rendering.pool import RenderPool
from imagehaul.sources.registry import open_source
from imagehaul.sources.source import SourceTools
from imagehaul.store.arrived import Expected, arrived
from imagehaul.store.endpoint import Store
from imagehaul.store.resolving import resolve_store
from imagehaul.transfer.engines import Engine, choose_engine
from imagehaul.version import software


class Worker:
    """Works on batches of one run, several at a time in threads of the caller.

    `may_send`: asked before each object; not given, the worker looks at the lease in the store by itself, and calls
    `on_end` when the run holds it no longer. Raises HaulError: the store or a program that is needed is not there.
    """

    def __init__(
        self,
        context: BatchContext,
        store: Store,
        may_send: Callable[[], bool] | None = None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._context = context
        self._store = store
        self._stop = Stop()
        self._on_end = on_end
        self._lease: FenceView | None = None
        self._tools = ExitStack()
        try:
            if not context.scratch:
                folder = self._tools.enter_context(tempfile.TemporaryDirectory(prefix="imagehaul-"))
            self._scratch = Path(context.scratch or folder)
            self._engine = self._tools.enter_context(self._open_engine(may_send or self._holds_lease))
            self._pool = self._tools.enter_context(RenderPool(context.render, context.renderers))
            self._work = self._open_work()
            if may_send is None:
                # Last: where the lease has ended it ends the worker at once, which has to be whole by then.
                self._look_at_lease()
        except BaseException:
            self._tools.close()
            raise

    def run(self, job: BatchJob) -> BatchResult:
        """After the store has stopped the run, a result without rows. Raises HaulError where the work cannot be done by
        anybody, or where the worker was told to stop before the batch's turn."""
        if self._stop.is_set and not self._stop.reason:
            raise stopped_run()
        folder = Path(tempfile.mkdtemp(prefix=f"batch-{job.number:05d}-", dir=self._scratch))
        part = folder / f"part-{job.number:05d}.parquet"
        try:
            looks = None if job.attempt == 1 else partial(self._arrived, job.attempt)
            if stopped := self._stop.reason:
                write_part((), part)
            else:
                stopped = self._work(planned_images(job.planned), folder, part, looks)
            rows = part.read_bytes()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return BatchResult(job.number, job.images, job.size, rows, self._engine.name, self._engine.reason, stopped)

    def stop(self) -> None:
        """Nothing more is sent: batches at work end with what they have, within a second."""
        self._stop.set()
        self._engine.close()

    def close(self) -> None:
        """Ends everything at once, also in the middle of a picture."""
        self.stop()
        self._tools.close()

    def _end(self) -> None:
        self.stop()
        self._on_end()

    def _open_engine(self, may_send: Callable[[], bool]) -> Engine:
        context = self._context
        return choose_engine(
            self._store,
            context.mapping.layout.bucket,
            context.engine,
            context.transfer_workers,
            context.objects,
            may_send=may_send,
            cores=context.cores,
            obstore=context.obstore,
        )

    def _open_work(self) -> BatchWork:
        context = self._context
        tools = SourceTools(self._store, context.transfer_workers, context.mapping.layout, self._scratch)
        source = open_source(context.source, tools)
        return BatchWork(source, context.mapping, context.wanted, self._pool, self._engine, context.run, self._stop)

    def _look_at_lease(self) -> None:
        if self._context.fence is None:
            return
        client, layout = self._store.client(), self._context.mapping.layout
        self._lease = FenceView(client, layout, self._context.fence, self._end)
        self._tools.callback(self._lease.close)

    def _holds_lease(self) -> bool:
        return self._lease is None or self._lease.holds

    def _arrived(self, attempt: int, expected: Sequence[Expected]) -> frozenset[str]:
        bucket, threads = self._context.mapping.layout.bucket, self._context.transfer_workers
        return arrived(self._store.client(), bucket, expected, threads, surely_begun=attempt > 1)


_workers: dict[str, Worker] = {}
_opening = threading.Lock()


def run_batch(job: BatchJob) -> BatchResult:
    """One batch, in any process. The first of a run makes this process's `Worker`, which lives as long as the lease.

    The store and its keys come from this process's own environment, or from a block that it loads.
    Raises HaulError: as `Worker` does, or where this process lacks what batches need.
    """
    run = job.context.run
    with _opening:
        worker = _workers.get(run)
        if worker is None:
            worker = _workers[run] = _open(job.context)
    return worker.run(job)


def _open(context: BatchContext) -> Worker:
    # It may have joined after the machine that leads had asked all workers: a mount that is missing would cost each
    # batch its images.
    if reason := check_worker(context):
        raise HaulError(f"A worker on {socket.gethostname()} cannot work on this run. {reason}")
    store = resolve_store(context.store)
    with store.explaining("read", "what a batch needs"):
        return Worker(context, store, on_end=lambda: _retire(context.run))


def try_batch(job: BatchJob) -> BatchResult | HaulError:
    """The same, where errors are carried as values: engines wrap what is raised in words of their own."""
    try:
        return run_batch(job)
    except HaulError as error:
        return error


def check_worker(context: BatchContext) -> str:
    """Why this process cannot work on a run's batches, in one sentence; "" where it can.

    Looks at its version, at its store, and at one image of the source.
    """
    try:
        _check_version(context)
        store = resolve_store(context.store)
        layout = context.mapping.layout
        store.check(layout.bucket, layout.root)
        source = open_source(context.source, SourceTools(store, context.transfer_workers, layout))
        if context.probe and source.has_changed(context.probe):
            return (
                f"It does not see {context.probe.path!r} in {context.source} as the machine that leads does. "
                "Every worker needs the source: a mount at the same place, or s3://."
            )
    except HaulError as error:
        return str(error)
    except OSError as error:  # Nothing to do with the way by which it was asked.
        return f"{type(error).__name__}: {error}"
    return ""


def _check_version(context: BatchContext) -> None:
    if software() != context.software:
        raise HaulError(
            f"This worker has {software()}, and the machine that leads has {context.software}. "
            "Install the same version on both."
        )


def _retire(run: str) -> None:
    with _opening:
        worker = _workers.pop(run, None)
    if worker:
        worker.close()
