"""What the source holds, what the store holds, and what earlier runs wrote, as tables of the catalog."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagehaul.errors import Code, SourceError, StoreError, Trait
from imagehaul.layout import MAIN_SOURCE, Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.rows import COLUMNS
from imagehaul.mapping import Mapping, problem_of
from imagehaul.records import SourceFile, StoredObject
from imagehaul.url_secrets import without_secrets

OK = "('delivered', 'unchanged', 'sent', 'present', 'in_place')"
"""The states in which an object was in the store, as far as its row knows."""
_BACKSLASH = "contains(name, '\\')"
_KNOWN = "key, size, etag, md5, recipe, run"


def load_source(catalog: Catalog, files: Iterable[SourceFile], mapping: Mapping) -> tuple[int, str]:
    """One row for each entry with an image's suffix, with the name that the mapping gives it.

    Gives how many images a list has metadata of in several rows that are not the same, and one of them.
    """

    def rows() -> Iterator[tuple[int, str, int, str, str, str, str, str, str]]:
        for ordinal, file in enumerate(files):
            code, message, name = file.code, file.message, ""
            if not code:
                name = mapping.path(file.path)
                key = mapping.image_key(name)
                if code := problem_of(key):
                    message = f"{Code[code].meaning} The key would be {key!r}."
                    name = ""
            yield ordinal, file.path, file.size, file.version, code, message, name, file.location, file.metadata

    catalog.load("source", rows())
    repeated, *_ = catalog.one("SELECT count(*) - count(DISTINCT path) FROM source")
    if not repeated:
        return 0, ""
    unlike = _merge_metadata(catalog)
    _merge_repeated(catalog)
    return unlike


def _merge_metadata(catalog: Catalog) -> tuple[int, str]:
    """Of several rows for one image, the first that says something counts."""
    first = (
        "(SELECT path, arg_min(metadata, ordinal) FILTER (metadata <> '') AS said FROM source "
        "GROUP BY path HAVING count(*) > 1 AND said IS NOT NULL)"
    )
    count, example = catalog.one(
        f"SELECT count(DISTINCT path), coalesce(arg_min(path, ordinal), '') FROM source JOIN {first} USING (path) "
        "WHERE metadata NOT IN ('', said)"
    )
    catalog.execute(f"UPDATE source SET metadata = first.said FROM {first} AS first WHERE source.path = first.path")
    return int(count), str(example)


def _merge_repeated(catalog: Catalog) -> None:
    """The same row twice in a list is one; members of one name in an archive are none.

    Raises `SourceError` where two rows of one path lead to different places.
    """
    catalog.execute("DELETE FROM source WHERE ordinal NOT IN (SELECT min(ordinal) FROM source GROUP BY path, location)")
    other = catalog.rows(
        "SELECT path, list(ordinal ORDER BY ordinal), list(location ORDER BY ordinal) FROM source "
        "GROUP BY path HAVING count(*) > 1 ORDER BY path"
    )
    same: list[tuple[int]] = []
    doubled: list[int] = []
    for path, ordinals, locations in other:
        if len({_archive_of(location) for location in locations}) == 1 and _archive_of(locations[0]):
            # Members of one archive: which one is meant, nobody knows.
            doubled.append(ordinals[0])
            same += [(ordinal,) for ordinal in ordinals[1:]]
            continue
        places = {_archive_of(location) or without_secrets(location) or path for location in locations}
        first, second, *_ = [*sorted(places), ""]
        if second:
            raise SourceError(
                f"Two images on one key, so nothing was sent: {first!r} and {second!r} would both be {path!r}. "
                f"{_NAMED_APART if any(map(_archive_of, locations)) else _KEYED_APART}"
            )
        same += [(ordinal,) for ordinal in ordinals[1:]]
    catalog.load("repeated", same)
    catalog.execute("DELETE FROM source WHERE ordinal IN (SELECT ordinal FROM repeated)")
    catalog.execute(
        "UPDATE source SET code = 'DUPLICATE_NAME', message = ?, name = '' WHERE list_contains(?, ordinal)",
        [Code.DUPLICATE_NAME.meaning, doubled],
    )


_KEYED_APART = "Give each a name of its own in a column 'key', or take one out."
_NAMED_APART = "Rename the archive, or leave one out with EXCLUDE."


def _archive_of(location: str) -> str:
    """The archive that a member lies in, "" for what lies in none."""
    return str(json.loads(location)[0]) if location.startswith("[") else ""


def load_listing(
    catalog: Catalog, objects: Iterable[StoredObject], layout: Layout, originals: str = "", key_prefix: str = ""
) -> None:
    """The objects below the data set's three folders; others are left out. Replaces an earlier listing.

    `originals`, `key_prefix`: as in `Mapping`; the keys of originals that stay are whole URIs.
    """
    catalog.clear("listing")

    images, thumbnails, crops = layout.images, layout.thumbnails, layout.crops

    def rows() -> Iterator[tuple[str, str, str, int, str]]:
        for item in objects:
            key = item.key
            if originals and key.startswith(originals):
                kind, name = "image", key_prefix + key.removeprefix(originals)
            elif key.startswith(images):
                kind, name = "image", key.removeprefix(images)
            elif key.startswith(thumbnails):
                kind, name = "thumbnail", posixpath.splitext(key.removeprefix(thumbnails))[0]
            elif key.startswith(crops):
                kind, name = "crop", posixpath.dirname(key.removeprefix(crops))
            else:
                continue
            yield kind, name, key, item.size, item.etag

    catalog.load("listing", rows())


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """The rows that one earlier run left, as local Parquet files; a journal where it did not end."""

    run: str
    files: tuple[Path, ...]
    published: bool


def load_prior(catalog: Catalog, runs: Iterable[EarlierRun], source_name: str = MAIN_SOURCE) -> None:
    """Fills `prior` and `published` with what is said of this source, `other` with the published rows of all others,
    and `known`. Raises `StoreError` where a run's files are not a ledger.

    The published run comes last: it may be another source's, and carry what this one's earlier run said.
    """
    # An older version's ledger lacks the newest columns, and a newer one's has more.
    known = f"COLUMNS('^({'|'.join(name for name in COLUMNS if name != 'source_name')})$')"
    for earlier in sorted(runs, key=lambda item: (not item.published, item.run), reverse=True):
        if not earlier.files:
            continue
        said = (
            f"(SELECT * REPLACE (coalesce(source_name, '{MAIN_SOURCE}') AS source_name) FROM ("
            "FROM read_parquet($files, union_by_name = true) "
            "UNION ALL BY NAME SELECT NULL::VARCHAR AS source_name WHERE FALSE)) said"
        )
        files = {"files": [str(file) for file in earlier.files]}
        own = {"source": source_name, **files}
        try:
            # A run that says anything of an image says it of all its objects: older runs are not asked then.
            catalog.execute(
                f"INSERT INTO prior BY NAME SELECT {known}, source_name, $published AS published FROM {said} "
                "WHERE source_name = $source "
                "AND NOT EXISTS (SELECT 1 FROM prior later WHERE later.source_path = said.source_path)",
                {"published": earlier.published, **own},
            )
            # Where the latest word on an object is a failure, an older run may still say what lies there.
            catalog.execute(
                f"INSERT INTO known SELECT {_KNOWN} FROM {said} WHERE status IN {OK} "
                "AND NOT EXISTS (SELECT 1 FROM known later WHERE later.key = said.key)",
                files,
            )
            if earlier.published:
                catalog.execute(
                    f"INSERT INTO published SELECT source_path, key FROM {said} "
                    f"WHERE kind = 'image' AND status IN {OK} AND source_name = $source",
                    own,
                )
                carried = "CASE status WHEN 'delivered' THEN 'unchanged' ELSE status END AS status"
                catalog.execute(
                    f"INSERT INTO other BY NAME SELECT {known}, source_name "
                    f"FROM (SELECT * REPLACE ({carried}) FROM {said}) WHERE source_name <> $source",
                    own,
                )
        except catalog.Error as error:
            raise StoreError(
                f"The ledger of run {earlier.run} cannot be read: {str(error).splitlines()[0]}\n"
                "Restore it from a copy, or move the run away: what lies in the store is then told by its ETags."
            ) from error
    catalog.execute(
        f"INSERT INTO known SELECT {_KNOWN} FROM prior WHERE key <> '' AND status = 'failed' "
        "AND NOT EXISTS (SELECT 1 FROM known WHERE known.key = prior.key)"
    )


def keep_unseen(catalog: Catalog, mapping: Mapping) -> tuple[int, str]:
    """What could not be looked at is unknown, not gone: an image that was delivered is taken for what it was then.

    Gives how many these are, and one of them. Needs `prior`.
    """
    rows = catalog.rows(
        "SELECT ordinal, path, source_size, source_version FROM source JOIN prior ON source_path = path "
        f"WHERE list_contains($unseen, source.code) AND kind = 'image' AND status IN {OK} ORDER BY ordinal",
        {"unseen": Code.all_with(Trait.UNSEEN)},
    )
    catalog.load("unseen", ((ordinal, mapping.path(path), size, version) for ordinal, path, size, version in rows))
    catalog.execute(
        "UPDATE source SET code = '', message = '', name = u.name, size = u.size, version = u.version "
        "FROM unseen u WHERE source.ordinal = u.ordinal"
    )
    count, example = catalog.one(
        "SELECT count(*), coalesce(arg_min(path, ordinal), '') FROM source JOIN unseen USING (ordinal)"
    )
    return int(count), str(example)


def refuse_collisions(catalog: Catalog, mapping: Mapping) -> None:
    """Raises `SourceError` where two sources would land on one key, and names both."""
    collisions = list(
        catalog.rows(
            "SELECT name, min(path), max(path), count(*) FROM source WHERE code = '' "
            "GROUP BY name HAVING count(*) > 1 ORDER BY name LIMIT 3"
        )
    )
    if collisions:
        total, *_ = catalog.one(
            "SELECT count(*) FROM (SELECT name FROM source WHERE code = '' GROUP BY name HAVING count(*) > 1)"
        )
        lines = [
            f"{first!r} and {second!r} would both be {mapping.image_key(name)!r}"
            for name, first, second, _ in collisions
        ]
        raise SourceError(
            f"Two sources on one key, {total} times, so nothing was sent: {'; '.join(lines)}. "
            "Keep the folders with SOURCE_USE_FULLPATH=true, or rename one of each."
        )


def near_collisions(catalog: Catalog) -> tuple[int, list[tuple[str, str]]]:
    """Keys that differ in case, or in Unicode composition (NFC, NFD), alone: how many groups, and examples.

    They are different keys in S3, and the same file once somebody copies them to macOS or Windows.
    """
    groups = (
        "SELECT min(name) AS first, max(name) AS second FROM source WHERE code = '' "
        "GROUP BY lower(nfc_normalize(name)) HAVING count(DISTINCT name) > 1"
    )
    total, *_ = catalog.one(f"SELECT count(*) FROM ({groups})")
    return int(total), [(str(a), str(b)) for a, b in catalog.rows(f"{groups} ORDER BY first LIMIT 3")]


def has_backslashes(catalog: Catalog) -> bool:
    (some,) = catalog.one(f"SELECT count(*) > 0 FROM source WHERE code = '' AND {_BACKSLASH}")
    return bool(some)


def reject_backslashes(catalog: Catalog) -> None:
    """Marks the names that have one as rejected: this store cannot keep them."""
    code = Code.KEY_REWRITTEN
    catalog.execute(
        f"UPDATE source SET code = $code, message = $message, name = '' WHERE code = '' AND {_BACKSLASH}",
        {"code": code, "message": code.meaning},
    )


def drop_broken(catalog: Catalog, findings: str) -> None:
    """Takes out of the listing what a verification found not to be as the ledger says. `findings`: its Parquet file."""
    catalog.execute(
        "DELETE FROM listing WHERE key IN (SELECT key FROM read_parquet(?) WHERE problem <> 'extra')", [findings]
    )
