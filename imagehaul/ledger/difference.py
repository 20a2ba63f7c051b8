"""What differs between two publications: images and boxes that were added, removed or changed.

An image is known again by its media id. It has changed where its bytes, its key, or what is said of it did. Boxes that
only one side has are paired within their image, best first: those in the same place have another label, those of one
label that overlap have moved. What is left was added or removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagehaul.errors import StoreError
from imagehaul.ledger.catalog import Catalog, Range

BEFORE, AFTER = 0, 1
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Changes:
    """How many were added and so on, of images or of boxes; `same`: on both sides, and alike."""

    added: int
    removed: int
    changed: int
    same: int


@dataclass(frozen=True, slots=True)
class Change:
    """`what` has changed, of a change: such as `bytes, labels` of an image, `label` or `place` of a box."""

    entity: str
    change: str
    path: str
    what: str
    label: str


def load_version(catalog: Catalog, side: int, ledger: Sequence[Path], table: Path, name: str) -> None:
    """`ledger`: its files, `table`: the `metadata.parquet`, of the run `name`. Raises StoreError for others."""
    files = [str(file) for file in ledger]
    try:
        catalog.append(
            "version_image",
            """
            SELECT $side AS side, media_id, source_path AS path, key, size, md5, sha256, etag FROM read_parquet($files)
            WHERE kind = 'image' AND status IN ('delivered', 'unchanged')
            """,
            {"side": side, "files": files},
        )
        columns = [row[0] for row in catalog.rows("DESCRIBE SELECT * FROM read_parquet($1)", [str(table)])]
        catalog.append(
            "version_said",
            f"""
            SELECT $side AS side, media_id, file_path AS path, {"split" if "split" in columns else "NULL"} AS split,
                   labels, captions, {_metadata(columns)} AS metadata
            FROM read_parquet($table) WHERE entity_type = 'image'
            """,
            {"side": side, "table": str(table)},
        )
        catalog.append(
            "version_box",
            """
            SELECT DISTINCT $side AS side, media_id, file_path AS path, coalesce(label, '') AS label, box_x AS x,
                   box_y AS y, box_width AS width, box_height AS height
            FROM read_parquet($table) WHERE entity_type = 'object'
            """,
            {"side": side, "table": str(table)},
        )
    except catalog.Error as error:
        raise StoreError(
            f"The ledger and index of run {name} cannot be read: {str(error).splitlines()[0]}\nName another run."
        ) from error


def _metadata(columns: Sequence[str]) -> str:
    """SQL for a digest of the user's own columns: a column without a value is as none."""
    own = [name for name in columns if name.startswith("meta_")]
    texts = [f"""'{name.replace("'", "''")}=' || "{name.replace('"', '""')}"::VARCHAR""" for name in sorted(own)]
    return f"md5(concat_ws(chr(10), {', '.join(texts)}))" if texts else "md5('')"


def find_differences(catalog: Catalog) -> tuple[Changes, Changes]:
    """Fills `difference`, a range of paths at a time, and counts: of images, of boxes."""
    catalog.clear("difference")
    rows = {table: catalog.one(f"SELECT count(*) FROM {table}")[0] for table in ("version_image", "version_box")}
    for part in catalog.ranges(max(rows, key=lambda table: int(rows[table])), "path"):
        catalog.append("difference", _IMAGES, part)
        _pair_boxes(catalog, part)
    return _changes(catalog, "image", "version_image"), _changes(catalog, "box", "version_box")


_WITHIN = "path >= $low AND ($high IS NULL OR path < $high)"
_IMAGES = f"""
    WITH image AS (
        SELECT i.*, coalesce(s.split, '') AS split, coalesce(s.labels, []) AS labels,
               coalesce(s.captions, []) AS captions, coalesce(s.metadata, '') AS metadata
        FROM (FROM version_image WHERE {_WITHIN}) i
        LEFT JOIN (FROM version_said WHERE {_WITHIN}) s ON s.side = i.side AND s.media_id = i.media_id
    ), paired AS (
        SELECT coalesce(a.media_id, b.media_id) AS media_id, coalesce(a.path, b.path) AS path,
               CASE WHEN b.media_id IS NULL THEN 'added' WHEN a.media_id IS NULL THEN 'removed' ELSE 'changed'
               END AS change,
               CASE WHEN b.media_id IS NULL OR a.media_id IS NULL THEN '' ELSE concat_ws(', ',
                   CASE WHEN CASE WHEN a.sha256 <> '' AND b.sha256 <> '' THEN a.sha256 <> b.sha256
                                  WHEN a.md5 <> '' AND b.md5 <> '' THEN a.md5 <> b.md5
                                  ELSE a.size <> b.size OR a.etag <> b.etag END THEN 'bytes' END,
                   CASE WHEN a.key <> b.key THEN 'key' END,
                   CASE WHEN a.split <> b.split THEN 'split' END,
                   CASE WHEN a.labels <> b.labels THEN 'labels' END,
                   CASE WHEN a.captions <> b.captions THEN 'captions' END,
                   CASE WHEN a.metadata <> b.metadata THEN 'metadata' END) END AS what
        FROM (FROM image WHERE side = {AFTER}) a
        FULL JOIN (FROM image WHERE side = {BEFORE}) b ON b.media_id = a.media_id
    )
    SELECT 'image' AS entity, change, media_id, path, what FROM paired WHERE change <> 'changed' OR what <> ''
"""


def _pair_boxes(catalog: Catalog, part: Range) -> None:
    one_side = "media_id, path, label, x, y, width, height"
    catalog.fill(
        "lone_box",
        f"""
        WITH box AS (FROM version_box WHERE {_WITHIN}), lone AS (
            SELECT {AFTER} AS side, * FROM (SELECT {one_side} FROM box WHERE side = {AFTER}
                                            EXCEPT SELECT {one_side} FROM box WHERE side = {BEFORE})
            UNION ALL
            SELECT {BEFORE} AS side, * FROM (SELECT {one_side} FROM box WHERE side = {BEFORE}
                                             EXCEPT SELECT {one_side} FROM box WHERE side = {AFTER})
        )
        SELECT row_number() OVER (ORDER BY media_id, side, label, x, y, width, height) AS id, * FROM lone
        """,
        part,
    )
    catalog.fill(
        "box_pair",
        f"""
        WITH overlap AS (
            SELECT a.id AS after, b.id AS before, a.label = b.label AS same_label,
                   (a.x, a.y, a.width, a.height) = (b.x, b.y, b.width, b.height) AS same_place,
                   greatest(0, least(a.x + a.width, b.x + b.width) - greatest(a.x, b.x))
                   * greatest(0, least(a.y + a.height, b.y + b.height) - greatest(a.y, b.y)) AS shared,
                   a.width * a.height + b.width * b.height AS areas
            FROM lone_box a JOIN lone_box b ON a.media_id = b.media_id AND a.side = {AFTER} AND b.side = {BEFORE}
        ), scored AS (
            SELECT after, before, CASE WHEN same_place THEN 2 ELSE shared / (areas - shared) END AS score
            FROM overlap WHERE same_place OR same_label AND shared > 0
        )
        SELECT after, before FROM scored
        QUALIFY row_number() OVER (PARTITION BY after ORDER BY score DESC, before) = 1
            AND row_number() OVER (PARTITION BY before ORDER BY score DESC, after) = 1
        """,
    )
    catalog.append(
        "difference",
        f"""
        SELECT 'box' AS entity, 'changed' AS change, a.media_id, a.path,
               CASE WHEN a.label <> b.label THEN 'label' ELSE 'place' END AS what,
               {_columns("a", "")}, {_columns("b", "_before")}
        FROM box_pair JOIN lone_box a ON a.id = after JOIN lone_box b ON b.id = before
        UNION ALL BY NAME
        SELECT 'box' AS entity, 'added' AS change, media_id, path, '' AS what, {_columns("a", "")}
        FROM lone_box a WHERE side = {AFTER} AND id NOT IN (SELECT after FROM box_pair)
        UNION ALL BY NAME
        SELECT 'box' AS entity, 'removed' AS change, media_id, path, '' AS what, {_columns("b", "_before")}
        FROM lone_box b WHERE side = {BEFORE} AND id NOT IN (SELECT before FROM box_pair)
        """,
    )


def _columns(table: str, suffix: str) -> str:
    boxes = (f"{table}.{name} AS box_{name}{suffix}" for name in ("x", "y", "width", "height"))
    return ", ".join([f"{table}.label AS label{suffix}", *boxes])


def _changes(catalog: Catalog, entity: str, versions: str) -> Changes:
    found = dict(catalog.rows("SELECT change, count(*) FROM difference WHERE entity = ? GROUP BY change", [entity]))
    after, *_ = catalog.one(f"SELECT count(*) FROM {versions} WHERE side = {AFTER}")
    added, removed, changed = (int(found.get(change, 0)) for change in ("added", "removed", "changed"))
    return Changes(added, removed, changed, int(after) - added - changed)


def first_changes(catalog: Catalog, most: int) -> Iterator[Change]:
    """The first of each kind by path, images before boxes."""
    query = """
        SELECT entity, change, path, what, coalesce(label, label_before, '') FROM difference
        WHERE entity = ? AND change = ? ORDER BY path, label, box_x, box_y LIMIT ?
    """
    for entity in ("image", "box"):
        for change in ("added", "removed", "changed"):
            yield from (Change(*row) for row in catalog.rows(query, [entity, change, most]))


def write_differences(catalog: Catalog, file: Path) -> None:
    """All of them, as Parquet, sorted by path; an image before its boxes."""
    from imagehaul.arrow import pa, pq

    query = f"SELECT * FROM difference WHERE {_WITHIN} ORDER BY path, entity DESC, change, label, box_x, box_y"
    writer: Any = None
    for part in catalog.ranges("difference", "path"):
        for batch in catalog.batches(query, part, ROWS_AT_ONCE):
            writer = writer or pq.ParquetWriter(file, batch.schema, compression="zstd")
            writer.write_table(pa.Table.from_batches([batch]))
    if writer is None:
        pq.write_table(catalog.table("SELECT * FROM difference"), file)
    else:
        writer.close()
