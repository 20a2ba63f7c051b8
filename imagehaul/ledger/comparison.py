"""The published ledger beside what the store lists: what is missing, changed or extra, and what must be looked at."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from imagehaul.errors import StoreError
from imagehaul.layout import MAIN_SOURCE
from imagehaul.ledger.catalog import Catalog
from imagehaul.store.read_back import Listed

Problem = Literal["missing", "changed", "unread", "extra"]
PROBLEMS: tuple[Problem, ...] = ("missing", "changed", "unread", "extra")


@dataclass(frozen=True, slots=True)
class Finding:
    """One object that is not as the ledger says. `source_path`: "" for an extra one, which the ledger does not know."""

    problem: Problem
    kind: str
    key: str
    source_path: str
    message: str


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of the ledger's objects; `problems`: of the findings, by problem. `bytes`: of the proven.

    `by_etag`: of those that were looked at, the ones that only their ETag proves.
    """

    objects: int
    proven: int
    bytes: int
    by_etag: int
    problems: dict[Problem, int]


def load_expected(catalog: Catalog, ledger: str, files: Iterable[Path], source_name: str = "") -> None:
    """Fills `expected`. `ledger`: the URI that the files come from. `source_name`: the one that is looked at, "" = all.

    Raises `StoreError` where they are not a ledger.
    """
    try:
        catalog.fill(
            "expected",
            f"""
            SELECT key, kind, source_path, size, etag, md5, sha256, status IN ('delivered', 'unchanged')
                   AND $source IN ('', coalesce(source_name, '{MAIN_SOURCE}')) AS stands
            FROM (FROM read_parquet($files, union_by_name = true)
                  UNION ALL BY NAME SELECT NULL::VARCHAR AS source_name WHERE FALSE) WHERE key <> ''
            """,
            {"files": [str(file) for file in files], "source": source_name},
        )
    except catalog.Error as error:
        raise StoreError(
            f"The ledger {ledger} cannot be read: {str(error).splitlines()[0]}\n"
            "Restore it from a copy, or remove current.json and deliver again: what is still there is not sent again."
        ) from error


def places_in_place(catalog: Catalog) -> list[str]:
    """The prefixes, as URIs, below which originals lie that stay where they are: one for each bucket."""
    spans = catalog.rows(
        "SELECT min(key), max(key) FROM expected WHERE stands AND starts_with(key, 's3://') "
        "GROUP BY split_part(key, '/', 3)"
    )
    return sorted(posixpath.commonprefix(list(span)) for span in spans)


def compare_with_listing(catalog: Catalog, content: bool) -> None:
    """Fills `finding` with what the listing alone tells, and `doubt` with the objects that must be looked at.

    `content`: with all that are listed in the right size.
    """
    catalog.fill(
        "finding",
        """
        SELECT 'missing' AS problem, kind, key, source_path, 'The store does not list it.' AS message
        FROM expected ANTI JOIN listing USING (key) WHERE stands
        UNION ALL
        SELECT 'changed', e.kind, key, source_path,
               'The store lists ' || l.size || ' bytes, and the ledger says ' || e.size || '.'
        FROM expected e JOIN listing l USING (key) WHERE stands AND l.size <> e.size
        UNION ALL
        SELECT 'changed', e.kind, key, source_path, 'The source lists another ETag than the ledger says.'
        FROM expected e JOIN listing l USING (key)
        WHERE stands AND l.size = e.size AND l.etag <> e.etag AND starts_with(key, 's3://')
        UNION ALL
        SELECT 'extra', kind, key, '', 'The ledger does not know it.' FROM listing ANTI JOIN expected USING (key)
        WHERE NOT starts_with(key, 's3://')
        """,
    )
    catalog.fill(
        "doubt",
        f"""
        SELECT key, e.kind, source_path, e.size, md5, sha256, e.etag, l.etag AS held_etag,
               coalesce(l.etag IN (e.etag, nullif(md5, '')), FALSE) AS same_etag
        FROM expected e JOIN listing l USING (key)
        WHERE stands AND l.size = e.size AND ({content} OR NOT same_etag) AND NOT starts_with(key, 's3://')
        ORDER BY key
        """,
    )


def count_doubts(catalog: Catalog) -> tuple[int, int]:
    """How many objects must be looked at, and their size in bytes."""
    number, size = catalog.one("SELECT count(*), coalesce(sum(size), 0) FROM doubt")
    return int(number), int(size)


def doubts(catalog: Catalog) -> Iterator[Listed]:
    """In the order of their keys."""
    return (Listed(*row) for row in catalog.rows("SELECT * FROM doubt"))


def keep_findings(catalog: Catalog, findings: Iterable[Finding]) -> None:
    catalog.load("finding", ((f.problem, f.kind, f.key, f.source_path, f.message) for f in findings))


def write_findings(catalog: Catalog, file: Path) -> None:
    """All of them, as Parquet, sorted by problem and key."""
    quoted = str(file).replace("'", "''")
    catalog.execute(
        f"COPY (SELECT * FROM finding ORDER BY problem, key) TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)"
    )


def tally(catalog: Catalog) -> Tally:
    objects, proven, size = catalog.one(
        """
        SELECT count(*), count(*) FILTER (f.key IS NULL), coalesce(sum(size) FILTER (f.key IS NULL), 0)
        FROM expected e LEFT JOIN finding f ON f.key = e.key WHERE stands
        """
    )
    (by_etag,) = catalog.one(
        "SELECT count(*) FROM doubt ANTI JOIN finding USING (key) "
        "WHERE same_etag AND sha256 = '' AND md5 = '' AND NOT regexp_full_match(etag, '[0-9a-f]{32}')"
    )
    problems = dict(catalog.rows("SELECT problem, count(*) FROM finding GROUP BY problem"))
    return Tally(objects, proven, int(size), by_etag, {problem: problems.get(problem, 0) for problem in PROBLEMS})


def examples(catalog: Catalog, most: int) -> Iterator[Finding]:
    """The first findings of each problem."""
    first = "SELECT * FROM finding WHERE problem = ? ORDER BY key LIMIT ?"
    return (Finding(*row) for problem in PROBLEMS for row in catalog.rows(first, [problem, most]))
