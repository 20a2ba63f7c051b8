"""The end of a delivery, shown to a person at a terminal or in a log."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imagehaul.layout import MAIN_SOURCE
from imagehaul.progress import human_bytes, per_second
from imagehaul.sources.scan_report import in_words
from imagehaul.text import counted, printable, printable_lines

if TYPE_CHECKING:
    from rich.console import Console

    from imagehaul.delivery.diff import Difference
    from imagehaul.delivery.restore import Restored
    from imagehaul.delivery.sources import ListedSource
    from imagehaul.delivery.summary import Summary
    from imagehaul.delivery.verification import Verification


_UNBOUNDED = 100_000
"""Characters: a line of a log or of a file ends where its text ends, or a URI would be cut in two."""


def standard_output() -> Console:
    """A terminal folds long lines by itself, and what is copied from it is whole."""
    from rich.console import Console

    return Console(soft_wrap=True, width=None if sys.stdout.isatty() else _UNBOUNDED)


def print_summary(summary: Summary, console: Console) -> None:
    """A table of counts, bytes, seconds and rates; the reasons; and where ledger and export lie."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left", style="dim", overflow="fold")
    for name, number, meaning in _count_rows(summary):
        table.add_row(Text(name), Text(number), Text(meaning))
    of = f"  source {summary.source_name}" if summary.source_name != MAIN_SOURCE else ""
    console.print(Text(f"\n{summary.dataset}{of}  run {summary.run}", style="bold"))
    console.print(table)
    for reason in summary.reasons:
        what = " and ".join(
            counted(count, name)
            for count, name in ((reason.images, "image"), (reason.renditions, "rendition"))
            if count
        )
        console.print(Text(f"{reason.status}: {reason.code}, {what}, for example {printable(reason.example)}"))
        console.print(Text(f"    {printable(reason.message)} {reason.advice}".rstrip(), style="dim"))
    if summary.left_out:
        console.print(
            Text(f"Left out, since their names are not those of images: {printable(in_words(summary.left_out))}.")
        )
    if summary.notes:
        console.print(Text("For example:"))
    for note in summary.notes:
        console.print(Text(f"    {printable(note)}"))
    if summary.refused:
        console.print(Text(f"Not published: {printable_lines(summary.refused)}", style="bold red"))
    elif summary.dry_run:
        console.print(Text("A dry run: nothing was sent."))
    elif summary.nothing_changed:
        console.print(Text(f"Nothing has changed: run {summary.current_run} stays current."))
    elif summary.published:
        console.print(Text(f"Published: run {summary.run} is current.", style="bold green"))
    if len(summary.sources) > 1:
        console.print(Text(_of_all_sources(summary.sources)))
    if summary.ledger:
        console.print(Text(f"ledger  {summary.ledger}"))
    for line in summary.quality:
        console.print(Text(f"quality {line}"))
    for name, uri in summary.exports.items():
        console.print(Text(f"export  {uri}  ({name})"))


def _count_rows(summary: Summary) -> list[tuple[str, str, str]]:
    """What is counted, how many, and what that means."""
    counts = summary.counts
    rate = per_second(counts.planned / summary.seconds) if summary.seconds else "0"
    rows = [
        ("planned", f"{counts.planned:,}", f"images in {printable(summary.source)}"),
        ("delivered", f"{counts.delivered:,}", f"{summary.new:,} new, {summary.changed:,} changed in the source"),
        ("unchanged", f"{counts.unchanged:,}", "proven now, sent by an earlier run"),
        ("rejected", f"{counts.rejected:,}", "not sent, for a reason in the file itself"),
        ("failed", f"{counts.failed:,}", "should have been sent, and not proven"),
        ("objects", f"{counts.objects:,}", f"images, thumbnails and crops sent: {human_bytes(counts.bytes)}"),
        ("seconds", f"{summary.seconds:,.1f}", f"{rate} images/s, {summary.sent_by}"),
    ]
    if summary.dry_run:
        rows[1:2] = [("to send", f"{counts.pending:,}", f"images, {human_bytes(summary.pending_bytes)}")]
        rows = [row for row in rows if row[0] not in ("rejected", "failed", "objects", "seconds")]
        rows.append(("rejected", f"{counts.rejected:,}", "so far: what is broken is found when it is read"))
        rows.append(("seconds", f"{summary.seconds:,.1f}", ""))
    if summary.vanished:
        rows.insert(5, ("gone", f"{summary.vanished:,}", "published before, and no longer in the source"))
    return rows


def _of_all_sources(sources: Mapping[str, int]) -> str:
    said = ", ".join(f"{name} {images:,}" for name, images in sorted(sources.items()))
    return f"index   {sum(sources.values()):,} images of all sources: {said}"


def print_verification(found: Verification, console: Console) -> None:
    """The counts, and the first object of each problem."""
    from rich.table import Table
    from rich.text import Text

    from imagehaul.ledger.comparison import PROBLEMS

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left", style="dim", overflow="fold")
    for name, number, meaning in (
        ("objects", found.objects, "that the ledger says are in the store"),
        ("proven", found.proven, f"as the ledger says: {human_bytes(found.bytes)}"),
        ("missing", found.missing, "the store does not list them"),
        ("changed", found.changed, "the store holds other bytes"),
        ("unread", found.unread, "there, and could not be read"),
        ("extra", found.extra, "in the store, and unknown to the ledger; harmless"),
    ):
        table.add_row(Text(name), Text(f"{number:,}"), Text(meaning))
    console.print(Text(f"\n{found.dataset}  run {found.run}", style="bold"))
    console.print(table)
    for example in found.examples:
        console.print(Text(f"{example.problem}: {printable(example.key)}  {printable(example.message)}"))
    more = sum(getattr(found, problem) for problem in PROBLEMS) - len(found.examples)
    if more:
        console.print(Text(f"and {more:,} more: `--findings FILE` writes them all."))
    if found.by_etag:
        console.print(Text(f"{found.by_etag:,} objects have no known hash, and were proven by their ETag alone."))
    for warning in found.warnings:
        console.print(Text(f"warning: {warning}", style="yellow"))


def print_difference(found: Difference, console: Console, output: str) -> None:
    """A table of counts, and the first of each kind of change."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "added", "removed", "changed", "same"):
        table.add_column(name, justify="right" if name else "left")
    for name, changes in (("images", found.images), ("boxes", found.boxes)):
        counts = (changes.added, changes.removed, changes.changed, changes.same)
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(Text(f"\n{found.dataset}  from run {found.before} to run {found.after}", style="bold"))
    console.print(table)
    for change in found.examples:
        label = f" {printable(change.label)!r}" if change.entity == "box" else ""
        what = f"  {change.what}" if change.what else ""
        console.print(Text(f"{change.change}: {change.entity}{label}  {printable(change.path)}{what}"))
    both = (found.images, found.boxes)
    more = sum(changes.added + changes.removed + changes.changed for changes in both) - len(found.examples)
    if output:
        console.print(Text(f"all of them: {printable(output)}"))
    elif more:
        console.print(Text(f"and {more:,} more: `--output FILE` writes them all."))


def print_restored(done: Restored, console: Console) -> None:
    """What became of it, and the first objects of each problem."""
    from rich.text import Text

    console.print(Text(f"{done.headline}."))
    for finding in done.examples:
        console.print(Text(f"{finding.problem}: {printable(finding.key)}  {printable(finding.message)}"))


def print_sources(dataset: str, found: Sequence[ListedSource], console: Console) -> None:
    """A row for each."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("name")
    table.add_column("images", justify="right")
    table.add_column("rows", justify="right")
    table.add_column("delivered")
    table.add_column("source", overflow="fold")
    for one in found:
        shown = (one.name, f"{one.images:,}", f"{one.rows:,}", one.time, one.source)
        table.add_row(*(Text(printable(text)) for text in shown))
    console.print(Text(f"\n{dataset}", style="bold"))
    console.print(table)
