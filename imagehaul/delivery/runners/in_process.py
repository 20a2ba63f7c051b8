"""Batches in threads of the process that leads: for so few images that other processes would only delay them."""

from __future__ import annotations

from collections.abc import Callable

from imagehaul.delivery.jobs import BatchContext, BatchJob, BatchResult
from imagehaul.delivery.worker import Worker
from imagehaul.ledger.fence import now
from imagehaul.store.endpoint import Store


class InProcess:
    """`context.renderers` says how many pictures are decoded at the same time, each in a process of its own."""

    name = "processes"

    def __init__(self, context: BatchContext, store: Store, holds_until: Callable[[], float]) -> None:
        self.slots = context.renderers + 2
        self._worker = Worker(context, store, lambda: now() < holds_until())

    def run(self, job: BatchJob) -> BatchResult:
        return self._worker.run(job)

    def stop(self) -> None:
        self._worker.stop()

    def close(self) -> bool:
        self._worker.close()
        return True
