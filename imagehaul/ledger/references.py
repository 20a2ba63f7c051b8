"""Which image each reference of the annotations means: exactly, by another spelling, or by a guess.

A reference is resolved once, however many boxes stand on it. A guess is made for label files alone, which name a
picture without its suffix: the only image of that base name is meant, unless folders lie between that the layout
tells apart.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.spelling import EXACT, GUESSED, how_written, keys_of, names_of
from imagehaul.splits import LAYOUT_FOLDERS

_STEM = r"regexp_replace(path, '\.[^./]*$', '')"
_BASE = r"regexp_replace(regexp_extract(path, '[^/]*$'), '\.[^.]*$', '')"
_OPEN = "SELECT * FROM asked WHERE number NOT IN (SELECT number FROM meant)"
"""References that nothing was found for yet."""


def resolve_references(catalog: Catalog, roots: Sequence[str], any_case: bool) -> None:
    """Fills `reference` from `statement`, `place` and `source`.

    `roots`: the source as an absolute path or URI names it. `any_case`: upper and lower case may differ.
    """
    stems = "WHERE EXISTS (SELECT 1 FROM statement WHERE match = 'stem')"
    catalog.fill("stem", f"SELECT path, {_STEM} AS stem, {_BASE} AS base FROM source {stems}")
    catalog.fill(
        "asked",
        """
        SELECT row_number() OVER () AS number, match, reference, place, regexp_extract(reference, '[^/]*$') AS base
        FROM (SELECT DISTINCT match, reference, place FROM statement WHERE match <> 'folder')
        """,
    )
    catalog.clear("meant")
    _match_exactly(catalog)
    _match_other_spellings(catalog, roots, any_case)
    _guess(catalog)
    catalog.fill(
        "reference",
        """
        WITH best AS (
            SELECT * FROM meant QUALIFY 1000 * how + rank = min(1000 * how + rank) OVER (PARTITION BY number)
        )
        SELECT match, reference, place, min(path) AS path, count(DISTINCT path) AS images, coalesce(min(how), 0) AS how
        FROM asked LEFT JOIN best USING (number) GROUP BY number, match, reference, place
        """,
    )


def _match_exactly(catalog: Catalog) -> None:
    """As most are written. A reference has no detours, but for one that leads out of its folder: see `names_of`."""
    for match, table in (("path", "source"), ("stem", "stem")):
        catalog.append(
            "meant",
            f"""
            SELECT a.number, p.rank, s.path, {EXACT} AS how FROM asked a JOIN place p USING (place) JOIN {table} s
            ON s.{match} = CASE WHEN p.folder = '' THEN a.reference ELSE p.folder || '/' || a.reference END
            WHERE a.match = '{match}'
            """,
        )


def _match_other_spellings(catalog: Catalog, roots: Sequence[str], any_case: bool) -> None:
    """By what two spellings of one name have in common; then it is looked how the two differ."""
    folders: dict[int, list[str]] = {}
    for place, folder in catalog.rows("SELECT place, folder FROM place ORDER BY place, rank"):
        folders.setdefault(place, []).append(folder)

    def spellings() -> Iterator[tuple[Any, ...]]:
        for number, match, reference, place, _ in catalog.rows(_OPEN):
            for rank, (how, name) in enumerate(names_of(reference, folders[place], roots)):
                for key in keys_of(name, any_case):
                    yield number, match, rank, key, name, how

    catalog.clear("spelling")
    if not catalog.load("spelling", spellings()):
        return
    _gather_keys(catalog, any_case)
    pairs = "SELECT s.number, s.rank, s.name, s.how, k.path, k.name FROM spelling s JOIN name_key k USING (match, key)"
    found = (
        (number, rank, path, how_written(name, how, written))
        for number, rank, name, how, path, written in catalog.rows(pairs)
    )
    catalog.load("meant", found)


def _gather_keys(catalog: Catalog, any_case: bool) -> None:
    """Fills `name_key`. What DuckDB cannot do (undo percent-encoding) is done here, for the few names that have it."""
    names = "SELECT 'path' AS match, path AS name, path FROM source UNION ALL SELECT 'stem', stem, path FROM stem"
    key = "nfc_normalize(replace(name, '\\', '/'))"
    catalog.fill("name_key", f"SELECT match, {f'lower({key})' if any_case else key} AS key, name, path FROM ({names})")
    encoded = list(catalog.rows(f"SELECT * FROM ({names}) WHERE contains(name, '%')"))
    catalog.load(
        "name_key",
        ((match, key, name, path) for match, name, path in encoded for key in keys_of(name, any_case)),
    )


def _guess(catalog: Catalog) -> None:
    """Fills `guessable` with the images that have the base name of an open reference, once for each run of folders."""
    catalog.fill("open_base", f"SELECT DISTINCT base FROM ({_OPEN}) WHERE match = 'stem'")
    images = catalog.rows("SELECT base, path FROM stem JOIN open_base USING (base)")
    catalog.clear("guessable")
    catalog.load(
        "guessable", ((base, apart, path) for base, path in images for apart in _runs(posixpath.dirname(path)))
    )
    catalog.append(
        "meant",
        f"""
        SELECT DISTINCT a.number, 0 AS rank, g.path, {GUESSED} AS how FROM ({_OPEN}) a
        JOIN (SELECT DISTINCT place, apart FROM place) p USING (place) JOIN guessable g USING (base, apart)
        WHERE a.match = 'stem'
        """,
    )


def _runs(folder: str) -> set[str]:
    """Neighbouring folders of a path, as many as there are: `a/b` has ``, `a`, `b` and `a/b`."""
    parts = [part for part in folder.split("/") if part and part not in LAYOUT_FOLDERS]
    return {"/".join(parts[first:last]) for first in range(len(parts) + 1) for last in range(first, len(parts) + 1)}
