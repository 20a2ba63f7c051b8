"""The exports of a run: from the proven rows into the store, each under its name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from imagehaul.entity import Addresses, OriginalsInPlace
from imagehaul.exports.export import About, Exported, ExportFiles, Origin
from imagehaul.exports.registry import write_exports
from imagehaul.layout import GALLERY
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import proofs_of
from imagehaul.ledger.entities import classes_of_boxes, count_entities, images, rejects
from imagehaul.ledger.metadata_columns import exported_columns
from imagehaul.ledger.runs import PublishedSource, Runs
from imagehaul.progress import Progress
from imagehaul.records import BoxSpace, ExportName
from imagehaul.settings import Settings
from imagehaul.version import software


def origin_of(run: str, sources: Mapping[str, PublishedSource], quality: tuple[str, ...]) -> Origin:
    """What exports say of where the data set comes from."""
    return Origin(run, tuple(source.source for _, source in sorted(sources.items()) if source.source), quality)


def export_run(
    catalog: Catalog,
    sources: Collection[PublishedSource],
    settings: Settings,
    runs: Runs,
    read: Callable[[str], bytes],
    origin: Origin,
    created: str,
    scratch: Path,
    progress: Progress,
) -> dict[str, str]:
    """Name → URI of each export. `sources`: all that the index shows. `read`: see `object_reader`. `created`: when the
    data set was first published, in ISO 8601; "" = now.

    Says in a line what a format could not carry. Raises what the client raises, and OSError.
    """
    layout = runs.layout
    beside = layout.bucket, f"{layout.exports}{origin.run}/"
    elsewhere = settings.export_entities_result_bucket
    chosen = (elsewhere, f"{layout.dataset}/{origin.run}/") if elsewhere else beside

    def place(name: str) -> tuple[str, str]:
        """Bucket and key. The gallery finds the pictures by their place relative to its own."""
        bucket, folder = beside if name.startswith(GALLERY) else chosen
        return bucket, folder + name

    addresses = Addresses(
        layout,
        settings.cdn_fullpath,
        settings.serve_original_image,
        settings.source_use_fullpath and len(sources) == 1,
        tuple(
            OriginalsInPlace(source.originals, source.source_cdn_fullpath, source.key_prefix)
            for source in sources
            if source.originals
        ),
    )

    def send(file: Path, name: str) -> None:
        bucket, key = place(name)
        runs.upload(file, key, bucket)

    exported = export_all(
        catalog, addresses, settings.box_space, settings.exports, created, scratch, send, read, origin
    )
    for name, done in exported.items():
        if left_out := [f"{what} ({count:,})" for what, count in done.left_out.items() if count]:
            progress.say(f"The export {name} has no place for {', '.join(left_out)}.")
    return {name: f"s3://{'/'.join(place(done.name))}" for name, done in exported.items()}


def export_all(
    catalog: Catalog,
    addresses: Addresses,
    box_space: BoxSpace,
    names: Sequence[ExportName],
    created: str,
    scratch: Path,
    send: Callable[[Path, str], None],
    read: Callable[[str], bytes],
    origin: Origin | None = None,
) -> dict[str, Exported]:
    """One pass over the proven rows. `send(file, name)` takes each finished file away, `read(key)` gives an object."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about = About(
        addresses,
        count_entities(catalog),
        classes_of_boxes(catalog),
        software(),
        created or now,
        now,
        box_space,
        lambda: rejects(catalog),
        exported_columns(catalog),
        origin or Origin(),
        proofs_of(catalog),
    )
    with ExportFiles(scratch, send, read) as files:
        return write_exports(names, images(catalog, addresses, box_space), about, files)
