"""What a run leaves in the store at its end: ledger, export, report, and last of all the pointer."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import UTC, datetime

from imagehaul.delivery.exporting import export_run
from imagehaul.delivery.stages import Delivery
from imagehaul.delivery.summary import MOST_PICTURES, MOST_PROBLEMS, Summary
from imagehaul.ledger.counts import Counts, pictures_of, problems_of, reasons_of
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.plan import Plan
from imagehaul.ledger.publish_checks import fingerprint, refusal, says_something_new, size_mismatches
from imagehaul.ledger.rows import SCHEMA_NUMBER
from imagehaul.ledger.runs import Current
from imagehaul.store.errors import explain
from imagehaul.version import software


def publish(delivery: Delivery, plan: Plan, counts: Counts) -> Summary:
    """Writes the ledger and the report, and where nothing speaks against it the export and `current.json`."""
    refused = refusal(delivery.catalog, plan, counts, delivery.settings, delivery.request.allow_loss, delivery.current)
    mismatches, example = size_mismatches(delivery.catalog, delivery.settings)
    if mismatches:
        delivery.warn(
            f"{mismatches:,} images have another size than their annotations say, so that their boxes may lie "
            f"wrong. For example {example}."
        )
    summary = Summary(
        dataset=delivery.request.dataset,
        run=delivery.run,
        source=str(delivery.source),
        counts=counts,
        new=plan.new,
        changed=plan.changed,
        vanished=plan.vanished,
        seconds=0.0,
        engine=delivery.engine,
        ledger=delivery.current.ledger if delivery.current else "",
        exports=delivery.current.exports if delivery.current else {},
        published=False,
        refused=refused,
        current_run=delivery.current.run if delivery.current else "",
        reasons=reasons_of(delivery.catalog),
        problems=problems_of(delivery.catalog, MOST_PROBLEMS),
        pictures=pictures_of(delivery.catalog, MOST_PICTURES),
    )
    made_of = fingerprint(delivery.catalog, delivery.settings)
    changed = bool(refused) or says_something_new(delivery.catalog, made_of, delivery.current)
    with delivery.stage("publish", "Writing ledger and export"):
        try:
            if changed:
                summary = replace(summary, ledger=_write_ledger(delivery), exports={})
            if changed and not refused:
                summary = _switch(delivery, summary, made_of)
            summary = replace(
                summary,
                nothing_changed=not changed,
                warnings=tuple(delivery.warnings),
                seconds=time.monotonic() - delivery.began,
                stages=dict(delivery.seconds),
            )
            delivery.runs.write_json(delivery.layout.report(delivery.run), _report(delivery, summary, plan))
        except Exception as error:
            what = "report" if summary.published else "ledger"
            problem = explain(error, f"write the {what} of run {delivery.run}", delivery.store.url)
            delivery.stop_by(problem)
            # Once the pointer has moved, a report that is missing takes nothing back.
            refused = refused or ("" if summary.published else str(problem))
            summary = replace(summary, refused=refused, warnings=tuple(delivery.warnings))
    if summary.published or summary.nothing_changed:
        _tidy(delivery, until=summary.current_run)
    return replace(summary, seconds=time.monotonic() - delivery.began, stages=dict(delivery.seconds))


def _tidy(delivery: Delivery, until: str) -> None:
    """The journals of runs whose rows are in a published ledger now. They harm nobody where they stay.

    A run that was killed right after it moved the pointer left its own to the next.
    """
    try:
        delivery.runs.drop_journals(until)
    except Exception as error:
        delivery.progress.say(f"Old journals stay. {explain(error, 'remove them', delivery.store.url)}")


def _write_ledger(delivery: Delivery) -> str:
    file = delivery.scratch / "part-00001.parquet"
    write_ledger(delivery.catalog, file)
    delivery.runs.upload(file, delivery.layout.ledger(delivery.run) + file.name)
    return delivery.layout.uri(delivery.layout.ledger(delivery.run))


def _switch(delivery: Delivery, summary: Summary, made_of: str) -> Summary:
    """Exports, and then points readers at this run: the last thing that is written."""
    created = delivery.current.created if delivery.current else ""
    exports = export_run(
        delivery.catalog, delivery.layout, delivery.settings, delivery.runs, delivery.run, created, delivery.scratch
    )
    if delivery.lease:
        delivery.lease.check()
    current = Current(delivery.run, summary.ledger, exports, made_of, asdict(summary.counts), created)
    delivery.runs.publish(current, delivery.current, delivery.capabilities)
    return replace(summary, exports=exports, published=True, current_run=delivery.run)


def _report(delivery: Delivery, summary: Summary, plan: Plan) -> dict[str, object]:
    return {
        **summary.as_json(),
        "schema": SCHEMA_NUMBER,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": software(),
        "settings": delivery.settings.model_dump(),
        "request": asdict(delivery.request),
        "stages": summary.stages,
        "store": {
            "conditional_writes": delivery.capabilities.conditional_writes,
            "lock": "advisory" if delivery.lease and delivery.lease.advisory else "exclusive",
        },
        "batches": len(plan.batches),
        "other_files": delivery.report.other_files,
        "excluded": delivery.report.excluded,
        "annotations": asdict(delivery.matches) if delivery.matches else None,
    }
