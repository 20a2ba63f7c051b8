"""What a run leaves in the store at its end: ledger, export, report, and last of all the pointer."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from imagehaul.delivery.lost_exports import lost_exports
from imagehaul.delivery.object_reader import ObjectReader
from imagehaul.delivery.other_sources import published_sources
from imagehaul.delivery.run import HeldDataset, Inventory, MatchedAnnotations, Proof, Run, WorkResult
from imagehaul.delivery.summary import MOST_PICTURES, MOST_PROBLEMS, Summary
from imagehaul.errors import LockedError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import pictures_of, problems_of, reasons_of
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.other_sources import has_other_sources
from imagehaul.ledger.plan import Plan
from imagehaul.ledger.publish_checks import (
    fingerprint,
    made_with,
    refusal,
    says_something_new,
    size_mismatches,
    which_is_current,
)
from imagehaul.ledger.quality import Thresholds, find_issues
from imagehaul.ledger.rows import SCHEMA_NUMBER
from imagehaul.ledger.runs import Current, PublishedSource
from imagehaul.progress import Progress
from imagehaul.settings import Settings
from imagehaul.store.explanations import explain
from imagehaul.version import software


@dataclass(frozen=True)
class FinishedRun:
    """A run whose images have their final status. `stages`: seconds by stage."""

    held: HeldDataset
    inventory: Inventory
    annotated: MatchedAnnotations
    plan: Plan
    worked: WorkResult
    proof: Proof
    stages: dict[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        parts = (self.inventory, self.annotated, self.plan, self.worked, self.proof)
        return tuple(line for part in parts for line in part.warnings)


def publish(finished: FinishedRun) -> Summary:
    """Writes the ledger and the report, and where nothing speaks against it the exports and `current.json`."""
    held, run = finished.held, finished.held.run
    run.progress.stage("Writing ledger and export")
    warnings = [*finished.warnings, *_size_warnings(run)]
    refused = refusal(
        run.catalog,
        finished.plan,
        finished.proof.counts,
        run.settings,
        run.request.allow_loss,
        held.current,
        run.request.source_name,
    )
    summary = replace(_summary_of(finished, refused), quality=look_for_issues(run.catalog, run.settings, run.progress))
    made_of = fingerprint(run.catalog, run.settings)
    current = held.current
    changed = bool(refused) or _has_news(held, made_of, warnings)
    writing = f"the ledger of run {run.name}"
    try:
        if changed:
            summary = replace(summary, ledger=_write_ledger(run), exports={})
        if changed and not refused:
            writing = f"the exports of run {run.name}"
            exports, sources = _write_exports(held, summary, made_of)
            writing = f"current.json for run {run.name}"
            current = _switch(held, summary, made_of, exports, sources)
            summary = replace(
                summary, exports=current.exports, published=True, current_run=run.name, sources=_images_of(current)
            )
        writing = f"the report of run {run.name}"
        summary = replace(summary, nothing_changed=not changed, warnings=tuple(warnings), **_times(finished))
        run.runs.write_json(run.layout.report(run.name), _report(finished, summary, made_of, current))
    except Exception as error:
        problem = str(explain(error, "write", writing, run.store.url))
        warnings.append(run.warn(problem))
        # Once the pointer has moved, a report that is missing takes nothing back.
        if not (refused or summary.published):
            # Those of a pointer that another run has moved say it themselves.
            still = "" if isinstance(error, LockedError) else f"\n{which_is_current(held.current)}"
            refused = problem + still
        summary = replace(summary, refused=refused, warnings=tuple(warnings))
    if summary.published or summary.nothing_changed:
        _tidy(run, until=summary.current_run)
    return replace(summary, **_times(finished))


def _has_news(held: HeldDataset, made_of: str, warnings: list[str]) -> bool:
    """Whether there is anything to publish: of this run, or an export that readers are pointed at and is gone."""
    run, current = held.run, held.current
    if current is None or says_something_new(run.catalog, run.settings, made_of, current, run.request.source_name):
        return True
    lost = lost_exports(run.store, current)
    if lost:
        warnings.append(run.warn(f"{', '.join(lost)} of run {current.run} is gone, and the exports are written anew."))
    return bool(lost)


def look_for_issues(catalog: Catalog, settings: Settings, progress: Progress) -> tuple[str, ...]:
    """Fills `issue`, and says what was found."""
    thresholds = Thresholds(
        settings.near_duplicate_bits, settings.dark_below, settings.bright_above, settings.blur_below
    )
    lines = find_issues(catalog, thresholds, settings.measures)
    for line in lines:
        progress.say(f"Quality: {line}.")
    return lines


def _size_warnings(run: Run) -> list[str]:
    mismatches, example = size_mismatches(run.catalog, run.settings)
    if not mismatches:
        return []
    return [
        run.warn(
            f"{mismatches:,} images have another size than their annotations say, so that their boxes may lie "
            f"wrong. For example {example}."
        )
    ]


def _summary_of(finished: FinishedRun, refused: str) -> Summary:
    """As it is before anything is published: readers still use what they used."""
    held, run, plan = finished.held, finished.held.run, finished.plan
    current = held.current
    return Summary(
        dataset=run.request.dataset,
        run=run.name,
        source=str(run.described),
        left_out=dict(finished.inventory.report.left_out),
        counts=finished.proof.counts,
        new=plan.new,
        changed=plan.changed,
        vanished=plan.vanished,
        seconds=0.0,
        engine=finished.worked.engine,
        runner=finished.worked.runner,
        ledger=current.ledger if current else "",
        exports=current.exports if current else {},
        published=False,
        refused=refused,
        current_run=current.run if current else "",
        source_name=run.request.source_name,
        sources=_images_of(current),
        reasons=reasons_of(run.catalog),
        problems=problems_of(run.catalog, MOST_PROBLEMS),
        pictures=pictures_of(run.catalog, MOST_PICTURES),
    )


def _times(finished: FinishedRun) -> dict[str, Any]:
    return {"seconds": time.monotonic() - finished.held.run.began, "stages": dict(finished.stages)}


def _tidy(run: Run, until: str) -> None:
    """The journals of runs whose rows are in a published ledger now. They harm nobody where they stay.

    A run that was killed right after it moved the pointer left its own to the next.
    """
    try:
        run.runs.drop_journals(until, run.request.source_name)
    except Exception as error:
        run.progress.say(f"Old journals stay. {explain(error, 'remove', 'them', run.store.url)}")


def _write_ledger(run: Run) -> str:
    layout, file = run.layout, run.scratch / "ledger.parquet"
    write_ledger(run.catalog, file)
    run.runs.upload(file, layout.ledger_of(run.name, run.request.source_name))
    if has_other_sources(run.catalog):
        write_ledger(run.catalog, file, "other")
        run.runs.upload(file, layout.ledger_of_others(run.name))
    return layout.uri(layout.ledger(run.name))


def _write_exports(
    held: HeldDataset, summary: Summary, made_of: str
) -> tuple[dict[str, str], dict[str, PublishedSource]]:
    """Their URIs by name, and the sources that they show."""
    from imagehaul.delivery.exporting import export_run, origin_of  # and all formats

    run = held.run
    created = held.current.created if held.current else ""
    sources = published_sources(run, summary.counts, made_of, held.current)
    origin = origin_of(run.name, sources, summary.quality)
    objects = ObjectReader(run.runs, run.store, sources, run.request.source_name, run.described.options)
    exports = export_run(
        run.catalog, sources.values(), run.settings, run.runs, objects.read, origin, created, run.scratch, run.progress
    )
    return exports, sources


def _switch(
    held: HeldDataset, summary: Summary, made_of: str, exports: dict[str, str], sources: dict[str, PublishedSource]
) -> Current:
    """Points readers at this run: the last thing that is written."""
    run = held.run
    if held.lease:
        held.lease.check()
    created = held.current.created if held.current else ""
    current = Current(
        run.name, summary.ledger, exports, made_of, asdict(summary.counts), created, sources, made_with(run.settings)
    )
    run.runs.publish(current, held.current, held.capabilities)
    return current


def _images_of(current: Current | None) -> dict[str, int]:
    return {name: source.images for name, source in current.sources.items()} if current else {}


def _report(finished: FinishedRun, summary: Summary, made_of: str, current: Current | None) -> dict[str, object]:
    held, run, report = finished.held, finished.held.run, finished.inventory.report
    return {
        **summary.as_json(),
        "schema": SCHEMA_NUMBER,
        "fingerprint": made_of,
        "replaced": held.current.run if held.current and summary.published else "",
        "publication": current.as_publication() if current and summary.published else {},
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "settings": run.settings.model_dump(),
        "request": asdict(run.request),
        "stages": summary.stages,
        "store": {
            "conditional_writes": held.capabilities.conditional_writes,
            "lock": "advisory" if held.lease and held.lease.advisory else "exclusive",
        },
        "batches": len(finished.plan.batches),
        "other_files": report.other_files,
        "excluded": report.excluded,
        "annotations": asdict(finished.annotated.matches),
    }
