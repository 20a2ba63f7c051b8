"""What the proven rows come to: counts that add up, the reasons of what did not, and some pictures to show."""

from __future__ import annotations

from dataclasses import dataclass

from imagehaul.errors import Code
from imagehaul.ledger.catalog import Catalog

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
        code = Code.named(self.code)
        return code.advice if code else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One rejected or failed image or rendition."""

    path: str
    kind: str
    status: str
    code: str
    message: str


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


def proofs_of(catalog: Catalog) -> dict[str, int]:
    """How many images each kind of proof proves."""
    return dict(
        catalog.rows(
            "SELECT proof, count(*) FROM indexed WHERE kind = 'image' AND status IN ('delivered', 'unchanged') "
            "GROUP BY proof ORDER BY proof"
        )
    )


def pictures_of(catalog: Catalog, most: int) -> tuple[str, ...]:
    """Keys of thumbnails, or else of crops, spread over the data set; sorted."""
    chosen = "status IN ('delivered', 'unchanged') AND kind = ("
    chosen += "SELECT max(kind) FROM proven WHERE kind <> 'image' AND status IN ('delivered', 'unchanged'))"
    # A sample by hash, so that nothing has to be sorted: the same keys give the same pictures.
    rows = catalog.rows(
        f"SELECT key FROM (SELECT key FROM proven WHERE {chosen} ORDER BY hash(key) LIMIT ?) ORDER BY key", [most]
    )
    return tuple(key for (key,) in rows)
