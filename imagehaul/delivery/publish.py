"""What a run leaves in the store at its end: ledger, export, report, and last of all the pointer."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from imagehaul.delivery.exporting import export_run
from imagehaul.delivery.run import Annotated, Held, Inventory, Proof, Run, WorkResult
from imagehaul.delivery.summary import MOST_PICTURES, MOST_PROBLEMS, Summary
from imagehaul.exports.export import Origin
from imagehaul.ledger.counts import pictures_of, problems_of, reasons_of
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.plan import Plan
from imagehaul.ledger.publish_checks import fingerprint, refusal, says_something_new, size_mismatches
from imagehaul.ledger.quality import Thresholds, find_issues
from imagehaul.ledger.rows import SCHEMA_NUMBER
from imagehaul.ledger.runs import Current
from imagehaul.store.explanations import explain
from imagehaul.version import software


@dataclass(frozen=True)
class Ended:
    """A run whose images have their final status. `stages`: seconds by stage."""

    held: Held
    inventory: Inventory
    annotated: Annotated
    plan: Plan
    worked: WorkResult
    proof: Proof
    stages: dict[str, float]

    @property
    def warnings(self) -> tuple[str, ...]:
        parts = (self.inventory, self.annotated, self.worked, self.proof)
        return tuple(line for part in parts for line in part.warnings)


def publish(ended: Ended) -> Summary:
    """Writes the ledger and the report, and where nothing speaks against it the exports and `current.json`."""
    held, run = ended.held, ended.held.run
    run.progress.stage("Writing ledger and export")
    warnings = [*ended.warnings, *_size_warnings(run)]
    refused = refusal(run.catalog, ended.plan, ended.proof.counts, run.settings, run.request.allow_loss, held.current)
    summary = replace(_summary_of(ended, refused), quality=_look_for_issues(run))
    made_of = fingerprint(run.catalog, run.settings)
    changed = bool(refused) or says_something_new(run.catalog, made_of, held.current)
    try:
        if changed:
            summary = replace(summary, ledger=_write_ledger(run), exports={})
        if changed and not refused:
            summary = _switch(held, summary, made_of)
        summary = replace(summary, nothing_changed=not changed, warnings=tuple(warnings), **_times(ended))
        run.runs.write_json(run.layout.report(run.name), _report(ended, summary, made_of))
    except Exception as error:
        what = "report" if summary.published else "ledger"
        problem = str(explain(error, "write", f"the {what} of run {run.name}", run.store.url))
        warnings.append(run.warn(problem))
        # Once the pointer has moved, a report that is missing takes nothing back.
        refused = refused or ("" if summary.published else problem)
        summary = replace(summary, refused=refused, warnings=tuple(warnings))
    if summary.published or summary.nothing_changed:
        _tidy(run, until=summary.current_run)
    return replace(summary, **_times(ended))


def _look_for_issues(run: Run) -> tuple[str, ...]:
    settings = run.settings
    thresholds = Thresholds(
        settings.near_duplicate_bits, settings.dark_below, settings.bright_above, settings.blur_below
    )
    lines = find_issues(run.catalog, thresholds, settings.measures)
    for line in lines:
        run.progress.say(f"Quality: {line}.")
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


def _summary_of(ended: Ended, refused: str) -> Summary:
    """As it is before anything is published: readers still use what they used."""
    held, run, plan = ended.held, ended.held.run, ended.plan
    current = held.current
    return Summary(
        dataset=run.request.dataset,
        run=run.name,
        source=str(run.described),
        left_out=dict(ended.inventory.report.left_out),
        counts=ended.proof.counts,
        new=plan.new,
        changed=plan.changed,
        vanished=plan.vanished,
        seconds=0.0,
        engine=ended.worked.engine,
        runner=ended.worked.runner,
        ledger=current.ledger if current else "",
        exports=current.exports if current else {},
        published=False,
        refused=refused,
        current_run=current.run if current else "",
        reasons=reasons_of(run.catalog),
        problems=problems_of(run.catalog, MOST_PROBLEMS),
        pictures=pictures_of(run.catalog, MOST_PICTURES),
    )


def _times(ended: Ended) -> dict[str, Any]:
    return {"seconds": time.monotonic() - ended.held.run.began, "stages": dict(ended.stages)}


def _tidy(run: Run, until: str) -> None:
    """The journals of runs whose rows are in a published ledger now. They harm nobody where they stay.

    A run that was killed right after it moved the pointer left its own to the next.
    """
    try:
        run.runs.drop_journals(until)
    except Exception as error:
        run.progress.say(f"Old journals stay. {explain(error, 'remove', 'them', run.store.url)}")


def _write_ledger(run: Run) -> str:
    file = run.scratch / "part-00001.parquet"
    write_ledger(run.catalog, file)
    run.runs.upload(file, run.layout.ledger(run.name) + file.name)
    return run.layout.uri(run.layout.ledger(run.name))


def _switch(held: Held, summary: Summary, made_of: str) -> Summary:
    """Exports, and then points readers at this run: the last thing that is written."""
    run = held.run
    created = held.current.created if held.current else ""
    origin = Origin(run.name, (str(run.described),), summary.quality)
    exports = export_run(run.catalog, run.mapping, run.settings, run.runs, origin, created, run.scratch, run.progress)
    if held.lease:
        held.lease.check()
    current = Current(run.name, summary.ledger, exports, made_of, asdict(summary.counts), created)
    run.runs.publish(current, held.current, held.capabilities)
    return replace(summary, exports=exports, published=True, current_run=run.name)


def _report(ended: Ended, summary: Summary, made_of: str) -> dict[str, object]:
    held, run, report = ended.held, ended.held.run, ended.inventory.report
    return {
        **summary.as_json(),
        "schema": SCHEMA_NUMBER,
        "fingerprint": made_of,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "settings": run.settings.model_dump(),
        "request": asdict(run.request),
        "stages": summary.stages,
        "store": {
            "conditional_writes": held.capabilities.conditional_writes,
            "lock": "advisory" if held.lease and held.lease.advisory else "exclusive",
        },
        "batches": len(ended.plan.batches),
        "other_files": report.other_files,
        "excluded": report.excluded,
        "annotations": asdict(ended.annotated.matches),
    }
