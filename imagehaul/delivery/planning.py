"""The plan as a stage, and what a person is shown of it before anything is sent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from imagehaul.cores import usable_cores
from imagehaul.delivery.run import HeldDataset, Inventory, MatchedAnnotations
from imagehaul.delivery.summary import Summary
from imagehaul.errors import StoreError
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.plan import Plan, fingerprint, make_plan, preview_of
from imagehaul.ledger.publications import settings_of
from imagehaul.mapping import Mapping
from imagehaul.progress import human_bytes
from imagehaul.settings import Settings
from imagehaul.text import counted

MOST_EXAMPLES = 10
_NAMES = ("key_prefix", "source_use_fullpath", "preprocess_image_transfer", "preprocess_normalize_output")
"""Settings by which an image is called."""


def image_uri(mapping: Mapping, name: str) -> str:
    """Where the image of that name is stored, or stays."""
    key = mapping.image_key(name)
    return key if mapping.originals else mapping.layout.uri(key)


def plan_work(held: HeldDataset) -> Plan:
    run = held.run
    run.progress.stage("Comparing the source with the store")
    plan = make_plan(run.catalog, run.mapping, run.wanted, run.settings.batch_size, worker_count(run.settings))
    run.progress.say(
        f"{counted(plan.planned, 'image')} ({human_bytes(plan.planned_bytes)}): {plan.new:,} new, "
        f"{plan.changed:,} changed, {plan.redo:,} to complete, {plan.carried:,} unchanged, {plan.rejected:,} rejected"
        + (f", {plan.vanished:,} gone from the source" if plan.vanished else "")
    )
    return replace(plan, warnings=tuple(run.warn(line) for line in _moves(held, plan)))


def _moves(held: HeldDataset, plan: Plan) -> Iterator[str]:
    """What is said where a setting gives published images other keys than those that readers know."""
    run, name = held.run, held.run.request.source_name
    published = held.current.sources.get(name) if held.current else None
    if not published:
        return
    before = {"key_prefix": published.key_prefix}
    moved = plan.moved if published.key_prefix == run.mapping.key_prefix else plan.published - plan.vanished
    if not moved:
        return
    with suppress(StoreError):
        # Of an earlier version, or removed: then the prefix alone is known.
        before = settings_of(run.client, run.layout, published.run) | before
    now = run.settings.model_dump(mode="json")
    changed = [
        f"{setting.upper()} was {before[setting]!r} and is {now[setting]!r}"
        for setting in _NAMES
        if setting in before and before[setting] != now[setting]
    ]
    # Originals that stay where they are keep their keys.
    what = "Other keys and URLs" if plan.moved else "Other keys and URLs of thumbnails and crops"
    yield (
        f"{what} than those that readers know, for {counted(moved, 'published image')} of source {name!r}: "
        f"{'; '.join(changed) or 'the settings are not those of run ' + published.run}. If that is not meant, deliver "
        "with what was before. The objects under the old keys stay."
    )


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
        warnings=(*inventory.warnings, *annotated.warnings, *plan.warnings),
        notes=tuple(notes),
    )


def worker_count(settings: Settings) -> int:
    """Pictures that are decoded at the same time on this machine."""
    return settings.workers or usable_cores()
