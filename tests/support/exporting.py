"""A data set of a few ledger rows and annotations, and its exports in a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagehaul.delivery.exporting import export_all
from imagehaul.entity import Addresses
from imagehaul.exports.export import Exported, Origin
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.rows import COLUMNS, LedgerRow
from imagehaul.ledger.statements import load_annotations
from imagehaul.records import Annotation, Box, BoxSpace, ExportName, SourceFile
from tests.support.simulated import LAYOUT, MAPPING

ADDRESSES = Addresses(LAYOUT, "/image", False)
CREATED = "2026-01-02T03:04:05+00:00"


def image(path: str, **changes: Any) -> LedgerRow:
    row = LedgerRow(
        path, "image", MAPPING.image_key(path), "delivered", size=50_135, sha256="5a", media_id=f"id-{path}"
    )
    row = replace(row, format="JPEG", content_type="image/jpeg", width=360, height=240, orientation=1)
    return replace(row, **changes)


def thumbnail(path: str, **changes: Any) -> LedgerRow:
    return replace(LedgerRow(path, "thumbnail", MAPPING.thumbnail_key(path), "delivered"), **changes)


def crop(path: str, box: Box, **changes: Any) -> LedgerRow:
    return replace(LedgerRow(path, "crop", MAPPING.crop_key(path, box), "delivered"), **changes)


def said(path: str, kind: Any, text: str, box: Box | None = None, **more: Any) -> Annotation:
    return Annotation(path, "path", kind, text, "annotations.json", ("",), box, **more)


def export(
    catalog: Catalog,
    rows: Sequence[LedgerRow],
    annotations: Sequence[Annotation] = (),
    names: Sequence[ExportName] = (),
    addresses: Addresses = ADDRESSES,
    box_space: BoxSpace = "upright",
    created: str = CREATED,
    origin: Origin | None = None,
) -> tuple[Path, dict[str, Exported]]:
    """The folder with the exports' files, and what each export says of itself. An object's bytes are its key."""
    catalog.clear("proven")
    paths = {row.source_path for row in rows} | {item.reference for item in annotations}
    load_source(catalog, (SourceFile(path, 1, "1") for path in sorted(paths)), MAPPING)
    load_annotations(catalog, annotations)
    match_annotations(catalog)
    catalog.load("proven", ([*(getattr(row, name) for name in COLUMNS), False] for row in rows))
    scratch = Path(catalog.one("SELECT path FROM duckdb_databases() WHERE database_name = 'catalog'")[0]).parent
    folder = scratch / "exports"

    def send(file: Path, name: str) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / name)

    return folder, export_all(catalog, addresses, box_space, names, created, scratch, send, str.encode, origin)
