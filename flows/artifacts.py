"""What a flow run leaves in the Prefect UI for a person to look at.

Tables are Markdown artifacts, not table artifacts: of those, the V1 UI takes cells for Markdown and the V2 UI does
not, so that a name which is harmless in V1 has backslashes in V2. Markdown is drawn alike by both.
"""

from __future__ import annotations

import base64
import hashlib
import re

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact

from imagehaul.delivery.summary import Summary
from imagehaul.flows.parameters import form_of
from imagehaul.layout import Layout, split_object_uri
from imagehaul.markdown import cell, table
from imagehaul.progress import human_bytes, per_second
from imagehaul.rendering.contact_sheet import delivered_sheet
from imagehaul.settings import Settings
from imagehaul.sources.scan_report import in_words
from imagehaul.store.endpoint import Store
from imagehaul.text import printable


def artifact_key(kind: str, dataset: str) -> str:
    """Lower-case letters, digits and dashes, as Prefect asks; data sets whose names differ have other keys."""
    name = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")
    if name != dataset:
        name += f"-{hashlib.sha256(dataset.encode()).hexdigest()[:6]}"
    return f"{kind}-{name}"


def publish_plan(plan: Summary) -> None:
    """What a dry run would do, for somebody to look at before it is done."""
    create_markdown_artifact(
        markdown=summary_markdown(plan), key=artifact_key("plan", plan.dataset), description=plan.headline
    )


def publish_artifacts(summary: Summary, settings: Settings, store: Store) -> None:
    """The summary; and where there is something to show, a table of problems and a contact sheet."""
    store = store.under(settings.bucket_terms())
    create_markdown_artifact(
        markdown=summary_markdown(summary, settings),
        key=artifact_key("summary", summary.dataset),
        description=summary.headline,
    )
    if summary.problems:
        rows = [
            (cell(problem.path), problem.kind, problem.status, problem.code, cell(problem.message))
            for problem in summary.problems
        ]
        create_markdown_artifact(
            markdown=table(("file", "kind", "status", "code", "message"), rows),
            key=artifact_key("problems", summary.dataset),
            description=f"The first {len(summary.problems):,} rejected and failed files. The ledger has them all.",
        )
    card = _card(summary, store)
    if card:
        create_markdown_artifact(
            markdown=card,
            key=artifact_key("card", summary.dataset),
            description=f"The card of {summary.dataset}, as run {summary.current_run} published it.",
        )
    sheet = _sheet(summary, settings, store)
    if sheet:
        create_markdown_artifact(
            markdown=f"![contact sheet](data:image/jpeg;base64,{base64.b64encode(sheet).decode()})",
            key=artifact_key("contact-sheet", summary.dataset),
            description=f"{len(summary.pictures)} thumbnails or crops of {summary.dataset}, spread over the data set.",
        )


def _card(summary: Summary, store: Store) -> str:
    """What the export `card` wrote; "" where it was not asked for."""
    if not (summary.published and "card" in summary.exports):
        return ""
    bucket, key = split_object_uri(summary.exports["card"])
    try:
        return store.client().get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    except Exception as error:
        get_run_logger().warning("The card could not be read back: %s", printable(str(error)))
        return ""


def _sheet(summary: Summary, settings: Settings, store: Store) -> bytes | None:
    bucket = Layout.of(settings.remote_save, summary.dataset).bucket
    try:
        return delivered_sheet(store.client(), bucket, summary.pictures)
    except Exception as error:
        # It is there to be looked at; whether the delivery succeeded does not hang on it.
        get_run_logger().warning("No contact sheet could be made: %s", printable(str(error)))
        return None


def summary_markdown(summary: Summary, settings: Settings | None = None) -> str:
    counts = summary.counts
    lines = [
        f"# {cell(summary.dataset)}: {'plan' if summary.dry_run else 'delivery'}",
        "",
        cell(summary.headline) + ".",
        "",
        "| | | |",
        "|---|---:|---|",
        f"| planned | {counts.planned:,} | images in {cell(summary.source)} |",
    ]
    if summary.dry_run:
        lines += [
            f"| to send | {counts.pending:,} | {human_bytes(summary.pending_bytes)}: {summary.new:,} new, "
            f"{summary.changed:,} changed |",
            f"| unchanged | {counts.unchanged:,} | sent by an earlier run |",
            f"| rejected | {counts.rejected:,} | for a reason in the name |",
        ]
    else:
        lines += [
            f"| delivered | {counts.delivered:,} | {summary.new:,} new, {summary.changed:,} changed |",
            f"| unchanged | {counts.unchanged:,} | proven now, sent by an earlier run |",
            f"| rejected | {counts.rejected:,} | not sent, for a reason in the file itself |",
            f"| failed | {counts.failed:,} | should have been sent, and not proven |",
            f"| objects | {counts.objects:,} | images, thumbnails and crops sent: {human_bytes(counts.bytes)} |",
        ]
    if summary.vanished:
        lines.append(f"| gone | {summary.vanished:,} | published before, and no longer in the source |")
    lines += [f"| seconds | {summary.seconds:,.1f} | {_rates(summary)} |", ""]
    if summary.ledger:
        lines.append(f"- Ledger: {cell(summary.ledger)}")
    lines += [f"- Export {name}: {cell(uri)}" for name, uri in summary.exports.items()]
    if summary.current_run:
        lines.append(f"- Current run: {cell(summary.current_run)}")
    if summary.left_out:
        lines.append(f"- Left out, since their names are not those of images: {cell(in_words(summary.left_out))}")
    lines.append("")
    if summary.reasons:
        rows = [
            (reason.status, reason.code, f"{reason.images:,}", f"{reason.renditions:,}", cell(reason.example),
             cell(reason.advice))
            for reason in summary.reasons
        ]  # fmt: skip
        lines += ["## Rejected and failed", ""]
        lines += [table(("status", "code", "images", "renditions", "example", "what to do"), rows), ""]
    for title, remarks in (("Quality", summary.quality), ("Warnings", summary.warnings), ("Examples", summary.notes)):
        if remarks:
            lines += [f"## {title}", "", *(f"- {cell(remark)}" for remark in remarks), ""]
    if settings:
        lines += ["## Settings", "", *_settings_lines(settings)]
    return "\n".join(lines)


def _rates(summary: Summary) -> str:
    if summary.dry_run or not summary.seconds:
        return "nothing was sent"
    images = per_second((summary.counts.planned - summary.counts.failed) / summary.seconds)
    return f"{images} images/s, {human_bytes(summary.counts.bytes / summary.seconds)}/s, {summary.sent_by}"


def _settings_lines(settings: Settings) -> list[str]:
    defaults = form_of(Settings(remote_save="s3://bucket/"))
    changed = {name: value for name, value in form_of(settings).items() if value != defaults[name]}
    rows = [f"| {name.upper()} | {cell(str(value))} |" for name, value in changed.items()]
    return ["| | |", "|---|---|", *rows, "", "All others have their defaults."]
