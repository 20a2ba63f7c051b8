"""The first stages of a run: the store and the data set's lock, what there is, and what annotations say of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeAlias

from imagehaul.annotations.registry import unread_label_files
from imagehaul.delivery.annotations import gather_annotations
from imagehaul.delivery.other_sources import take_other_sources
from imagehaul.delivery.run import HeldDataset, Inventory, MatchedAnnotations, Run
from imagehaul.errors import SettingsError
from imagehaul.layout import new_run_name
from imagehaul.ledger.inventory import (
    drop_broken,
    has_backslashes,
    keep_unseen,
    load_listing,
    load_prior,
    load_source,
    near_collisions,
    refuse_collisions,
    reject_backslashes,
)
from imagehaul.ledger.lease import lease
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.metadata_columns import add_metadata_columns, name_metadata_columns
from imagehaul.ledger.runs import read_current
from imagehaul.records import SourceFile
from imagehaul.sources.registry import scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import SourceDescriptor
from imagehaul.sources.source_store import source_store
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.listing import list_dataset, list_in_place
from imagehaul.store.multipart import abort_unfinished_uploads
from imagehaul.store.probe import keeps_backslashes, probe_writing
from imagehaul.text import counted

Watching: TypeAlias = Callable[[Iterable[SourceFile]], Iterable[SourceFile]]


def check_and_lock(run: Run, stack: ExitStack) -> HeldDataset:
    """Takes the data set for this run, until the stack ends; a dry run takes nothing.

    Raises `StoreError` before any work where the store, the keys or a bucket are not what they should be, and
    `LockedError` where another run works and this one is not to wait.
    """
    run.progress.stage(f"Checking {run.layout.uri(run.layout.root)}")
    capabilities, held = _check_stores(run), None
    if not run.request.dry_run:
        options = run.settings.object_options()
        held = stack.enter_context(
            lease(
                run.store,
                options,
                run.layout,
                capabilities,
                run.name,
                run.request.when_locked,
                run.progress.say,
                work_dies_with_it=run.settings.task_runner == "processes",
            )
        )
        _end_unfinished_uploads(run)
    root = run.layout.uri(run.layout.root)
    with run.store.explaining("read", root):
        current = read_current(run.client, run.layout)
        earlier = run.runs.earlier_names(current, run.request.source_name)
    if earlier and run.name <= earlier[-1]:
        # Clocks differ, and this run may have waited for the end of a later one.
        run = replace(run, name=new_run_name(after=earlier[-1]))
    return HeldDataset(run, capabilities, held, current, earlier)


def _check_stores(run: Run) -> Capabilities:
    """What the bucket of the data set can do; a dry run writes nothing, and does not find out."""
    places = [(run.layout.bucket, run.layout.root, "REMOTE_SAVE")]
    if bucket := run.settings.export_entities_result_bucket:
        places.insert(0, (bucket, f"{run.request.dataset}/", "EXPORT_ENTITIES_RESULT_BUCKET"))
    capabilities = Capabilities()
    for bucket, prefix, setting in places:
        run.store.check(bucket, prefix, wait=True, setting=setting)
        if not run.request.dry_run:
            capabilities = probe_writing(run.store, bucket, prefix, run.settings.object_options())
    if not capabilities.exclusive:
        run.progress.say(
            f"Conditional writes: {capabilities.conditional_writes}; lock: advisory. Two runs that begin within the "
            "same seconds are told apart by looking twice."
        )
    _refuse_backslashes(run)
    return capabilities


def _refuse_backslashes(run: Run) -> None:
    """Raises SettingsError where each key would have one, and the store would keep the object by another key."""
    wanted = {"REMOTE_SAVE": run.layout.root, "KEY_PREFIX": run.mapping.key_prefix}
    setting = next((name for name, value in wanted.items() if "\\" in value), "")
    if setting and not run.request.dry_run and not keeps_backslashes(run.files, run.layout):
        raise SettingsError(
            f"{setting} has a backslash in it, {wanted[setting]!r}, and the store at {run.store.url or 'AWS'} keeps "
            "no key with one.\nWrite '/' in its place, or leave it out."
        )


def _end_unfinished_uploads(run: Run) -> None:
    """The multipart uploads that a killed run of this data set left. The lock says that it is dead."""
    aborted, problem = abort_unfinished_uploads(
        run.store, run.layout.bucket, run.layout.root, started_before=datetime.now(UTC)
    )
    if aborted:
        run.progress.say(f"{len(aborted)} unfinished uploads of a killed run were ended, such as {aborted[0]}.")
    if problem:
        run.progress.say(f"Uploads that a killed run left may still be there. {problem}")


def take_inventory(held: HeldDataset, watching: Watching) -> Inventory:
    """What the source holds, what the store holds, what earlier runs left. `watching`: sees the images as they come.

    Raises `SourceError` where the source cannot be listed whole, or two of its images would land on one key.
    """
    run = held.run
    run.progress.stage(f"Listing {run.described}")
    report = ScanReport()
    images = watching(scan_source(run.source, run.described, report))
    unlike, example = load_source(run.catalog, images, run.mapping)
    warnings = [run.warn(line) for line in (*report.warnings(), *report.metadata.warnings())]
    if unlike:
        of_these = f"{counted(unlike, 'image')}, e.g. {example!r}"
        line = f"Several rows of the list say other metadata of one image ({of_these})"
        warnings.append(run.warn(f"{line}: the first row that says something counts."))
    add_metadata_columns(run.catalog, report.metadata.columns())
    warnings += _check_names(run)
    root = run.layout.uri(run.layout.root)
    run.progress.stage(f"Listing {root}")
    with run.store.explaining("read", root):
        source_name = run.request.source_name
        load_prior(run.catalog, run.runs.earlier(held.earlier, held.current, run.scratch, source_name), source_name)
        list_store(run)
    warnings += _keep_unseen(run)
    warnings += take_other_sources(run, held.current)
    if run.request.broken:
        drop_broken(run.catalog, run.request.broken)
    return Inventory(report.images, report, tuple(warnings))


def _keep_unseen(run: Run) -> list[str]:
    count, example = keep_unseen(run.catalog, run.mapping)
    if not count:
        return []
    refuse_collisions(run.catalog, run.mapping)
    return [
        run.warn(
            f"{counted(count, 'image')} could not be looked at now, e.g. {example!r}: the web server does not answer. "
            "What was delivered of them before stays."
        )
    ]


def list_store(run: Run) -> None:
    """Fills `listing` with what the data set's store and, of originals that stay in place, their own list now."""
    mapping, objects = run.mapping, list_dataset(run.client, run.layout)
    if mapping.originals:
        source = source_store(run.described.options, run.store)
        objects = itertools.chain(objects, list_in_place(source, mapping.originals))
    load_listing(run.catalog, objects, run.layout, mapping.originals, mapping.key_prefix)


def _check_names(run: Run) -> list[str]:
    asked = has_backslashes(run.catalog) and not run.request.dry_run
    if asked and not keeps_backslashes(run.files, run.layout):
        reject_backslashes(run.catalog)
    refuse_collisions(run.catalog, run.mapping)
    groups, examples = near_collisions(run.catalog)
    if not groups:
        return []
    first, second = examples[0]
    return [
        run.warn(
            f"{groups} groups of names differ in upper and lower case or in Unicode composition alone, such as "
            f"{first!r} and {second!r}. They are kept apart here, and would be one file on macOS or Windows."
        )
    ]


def read_annotations(run: Run, inventory: Inventory) -> MatchedAnnotations:
    """Raises `AnnotationError` where a file that was named is not there, or is not what it should be."""
    run.progress.stage("Reading annotations")
    place, store = run.described, source_store(run.described.options, run.store)
    if inside := inventory.report.annotations:
        # Those of an archive were laid out by its scan, as if they lay beside its pictures.
        place = SourceDescriptor("folder", str(inside))
    found = gather_annotations(run.request.annotations, place, store, run.catalog, run.scratch / "annotations")
    for line in found.lines:
        run.progress.say(line)
    add_metadata_columns(run.catalog, found.columns)
    matches = match_annotations(run.catalog, found.roots, run.settings.ignore_case)
    said = [*found.warnings, *name_metadata_columns(run.catalog), *matches.warnings()]
    if not found.lines:
        said += unread_label_files(inventory.report.left_out, inventory.report.images)
    warnings = [run.warn(line) for line in said]
    if run.settings.makes_crops and not matches.boxes:
        warnings.append(
            run.warn(
                f"SAVE_THUMBNAILS_METHOD={run.settings.save_thumbnails_method} asks for crops, and there is no "
                "annotated box: none are made. Give the boxes with --annotations."
            )
        )
    return MatchedAnnotations(matches, tuple(warnings))
