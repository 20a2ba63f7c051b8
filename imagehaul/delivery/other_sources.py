"""The data set's other sources in a run that delivers one: carried into its index, and named in `current.json`."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

from imagehaul.delivery.run import Run
from imagehaul.errors import StoreError
from imagehaul.layout import split_object_uri
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.metadata_columns import add_metadata_columns
from imagehaul.ledger.other_sources import (
    count_lost,
    count_rows,
    has_other_sources,
    lacking_rows,
    load_other_annotations,
    refuse_shared_keys,
)
from imagehaul.ledger.runs import Current, PublishedSource
from imagehaul.store.endpoint import Store
from imagehaul.store.files import fetch_files


def take_other_sources(run: Run, current: Current | None) -> list[str]:
    """Reads what the index says of them; their rows are in the catalog. Gives warnings.

    Raises `SourceError` where this source would write over what is another's.
    """
    if current is None:
        return []
    warnings = _check_rows(run, current)
    if not has_other_sources(run.catalog):
        return warnings
    refuse_shared_keys(run.catalog, run.mapping)
    read_index(run.store, current, run.catalog, run.scratch, run.request.source_name)
    lost, example = count_lost(run.catalog)
    if lost:
        warnings.append(
            run.warn(
                f"{lost:,} objects of the data set's other sources are no longer in the store as their ledger says, "
                f"such as {example}. `imagehaul verify --dataset {run.request.dataset}` names them."
            )
        )
    return warnings


def _check_rows(run: Run, current: Current) -> list[str]:
    """Raises `StoreError` where rows of other sources are no longer in the ledger: they would drop out of the index."""
    lacking = lacking_rows(run.catalog, current, run.request.source_name)
    if not lacking:
        return []
    said = f"{current.ledger} of run {current.run} no longer holds all rows: it lacks {', '.join(lacking)}."
    if run.request.allow_loss:
        return [run.warn(f"{said} The index shows what is left.")]
    raise StoreError(
        f"{said}\nThe index would lose what they say, so nothing was sent. Restore the ledger from a copy, go back to "
        "an older run with `imagehaul restore`, or accept the loss with --allow-loss, and deliver those sources again."
    )


def read_index(store: Store, current: Current, catalog: Catalog, scratch: Path, but: str) -> None:
    """What the index says of the images of all sources `but` one, into the catalog."""
    file, uri = scratch / "index.parquet", current.exports["parquet"]
    bucket, key = split_object_uri(uri)
    with store.explaining("read", uri):
        fetch_files(store.patient_client(), bucket, [key], [file])
    columns = load_other_annotations(catalog, file, but)
    add_metadata_columns(catalog, columns, "other_metadata_column")


def published_sources(run: Run, counts: Counts, made_of: str, current: Current | None) -> dict[str, PublishedSource]:
    """All sources of the index that this run makes. `made_of`: the fingerprint of its own."""
    sources = other_published_sources(run.catalog, current)
    mapping, here = run.mapping, run.request.source_name
    rows = count_rows(run.catalog, "proven")[here]
    sources[here] = PublishedSource(
        run=run.name,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        source=str(run.described),
        images=rows.images,
        rows=rows.rows,
        counts=asdict(counts),
        fingerprint=made_of,
        originals=mapping.originals,
        source_cdn_fullpath=run.settings.source_cdn_fullpath if mapping.originals else "",
        key_prefix=mapping.key_prefix,
    )
    return sources


def other_published_sources(catalog: Catalog, current: Current | None) -> dict[str, PublishedSource]:
    counted = count_rows(catalog, "other")
    known = current.sources if current else {}
    return {name: replace(known[name], rows=rows.rows, images=rows.images) for name, rows in counted.items()}
