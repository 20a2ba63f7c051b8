"""The chain, read from top to bottom: inventory → plan → batches, side by side → proof → ledger, exports, pointer.

It is written once. The command line runs it in its own process, and `flows/deliver.py` runs it as a Prefect flow;
they differ in how batches and stages are shown, and where progress is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace

from imagehaul.annotations.registry import may_tell_of_images
from imagehaul.delivery.batch_threads import RunBatches
from imagehaul.delivery.faults import explaining_faults
from imagehaul.delivery.inventory import check_and_lock, read_annotations, take_inventory
from imagehaul.delivery.planning import plan_work, preview
from imagehaul.delivery.proving import prove
from imagehaul.delivery.publish import FinishedRun, publish
from imagehaul.delivery.recipes import wanted_of
from imagehaul.delivery.run import HeldDataset, Run, WorkResult
from imagehaul.delivery.runners.process_starter import ProcessStarter
from imagehaul.delivery.runners.registry import OpenRunner, open_runner, open_starter
from imagehaul.delivery.scratch import scratch_folder
from imagehaul.delivery.source_memory import StoredMemory
from imagehaul.delivery.stages import (
    ANNOTATIONS,
    BATCHES,
    CHECK,
    INVENTORY,
    PLAN,
    PROOF,
    PUBLICATION,
    RunStage,
    Stages,
    plainly,
)
from imagehaul.delivery.staging import refuse_elsewhere
from imagehaul.delivery.summary import Summary
from imagehaul.errors import SettingsError
from imagehaul.layout import Layout, checked_source_name, new_run_name
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.plan import Plan
from imagehaul.progress import Progress
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.sources.registry import describe_source, open_source
from imagehaul.sources.source import SourceDescriptor, SourceTools
from imagehaul.store.endpoint import Store


def deliver(
    request: Request,
    settings: Settings,
    store: Store,
    run_batches: RunBatches,
    progress: Progress,
    approve: Callable[[Summary], bool] | None = None,
    run_stage: RunStage = plainly,
    open_runner: OpenRunner = open_runner,
) -> Summary:
    """One delivery of one data set. Raises `HaulError` where it cannot begin, or has to stop.

    `run_batches`, `run_stage`: how batches and stages are run, and so shown. `approve` is shown the plan, and says
    whether it is carried out. `open_runner` decides where batches run.
    """
    store = store.under(settings.bucket_terms())
    with ExitStack() as stack, explaining_faults("deliver", settings, store):
        stages = Stages(run_stage)
        run = _begin(request, settings, store, progress, stack)
        held = stages.run(CHECK, lambda: check_and_lock(run, stack), lambda held: held.found)
        run = held.run
        all_is_new = held.is_empty and not request.dry_run and not approve
        starter = stack.enter_context(closing(open_starter(settings, held.holds_until, all_is_new)))
        inventory = stages.run(
            INVENTORY, lambda: take_inventory(held, starter.watching), lambda inventory: inventory.found
        )
        annotated = stages.run(ANNOTATIONS, lambda: read_annotations(run, inventory), lambda annotated: annotated.found)
        plan = stages.run(PLAN, lambda: plan_work(held), lambda plan: plan.found)
        if request.dry_run or (approve and plan.work and not approve(preview(held, plan, annotated, inventory))):
            return preview(held, plan, annotated, inventory)
        worked = stages.run(
            BATCHES, lambda: _work(held, plan, run_batches, open_runner, starter), lambda done: done.found
        )
        proof = stages.run(PROOF, lambda: prove(run, worked), lambda proof: proof.found)
        finished = FinishedRun(held, inventory, annotated, plan, worked, proof, stages.seconds)
        return stages.run(PUBLICATION, lambda: publish(finished), lambda summary: summary.headline)


def _work(
    held: HeldDataset, plan: Plan, run_batches: RunBatches, open_runner: OpenRunner, starter: ProcessStarter
) -> WorkResult:
    if not plan.batches:
        return WorkResult()
    # A run with nothing to do needs neither a renderer nor an engine.
    from imagehaul.delivery.work import work_through

    return work_through(held, plan, run_batches, open_runner, starter)


def _begin(request: Request, settings: Settings, store: Store, progress: Progress, stack: ExitStack) -> Run:
    """Raises `HaulError` where the data set's name, the source or the scratch folder cannot be."""
    layout = Layout.of(settings.remote_save, request.dataset)
    checked_source_name(request.source_name)
    options = replace(settings.source_options(), column=request.column, source_store=request.source_store)
    described = describe_source(request.source, options, settings.scratch, request.source_type)
    scratch = stack.enter_context(scratch_folder(settings))
    catalog = Catalog(scratch)
    stack.callback(catalog.close)
    tools = SourceTools(
        store,
        settings.transfer_workers,
        layout,
        scratch,
        memory=StoredMemory(store, layout, settings.object_options(), writes=not request.dry_run),
        tells_of_images=may_tell_of_images,
    )
    source = open_source(described, tools)
    refuse_elsewhere(source, settings.task_runner)
    return Run(
        name=new_run_name(),
        request=request,
        settings=settings,
        store=store,
        described=described,
        source=source,
        layout=layout,
        mapping=replace(
            settings.mapping(layout),
            originals=originals_in_place(settings, described),
            source_name=request.source_name,
        ),
        wanted=wanted_of(request, settings),
        scratch=scratch,
        catalog=catalog,
        progress=progress,
        began=time.monotonic(),
    )


def originals_in_place(settings: Settings, described: SourceDescriptor) -> str:
    """Where they stay, "" = they are stored. Raises `SettingsError` for a source that is no prefix of a store."""
    if settings.originals == "copy":
        return ""
    if described.prefix is None:
        raise SettingsError(
            f"ORIGINALS=in_place needs a source in a store, s3://bucket/prefix, and this is {str(described)!r}."
        )
    return described.uri
