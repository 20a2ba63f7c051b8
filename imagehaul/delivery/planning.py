"""The plan as a stage, and what a person is shown of it before anything is sent."""

from __future__ import annotations

import time

from imagehaul.cores import usable_cores
from imagehaul.delivery.run import HeldDataset, Inventory, MatchedAnnotations, Run
from imagehaul.delivery.summary import Summary
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.plan import Plan, fingerprint, make_plan, preview_of
from imagehaul.mapping import Mapping
from imagehaul.progress import human_bytes
from imagehaul.settings import Settings
from imagehaul.text import counted

MOST_EXAMPLES = 10


def image_uri(mapping: Mapping, name: str) -> str:
    """Where the image of that name is stored, or stays."""
    key = mapping.image_key(name)
    return key if mapping.originals else mapping.layout.uri(key)


def plan_work(run: Run) -> Plan:
    run.progress.stage("Comparing the source with the store")
    plan = make_plan(run.catalog, run.mapping, run.wanted, run.settings.batch_size, worker_count(run.settings))
    run.progress.say(
        f"{counted(plan.planned, 'image')} ({human_bytes(plan.planned_bytes)}): {plan.new:,} new, "
        f"{plan.changed:,} changed, {plan.redo:,} to complete, {plan.carried:,} unchanged, {plan.rejected:,} rejected"
        + (f", {plan.vanished:,} gone from the source" if plan.vanished else "")
    )
    return plan


def preview(held: HeldDataset, plan: Plan, annotated: MatchedAnnotations, inventory: Inventory) -> Summary:
    """What a dry run shows, and what a person is asked to approve."""
    run = held.run
    mapped, rejected = preview_of(run.catalog, most=MOST_EXAMPLES)
    notes = [f"{path} → {image_uri(run.mapping, name)}" for path, name in mapped]
    notes += [f"rejected: {path} ({code})" for path, code in rejected]
    return Summary(
        dataset=run.request.dataset,
        run=run.name,
        source=str(run.described),
        counts=Counts(plan.planned, unchanged=plan.carried, rejected=plan.rejected, pending=plan.work + plan.held),
        new=plan.new,
        changed=plan.changed,
        vanished=plan.vanished,
        seconds=time.monotonic() - run.began,
        engine="none",
        ledger="",
        exports={},
        published=False,
        dry_run=True,
        pending_bytes=sum(batch.size for batch in plan.batches),
        current_run=held.current.run if held.current else "",
        source_name=run.request.source_name,
        plan=fingerprint(run.catalog),
        left_out=dict(inventory.report.left_out),
        warnings=(*inventory.warnings, *annotated.warnings),
        notes=tuple(notes),
    )


def worker_count(settings: Settings) -> int:
    """Pictures that are decoded at the same time on this machine."""
    return settings.workers or usable_cores()
