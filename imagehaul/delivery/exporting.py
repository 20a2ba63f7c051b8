"""The exports of a run: from the proven rows into the store, each under its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path

from imagehaul.entity import Addresses
from imagehaul.exports.export import About, Exported, ExportFiles
from imagehaul.exports.registry import write_exports
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.entities import count_entities, entities
from imagehaul.ledger.runs import Runs
from imagehaul.records import BoxSpace
from imagehaul.settings import Settings
from imagehaul.version import software


def export_run(
    catalog: Catalog, layout: Layout, settings: Settings, runs: Runs, run: str, created: str, scratch: Path
) -> dict[str, str]:
    """Name → URI of each export. `created`: when the data set was first published, in ISO 8601; "" = now.

    Raises what the client raises, and OSError.
    """
    bucket, folder = layout.bucket, f"{layout.exports}{run}/"
    if settings.export_entities_result_bucket:
        bucket, folder = settings.export_entities_result_bucket, f"{layout.dataset}/{run}/"
    addresses = Addresses(layout, settings.cdn_fullpath, settings.serve_original_image)

    def send(file: Path, name: str) -> None:
        runs.upload(file, folder + name, bucket)

    exported = export_all(catalog, addresses, settings.box_space, (), created, scratch, send)
    return {name: f"s3://{bucket}/{folder}{done.name}" for name, done in exported.items()}


def export_all(
    catalog: Catalog,
    addresses: Addresses,
    box_space: BoxSpace,
    names: Iterable[str],
    created: str,
    scratch: Path,
    send: Callable[[Path, str], None],
) -> dict[str, Exported]:
    """One pass over the proven rows. `send(file, name)` takes each finished file away."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    about = About(addresses, count_entities(catalog), software(), created or now, now)
    with ExportFiles(scratch, send) as files:
        return write_exports(names, entities(catalog, addresses, box_space), about, files)
