"""All working tables of a run and of a verification, with their columns. Whoever fills one says so by its name.

They are DuckDB's, on the scratch disk (`catalog.py`). Text that is not known is "", a number 0, as in the ledger.
"""

from __future__ import annotations

from imagehaul.layout import MAIN_SOURCE
from imagehaul.ledger.rows import COLUMNS

_NOT_KNOWN = {"VARCHAR": "''", "BOOLEAN": "FALSE"}
_DEFAULTS = {name: _NOT_KNOWN.get(kind, "0") for name, kind in COLUMNS.items()} | {"source_name": f"'{MAIN_SOURCE}'"}
_LEDGER = ", ".join(f"{name} {kind} DEFAULT {_DEFAULTS[name]}" for name, kind in COLUMNS.items())
_SOURCE = (
    "ordinal BIGINT, path VARCHAR, size BIGINT, version VARCHAR, code VARCHAR, message VARCHAR, name VARCHAR, "
    "location VARCHAR, metadata VARCHAR"
)
_STATEMENT = (
    "ordinal BIGINT, reference VARCHAR, match VARCHAR, place INTEGER, kind VARCHAR, text VARCHAR, x DOUBLE, y DOUBLE, "
    "width DOUBLE, height DOUBLE, fraction BOOLEAN, crop_id VARCHAR, image_width BIGINT, image_height BIGINT, "
    "origin VARCHAR, metadata VARCHAR"
)
_BOX = (
    "path VARCHAR, crop_id VARCHAR, ordinal BIGINT, x DOUBLE, y DOUBLE, width DOUBLE, height DOUBLE, label VARCHAR, "
    "fraction BOOLEAN"
)
_PLACED = "media_id VARCHAR, path VARCHAR, label VARCHAR, x DOUBLE, y DOUBLE, width DOUBLE, height DOUBLE"
_METADATA_COLUMN = "place VARCHAR, name VARCHAR, type VARCHAR, exported VARCHAR"
_DECISION = "decision VARCHAR, reason VARCHAR"

TABLES: dict[str, str] = {
    # -- Inventory: what there is.
    # What the source holds. `name`: what the mapping made of the path; "" where `code` says it cannot be sent.
    # `location`: where its bytes lie, where the path does not say it. `metadata`: as `MetadataReader` keeps it.
    "source": _SOURCE,
    # Rows of a list that say again what an earlier row said.
    "repeated": "ordinal BIGINT",
    # Images of the source that could not be looked at, as an earlier run saw them.
    "unseen": "ordinal BIGINT, name VARCHAR, size BIGINT, version VARCHAR",
    # What the store holds. `name` as in `source`.
    "listing": "kind VARCHAR, name VARCHAR, key VARCHAR, size BIGINT, etag VARCHAR",
    # For each image the rows of the latest run that says anything of it; `published`: that run is the current one.
    "prior": f"{_LEDGER}, published BOOLEAN",
    # The images that the index shows today, and where they lie.
    "published": "source_path VARCHAR, key VARCHAR",
    # What was sent last under each key, as far as rows tell.
    "known": "key VARCHAR, size BIGINT, etag VARCHAR, md5 VARCHAR, recipe VARCHAR, run VARCHAR",
    # The rows of the data set's other sources, as the current run has them.
    "other": _LEDGER,
    # -- Annotations: which image each is about.
    # What annotation files say, and the folders that their references are seen from, best first. `apart`: folders
    # that a guess must not leave.
    "statement": _STATEMENT,
    "place": "place INTEGER, rank INTEGER, folder VARCHAR, apart VARCHAR",
    # The paths of the source without their suffix: whole, and the last part alone.
    "stem": "path VARCHAR, stem VARCHAR, base VARCHAR",
    # Each different reference, numbered, and the images that it may mean. `how`: see `spelling.py`, best first.
    "asked": "number BIGINT, match VARCHAR, reference VARCHAR, place INTEGER, base VARCHAR",
    "meant": "number BIGINT, rank INTEGER, path VARCHAR, how INTEGER",
    # Where the exact name finds nothing: what it may be written for, and its key, which the source's name has too.
    "spelling": "number BIGINT, match VARCHAR, rank INTEGER, key VARCHAR, name VARCHAR, how INTEGER",
    "name_key": "match VARCHAR, key VARCHAR, name VARCHAR, path VARCHAR",
    # Where that finds nothing either: images of the same base name, with each run of their folders.
    "open_base": "base VARCHAR",
    "guessable": "base VARCHAR, apart VARCHAR, path VARCHAR",
    # Each different reference, an image that it means, and how many it may mean.
    "reference": "match VARCHAR, reference VARCHAR, place INTEGER, path VARCHAR, images BIGINT, how INTEGER",
    # Statements with what their references were found to mean. `usable`: an export can show it.
    "resolved": f"{_STATEMENT}, path VARCHAR, images BIGINT, how INTEGER, usable BOOLEAN",
    # Those of them that are about one image.
    "annotation": f"{_STATEMENT}, path VARCHAR, images BIGINT, how INTEGER, usable BOOLEAN",
    # Which part of the data set (train, val …) an image belongs to, as far as something says so.
    "image_split": "path VARCHAR, split VARCHAR, splits BIGINT",
    # The same for the images of other sources, as the current run's export has it. `metadata`: by the names there.
    "other_annotation": "source_name VARCHAR, path VARCHAR, ordinal BIGINT, kind VARCHAR, text VARCHAR, x DOUBLE, "
    "y DOUBLE, width DOUBLE, height DOUBLE, fraction BOOLEAN, crop_id VARCHAR, metadata VARCHAR",
    "other_split": "source_name VARCHAR, path VARCHAR, split VARCHAR",
    # The columns of metadata that tables have, and their names in the index: see `imagehaul/metadata.py`.
    "metadata_column": _METADATA_COLUMN,
    "other_metadata_column": _METADATA_COLUMN,
    # -- Plan: what is to be done.
    # The crops that are wanted of each image.
    "box": _BOX,
    # What earlier runs said of each object, and whether that holds: see `plan.py`.
    "object": "source_path VARCHAR, kind VARCHAR, key VARCHAR, status VARCHAR, code VARCHAR, retryable BOOLEAN, "
    "source_size BIGINT, source_version VARCHAR, checked VARCHAR, pixels BIGINT, stands BOOLEAN, settled BOOLEAN, "
    "same BOOLEAN",
    # The images that lack a rendition that is wanted, and those that failed at one.
    "lacking": "path VARCHAR",
    "troubled": "path VARCHAR",
    # What is done with each image, and why; then the same beside the source.
    "decided": f"ordinal BIGINT, {_DECISION}",
    "plan": f"{_SOURCE}, {_DECISION}",
    # What a batch needs to know of its images, whose ordinals are `image`: boxes, and what lies under their keys.
    "work_box": f"image BIGINT, {_BOX}",
    "work_present": "image BIGINT, key VARCHAR, size BIGINT, etag VARCHAR, md5 VARCHAR, known_etag VARCHAR, "
    "recipe VARCHAR, run VARCHAR",
    # -- Proof: what became of it.
    # The rows of the run's batches, those carried over and those never sent.
    "outcome": _LEDGER,
    # What a look at single objects showed. `proof`: "" = the bytes are not proven.
    "looked_at": "key VARCHAR, proof VARCHAR, message VARCHAR",
    # The ledger of this run. `sent`: in this run.
    "proven": f"{_LEDGER}, sent BOOLEAN",
    # Images whose source was no longer what it was when the proof looked.
    "moved": "source_path VARCHAR",
    # -- Quality: see `quality.py`.
    # What speaks against an image. `group_id`: of duplicates. `confidence` and `threshold`: 0 to 1, or the measure's.
    "issue": "source_name VARCHAR, source_path VARCHAR, kind VARCHAR, confidence DOUBLE, group_id VARCHAR, "
    "threshold DOUBLE",
    # The different perceptual hashes, pairs that differ in few bits, and the smallest id that each is joined with.
    "hash": "id BIGINT, phash VARCHAR, high UBIGINT, low UBIGINT",
    "near_pair": "one BIGINT, other BIGINT, bits BIGINT",
    "hash_group": "id BIGINT, leader BIGINT",
    "hash_leader": "id BIGINT, leader BIGINT",
    # -- Difference: two publications side by side, see `difference.py`. `side`: 0 = before, 1 = after.
    "version_image": "side INTEGER, media_id VARCHAR, path VARCHAR, key VARCHAR, size BIGINT, md5 VARCHAR, "
    "sha256 VARCHAR, etag VARCHAR",
    # What the index says of each image. `metadata`: a digest.
    "version_said": "side INTEGER, media_id VARCHAR, path VARCHAR, split VARCHAR, labels VARCHAR[], "
    "captions VARCHAR[], metadata VARCHAR",
    "version_box": f"side INTEGER, {_PLACED}",
    # Boxes of a range that only one side has, and those of them that are one box that was changed.
    "lone_box": f"id BIGINT, side INTEGER, {_PLACED}",
    "box_pair": "after BIGINT, before BIGINT",
    # What differs. Of a box: where it is now, and where it was.
    "difference": "entity VARCHAR, change VARCHAR, media_id VARCHAR, path VARCHAR, what VARCHAR, "
    + ", ".join(
        f"label{when} VARCHAR, box_x{when} DOUBLE, box_y{when} DOUBLE, box_width{when} DOUBLE, box_height{when} DOUBLE"
        for when in ("", "_before")
    ),
    # -- Verification: the published ledger against the store.
    # The ledger's objects. `stands`: it says that the object is there, and it is one to look at.
    "expected": "key VARCHAR, kind VARCHAR, source_path VARCHAR, size BIGINT, etag VARCHAR, md5 VARCHAR, "
    "sha256 VARCHAR, stands BOOLEAN",
    # Objects that must be looked at, in the order of their keys. `held_etag`: the store's.
    "doubt": "key VARCHAR, kind VARCHAR, source_path VARCHAR, size BIGINT, md5 VARCHAR, sha256 VARCHAR, etag VARCHAR, "
    "held_etag VARCHAR, same_etag BOOLEAN",
    # What is not as the ledger says.
    "finding": "problem VARCHAR, kind VARCHAR, key VARCHAR, source_path VARCHAR, message VARCHAR",
}
"""Name → columns, as in `CREATE TABLE`."""

_OWN = "(SELECT source_name FROM proven LIMIT 1)"
"""The name of the source that the run delivers: all its rows have it."""

VIEWS: dict[str, str] = {
    # The ledger: the run's own rows, and those of all other sources.
    "indexed": "SELECT * EXCLUDE (sent) FROM proven UNION ALL SELECT * FROM other",
    # What is said of its images.
    "said": "SELECT source_name, path, ordinal, kind, text, x, y, width, height, fraction, crop_id, metadata "
    f"FROM annotation, {_OWN} WHERE usable UNION ALL SELECT * FROM other_annotation",
    "said_split": f"SELECT source_name, path, split FROM image_split, {_OWN} UNION ALL SELECT * FROM other_split",
}
"""Name → query. A path is one within a source: two sources may have the same."""

MACROS: dict[str, str] = {
    # A crop's key ends in `/<16 hex digits>.jpg`.
    "crop_id_of": "(key) AS left(right(key, 20), 16)",
}
"""Name → parameters and expression."""
