"""Deliveries in which pictures, sender and store are simulated: plan, batches, proof and ledgers are the real ones.

A source file's text says what it is: "broken" and "crash" cannot be decoded, "huge" is over the pixel limit.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from imagehaul.delivery.batch import BatchWork, Stop
from imagehaul.layout import Layout
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts, count_outcome
from imagehaul.ledger.inventory import EarlierRun, load_listing, load_prior, load_source
from imagehaul.ledger.ledger_file import write_ledger
from imagehaul.ledger.matching import match_annotations
from imagehaul.ledger.packing import Packer
from imagehaul.ledger.plan import Plan, Wanted, make_plan
from imagehaul.ledger.planned import planned_images
from imagehaul.ledger.proof import collect_outcome, name_changed_sources, prove
from imagehaul.ledger.rows import LedgerRow, write_part
from imagehaul.ledger.statements import load_annotations
from imagehaul.mapping import Mapping
from imagehaul.records import (
    Annotation,
    Box,
    Copy,
    ImageInfo,
    Picture,
    PictureJob,
    Rendition,
    SendResult,
    SourceFile,
    StoredObject,
    Upload,
)
from imagehaul.rendering.pool import RenderPool
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import FolderSource
from imagehaul.sources.source import sha256_of
from imagehaul.transfer.engines import Engine

LAYOUT = Layout("bucket", "save/", "birds")
MAPPING = Mapping(LAYOUT)
WANTED = Wanted("changed", True, True, "image", "thumbnail", "crop", 1_000, False, False, "upright", "judgement")
HUGE = 2_000
"""Pixels of a huge picture."""


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def box(x: float = 1, width: float = 5, label: str = "bird") -> Box:
    return Box(x, 2, width, 4, label)


def said(path: str, *boxes: Box) -> list[Annotation]:
    return [Annotation(path, "path", "box", item.label, "boxes.csv:2", ("",), item) for item in boxes]


class Drawer:
    """In the render pool's place."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.pictures = 0

    def render(self, jobs: Sequence[PictureJob]) -> list[Picture]:
        self.pictures += len(jobs)
        return [self._picture(job) for job in jobs]

    def _picture(self, job: PictureJob) -> Picture:
        text = Path(job.file).read_text()
        info = ImageInfo(
            "JPEG", "image/jpeg", 10, 10, 1, "RGB", 1, len(text), md5(text), sha256(text), md5(text), "header"
        )
        if not text or text.startswith(("broken", "crash")):
            code = "EMPTY" if not text else "DECODER_CRASHED" if text.startswith("crash") else "UNDECODABLE"
            return Picture(replace(info, format="", width=0, height=0, checked="nothing"), code=code)
        if text.startswith("huge") and self.wanted.pixel_limit < HUGE:
            return Picture(replace(info, width=HUGE // 10), code="PIXEL_LIMIT")
        if text.startswith("unsupported"):
            return Picture(info, code="FORMAT_UNSUPPORTED")
        made = [Rendition("thumbnail", job.thumbnail)] if job.thumbnail else []
        made += [Rendition("crop", crop.file, code="" if crop.box.width > 0 else "BOX_EMPTY") for crop in job.crops]
        checked = "decoded" if made or self.wanted.full_check else "header"
        code = "END_MISSING" if text.startswith("no end") else ""
        info = replace(info, checked=cast(Any, checked))
        return Picture(info, tuple(self._rendition(item, text) for item in made), code)

    def _rendition(self, item: Rendition, text: str) -> Rendition:
        if item.code:
            return item
        recipe = self.wanted.thumbnail_recipe if item.kind == "thumbnail" else self.wanted.crop_recipe
        made = f"{recipe.removesuffix('+header')} {item.file[-16:] if item.kind == 'crop' else ''} {text}"
        return replace(
            item, content_type="image/jpeg", size=len(made), md5=md5(made), sha256=sha256(made), etag=md5(made)
        )


@dataclass
class Sender:
    """In the engine's place. `misses`: keys it does not send, with its word on them.

    `etag`: what the store makes of an MD5; `checksums`: the SHA-256 that it keeps beside each object.
    """

    store: dict[str, StoredObject]
    checksums: dict[str, str]
    misses: dict[str, SendResult]
    etag: Callable[[str], str]
    sent: list[str] = field(default_factory=list)

    def send(self, uploads: Sequence[Upload], folder: Path) -> list[SendResult]:
        return [self._send(upload) for upload in uploads]

    def copy(self, copies: Sequence[Copy]) -> list[SendResult]:
        return []

    def _send(self, upload: Upload) -> SendResult:
        if upload.key in self.misses:
            return self.misses[upload.key]
        self.sent.append(upload.key)
        self.store[upload.key] = StoredObject(upload.key, upload.size, self.etag(upload.md5))
        self.checksums[upload.key] = upload.sha256
        return SendResult(upload.key, "sent")


@dataclass
class Client:
    """The part of boto3's client that a proof asks for checksums."""

    checksums: dict[str, str]

    def head_object(self, Bucket: str, Key: str, ChecksumMode: str) -> dict[str, str]:
        return {"ChecksumSHA256": base64.b64encode(bytes.fromhex(self.checksums[Key])).decode()}


@dataclass
class Site:
    """A source folder, a simulated store, and what the runs on them left."""

    folder: Path
    mapping: Mapping = MAPPING
    wanted: Wanted = WANTED
    annotations: list[Annotation] = field(default_factory=list)
    store: dict[str, StoredObject] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    earlier: list[EarlierRun] = field(default_factory=list)
    number: Any = field(default_factory=itertools.count)

    def write(self, path: str, text: str) -> None:
        file = self.folder / "source" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def remove(self, path: str) -> None:
        (self.folder / "source" / path).unlink()

    def listing(self) -> list[SourceFile]:
        root = self.folder / "source"
        files = sorted(file for file in root.rglob("*") if file.is_file())
        return [
            SourceFile(str(file.relative_to(root)), file.stat().st_size, str(file.stat().st_mtime_ns)) for file in files
        ]

    def run(self, rejected: Iterable[SourceFile] = (), **wanted: Any) -> Run:
        """A run with its plan made. `wanted`: what differs from the site's own, as for `--rerun`."""
        number = next(self.number)
        scratch = self.folder / f"run-{number}"
        (scratch / "parts").mkdir(parents=True)
        catalog = Catalog(scratch)
        load_source(catalog, [*self.listing(), *rejected], self.mapping)
        load_annotations(catalog, self.annotations)
        match_annotations(catalog)
        load_prior(catalog, self.earlier)
        load_listing(catalog, self.store.values(), self.mapping.layout)
        asked = replace(self.wanted, **wanted)
        return Run(
            self,
            catalog,
            asked,
            scratch,
            f"20261122T10{number:04d}Z-000000",
            make_plan(catalog, self.mapping, asked, 2, 1),
        )

    def deliver(self, etag: Callable[[str], str] = str, **wanted: Any) -> Run:
        """From the plan to the published ledger."""
        run = self.run(**wanted)
        run.work(etag=etag)
        run.prove()
        run.publish()
        return run


@dataclass
class Run:
    site: Site
    catalog: Catalog
    wanted: Wanted
    scratch: Path
    name: str
    plan: Plan
    decisions: dict[str, str] = field(default_factory=dict)
    sent: list[str] = field(default_factory=list)
    drawn: int = 0
    rows: list[LedgerRow] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        rows = self.catalog.rows("SELECT path, decision, reason FROM plan")
        self.decisions = {path: reason if decision == "work" else decision for path, decision, reason in rows}

    def work(
        self, batches: int | None = None, misses: Sequence[SendResult] = (), etag: Callable[[str], str] = str
    ) -> None:
        """Works through the batches, or through the first of them."""
        sender = Sender(self.site.store, self.site.checksums, {item.key: item for item in misses}, etag)
        source = FolderSource(self.site.folder / "source", Selection(), False)
        drawer = Drawer(self.wanted)
        pool, engine = cast(RenderPool, drawer), cast(Engine, sender)
        work = BatchWork(source, self.site.mapping, self.wanted, pool, engine, self.name, Stop())
        for reference in self.plan.batches[:batches]:
            folder = self.scratch / f"batch-{reference.number}"
            folder.mkdir()
            images = planned_images(Packer(self.catalog, [reference]).pack(reference))
            work(images, folder, self.scratch / "parts" / f"part-{reference.number:05d}.parquet")
        self.sent, self.drawn = sender.sent, drawer.pictures

    def prove(self, listed: Iterable[StoredObject] | None = None) -> None:
        """`listed`: what the store lists now, where that is not what it holds."""
        source = FolderSource(self.site.folder / "source", Selection(), False)
        collect_outcome(self.catalog, self.parts, self.site.mapping, self.wanted.thumbnails)
        load_listing(self.catalog, self.site.store.values() if listed is None else listed, self.site.mapping.layout)
        prove(
            self.catalog,
            cast(Any, Client(self.site.checksums)),
            "bucket",
            1,
            False,
            lambda file: sha256_of(source, file, self.scratch),
        )
        name_changed_sources(self.catalog, source.has_changed)
        self.counts = count_outcome(self.catalog)
        rows = self.catalog.rows("SELECT * EXCLUDE (sent) FROM proven ORDER BY source_path, key")
        self.rows = [LedgerRow(*row) for row in rows]

    @property
    def status(self) -> dict[str, str]:
        """Of each image; with its code where it has one."""
        return {row.source_path: f"{row.status} {row.code}".strip() for row in self.rows if row.kind == "image"}

    def keys(self, kind: str) -> list[str]:
        return [row.key for row in self.rows if row.kind == kind]

    @property
    def parts(self) -> list[Path]:
        return sorted((self.scratch / "parts").iterdir())

    def publish(self) -> None:
        """Readers use this run from now on: what came before is not read again."""
        self.site.earlier = [self._ledger(published=True)]
        self.catalog.close()

    def refuse(self) -> None:
        """The ledger is written, and the run does not become current."""
        self.site.earlier.append(self._ledger(published=False))
        self.catalog.close()

    def die(self) -> None:
        """Only the journal is left."""
        self.site.earlier.append(EarlierRun(self.name, tuple(self.parts), published=False))
        self.catalog.close()

    def _ledger(self, published: bool) -> EarlierRun:
        file = self.scratch / "ledger.parquet"
        write_ledger(self.catalog, file)
        return EarlierRun(self.name, (file,), published)


def ledger_of(
    folder: Path, rows: Sequence[LedgerRow], run: str = "20261122T090000Z-000000", published: bool = True
) -> EarlierRun:
    """An earlier run that left these rows."""
    file = folder / f"{run}.parquet"
    write_part(rows, file)
    return EarlierRun(run, (file,), published)


def key(kind: str, name: str) -> str:
    """Of an object of the data set, such as "images"."""
    return f"{LAYOUT.root}{kind}/{name}"
