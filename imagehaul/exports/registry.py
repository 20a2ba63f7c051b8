"""All exports by name. One file and one line here add a format."""

from __future__ import annotations

from collections.abc import Iterable

from imagehaul.entity import Entity
from imagehaul.exports.export import About, Exported, ExportFiles, Opener
from imagehaul.exports.metadata_json import MetadataJson
from imagehaul.exports.metadata_parquet import MetadataParquet

EXPORTS: dict[str, Opener] = {
    "json": MetadataJson,
    "parquet": MetadataParquet,
}
ALWAYS = ("json", "parquet")
"""Written with every publication, whatever is asked for."""


def write_exports(
    names: Iterable[str], entities: Iterable[Entity], about: About, files: ExportFiles
) -> dict[str, Exported]:
    """Writes all of them in one pass over the entities, and says what each came to."""
    opened = {name: EXPORTS[name](about, files) for name in (*ALWAYS, *names)}
    for entity in entities:
        for export in opened.values():
            export.write(entity)
    return {name: export.close() for name, export in opened.items()}
