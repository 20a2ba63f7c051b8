"""Batches in processes of this machine: so many as this process may use cores.

    threads of the leader ─► jobs, over a pipe ─► a process: fetch, render, send, rows ─► results, over a pipe

Each process works on two batches at a time: while one is sent, the other is rendered. It ends when the leader does,
however that happens. A batch whose process was lost is tried again alone, in a process of its own, one such batch after
the other: so the batch that kills processes is found out, and its neighbours come to no harm.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from imagehaul.child_process import start_bound_python
from imagehaul.cores import usable_cores
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult, stopped_run
from imagehaul.delivery.runners.runner import ATTEMPTS, WorkerLostError
from imagehaul.delivery.runners.shared_lease import SharedLease
from imagehaul.errors import HaulError
from imagehaul.log_records import hand_on
from imagehaul.store.endpoint import Store
from imagehaul.text import printable

BATCHES_A_PROCESS = 2
END_SECONDS = 5.0
"""How long a process has to put its files away when it is told to end."""

_START = (
    "sys.path[:] = sys.argv[1:]\n"
    "import gc\n"
    "gc.disable()\n"  # until all is imported: what is there then stays, and need not be looked through
    "from imagehaul.delivery.runners.worker_process import main\n"
    "main()\n"
)  # fmt: skip


class WorkerProcess:
    """One process, as the leader sees it: jobs go in, results come out in any order. Raises OSError at its start.

    `lease`: the file descriptor of the `SharedLease`.
    """

    def __init__(self, context: BatchContext, store: Store, lease: int) -> None:
        self._words = TemporaryFile()  # noqa: SIM115 - as long as the process
        here = str(Path(__file__).parents[3])
        path = [entry for entry in sys.path if entry]
        self._process = start_bound_python(_START, [*path, here], stderr=self._words, pass_fds=(lease,))
        self._jobs = cast(IO[bytes], self._process.stdin)
        self._results = cast(IO[bytes], self._process.stdout)
        self._sending = threading.Lock()
        self._waiting: dict[int, Future[BatchResult]] = {}
        self._ticket = 0
        self._gone = False
        self._reader = threading.Thread(target=self._read, name="batch results", daemon=True)
        self._reader.start()
        self._send(("open", context, store, lease))

    @property
    def load(self) -> int:
        """How many batches it has."""
        return len(self._waiting)

    @property
    def is_alive(self) -> bool:
        return not self._gone

    def submit(self, job: BatchJob) -> Future[BatchResult]:
        future: Future[BatchResult] = Future()
        with self._sending:
            self._ticket += 1
            ticket = self._ticket
            self._waiting[ticket] = future
        self._send(("run", ticket, job))
        if self._gone:
            self._fail_waiting()
        return future

    def stop(self) -> None:
        self._send(("stop",))

    def dismiss(self) -> None:
        """There is nothing more to come: it ends what it does, and then itself."""
        with contextlib.suppress(OSError):  # It may have gone already.
            self._jobs.close()

    def end(self) -> None:
        """Lets it put its files away, and kills it where that takes too long."""
        self.dismiss()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        self._results.close()
        self._words.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        try:
            with self._sending:
                pickle.dump(message, self._jobs, pickle.HIGHEST_PROTOCOL)
                self._jobs.flush()
        except (OSError, ValueError):
            self._gone = True

    def _read(self) -> None:
        try:
            while True:
                what, *said = pickle.load(self._results)
                if what == "log":
                    hand_on(said[0])
                    continue
                ticket, answer = said
                future = self._waiting.pop(ticket, None)
                if future and what == "done":
                    future.set_result(answer)
                elif future:
                    future.set_exception(answer)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self._gone = True
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        while self._waiting:
            try:
                _, future = self._waiting.popitem()
            except KeyError:
                return
            future.set_exception(WorkerLostError(self._last_words()))

    def _last_words(self) -> str:
        try:
            self._words.seek(0)
            lines = self._words.read().decode("utf-8", "replace").strip().splitlines()
        except (OSError, ValueError):
            lines = []
        return printable(lines[-1]) if lines else "it said nothing"


class ProcessPool:
    """`processes` of them, each of which starts when there is a batch for it.

    `context.transfer_workers` is for all of them together.
    """

    name = "processes"

    def __init__(self, context: BatchContext, store: Store, holds_until: Callable[[], float], processes: int) -> None:
        shared = max(1, context.transfer_workers // processes)
        cores = max(1, usable_cores() // processes)
        self._context = replace(context, transfer_workers=shared, renderers=1, cores=cores)
        self._store = store
        try:
            self._lease = SharedLease(holds_until)
        except OSError as error:
            raise _not_started(error) from error
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
            processes = [*self._processes, *([self._lone] if self._lone else [])]
        for process in processes:
            process.stop()

    def close(self) -> bool:
        self.stop()
        for process in self._processes:
            process.dismiss()
        for process in self._processes:
            process.end()
        self._processes = []
        with self._choosing:
            if self._lone:
                self._lone.dismiss()
        with self._alone:
            self._lease.close()
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

    def _start_lone(self) -> WorkerProcess:
        try:
            self._lone = WorkerProcess(self._context, self._store, self._lease.descriptor)
        except OSError as error:
            raise _not_started(error) from error
        return self._lone

    def _least_busy(self) -> WorkerProcess:
        for process in [process for process in self._processes if not process.is_alive]:
            self._processes.remove(process)
            process.end()
        free = min(self._processes, key=lambda process: process.load, default=None)
        if len(self._processes) < self._most and (free is None or free.load):
            try:
                process = WorkerProcess(self._context, self._store, self._lease.descriptor)
            except OSError as error:
                if free is None:
                    raise _not_started(error) from error
            else:
                self._processes.append(process)
                return process
        assert free is not None
        return free


def _not_started(error: OSError) -> HaulError:
    return HaulError(f"No process for batches can be started: {error.strerror}.")
