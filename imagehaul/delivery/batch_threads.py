"""How batches are run: the interface, and the plain way, in threads. `flows/batch_tasks.py` has Prefect's."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Protocol, TypeAlias

from imagehaul.records import BatchReference

if TYPE_CHECKING:
    from imagehaul.delivery.jobs import BatchResult

WorkOn: TypeAlias = "Callable[[BatchReference], BatchResult | None]"
"""Works on one batch; None where the run was stopped before its turn."""


class RunBatches(Protocol):
    """Runs batches, `at_once` of them side by side, and yields the results as they come.

    It is closed where the run ends early, from outside or by an error, and then calls `interrupt`, which ends what is
    at work.
    """

    def __call__(
        self, batches: Sequence[BatchReference], work_on: WorkOn, at_once: int, interrupt: Callable[[], None]
    ) -> Generator[BatchResult | None]: ...


def in_threads(
    batches: Sequence[BatchReference], work_on: WorkOn, at_once: int, interrupt: Callable[[], None]
) -> Generator[BatchResult | None]:
    """In threads of this process."""
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="batch") as threads:
        try:
            futures = [threads.submit(work_on, batch) for batch in batches]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            # First: a second Ctrl-C may cut off what comes next, and those that wait would all have their turn.
            threads.shutdown(wait=False, cancel_futures=True)
            interrupt()
            raise
