"""What the measures of a data set's pictures come to: duplicates, and pictures that are dark, bright, blurred or blank.

It works on the rows of the index, in tables, so that memory does not grow with the data set. Two pictures are near
duplicates where their perceptual hashes differ in few of their 128 bits. To compare all with all is not needed: of two
hashes that differ in few bits, one of the bands that they are cut into mostly is the same in both. Equal hashes are one
to begin with, since a data set's blank pictures would all meet in each band.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagehaul.ledger.catalog import Catalog

FEW = 1_000
"""Different hashes up to which all are compared with all, with one query in place of one for each band."""
SMALL = 20_000
"""Different hashes up to which bands of 8 bits are compared, which miss less; of more, bands of 16 bits."""
CROWDED = 2_000
"""Hashes that share a band, beyond which that band tells nothing."""
LONGEST_CHAIN = 50
ODD_SIZE = 0.1
"""Of the data set's median number of pixels: less is odd, and so is more than its inverse."""
ODD_RATIO = 4.0
"""Longer side to shorter one."""

_IMAGES = "kind = 'image' AND status IN ('delivered', 'unchanged')"


@dataclass(frozen=True, slots=True)
class Thresholds:
    """`near_duplicate_bits`: of 128, that near duplicates differ in at most. The others: see `records.Quality`.

    `blur_below`: of sharpness by contrast, both in levels.
    """

    near_duplicate_bits: int
    dark_below: float
    bright_above: float
    blur_below: float


def find_issues(catalog: Catalog, thresholds: Thresholds, measures: bool) -> tuple[str, ...]:
    """Fills `issue`, and says in a line each what was found. `measures`: False looks for exact duplicates alone."""
    catalog.clear("issue")
    lines = [_duplicates(catalog, "exact_duplicates", "exact", "sha256", 1.0)]
    if measures:
        _pair_hashes(catalog, thresholds.near_duplicate_bits)
        _join_pairs(catalog)
        lines.append(_near_duplicates(catalog, thresholds.near_duplicate_bits))
        lines += _flaws(catalog, thresholds)
        lines.append(_unmeasured(catalog))
    return tuple(filter(None, lines))


def _duplicates(catalog: Catalog, kind: str, said: str, column: str, threshold: float) -> str:
    catalog.append(
        "issue",
        f"""
        SELECT source_name, source_path, $kind AS kind, 1.0 AS confidence, md5({column}) AS group_id,
               $threshold AS threshold
        FROM indexed WHERE {_IMAGES} AND {column} <> ''
            AND {column} IN (SELECT {column} FROM indexed WHERE {_IMAGES} AND {column} <> ''
                             GROUP BY {column} HAVING count(*) > 1)
        """,
        {"kind": kind, "threshold": threshold},
    )
    return _groups(catalog, kind, said)


def _groups(catalog: Catalog, kind: str, said: str) -> str:
    groups, images = catalog.one("SELECT count(DISTINCT group_id), count(*) FROM issue WHERE kind = ?", [kind])
    named = "group" if groups == 1 else "groups"
    return f"{groups:,} {named} of {said} duplicates, {images:,} images" if groups else ""


def _pair_hashes(catalog: Catalog, bits: int) -> None:
    """Fills `hash` with the different hashes, and `near_pair` with those that differ in at most `bits`."""
    catalog.fill(
        "hash",
        f"""
        SELECT row_number() OVER (ORDER BY phash) AS id, phash, ('0x' || left(phash, 16))::UBIGINT AS high,
               ('0x' || right(phash, 16))::UBIGINT AS low
        FROM (SELECT DISTINCT phash FROM indexed WHERE {_IMAGES} AND phash <> '')
        """,
    )
    count, *_ = catalog.one("SELECT count(*) FROM hash")
    digits = 2 if count <= SMALL else 4
    bands = ["''"] if count <= FEW else [f"substr(phash, {start}, {digits})" for start in range(1, 33, digits)]
    catalog.clear("near_pair")
    for band in bands:
        # One band at a time: a join of all would hold every band's pairs at once.
        catalog.append(
            "near_pair",
            f"""
            WITH banded AS (
                SELECT id, high, low, {band} AS band FROM hash QUALIFY count(*) OVER (PARTITION BY {band}) <= {CROWDED}
            )
            SELECT a.id AS one, b.id AS other, bit_count(xor(a.high, b.high)) + bit_count(xor(a.low, b.low)) AS bits
            FROM banded a JOIN banded b ON a.band = b.band AND a.id < b.id
            WHERE bit_count(xor(a.high, b.high)) + bit_count(xor(a.low, b.low)) <= {bits}
            """,
        )


def _join_pairs(catalog: Catalog) -> None:
    """Fills `hash_group`: each hash that has a pair, and the smallest id that it is joined with over any chain."""
    pairs, *_ = catalog.one("SELECT count(*) FROM near_pair")
    if not pairs:
        catalog.clear("hash_group")
        return
    catalog.fill(
        "hash_group",
        "SELECT DISTINCT id, id AS leader FROM (SELECT one AS id FROM near_pair UNION ALL SELECT other FROM near_pair)",
    )
    for _ in range(LONGEST_CHAIN):
        catalog.fill(
            "hash_leader",
            """
            SELECT id, min(leader) AS leader FROM (
                SELECT p.one AS id, g.leader FROM near_pair p JOIN hash_group g ON g.id = p.other
                UNION ALL SELECT p.other, g.leader FROM near_pair p JOIN hash_group g ON g.id = p.one
                UNION ALL SELECT id, leader FROM hash_group
            ) GROUP BY id
            """,
        )
        moved, *_ = catalog.one(
            "SELECT count(*) FROM hash_leader l JOIN hash_group g USING (id) WHERE l.leader <> g.leader"
        )
        if not moved:
            return
        catalog.fill("hash_group", "SELECT id, leader FROM hash_leader")


def _near_duplicates(catalog: Catalog, bits: int) -> str:
    """Those that are exact duplicates are named as such, and stand here where another file looks like them, too."""
    catalog.append(
        "issue",
        f"""
        WITH nearest AS (
            SELECT id, min(bits) AS bits FROM (
                SELECT one AS id, bits FROM near_pair UNION ALL SELECT other, bits FROM near_pair
            ) GROUP BY id
        ), seen AS (
            SELECT p.source_name, p.source_path, p.sha256, coalesce(g.leader, h.id) AS leader, n.bits
            FROM (SELECT * FROM indexed WHERE {_IMAGES}) p JOIN hash h USING (phash)
            LEFT JOIN hash_group g ON g.id = h.id LEFT JOIN nearest n ON n.id = h.id
        )
        SELECT source_name, source_path, 'near_duplicates' AS kind, 1.0 - coalesce(bits, 0) / 128.0 AS confidence,
               md5('near ' || leader_hash.phash) AS group_id, 1.0 - $bits / 128.0 AS threshold
        FROM seen JOIN hash leader_hash ON leader_hash.id = seen.leader
        WHERE leader IN (SELECT leader FROM seen GROUP BY leader HAVING count(DISTINCT sha256) > 1)
        """,
        {"bits": bits},
    )
    return _groups(catalog, "near_duplicates", "near")


def _flaws(catalog: Catalog, thresholds: Thresholds) -> list[str]:
    """Measures that lie beyond their threshold. A picture that is all of one brightness is blank, and not blurred."""
    pixels, *_ = catalog.one(f"SELECT coalesce(median(width * height), 0) FROM indexed WHERE {_IMAGES} AND width > 0")
    dark, bright, blur = thresholds.dark_below, thresholds.bright_above, thresholds.blur_below
    odd_size = f"(width * height < {ODD_SIZE} * limit OR width * height > limit / {ODD_SIZE})"
    flaws = {
        "dark": ("phash <> '' AND brightness < limit", dark, "dark"),
        "bright": ("phash <> '' AND brightness > limit", bright, "bright"),
        "blank": ("phash <> '' AND contrast < limit", 0.01, "blank"),
        "blur": ("phash <> '' AND contrast >= 0.01 AND sharpness / (255 * contrast) < limit", blur, "blurred"),
        "odd_size": (f"width > 0 AND {odd_size}", float(pixels), "of an odd size"),
        "odd_ratio": (
            "width > 0 AND greatest(width, height) > limit * least(width, height)",
            ODD_RATIO,
            "of an odd ratio",
        ),
    }
    cases = ", ".join(
        f"CASE WHEN {condition.replace('limit', f'$limit_{kind}')} "
        f"THEN {{'kind': '{kind}', 'threshold': $limit_{kind}::DOUBLE}} END"
        for kind, (condition, _, _) in flaws.items()
    )
    # All in one pass: for a few images each statement takes as long as the images.
    catalog.append(
        "issue",
        f"""
        SELECT source_name, source_path, flaw.kind AS kind, 1.0 AS confidence, '' AS group_id,
               flaw.threshold AS threshold
        FROM (SELECT source_name, source_path, unnest([{cases}]) AS flaw FROM indexed WHERE {_IMAGES})
        WHERE flaw IS NOT NULL
        """,
        {f"limit_{kind}": flaw[1] for kind, flaw in flaws.items()},
    )
    counts = dict(catalog.rows("SELECT kind, count(*) FROM issue GROUP BY kind"))
    return [
        f"{count:,} {'image is' if count == 1 else 'images are'} {said}"
        for kind, (_, _, said) in flaws.items()
        if (count := counts.get(kind, 0))
    ]


def _unmeasured(catalog: Catalog) -> str:
    count, images = catalog.one(
        f"""
        SELECT count(*) FILTER (phash = ''), count(*) FROM (SELECT * FROM indexed WHERE {_IMAGES}) i WHERE EXISTS (
            SELECT 1 FROM indexed t
            WHERE t.kind = 'thumbnail' AND t.source_path = i.source_path AND t.source_name = i.source_name)
        """
    )
    return f"{count:,} of {images:,} images were not measured, by an older run: --rerun all does it" if count else ""
