"""What a delivery comes to: counts that add up, and the words that go with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from imagehaul.errors import CODES
from imagehaul.ledger.catalog import Catalog

MOST_PICTURES = 40
"""So many thumbnails or crops stand on a contact sheet."""
MOST_PROBLEMS = 100
"""So many rejected and failed files are named one by one; the ledger names all."""

_BUG = "This is a bug in imagehaul: please report it."


@dataclass(frozen=True, slots=True)
class Counts:
    """Of source images: planned is the sum of the four after it, and of `pending`, which only a dry run has.

    `objects` and `bytes`: the images, thumbnails and crops that were sent. Raises `AssertionError` for a wrong sum.
    """

    planned: int = 0
    delivered: int = 0
    unchanged: int = 0
    rejected: int = 0
    failed: int = 0
    objects: int = 0
    bytes: int = 0
    pending: int = 0

    def __post_init__(self) -> None:
        parts = self.delivered + self.unchanged + self.rejected + self.failed + self.pending
        if self.planned != parts:
            raise AssertionError(f"The counts do not add up: {self}. {_BUG}")


@dataclass(frozen=True, slots=True)
class Reason:
    """Why some rows were rejected or failed. `images`: whole images, `renditions`: thumbnails and crops of others."""

    code: str
    status: str
    images: int
    renditions: int
    example: str
    message: str

    @property
    def advice(self) -> str:
        return CODES[self.code].advice if self.code in CODES else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rejected or failed image or rendition."""

    path: str
    kind: str
    status: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of one delivery. `published`: readers use this run's state now; `refused`: why they do not.

    `pictures`: keys of some thumbnails or crops, to show. `ledger` is a URI and `exports` are name → URI, of the
    current run where this one changed nothing; "" and empty where there is none.
    """

    dataset: str
    run: str
    source: str
    counts: Counts
    new: int
    changed: int
    vanished: int
    seconds: float
    engine: str
    ledger: str
    exports: dict[str, str]
    published: bool
    nothing_changed: bool = False
    dry_run: bool = False
    pending_bytes: int = 0
    refused: str = ""
    current_run: str = ""
    reasons: tuple[Reason, ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict)

    @property
    def export(self) -> str:
        """URI of the folder of the exports that are always there, "" where nothing is published."""
        return self.exports["json"].removesuffix("metadata.json") if self.exports else ""

    @property
    def exit_status(self) -> int:
        return 1 if self.counts.failed or self.refused else 0

    def as_json(self) -> dict[str, Any]:
        """The last line of `--json`: a contract (`docs/contracts.md`)."""
        counts = self.counts
        return {
            "dataset": self.dataset,
            "run": self.run,
            "planned": counts.planned,
            "delivered": counts.delivered,
            "unchanged": counts.unchanged,
            "rejected": counts.rejected,
            "failed": counts.failed,
            "objects": counts.objects,
            "bytes": counts.bytes,
            "seconds": round(self.seconds, 3),
            "engine": self.engine,
            "ledger": self.ledger,
            "export": self.export,
            "exports": self.exports,
            "source": self.source,
            "new": self.new,
            "changed": self.changed,
            "vanished": self.vanished,
            "published": self.published,
            "dry_run": self.dry_run,
            "pending": counts.pending,
            "refused": self.refused,
            "current_run": self.current_run,
            "reasons": [
                {
                    "code": reason.code,
                    "status": reason.status,
                    "images": reason.images,
                    "renditions": reason.renditions,
                    "example": reason.example,
                }
                for reason in self.reasons
            ],
            "warnings": list(self.warnings),
        }

    @property
    def headline(self) -> str:
        """One line that tells the truth; the final state of a flow run carries it."""
        counts = self.counts
        said = (
            f"{self.dataset}: {counts.planned:,} images: {counts.delivered:,} delivered, "
            f"{counts.unchanged:,} unchanged, {counts.rejected:,} rejected, {counts.failed:,} failed"
        )
        if self.dry_run:
            return f"{self.dataset}: {counts.planned:,} images, {counts.pending:,} of them to send; nothing was sent"
        if self.refused:
            return f"{said}. Not published: {self.refused}"
        return said


def count_outcome(catalog: Catalog) -> Counts:
    """From the proven rows. Raises `AssertionError` where an image of the source has no row, or one too many."""
    wrong = list(
        catalog.rows(
            """
            SELECT coalesce(path, source_path), coalesce(rows, 0), coalesce(images, 0)
            FROM (SELECT path, count(*) AS images FROM source GROUP BY path)
            FULL JOIN (SELECT source_path, count(*) AS rows FROM proven WHERE kind = 'image' GROUP BY source_path)
            ON path = source_path
            WHERE rows IS DISTINCT FROM images ORDER BY 1 LIMIT 1
            """
        )
    )
    for path, rows, images in wrong:
        raise AssertionError(f"{path!r} has {rows} rows in the ledger and {images} in the source. {_BUG}")
    by_status = dict(catalog.rows("SELECT status, count(*) FROM proven WHERE kind = 'image' GROUP BY status"))
    objects, size = catalog.one("SELECT count(*), coalesce(sum(size), 0) FROM proven WHERE sent")
    planned, *_ = catalog.one("SELECT count(*) FROM source")
    return Counts(
        planned=planned,
        delivered=by_status.get("delivered", 0),
        unchanged=by_status.get("unchanged", 0),
        rejected=by_status.get("rejected", 0),
        failed=by_status.get("failed", 0),
        objects=objects,
        bytes=int(size),
    )


def reasons_of(catalog: Catalog) -> tuple[Reason, ...]:
    """The most frequent first."""
    rows = catalog.rows(
        """
        SELECT code, status, count(*) FILTER (kind = 'image') AS images, count(*) FILTER (kind <> 'image'),
               min(source_path), arg_min(message, source_path)
        FROM proven WHERE status IN ('rejected', 'failed') OR code <> ''
        GROUP BY code, status ORDER BY images DESC, code, status
        """
    )
    return tuple(Reason(*row) for row in rows)


def problems_of(catalog: Catalog, most: int) -> tuple[Problem, ...]:
    """The first rejected and failed ones, images before renditions."""
    rows = catalog.rows(
        """
        SELECT source_path, kind, status, code, message FROM proven WHERE status IN ('rejected', 'failed')
        ORDER BY kind <> 'image', source_path, key LIMIT ?
        """,
        [most],
    )
    return tuple(Problem(*row) for row in rows)


def pictures_of(catalog: Catalog, most: int) -> tuple[str, ...]:
    """Keys of thumbnails, or else of crops, spread over the data set; sorted."""
    chosen = "status IN ('delivered', 'unchanged') AND kind = ("
    chosen += "SELECT max(kind) FROM proven WHERE kind <> 'image' AND status IN ('delivered', 'unchanged'))"
    # A sample by hash, so that nothing has to be sorted: the same keys give the same pictures.
    rows = catalog.rows(
        f"SELECT key FROM (SELECT key FROM proven WHERE {chosen} ORDER BY hash(key) LIMIT ?) ORDER BY key", [most]
    )
    return tuple(key for (key,) in rows)
