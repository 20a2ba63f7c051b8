"""The choice of where batches run: one setting, TASK_RUNNER. A place is one file here, and one line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

from imagehaul.delivery.planning import worker_count
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.runner import LOCAL, Runner
from imagehaul.errors import SettingsError
from imagehaul.records import BatchReference
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

if TYPE_CHECKING:
    from imagehaul.delivery.jobs import BatchContext


FEW_IMAGES = 1000
"""So many are worked on in less time than processes for batches take to start: `benchmarks/cores.md`."""

OpenRunner: TypeAlias = "Callable[[Settings, BatchContext, Store, ProcessStarter, Sequence[BatchReference]], Runner]"
"""Takes settings, what all batches share, the store, what starts processes here, and the batches."""


def open_starter(settings: Settings, holds_until: Callable[[], float], all_is_new: bool) -> ProcessStarter:
    """`holds_until`: as `ProcessStarter` asks it. `all_is_new`: what the source holds will be worked on.

    Where that is not known before the plan, nothing starts ahead: most reruns have nothing to do.
    """
    workers = worker_count(settings) if all_is_new and settings.task_runner == "processes" else 1
    return ProcessStarter(holds_until, workers if workers > 1 else 0, FEW_IMAGES)


def open_runner(
    settings: Settings,
    context: BatchContext,
    store: Store,
    starter: ProcessStarter,
    batches: Sequence[BatchReference],
) -> Runner:
    """Raises HaulError: the place is not there, or lacks what batches need."""
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

        starter.keep(0)
        return InProcess(context, store, starter.holds_until)
    from imagehaul.delivery.runners.processes import ProcessPool

    return ProcessPool(context, store, starter, processes)
