"""Batches on the workers of a Dask cluster, by Dask's own client. https://distributed.dask.org

Its scheduler sees no key: a job names the store by its block, or by the environment of each worker. What Dask does is
to carry jobs and results, and to give the batches of a worker that died to another one. When the leader stops or dies,
the workers see it at the lease.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

from imagehaul.cores import usable_cores
from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult, stopped_run
from imagehaul.delivery.runners.runner import (
    ATTEMPTS,
    LOCAL,
    STOP_SECONDS,
    WorkerLostError,
    for_other_machines,
    reference_of,
    refuse_unfit,
)
from imagehaul.delivery.worker import check_worker, try_batch
from imagehaul.errors import HaulError
from imagehaul.store.endpoint import Store

Client = Any
Future = Any
"""Dask's classes carry no types."""
CONNECT_SECONDS = 20
WORKER_SECONDS = 30
ANSWER_SECONDS = 20
"""A scheduler that does not say in this time what it knows is not waited for: the end of a run asks it, too."""
LOOK_SECONDS = 5
"""How long a batch waits until it is seen whether the workers that may have it are still there."""
SCHEDULER_LOST = "scheduler-connection-lost"
"""Dask's word for why a future was cancelled."""


class DaskRunner:
    """`address`: the scheduler's, or "local".

    Raises HaulError: no scheduler answers, it has no worker, or a worker lacks what batches need.
    """

    name = "dask"

    def __init__(self, context: BatchContext, store: Store, address: str) -> None:
        reference_of(store)  # Before a cluster is started for nothing.
        self._client = _local(context) if address == LOCAL else _connected(address)
        self._address = address
        self._futures: set[Future] = set()
        self._changing = threading.Condition()
        self._closed = False
        self._ended: bool | None = None
        self._asking = threading.Lock()
        self._fit: set[str] = set()
        self._left_out: dict[str, str] = {}
        self._unsaid: deque[str] = deque()
        try:
            workers = self._workers(address)
            on_one_host = max(Counter(worker["host"] for worker in workers.values()).values())
            threads = max(worker["nthreads"] for worker in workers.values())
            # While one thread of a worker sends, the others render.
            shared = max(1, context.transfer_workers // on_one_host)
            self._context = for_other_machines(context, store, shared, max(1, threads - 1))
            self.slots = sum(worker["nthreads"] for worker in workers.values())
            self._check(address)
        except OSError as error:  # Dask's own errors of connections are among these.
            self.close()
            raise HaulError(f"The Dask cluster at {address} does not answer any more: {error}. Run again.") from error
        except BaseException:
            self.close()
            raise

    def run(self, job: BatchJob) -> BatchResult:
        attempts = itertools.count()
        while True:
            known = len(self._left_out)
            try:
                if result := self._try(job, next(attempts)):
                    return replace(result, warning=self._warning())
            except (HaulError, WorkerLostError):
                # A worker that joined meanwhile may be to blame: then the others do what it could not.
                if self._closed or not self._leave_out_new(known):
                    raise

    def _try(self, job: BatchJob, attempt: int) -> BatchResult | None:
        """None where all workers that might have done it have gone."""
        from distributed import KilledWorker
        from distributed.comm.core import CommClosedError

        allowed = self._allowed()
        future = self._submit(job, attempt, allowed)
        try:
            answer: BatchResult | HaulError | None = self._result(future, allowed)
        except KilledWorker as error:
            raise WorkerLostError(str(error).splitlines()[0]) from error
        except Exception as error:  # A cancelled future, a scheduler that has gone, a worker of another version.
            # The second where it goes while a result is on its way.
            if getattr(error, "reason", "") == SCHEDULER_LOST or isinstance(error, CommClosedError):
                raise self._scheduler_gone() from error
            raise HaulError(f"The Dask cluster did not work on a batch: {type(error).__name__}: {error}") from error
        finally:
            # Dask would compute it again if the worker that keeps the result died.
            future.release()
            with self._changing:
                self._futures.discard(future)
                self._changing.notify_all()
        if isinstance(answer, HaulError):
            raise answer
        return answer

    def stop(self) -> None:
        """Batches that wait are not begun; those at work see it at the lease."""
        with self._changing:
            self._closed = True
            waiting = [future for future in self._futures if future.status == "pending"]
        if not waiting or self._has_lost_scheduler:
            return
        with suppress(Exception):  # It may go at this very moment, and then there is nothing to cancel.
            at_work = {key for keys in self._told("processing", workers=None).values() for key in keys}
            self._client.cancel([future for future in waiting if future.key not in at_work])

    def close(self) -> bool:
        if self._ended is None:
            self._ended = self._end()
        return self._ended

    def _end(self) -> bool:
        self.stop()
        ended = not self._has_lost_scheduler and self._wait_for_batches()
        with suppress(Exception):  # The cluster may have gone: then there is nothing to take leave from.
            self._client.close(timeout=5)
        cluster = getattr(self._client, "cluster", None)
        if cluster is not None:
            with suppress(Exception):
                cluster.close(timeout=10)
            return True  # Its processes have ended with it.
        return ended

    def _workers(self, address: str) -> dict[str, Any]:
        """What the scheduler knows of each. A cluster that grows on demand has a while to bring the first."""
        with suppress(TimeoutError):
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        if not (workers := self._there()):
            raise HaulError(
                f"The Dask scheduler at {address} has no worker.\nStart one: dask worker {address} --nthreads 2"
            )
        return workers

    def _check(self, address: str) -> None:
        """Raises HaulError where a worker is unfit, or all have gone; one that died meanwhile is not missed."""
        said = self._ask(None)
        if not said:
            raise HaulError(f"The workers of the Dask cluster at {address} have gone. Start some, and run again.")
        refuse_unfit(f"the Dask cluster at {address}", said)
        self._fit.update(said)

    def _ask(self, workers: list[str] | None) -> dict[str, str]:
        """By worker, why it cannot work on this run, "" = it can; None asks all. Who has gone says nothing."""
        answers = self._client.run(check_worker_aside, self._context, workers=workers, on_error="return")
        return {worker: _words(answer) for worker, answer in answers.items() if not isinstance(answer, OSError)}

    def _leave_out_new(self, known: int) -> bool:
        """Asks the workers that have joined since the last look. Whether more than `known` are left out now."""
        with self._asking, suppress(OSError):  # The cluster goes: what it did not do is said as it is.
            new = (
                [] if self._has_lost_scheduler else [w for w in self._there() if w not in {*self._fit, *self._left_out}]
            )
            for worker, reason in (self._ask(new) if new else {}).items():
                if not reason:
                    self._fit.add(worker)
                    continue
                self._left_out[worker] = reason
                self._unsaid.append(f"The Dask worker {worker} joined during the run, and is left out. {reason}")
        return len(self._left_out) > known

    def _warning(self) -> str:
        words = []
        with suppress(IndexError):
            while True:
                words.append(self._unsaid.popleft())
        return "\n".join(words)

    def _there(self) -> dict[str, Any]:
        """What the scheduler knows of each worker. Raises OSError where it does not answer.

        Not the client's `scheduler_info`: it returns what it keeps, and its timer, which looks every two seconds and
        asks for no worker, may have overwritten the answer with that of a cluster without any.
        """
        return cast("dict[str, Any]", self._told("identity", n_workers=-1)["workers"])

    def _told(self, what: str, **about: Any) -> dict[str, Any]:
        """The scheduler's own answer. Raises OSError where there is none."""
        question = getattr(self._client.scheduler, what)
        return cast("dict[str, Any]", self._client.sync(question, callback_timeout=ANSWER_SECONDS, **about))

    def _allowed(self) -> list[str]:
        """The workers that may have a batch; none = any. Raises HaulError where all that are there are left out."""
        if not self._left_out or self._has_lost_scheduler:
            return []
        try:
            there = self._there()
        except OSError:
            return []  # The scheduler goes, which the batch then says.
        if allowed := [worker for worker in there if worker not in self._left_out]:
            return allowed
        worker, reason = list(self._left_out.items())[-1]
        raise HaulError(
            f"The Dask cluster at {self._address} has no worker left that can work on this run.\n{worker}: {reason}"
        )

    def _submit(self, job: BatchJob, attempt: int, allowed: list[str]) -> Future:
        with self._changing:
            if self._closed:
                raise stopped_run()
            key = f"imagehaul-{job.context.run}-{job.number}-{attempt}"
            job = replace(job, context=self._context, attempt=0)
            try:
                future: Future = self._client.submit(try_batch, job, key=key, pure=False, workers=allowed or None)
            except Exception as error:  # A client that has given up to reach its scheduler.
                raise self._scheduler_gone() from error
            self._futures.add(future)
        return future

    def _result(self, future: Future, allowed: list[str]) -> BatchResult | HaulError | None:
        """Dask waits without end for named workers that have gone: then None."""
        while allowed:
            with suppress(TimeoutError):
                return cast("BatchResult | HaulError", future.result(timeout=LOOK_SECONDS))
            if future.done() or self._has_lost_scheduler:
                break
            with suppress(OSError):  # The scheduler goes, which the next look shows.
                if not set(allowed).intersection(self._there()):
                    return None
        return cast("BatchResult | HaulError", future.result())

    @property
    def _has_lost_scheduler(self) -> bool:
        """Then nobody knows what the workers do, and each question would wait for half a minute."""
        return bool(self._client.status != "running")

    def _scheduler_gone(self) -> HaulError:
        return HaulError(
            f"The Dask scheduler at {self._address} has gone, or cannot be reached any more.\n"
            "Run again when it is back: what is in the store is not sent twice."
        )

    def _wait_for_batches(self) -> bool:
        """Whether all batches at work have ended, and whoever asked for them has their answers."""
        with self._changing:
            return self._changing.wait_for(lambda: not self._futures, STOP_SECONDS)


async def check_worker_aside(context: BatchContext) -> str:
    """`check_worker` beside the loop of a Dask worker, which answers others meanwhile.

    Within that loop Prefect would load no block either: it gives a coroutine to whoever asks there.
    """
    return await asyncio.to_thread(check_worker, context)


def _words(answer: object) -> str:
    """What a worker answered, or why it could not: one of another version fails at the names in what it is sent."""
    if not isinstance(answer, Exception):
        return str(answer)
    # Dask gives the words of what it could not read within an Exception.
    said = f"{type(answer).__name__}: {answer}".removeprefix("Exception: ")
    if said.startswith(("ModuleNotFoundError", "ImportError", "AttributeError")):
        return f"It has another version of imagehaul, or none ({said}). Install the version of the machine that leads."
    return said


def _connected(address: str) -> Client:
    import distributed

    _quieten()
    try:
        # In a thread of its own, since the caller's may have a loop already.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(address)).result()
        return distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError, TimeoutError) as error:  # TypeError: TLS that is not configured
        raise HaulError(
            f"No Dask scheduler answers at {address}: {error}.\n"
            "Check TASK_RUNNER_ADDRESS and the network, or start one with: dask scheduler"
        ) from error


async def _greet(address: str) -> None:
    """Dask's client waits without end for a greeting from what takes connections and says nothing."""
    import distributed
    from distributed.comm.core import connect

    options = distributed.Security().get_connection_args("client")
    greeting = connect(address, timeout=CONNECT_SECONDS, **options)
    try:
        comm = await asyncio.wait_for(greeting, CONNECT_SECONDS)
    except TimeoutError as error:
        raise TimeoutError(f"nothing was said within {CONNECT_SECONDS} s") from error
    await comm.close()


def _local(context: BatchContext) -> Client:
    import distributed

    _quieten()
    try:
        cluster = distributed.LocalCluster(
            n_workers=usable_cores(),
            threads_per_worker=2,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=context.scratch,
            silence_logs=logging.CRITICAL,
            scheduler_kwargs={"allowed_failures": ATTEMPTS - 1},
        )
        return distributed.Client(cluster, set_as_default=False)
    except (OSError, RuntimeError) as error:
        raise HaulError(
            f"No Dask cluster can be started on this machine: {error}\n"
            "Free memory, processes and open files (ulimit -n), or use TASK_RUNNER=processes."
        ) from error


def _quieten() -> None:
    """What Dask says of connections that come and go is not what a person at a delivery wants to read.

    Its import gives some of its loggers levels of their own.
    """
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in ("distributed", "tornado"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
