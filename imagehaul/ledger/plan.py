"""Which images need work, which stand as they are, and how the work is cut into batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from imagehaul.errors import Code, Trait
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import OK
from imagehaul.mapping import Mapping
from imagehaul.records import BatchReference, BoxSpace, PlannedImage, Rerun
from imagehaul.text import counted

BATCH_BYTES = 256_000_000
"""More at once would only lengthen what a killed run has to look at again, and fill the scratch disk."""
LOCAL_VERSION = r"^\d+ \d+ \d+$"
"""Of a local file: time of the last change, ctime and inode."""
SMALLEST_BATCH = 25
BATCHES_A_WORKER = 4
"""At least so many where there is work enough: rendering of one batch overlaps with sending of another."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the settings ask of every image. The recipes name what the bytes and headers of each kind depend on."""

    rerun: Rerun
    thumbnails: bool
    crops: bool
    image_recipe: str
    thumbnail_recipe: str
    crop_recipe: str
    pixel_limit: int
    full_check: bool
    deliver_undecodable: bool
    box_space: BoxSpace
    judgement: str
    """The recipe of a rejection: with other decoders a picture that was rejected is looked at anew."""
    compare_content: bool = False
    """A local file is unchanged only where its bytes are."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Counts of images; `planned` is the sum of the six after `planned_bytes`.

    `new`, `changed` and `redo` (settings or boxes differ, or an object is missing) are the work. `carried` stand as
    they are; `rejected`: by their names, or by an earlier run for a reason that stays; `held`: new ones that
    `--rerun failed` does not send. `vanished`: of the `published` ones, those that the source lacks now.
    `moved`: those of them that were stored, and get another key now. `warnings`: what a person is told of it.
    """

    planned: int
    planned_bytes: int
    new: int
    changed: int
    redo: int
    carried: int
    rejected: int
    held: int
    vanished: int
    published: int
    batches: tuple[BatchReference, ...]
    moved: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def work(self) -> int:
        return self.new + self.changed + self.redo

    @property
    def found(self) -> str:
        said = {"new": self.new, "changed": self.changed, "to complete": self.redo, "unchanged": self.carried}
        return f"{counted(self.planned, 'image')}: " + ", ".join(
            f"{count:,} {word}" for word, count in said.items() if count
        )


def make_plan(catalog: Catalog, mapping: Mapping, wanted: Wanted, batch_size: int, workers: int) -> Plan:
    """Needs the catalog's tables of source, annotations, listing and earlier runs."""
    _gather_boxes(catalog, wanted.crops)
    _find_standing(catalog, wanted)
    _find_lacking(catalog, mapping, wanted)
    _decide(catalog, mapping, wanted)
    _gather_work(catalog)
    counts: Counter[str] = Counter()
    planned_bytes = 0
    for reason, images, size in catalog.rows("SELECT reason, count(*), sum(size) FROM plan GROUP BY reason"):
        counts[reason] = images
        planned_bytes += int(size)
    work = counts["new"] + counts["changed"] + counts["redo"]
    vanished, published, moved = catalog.one(
        "SELECT count(*) FILTER (path IS NULL), count(*), "
        "count(*) FILTER (name <> '' AND starts_with(key, $images) AND key <> $images || name) "
        "FROM published LEFT JOIN source ON path = source_path",
        {"images": mapping.layout.images},
    )
    batch_size = min(batch_size, max(SMALLEST_BATCH, work // (BATCHES_A_WORKER * workers)))
    return Plan(
        planned=counts.total(),
        planned_bytes=planned_bytes,
        new=counts["new"],
        changed=counts["changed"],
        redo=counts["redo"],
        carried=counts["unchanged"],
        rejected=counts["rejected"],
        held=counts["held"],
        vanished=vanished,
        published=published,
        batches=tuple(_cut(catalog, batch_size, work, workers)),
        moved=moved,
    )


def _gather_boxes(catalog: Catalog, crops: bool) -> None:
    """Fills `box`: the crops that are wanted of each image. The same box said twice is one crop."""
    catalog.fill(
        "box",
        f"""
        SELECT path, crop_id, min(ordinal) AS ordinal, any_value(x) AS x, any_value(y) AS y,
               any_value(width) AS width, any_value(height) AS height, any_value(text) AS label,
               any_value(fraction) AS fraction
        FROM annotation WHERE kind = 'box' AND {crops} GROUP BY path, crop_id
        """,
    )


def _find_standing(catalog: Catalog, wanted: Wanted) -> None:
    """Fills `object`: what earlier runs said of each object. It stands where the store lists it as it was sent.

    It is settled where it stands, or was rejected for a reason that will stay; `same` where the recipe is wanted, too.
    """
    catalog.fill(
        "object",
        f"""
        SELECT p.source_path, p.kind, p.key, p.status, p.code, p.retryable, p.source_size, p.source_version, p.checked,
               p.width * p.height AS pixels, l.key IS NOT NULL AND p.status IN {OK} AS stands,
               stands OR p.status = 'rejected' AND NOT p.retryable
                   AND (p.kind <> 'image' OR p.recipe = $judgement) AS settled,
               settled AND p.recipe = CASE WHEN p.kind = 'thumbnail' THEN $thumbnail WHEN p.kind = 'crop' THEN $crop
                                           WHEN p.status = 'rejected' THEN $judgement ELSE $image END AS same
        FROM prior p LEFT JOIN listing l ON l.key = p.key AND l.size = p.size AND l.etag = p.etag
        """,
        {
            "image": wanted.image_recipe,
            "thumbnail": wanted.thumbnail_recipe,
            "crop": wanted.crop_recipe,
            "judgement": wanted.judgement,
        },
    )


def _find_lacking(catalog: Catalog, mapping: Mapping, wanted: Wanted) -> None:
    """Fills `lacking`: the images that lack a rendition that is wanted, under the key that the mapping gives it.
    `troubled`: those that failed at one."""
    catalog.fill(
        "lacking",
        f"""
        SELECT path FROM source WHERE {wanted.thumbnails} AND NOT EXISTS (
            SELECT 1 FROM object WHERE source_path = path AND kind = 'thumbnail' AND same
                                   AND object.key = $thumbnails || source.name || $suffix)
        UNION ALL
        SELECT path FROM box JOIN source USING (path) WHERE NOT EXISTS (
            SELECT 1 FROM object
            WHERE source_path = path AND kind = 'crop' AND same
              AND object.key = $crops || source.name || '/' || box.crop_id || '.jpg')
        """,
        {
            "thumbnails": mapping.layout.thumbnails,
            "suffix": mapping.thumbnail_suffix,
            "crops": mapping.layout.crops,
        },
    )
    catalog.fill("troubled", "SELECT DISTINCT source_path AS path FROM object WHERE kind <> 'image' AND NOT settled")


def _decide(catalog: Catalog, mapping: Mapping, wanted: Wanted) -> None:
    """Fills `plan`: a decision for each row of the source."""
    catalog.fill(
        "decided",
        """
        WITH seen AS (
            SELECT s.ordinal, s.code, i.status, i.code AS said, i.retryable, i.settled, i.pixels,
                   i.source_path IS NULL OR i.code = 'HELD_BACK' AS is_new,
                   i.source_size = s.size AND s.version <> '' AND (i.source_version = s.version
                       OR regexp_matches(s.version, $local)
                       AND split_part(i.source_version, ' ', 1) = split_part(s.version, ' ', 1)) AS same_time,
                   -- A local file's inode and time of change are not known to earlier ledgers, which means nothing.
                   same_time AND (i.source_version = s.version OR NOT regexp_matches(i.source_version, $local))
                       AND NOT ($compare_content AND regexp_matches(s.version, $local)) AS same_source,
                   i.same AND i.key = $images || substr(s.name, $start + 1)
                       AND (NOT $full_check OR i.checked = 'decoded' OR i.code <> '') AS same_image,
                   EXISTS (SELECT 1 FROM lacking WHERE lacking.path = s.path) AS lacks,
                   EXISTS (SELECT 1 FROM troubled WHERE troubled.path = s.path) AS is_troubled
            FROM source s LEFT JOIN object i ON i.source_path = s.path AND i.kind = 'image'
        )
        SELECT ordinal,
               CASE WHEN code <> '' THEN 'reject'
                    WHEN $rerun = 'all' THEN 'work'
                    WHEN $rerun = 'failed' THEN
                        CASE WHEN is_new THEN 'hold' WHEN settled AND NOT is_troubled THEN 'carry' ELSE 'work' END
                    WHEN NOT (same_source AND same_image) OR is_new THEN 'work'
                    -- What stands, though it has a code, was sent in spite of it and has no renditions, but for one.
                    WHEN CASE WHEN status = 'rejected' THEN NOT ($deliver_undecodable AND said IN $bytes_deliverable)
                              WHEN said = 'PIXEL_LIMIT' THEN pixels > $pixel_limit
                              WHEN said = 'FORMAT_UNSUPPORTED' THEN TRUE
                              WHEN said = 'END_MISSING' THEN NOT lacks
                              WHEN said <> '' THEN $deliver_undecodable AND NOT retryable
                              ELSE NOT lacks END THEN 'carry'
                    ELSE 'work' END AS decision,
               CASE WHEN decision = 'reject' OR decision = 'carry' AND status = 'rejected' THEN 'rejected'
                    WHEN decision = 'carry' THEN 'unchanged'
                    WHEN decision = 'hold' THEN 'held'
                    WHEN is_new THEN 'new'
                    WHEN same_time THEN 'redo'
                    ELSE 'changed' END AS reason
        FROM seen
        """,
        {
            "rerun": wanted.rerun,
            "images": mapping.image_root,
            "start": mapping.image_start,
            "pixel_limit": wanted.pixel_limit,
            "full_check": wanted.full_check,
            "compare_content": wanted.compare_content,
            "local": LOCAL_VERSION,
            "deliver_undecodable": wanted.deliver_undecodable,
            "bytes_deliverable": Code.all_with(Trait.BYTES_DELIVERABLE),
        },
    )
    catalog.fill("plan", "SELECT * FROM source JOIN decided USING (ordinal) ORDER BY ordinal")


def _gather_work(catalog: Catalog) -> None:
    """Fills `work_box` and `work_present`: what a batch needs to know of its images, in the order of the source."""
    catalog.fill(
        "work_box",
        """
        SELECT p.ordinal AS image, b.* FROM box b JOIN plan p USING (path)
        WHERE p.decision = 'work' ORDER BY p.ordinal, b.ordinal
        """,
    )
    # How an object was made that is not the one that was sent last, nobody knows.
    catalog.fill(
        "work_present",
        """
        SELECT p.ordinal AS image, l.key, l.size, l.etag,
               coalesce(k.md5, '') AS md5, coalesce(k.etag, '') AS known_etag,
               CASE WHEN k.etag = l.etag THEN k.recipe ELSE '' END AS recipe, coalesce(k.run, '') AS run
        FROM listing l JOIN plan p USING (name) LEFT JOIN known k ON k.key = l.key
        WHERE p.decision = 'work' ORDER BY p.ordinal
        """,
    )


def preview_of(catalog: Catalog, most: int) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """The first of the source: paths with the names that the mapping gives them, and rejected paths with the code."""
    mapped = catalog.rows("SELECT path, name FROM source WHERE code = '' ORDER BY ordinal LIMIT ?", [most])
    rejected = catalog.rows("SELECT path, code FROM source WHERE code <> '' ORDER BY ordinal LIMIT ?", [most])
    return [(str(path), str(name)) for path, name in mapped], [(str(path), str(code)) for path, code in rejected]


def fingerprint(catalog: Catalog) -> str:
    """16 hex digits that another plan does not have: of each image with its version, and what is done with it."""
    [value] = catalog.one("SELECT bit_xor(hash(path, size, version, decision, reason)) FROM plan")
    return f"{value or 0:016x}"


def _cut(catalog: Catalog, batch_size: int, work: int, workers: int) -> Iterator[BatchReference]:
    """Runs of the source's own order, so that a batch reads neighbouring files.

    The last ones are smaller, down to a quarter, so that all workers are done at about the same time, however even
    their speed is. "Guided self-scheduling", Polychronopoulos and Kuck, 1987, https://doi.org/10.1109/TC.1987.5009495.
    """
    number, first, last, images, size = 1, -1, -1, 0, 0
    least = min(batch_size, max(SMALLEST_BATCH, batch_size // 4))
    most = min(batch_size, max(least, work // workers))
    for ordinal, image_size in catalog.rows("SELECT ordinal, size FROM plan WHERE decision = 'work' ORDER BY ordinal"):
        if images and (images == most or size + image_size > BATCH_BYTES):
            yield BatchReference(number, first, last, images, size)
            work -= images
            most = min(batch_size, max(least, work // workers))
            number, first, images, size = number + 1, -1, 0, 0
        first = ordinal if first < 0 else first
        last, images, size = ordinal, images + 1, size + image_size
    if images:
        yield BatchReference(number, first, last, images, size)


def with_secret_address(catalog: Catalog) -> str:
    """The path of an image to work on whose address may hold a secret (user, password, a query); "" = there is none."""
    for (path,) in catalog.rows(
        "SELECT path FROM plan WHERE decision = 'work' AND regexp_matches(location, '^https?://([^/]*@|[^?]*[?])') "
        "ORDER BY ordinal LIMIT 1"
    ):
        return str(path)
    return ""


def first_of_work(catalog: Catalog) -> PlannedImage | None:
    """One image that batches will work on; None where there is nothing to do."""
    columns = "path, name, size, version, location"
    for path, name, size, version, location in catalog.rows(
        f"SELECT {columns} FROM plan WHERE decision = 'work' ORDER BY ordinal LIMIT 1"
    ):
        return PlannedImage(path, name, size, version, (), (), location)
    return None
