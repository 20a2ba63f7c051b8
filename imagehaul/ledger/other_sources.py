"""The data set's other sources: what the current run says of them goes into this run's index as it is.

Their ledger rows lie in `other` (see `inventory.load_prior`). What is said of their images stands in no ledger: it is
read out of the current run's `metadata.parquet`, which holds all that the index shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagehaul.errors import SourceError, StoreError
from imagehaul.layout import MAIN_SOURCE
from imagehaul.ledger.catalog import Catalog, Range
from imagehaul.ledger.inventory import OK
from imagehaul.ledger.runs import Current
from imagehaul.mapping import IN_PLACE, Mapping
from imagehaul.metadata import PREFIX, ColumnType, MetadataColumn

SHOWN = 3
"""Examples in a message."""
_MOST_TEXTS = 1_000_000
"""Labels and captions of one image, so that each has a place of its own in the order."""
_TYPES: dict[str, ColumnType] = {
    "BIGINT": "integer",
    "DOUBLE": "number",
    "BOOLEAN": "boolean",
    "TIMESTAMP WITH TIME ZONE": "time",
    "VARCHAR[]": "texts",
}
"""DuckDB's types of the columns of `metadata.parquet`; all others are text."""


class Part(Range):
    """Some rows of one source: parameters of a query."""

    source: str


def has_other_sources(catalog: Catalog) -> bool:
    (some,) = catalog.one("SELECT count(*) > 0 FROM other")
    return bool(some)


@dataclass(frozen=True, slots=True)
class SourceRows:
    """Rows of the ledger of one source; `images`: of them, those that the index shows."""

    rows: int
    images: int


def count_rows(catalog: Catalog, table: Literal["proven", "other"]) -> dict[str, SourceRows]:
    """By source."""
    shown = "kind = 'image' AND status IN ('delivered', 'unchanged')"
    rows = catalog.rows(f"SELECT source_name, count(*), count(*) FILTER ({shown}) FROM {table} GROUP BY source_name")
    return {name: SourceRows(*counts) for name, *counts in rows}


def lacking_rows(catalog: Catalog, current: Current, but: str) -> list[str]:
    """In words, how many rows the ledger of the current run lacks of each source `but` one; they lie in `other`."""
    counted = count_rows(catalog, "other")
    there = {name: counted[name].rows if name in counted else 0 for name in current.sources}
    return [
        f"{source.rows - there[name]:,} of the {source.rows:,} of source {name!r}"
        for name, source in sorted(current.sources.items())
        if name != but and there[name] < source.rows
    ]


def parts_of_index(catalog: Catalog) -> Iterator[Part]:
    """Cuts the rows of `indexed`, source by source, each by its paths. Within a source a path is one image's."""
    names = sorted(name for (name,) in catalog.rows("SELECT DISTINCT source_name FROM indexed"))
    for name in names:
        rows = f"(FROM indexed WHERE source_name = '{name}')"
        for part in catalog.ranges(rows, "source_path"):
            yield Part(source=name, low=part["low"], high=part["high"])


def refuse_shared_keys(catalog: Catalog, mapping: Mapping) -> None:
    """Raises `SourceError` where an image would land on a key of another source, and names both.

    Two names that are equal share all their keys: those of images, thumbnails and crops.
    """
    layout = mapping.layout
    query = f"""
        WITH named AS (
            SELECT source_name, source_path, key, CASE
                WHEN kind = 'image' AND starts_with(key, $images) THEN substr(key, length($images) + 1)
                WHEN kind = 'thumbnail' THEN regexp_replace(substr(key, length($thumbnails) + 1), '[.][^.]*$', '')
                WHEN kind = 'crop' THEN regexp_replace(substr(key, length($crops) + 1), '/[^/]*$', '') END AS name
            FROM other WHERE key <> ''
        ), shared AS (
            SELECT s.path, n.source_name, n.source_path, s.name FROM source s JOIN named n USING (name)
            WHERE s.code = ''
            UNION SELECT s.path, n.source_name, n.source_path, s.name FROM source s JOIN named n
            ON n.key = $originals || substr(s.name, $start + 1) WHERE s.code = '' AND $originals <> ''
        )
        SELECT path, source_name, source_path, name, count(DISTINCT path) OVER () FROM shared
        QUALIFY row_number() OVER (PARTITION BY path ORDER BY source_name, source_path) = 1
        ORDER BY path LIMIT {SHOWN}
    """
    shared = list(
        catalog.rows(
            query,
            {
                "images": layout.images,
                "thumbnails": layout.thumbnails,
                "crops": layout.crops,
                "originals": mapping.originals,
                "start": mapping.image_start,
            },
        )
    )
    if not shared:
        return
    lines = [
        f"{path!r} of source {mapping.source_name!r} and {other_path!r} of source {other!r} "
        f"would both be {mapping.image_key(name)!r}"
        for path, other, other_path, name, _ in shared
    ]
    raise SourceError(
        f"Two sources of the data set on one key, {shared[0][-1]:,} times, so nothing was sent: {'; '.join(lines)}. "
        f"Keep them apart with --key-prefix, such as --key-prefix {mapping.source_name}. If it is the same source, "
        f"deliver it with --source-name {shared[0][1]}."
    )


def count_lost(catalog: Catalog) -> tuple[int, str]:
    """Objects of other sources that the store does not list as their rows have them: how many, and an example."""
    lost, example = catalog.one(
        f"SELECT count(*), coalesce(min(o.key), '') FROM other o ANTI JOIN listing l USING (key, size, etag) "
        f"WHERE o.status IN {OK} AND NOT starts_with(o.key, '{IN_PLACE}')"
    )
    return int(lost), str(example)


def load_other_annotations(catalog: Catalog, export: Path, own: str) -> list[MetadataColumn]:
    """Fills `other_annotation` and `other_split` from the current run's `metadata.parquet`.

    `own`: the source that this run delivers, which tells its own annotations. Gives the columns of metadata in which
    the others say something. Raises `StoreError` where the file is not what it should be.
    """
    try:
        columns = dict(row[:2] for row in catalog.rows("DESCRIBE FROM read_parquet(?)", [str(export)]))
        name = "source_name" if "source_name" in columns else f"'{MAIN_SOURCE}'"
        rows = f"(SELECT *, {name} AS belongs FROM read_parquet($file, file_row_number = true))"
        given = {"file": str(export), "own": own}
        metadata = _columns_said(catalog, rows, given, columns)
        images = _as_json([column for column in metadata if column.place == "image"])
        objects = _as_json([column for column in metadata if column.place == "object"])
        nothing = "0.0 AS x, 0.0 AS y, 0.0 AS width, 0.0 AS height, FALSE AS fraction, '' AS crop_id"
        catalog.fill(
            "other_annotation",
            f"""
            WITH of_images AS (FROM {rows} WHERE belongs <> $own AND entity_type = 'image')
            SELECT belongs AS source_name, file_path AS path, {_MOST_TEXTS} * file_row_number AS ordinal,
                   'metadata' AS kind, '' AS text, {nothing}, {images} AS metadata
            FROM of_images WHERE {images} <> '{{}}'
            UNION ALL
            SELECT belongs, file_path, {_MOST_TEXTS} * file_row_number + generate_subscripts(labels, 1), 'label',
                   unnest(labels), {nothing}, '' FROM of_images
            UNION ALL
            SELECT belongs, file_path, {_MOST_TEXTS} * file_row_number + len(labels) + generate_subscripts(captions, 1),
                   'caption', unnest(captions), {nothing}, '' FROM of_images
            UNION ALL
            SELECT belongs, file_path, {_MOST_TEXTS} * file_row_number, 'box', label, box_x, box_y, box_width,
                   box_height, FALSE, right(entity_id, 16), {objects}
            FROM {rows} WHERE belongs <> $own AND entity_type = 'object'
            """,
            given,
        )
        catalog.fill(
            "other_split",
            f"SELECT belongs AS source_name, file_path AS path, split FROM {rows} "
            "WHERE belongs <> $own AND entity_type = 'image' AND split IS NOT NULL"
            if "split" in columns
            else "SELECT '' AS source_name, '' AS path, '' AS split WHERE FALSE",
            given if "split" in columns else (),
        )
    except catalog.Error as error:
        raise StoreError(
            f"The current run's index, metadata.parquet, cannot be read: {str(error).splitlines()[0]}\n"
            "What it says of the data set's other sources would be lost. Restore it, or deliver those sources again."
        ) from error
    return metadata


def _columns_said(catalog: Catalog, rows: str, given: dict[str, str], columns: dict[str, str]) -> list[MetadataColumn]:
    """The columns of metadata in which other sources say something, in order, and whose: an image's, or an object's."""
    named = [name for name in columns if name.startswith(PREFIX)]
    if not named:
        return []
    counted = ", ".join(
        f"count({_quoted(name)}) FILTER (entity_type = 'image'), count({_quoted(name)})" for name in named
    )
    counts = catalog.one(f"SELECT {counted} FROM {rows} WHERE belongs <> $own", given)
    found = []
    for place, name in enumerate(named):
        of_images, all_of_them = counts[2 * place : 2 * place + 2]
        if all_of_them:
            own = name.removeprefix(PREFIX)
            kind = _TYPES.get(columns[name], "text")
            found.append(MetadataColumn("image" if of_images else "object", own, kind, own))
    return found


def _as_json(columns: list[MetadataColumn]) -> str:
    """SQL for the text in which these columns of a row are kept, nulls left out."""
    if not columns:
        return "'{}'"
    fields = []
    for column in columns:
        value = _quoted(PREFIX + column.name)
        if column.type == "time":
            # By the clock of UTC, whatever the session's zone: that would need an extension.
            value = f"make_timestamp(epoch_us({value}))::VARCHAR || '+00:00'"
        fields.append(f"{_quoted(column.name)} := {value}")
    # A merge leaves out what is null. https://www.rfc-editor.org/rfc/rfc7396
    return f"json_merge_patch('{{}}', to_json(struct_pack({', '.join(fields)})))::VARCHAR"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
