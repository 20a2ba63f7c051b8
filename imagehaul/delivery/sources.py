"""The sources of a data set: which there are, and how one is taken out of the index."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from imagehaul.delivery.exporting import export_run, origin_of
from imagehaul.delivery.holding import holding
from imagehaul.delivery.object_reader import ObjectReader
from imagehaul.delivery.other_sources import other_published_sources, read_index
from imagehaul.delivery.publish import look_for_issues
from imagehaul.errors import SettingsError, StoreError
from imagehaul.layout import Layout, new_run_name
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.inventory import load_prior
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.metadata_columns import name_metadata_columns
from imagehaul.ledger.other_sources import count_rows, lacking_rows
from imagehaul.ledger.publications import current_publication, need_source
from imagehaul.ledger.publish_checks import made_with
from imagehaul.ledger.runs import Current, Runs
from imagehaul.progress import Progress
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from imagehaul.store.errors import is_missing
from imagehaul.store.files import OwnFiles
from imagehaul.version import software

_EVERY = ""
"""No source's name: all are others to it."""


@dataclass(frozen=True, slots=True)
class ListedSource:
    """One source of the index. `images`: shown of it. `rows`: of its ledger. `time`: of its `run`, in ISO 8601."""

    name: str
    images: int
    rows: int
    source: str
    time: str
    run: str


def list_sources(store: Store, layout: Layout, settings: Settings, scratch: Path) -> list[ListedSource]:
    """By name. Raises `StoreError` where nothing was published."""
    with store.explaining("read", layout.uri(layout.current)):
        current = current_publication(store.patient_client(), layout)
    sources = current.sources
    runs = Runs(layout, OwnFiles(store.patient_client(), settings.object_options()))
    if any(source.rows < 0 for source in sources.values()):
        # Written before there could be several.
        with store.explaining("read", current.ledger), closing(Catalog(scratch)) as catalog:
            load_prior(catalog, runs.earlier((current.run,), current, scratch), _EVERY)
            counted = count_rows(catalog, "other")
            place = _told_by_report(runs, current)
        sources = {name: replace(one, rows=counted[name].rows, source=place) for name, one in sources.items()}
    return [
        ListedSource(name, one.images, one.rows, one.source, one.time, one.run) for name, one in sorted(sources.items())
    ]


def _told_by_report(runs: Runs, current: Current) -> str:
    """Where the current run's source lies, "" where its report does not say so."""
    try:
        report = runs.read_object(runs.layout.report(current.run))
    except Exception as error:
        if is_missing(error):
            return ""
        raise
    try:
        return str(json.loads(report)["source"])
    except (KeyError, TypeError, ValueError):
        return ""


def forget_source(
    name: str, settings: Settings, store: Store, layout: Layout, scratch: Path, progress: Progress
) -> Current:
    """Publishes the index without this source, and gives what is current then. No image is deleted.

    Raises `SettingsError` where there is no such source, or no other; `StoreError`.
    """
    options = settings.object_options()
    with holding(store, layout, options, progress) as (held, capabilities):
        with store.explaining("read", layout.uri(layout.current)):
            current = current_publication(store.patient_client(), layout)
        need_source(layout, name, current)
        if len(current.sources) == 1:
            raise SettingsError(
                f"{name!r} is the only source of the data set {layout.dataset!r}: without it there is no index. "
                "Deliver another one first, with --source-name."
            )
        progress.stage(f"Publishing {layout.dataset} without its source {name}")
        runs, run = Runs(layout, OwnFiles(store.patient_client(), options)), new_run_name(after=current.run)
        with closing(Catalog(scratch)) as catalog:
            with store.explaining("read", current.ledger):
                load_prior(catalog, runs.earlier((current.run,), current, scratch), name)
            if lacking := lacking_rows(catalog, current, name):
                raise StoreError(
                    f"{current.ledger} of run {current.run} no longer holds all rows: it lacks {', '.join(lacking)}.\n"
                    "The index would lose what they say. Restore the ledger from a copy, or deliver with --allow-loss."
                )
            read_index(store, current, catalog, scratch, name)
            name_metadata_columns(catalog)
            quality = look_for_issues(catalog, settings, progress)
            left = replace(
                current,
                run=run,
                ledger=layout.uri(layout.ledger(run)),
                fingerprint="",
                made_with=made_with(settings),
                counts=asdict(Counts()),
                sources=other_published_sources(catalog, current),
            )
            with store.explaining("write", f"run {run} to {layout.uri(layout.root)}"):
                objects = ObjectReader(runs, store, left.sources, _EVERY, settings.source_options())
                left = _write_run(left, catalog, runs, objects, settings, scratch, progress, quality)
        if held:
            held.check()
        runs.publish(left, current, capabilities)
    return left


def _write_run(
    current: Current,
    catalog: Catalog,
    runs: Runs,
    objects: ObjectReader,
    settings: Settings,
    scratch: Path,
    progress: Progress,
    quality: tuple[str, ...],
) -> Current:
    """Ledger, exports and report of a run that delivered nothing."""
    layout, run, file = runs.layout, current.run, scratch / "ledger.parquet"
    write_ledger(catalog, file, "other")
    runs.upload(file, layout.ledger_of_others(run))
    sources, origin = current.sources, origin_of(run, current.sources, quality)
    exports = export_run(
        catalog, sources.values(), settings, runs, objects.read, origin, current.created, scratch, progress
    )
    report = {
        "dataset": layout.dataset,
        "run": run,
        "ledger": current.ledger,
        "export": exports["json"].removesuffix("metadata.json"),
        "exports": exports,
        "published": True,
        "refused": "",
        "current_run": run,
        **current.counts,
        "publication": current.as_publication(),
        "settings": settings.model_dump(),
        "software": software(),
    }
    runs.write_json(layout.report(run), report)
    return replace(current, exports=exports)
