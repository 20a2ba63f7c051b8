"""Batches in processes of this machine: so many as this process may use cores.

    threads of the leader ─► jobs, over a pipe ─► a process: fetch, render, send, rows ─► results, over a pipe

Each process works on two batches at a time: while one is sent, the other is rendered. It ends when the leader does,
however that happens. A batch whose process was lost is tried again alone, in a process of its own, one such batch after
the other: so the batch that kills processes is found out, and its neighbours come to no harm.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace

from imagehaul.cores import usable_cores
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult, stopped_run
from imagehaul.delivery.runners.process_handle import WorkerProcess
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.runner import ATTEMPTS, WorkerLostError
from imagehaul.errors import HaulError
from imagehaul.store.endpoint import Store

BATCHES_A_PROCESS = 2


class ProcessPool:
    """`processes` of them; what has not started ahead starts when there is a batch for it.

    `context.transfer_workers` is for all of them together.
    """

    name = "processes"

    def __init__(self, context: BatchContext, store: Store, starter: ProcessStarter, processes: int) -> None:
        shared = max(1, context.transfer_workers // processes)
        cores = max(1, usable_cores() // processes)
        self._context = replace(context, transfer_workers=shared, renderers=1, cores=cores)
        self._store = store
        self._starter = starter
        starter.keep(processes)
        self._most = processes
        self.slots = processes * BATCHES_A_PROCESS
        self._processes: list[WorkerProcess] = []
        self._lone: WorkerProcess | None = None
        self._choosing = threading.Lock()
        self._alone = threading.Lock()
        self._stopped = False

    def run(self, job: BatchJob) -> BatchResult:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._attempt(replace(job, attempt=attempt))
            except WorkerLostError as lost:
                if self._stopped:
                    raise stopped_run() from lost
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError("The last attempt returns or raises.")

    def stop(self) -> None:
        with self._choosing:
            self._stopped = True
            processes = self._all()
        for process in processes:
            process.stop()

    def close(self) -> bool:
        self.stop()
        with self._choosing:
            processes = self._all()
        for process in processes:
            process.dismiss()
        for process in processes:
            # The lone one too: whoever waits for it holds `_alone`, and ends it once more.
            process.end()
        self._processes = []
        with self._alone:
            self._starter.close()
            return True

    def _attempt(self, job: BatchJob) -> BatchResult:
        if job.attempt == 1:
            return self._submit(job, self._least_busy).result()
        with self._alone:
            try:
                return self._submit(job, self._start_lone).result()
            finally:
                with self._choosing:
                    lone, self._lone = self._lone, None
                if lone:
                    lone.end()

    def _submit(self, job: BatchJob, choose: Callable[[], WorkerProcess]) -> Future[BatchResult]:
        with self._choosing:
            if self._stopped:
                raise stopped_run()
            return choose().submit(job)

    def _all(self) -> list[WorkerProcess]:
        return [*self._processes, *([self._lone] if self._lone else [])]

    def _start_lone(self) -> WorkerProcess:
        self._lone = self._start()
        return self._lone

    def _least_busy(self) -> WorkerProcess:
        for process in [process for process in self._processes if not process.is_alive]:
            self._processes.remove(process)
            process.end()
        free = min(self._processes, key=lambda process: process.load, default=None)
        if len(self._processes) < self._most and (free is None or free.load):
            try:
                process = self._start()
            except HaulError:
                if free is None:
                    raise
            else:
                self._processes.append(process)
                return process
        assert free is not None
        return free

    def _start(self) -> WorkerProcess:
        process = self._starter.start()
        process.open(self._context, self._store)
        return process
