"""The Prefect flow around the chain: a form, batches as task runs, progress and outcome as artifacts.

`imagehaul/delivery/chain.py` holds the chain itself, apart from here, since importing Prefect takes two seconds that
the command line does not want to pay where no Prefect API is configured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from imagehaul.delivery import chain
from imagehaul.delivery.summary import Summary
from imagehaul.errors import HaulError
from imagehaul.flows.approval import approve_in_ui
from imagehaul.flows.artifacts import publish_artifacts
from imagehaul.flows.batch_tasks import as_tasks
from imagehaul.flows.flow_progress import FlowProgress
from imagehaul.flows.parameters import DatasetName, SettingsForm, Source, StoreBlock, settings_of_form
from imagehaul.flows.publication_event import tell_others
from imagehaul.progress import Progress
from imagehaul.records import Request, Rerun, WhenLocked
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store


@flow(name="deliver", flow_run_name="deliver {dataset}")
def deliver(
    dataset: DatasetName,
    source: Source,
    store: StoreBlock,
    rerun: Rerun = "changed",
    dry_run: bool = False,
    approve: bool = False,
    allow_loss: bool = False,
    annotations: str = "",
    when_locked: WhenLocked = "wait",
    *,
    settings: SettingsForm,
) -> State[Any]:
    """Delivers one data set into the object store, proves it there, and publishes its index.

    Args:
        dataset: Name of the data set, and of its folder under REMOTE_SAVE: letters, digits, '.', '_' and '-'.
        source: A folder that the worker sees, or s3://bucket/prefix.
        store: The object store. It alone decides URL, region, keys and CA.
        rerun: changed: what is new, changed or missing. failed: what failed before. all: everything.
        dry_run: Shows the plan and sends nothing.
        approve: Shows the plan, and waits until somebody accepts it here.
        allow_loss: Publishes in spite of MAX_REJECTED and MAX_VANISHED.
        annotations: A file, a folder or an s3:// URI. Empty: beside the images.
        when_locked: What to do while another run works on the data set.
        settings: How the delivery is done.
    """
    request = Request(dataset, source, annotations, rerun, dry_run, allow_loss, when_locked)
    return outcome_of(
        lambda: run_in_flow(
            request,
            settings_of_form(settings),
            store.to_store(),
            FlowProgress(dataset),
            approve_in_ui if approve else None,
        )
    )


def run_in_flow(
    request: Request,
    settings: Settings,
    store: Store,
    progress: Progress,
    approve: Callable[[Summary], bool] | None = None,
) -> Summary:
    """The chain, and what a flow run leaves in the UI besides."""
    summary = chain.deliver(request, settings, store, as_tasks(request.dataset), progress, approve)
    publish_artifacts(summary, settings, store)
    tell_others(summary, settings)
    return summary


def outcome_of(delivery: Callable[[], Summary]) -> State[Any]:
    """The final state, which tells the truth: failed where something planned is not proven, in our own words."""
    try:
        summary = delivery()
    except HaulError as error:
        return Failed(message=str(error))
    return final_state(summary)


def final_state(summary: Summary) -> State[Any]:
    if summary.exit_status:
        return Failed(message=summary.headline)
    return Completed(message=summary.headline)
