"""Batches on the workers of a Ray cluster, by Ray's own client. https://docs.ray.io

As with Dask: the cluster sees no key, gives the batches of a worker that died to another one, and the workers see at
the lease that the leader stops or has died.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from dataclasses import replace
from typing import Any

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

CONNECT_SECONDS = 20
CORES_A_BATCH = 0.5
"""Of Ray's counting: two batches for each core, since one is sent while another is rendered."""


class RayRunner:
    """`address`: the head's, such as ray://head:10001 or auto; or "local".

    Raises HaulError: no cluster answers, it has no core, or a worker lacks what batches need.
    """

    name = "ray"

    def __init__(self, context: BatchContext, store: Store, address: str) -> None:
        reference_of(store)  # Before a cluster is started for nothing.
        self._ray = _started(address)
        self._waiting: set[Any] = set()
        self._changing = threading.Lock()
        self._closed = False
        self._ended: bool | None = None
        self._local = address == LOCAL
        try:
            nodes = [node for node in self._ray.nodes() if node["Alive"]]
            cores = sum(node["Resources"].get("CPU", 0) for node in nodes)
            if not cores:
                raise HaulError(f"The Ray cluster at {address} has no core.\nStart a node: ray start --address=...")
            self.slots = max(1, int(cores / CORES_A_BATCH))
            on_one_node = max(1, self.slots // len(nodes))
            shared = max(1, context.transfer_workers // on_one_node)
            self._context = for_other_machines(context, store, shared, 1)
            self._run = self._ray.remote(try_batch).options(num_cpus=CORES_A_BATCH, max_retries=ATTEMPTS - 1)
            self._check(nodes, address)
        except BaseException:
            self.close()
            raise

    def run(self, job: BatchJob) -> BatchResult:
        with self._changing:
            if self._closed:
                raise stopped_run()
            waiting = self._run.remote(replace(job, context=self._context, attempt=0))
            self._waiting.add(waiting)
        errors = self._ray.exceptions
        try:
            answer: BatchResult | HaulError = self._ray.get(waiting)
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.OutOfMemoryError) as error:
            raise WorkerLostError(str(error).splitlines()[0]) from error
        except Exception as error:  # A cancelled task, a cluster that has gone, a worker of another version.
            words = str(error).strip().splitlines() or [type(error).__name__]
            raise HaulError(f"The Ray cluster did not work on a batch: {words[-1]}") from error
        finally:
            with self._changing:
                self._waiting.discard(waiting)
        if isinstance(answer, HaulError):
            raise answer
        return answer

    def stop(self) -> None:
        """Batches that wait are not begun; those at work see it at the lease."""
        with self._changing:
            self._closed = True
            waiting = list(self._waiting)
        for task in waiting:
            with suppress(Exception):  # A cluster that has gone has nothing to cancel.
                self._ray.cancel(task, force=False, recursive=False)

    def close(self) -> bool:
        if self._ended is None:
            self._ended = self._end()
        return self._ended

    def _end(self) -> bool:
        self.stop()
        with self._changing:
            left = list(self._waiting)
        ended = True
        if left:
            try:
                _, still = self._ray.wait(left, num_returns=len(left), timeout=STOP_SECONDS)
                ended = not still
            except Exception:
                ended = False
        with suppress(Exception):
            self._ray.shutdown()
        return ended or self._local

    def _check(self, nodes: list[dict[str, Any]], address: str) -> None:
        """On each node, in a process of its own."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        check = self._ray.remote(check_worker)
        said = {}
        for node in nodes:
            here = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
            task = check.options(num_cpus=CORES_A_BATCH, scheduling_strategy=here).remote(self._context)
            try:
                said[node["NodeManagerAddress"]] = self._ray.get(task)
            except Exception as error:
                words = str(error).strip().splitlines() or [type(error).__name__]
                said[node["NodeManagerAddress"]] = words[-1]
        refuse_unfit(f"the Ray cluster at {address}", said)


def _refuse_absent(address: str) -> None:
    """Ray tries a head that is not there for minutes. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()


def _started(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray

    try:
        _refuse_absent(address)
        ray.init(
            address="local" if address == LOCAL else address,
            include_dashboard=False if address == LOCAL else None,
            log_to_driver=False,
            configure_logging=True,
            logging_level=logging.CRITICAL,
        )
    except (OSError, RuntimeError, ValueError) as error:
        words = str(error).strip().splitlines() or [type(error).__name__]
        raise HaulError(
            f"No Ray cluster answers at {address}: {words[-1]}\n"
            "Check TASK_RUNNER_ADDRESS and the network, or start one with: ray start --head"
        ) from error
    return ray
