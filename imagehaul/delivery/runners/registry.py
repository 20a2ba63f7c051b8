"""The choice of where batches run: one setting, TASK_RUNNER. A place is one file here, and one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from imagehaul.delivery.runners.runner import LOCAL, Runner
from imagehaul.errors import SettingsError
from imagehaul.records import BatchReference
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

if TYPE_CHECKING:
    from imagehaul.delivery.jobs import BatchContext


FEW_IMAGES = 1000
"""So many are worked on in less time than processes for batches take to start: `benchmarks/cores.md`."""


def open_runner(
    settings: Settings,
    context: BatchContext,
    store: Store,
    holds_until: Callable[[], float],
    batches: Sequence[BatchReference],
) -> Runner:
    """`holds_until`: when the run's lease ends, as `fence.now` counts; it is asked again and again.

    Raises HaulError: the place is not there, or lacks what batches need.
    """
    address = settings.task_runner_address or LOCAL
    try:
        if settings.task_runner == "dask":
            from imagehaul.delivery.runners.dask import DaskRunner

            return DaskRunner(context, store, address)
        if settings.task_runner == "ray":
            from imagehaul.delivery.runners.ray import RayRunner

            return RayRunner(context, store, address)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"TASK_RUNNER={settings.task_runner} needs a package that is not installed: {error.name}.\n"
            f"Install it with: pip install 'imagehaul[{settings.task_runner}]'"
        ) from error
    processes = min(context.renderers, len(batches))
    if processes == 1 or sum(batch.images for batch in batches) <= FEW_IMAGES:
        from imagehaul.delivery.runners.in_process import InProcess

        return InProcess(context, store, holds_until)
    from imagehaul.delivery.runners.processes import ProcessPool

    return ProcessPool(context, store, holds_until, processes)
