"""The Prefect flow around the chain: a form, batches as task runs, progress and outcome as artifacts.

`imagehaul/delivery/chain.py` holds the chain itself, apart from here, since importing Prefect takes two seconds that
the command line does not want to pay where no Prefect API is configured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from imagehaul.delivery import chain
from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError, HeldError
from imagehaul.flows.approval import approve_in_ui
from imagehaul.flows.artifacts import publish_artifacts
from imagehaul.flows.batch_tasks import as_tasks
from imagehaul.flows.final_state import completed, failed
from imagehaul.flows.flow_progress import progress_of_run
from imagehaul.flows.parameters import (
    DatasetName,
    SettingsForm,
    Source,
    SourceName,
    StoreBlock,
    settings_of_run,
)
from imagehaul.flows.places import refuse_lost
from imagehaul.flows.prefect_server import not_in_the_way
from imagehaul.flows.publication_event import tell_others
from imagehaul.flows.run_labels import named, tag_run
from imagehaul.flows.stage_tasks import as_task
from imagehaul.flows.waiting import leave_until_free, may_leave, waking_others
from imagehaul.layout import MAIN_SOURCE
from imagehaul.records import Request, Rerun, WhenLocked, locations
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store

_KEPT: ContextVar[list[Summary] | None] = ContextVar("kept", default=None)


class DeliveryError(HaulError):
    """Something that was planned is not proven, or the run was not published. `summary` has the counts."""

    def __init__(self, summary: Summary) -> None:
        super().__init__(summary)
        self.summary = summary

    def __str__(self) -> str:
        return self.summary.headline


@flow(name="deliver", flow_run_name=named("deliver", "dataset"), persist_result=True)
def deliver(
    dataset: DatasetName,
    source: Source,
    store: StoreBlock,
    rerun: Rerun = "changed",
    dry_run: bool = False,
    approve: bool = False,
    allow_loss: bool = False,
    annotations: str | list[str] = "",
    when_locked: WhenLocked = "wait",
    source_type: str = "",
    column: str = "",
    source_store: str = "",
    source_name: SourceName = MAIN_SOURCE,
    *,
    settings: SettingsForm,
) -> State[Any]:
    """Delivers one data set into the object store, proves it there, and publishes its index.

    The result is the `Summary`; where the run is not a success, `DeliveryError` has it, or another `HaulError` says
    why the delivery could not begin.

    Args:
        dataset: Name of the data set, and of its folder under REMOTE_SAVE: letters, digits, '.', '_' and '-'.
        source: A folder that the worker sees, s3://bucket/prefix, a list of pictures, or an archive.
        store: The object store. It alone decides URL, region, keys and CA.
        rerun: changed: what is new, changed or missing. failed: what failed before. all: everything.
        dry_run: Shows the plan and sends nothing.
        approve: Shows the plan, and waits until somebody accepts it here.
        allow_loss: Publishes in spite of MAX_REJECTED and MAX_VANISHED.
        annotations: A file, a folder or an s3:// URI, or several. Empty: beside the images.
        when_locked: What to do while another run works on the data set.
        source_type: Forces a kind of source: list, archive, prefix or folder. Empty: by its form.
        column: Which column of a list names the pictures. Empty: by its name.
        source_store: Name of the object store block that the source lies in. Empty: the target's store.
        source_name: Which source of the data set it is; the others stay in the index as they are.
        settings: How it is done. All others stay as the deployment has them; "Use JSON input" shows them.
    """
    tag_run(dataset)
    leaves = when_locked == "wait" and may_leave()
    try:
        meets_lock: WhenLocked = "refuse" if leaves else when_locked
        request = Request(
            dataset=dataset, source=source, annotations=locations(annotations), rerun=rerun, dry_run=dry_run,
            allow_loss=allow_loss, when_locked=meets_lock, source_type=source_type, column=column,
            source_store=source_store.strip(), source_name=source_name,
        )  # fmt: skip
        refuse_lost(source, *request.annotations)
        summary = _deliver(request, settings_of_run(settings), store.to_store(), approve)
    except HeldError as error:
        if leaves:
            leave_until_free(dataset, error)
        return failed(error)
    except HaulError as error:
        return failed(error)
    return failed(DeliveryError(summary)) if summary.exit_status else completed(summary.headline, summary)


def _deliver(request: Request, settings: Settings, store: Store, approve: bool) -> Summary:
    """The chain, and what a flow run leaves in the UI besides. Raises `HaulError`."""
    with waking_others(request.dataset):
        summary = chain.deliver(
            request,
            settings,
            store,
            as_tasks(request.dataset),
            progress_of_run(request.dataset),
            approve_in_ui if approve else None,
            as_task,
        )
        if (kept := _KEPT.get()) is not None:
            kept.append(summary)
    with not_in_the_way("artifacts of this run are missing"):
        publish_artifacts(summary, settings, store)
        tell_others(summary, settings)
    return summary


@contextmanager
def keeping_summaries() -> Iterator[list[Summary]]:
    """Those of the deliveries that are called within, whether or not Prefect hears of their end."""
    kept: list[Summary] = []
    before = _KEPT.set(kept)
    try:
        yield kept
    finally:
        _KEPT.reset(before)
