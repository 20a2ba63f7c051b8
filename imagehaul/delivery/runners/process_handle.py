"""One process for batches, as the process that leads sees it."""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, cast

from imagehaul.child_process import start_bound_python, start_thread
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult
from imagehaul.delivery.runners.runner import WorkerLostError
from imagehaul.log_records import hand_on
from imagehaul.store.endpoint import Store
from imagehaul.text import printable

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
    """Jobs go in, results come out in any order. Raises OSError at its start.

    `lease`: the file descriptor of the `SharedLease`. It knows of no run until it is opened for one.
    """

    def __init__(self, lease: int) -> None:
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
        self._fault = ""
        self._reader = threading.Thread(target=self._read, name="batch results", daemon=True)
        try:
            start_thread(self._reader)
        except OSError:
            self._process.kill()
            self._process.wait()
            raise
        self._lease = lease

    def open(self, context: BatchContext, store: Store) -> None:
        """What all of its jobs share, before the first of them."""
        self._send(("open", context, store, self._lease))

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

    def kill(self) -> None:
        """For one that was never opened: it has no files to put away."""
        self._process.kill()
        self.end()

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
            self._lose()
        except BaseException as error:
            # Nobody reads what comes next, and nobody is to wait for it.
            self._lose(f"its answer could not be read ({type(error).__name__}: {error})")

    def _lose(self, fault: str = "") -> None:
        self._fault, self._gone = fault, True
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
        return printable(lines[-1] if lines else self._fault) or "it said nothing"
