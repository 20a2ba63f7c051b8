"""The program of a process that works on batches: jobs come on its standard input, results go to its standard output.

Started by `imagehaul.delivery.runners.process_handle`. It ends when its input does.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import pickle
import signal
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from imagehaul.arrow import keep_arrow_small
from imagehaul.delivery.jobs import BatchJob, stopped_run
from imagehaul.delivery.runners.shared_lease import holds
from imagehaul.delivery.worker import Worker
from imagehaul.log_records import forwarded
from imagehaul.store.endpoint import Store


def main() -> None:
    # Ctrl-C is the leader's to answer.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # What a library prints must not get among the results.
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _import_for_batches()
    # What is there now stays: the collector, which the start has put to rest, need not look through it.
    gc.freeze()
    gc.enable()
    answering = threading.Lock()

    def answer(*message: object) -> None:
        with answering:
            pickle.dump(message, results, pickle.HIGHEST_PROTOCOL)
            results.flush()

    logging.getLogger("imagehaul").addHandler(forwarded(lambda record: answer("log", record)))
    with contextlib.suppress(BrokenPipeError):  # The leader may have gone.
        _serve(answer)
    # Without the interpreter's tidying up, which takes as long as its start.
    sys.stderr.flush()
    os._exit(0)


def _import_for_batches() -> None:
    """What every batch needs, before there is any thread. boto3 is what only one engine needs."""
    keep_arrow_small()
    from imagehaul.arrow import pq  # noqa: F401


def _serve(answer: Any) -> None:
    jobs = sys.stdin.buffer
    try:
        _, context, store, lease = pickle.load(jobs)
    except EOFError:  # It started ahead, and there was nothing to do.
        return
    worker = _Opened(context, store, lease)
    with ThreadPoolExecutor(thread_name_prefix="batch") as threads:
        try:
            while True:
                what, *said = pickle.load(jobs)
                if what == "stop":
                    worker.stop()
                else:
                    threads.submit(_run, worker, said[0], said[1], answer)
        except EOFError:
            worker.close()
            threads.shutdown(cancel_futures=True)


class _Opened:
    """The worker of this process, made by its first batch: why it cannot be made is then that batch's answer."""

    def __init__(self, context: Any, store: Store, lease: int) -> None:
        self._context, self._store = context, store
        self._may_send = partial(holds, lease)
        self._worker: Worker | None = None
        self._opening = threading.Lock()
        self._stopped = False

    def run(self, job: BatchJob) -> Any:
        with self._opening:
            if self._worker is None and not self._stopped:
                self._worker = Worker(self._context, self._store, self._may_send)
            # Asked behind that: a stop that came meanwhile found no worker to tell.
            if self._worker is None or self._stopped:
                raise stopped_run()
        return self._worker.run(job)

    def stop(self) -> None:
        self._stopped = True
        if self._worker:
            self._worker.stop()

    def close(self) -> None:
        self.stop()
        with self._opening:
            if self._worker:
                self._worker.close()


def _run(worker: _Opened, ticket: int, job: BatchJob, answer: Any) -> None:
    try:
        said = "done", ticket, worker.run(job)
    except BaseException as error:  # A panic in Rust is no Exception, and somebody waits for an answer.
        said = "failed", ticket, _that_travels(error)
    answer(*said)


def _that_travels(error: BaseException) -> Exception:
    """The error itself, such as a full disk's, which the leader puts into words; else what it says."""
    with contextlib.suppress(Exception):
        if isinstance(error, Exception):
            pickle.loads(pickle.dumps(error))
            return error
    return RuntimeError("".join(traceback.format_exception(error)))
