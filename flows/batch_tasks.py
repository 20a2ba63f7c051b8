"""The batches of a run as task runs of Prefect."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.futures import PrefectFuture
from prefect.states import Cancelled, Completed, Failed

from imagehaul.delivery.batch_threads import RunBatches, WorkOn
from imagehaul.delivery.jobs import BatchResult
from imagehaul.errors import HaulError
from imagehaul.records import BatchReference

INTERRUPT_SECONDS = 8.0
"""How long an interrupted run waits for its batches, so that their children are gone when it ends."""

Finished = BatchResult | HaulError | PrefectFuture[Any] | None


def as_tasks(dataset: str) -> RunBatches:
    """Each batch is a task run, or a few together: never an image, since a task run costs 10 ms and 20 kB in the
    server's database. There are at most images / 500 + 20 of them, and none is tried again by Prefect, whatever the
    server's profile says: its batches would count twice."""

    def run_batches(
        batches: Sequence[BatchReference], work_on: WorkOn, at_once: int, interrupt: Callable[[], None]
    ) -> Generator[BatchResult | None]:
        finished: SimpleQueue[Finished] = SimpleQueue()
        interrupted = False

        @task(
            name="deliver batch",
            task_run_name="{dataset}: {name}",
            cache_policy=NO_CACHE,
            persist_result=False,
            retries=0,
        )
        def deliver_batches(dataset: str, name: str, first: int, last: int) -> State[Any]:
            try:
                for batch in batches[first:last]:
                    finished.put(work_on(batch))
            except HaulError as error:
                finished.put(error)
                return Cancelled(message=str(error)) if interrupted else Failed(message=str(error))
            return Completed()

        def submit(group: range) -> PrefectFuture[Any]:
            future = deliver_batches.submit(dataset, name_of(batches, group), group.start, group.stop)
            future.add_done_callback(finished.put)
            return future

        groups = iter(groups_of(batches))
        running: set[PrefectFuture[Any]] = set()
        try:
            while True:
                while len(running) < at_once and (group := next(groups, None)):
                    running.add(submit(group))
                if not running:
                    return
                item = finished.get()
                if isinstance(item, HaulError):
                    raise item
                if isinstance(item, PrefectFuture):
                    running.remove(item)
                    item.result()
                else:
                    yield item
        except BaseException:
            interrupted = True
            interrupt()
            deadline = time.monotonic() + INTERRUPT_SECONDS
            for future in running:
                future.wait(timeout=max(0.1, deadline - time.monotonic()))
            raise

    return run_batches


def groups_of(batches: Sequence[BatchReference]) -> list[range]:
    """Batches that share a task run, by their places: one each, unless there are too many of them."""
    most = sum(batch.images for batch in batches) // 500 + 16
    together = -(-len(batches) // most) or 1
    return [range(first, min(first + together, len(batches))) for first in range(0, len(batches), together)]


def name_of(batches: Sequence[BatchReference], group: range) -> str:
    """ "batch 3 of 40, 250 images" or "batches 5-6 of 400, 90 images"."""
    first, last = batches[group.start].number, batches[group.stop - 1].number
    numbers = f"batch {first}" if first == last else f"batches {first}-{last}"
    return f"{numbers} of {len(batches):,}, {sum(batches[place].images for place in group):,} images"
