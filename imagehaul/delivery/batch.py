"""The work on one batch: fetch, render, send, and write down what became of each object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from imagehaul.errors import Code, StoreError, Trait
from imagehaul.ledger.plan import Wanted
from imagehaul.ledger.rows import LedgerRow, write_part
from imagehaul.mapping import Mapping
from imagehaul.records import (
    Box,
    Copy,
    Crop,
    ExistingObject,
    ImageInfo,
    Picture,
    PictureJob,
    PlannedImage,
    Rendition,
    SendResult,
    Upload,
)
from imagehaul.rendering.pool import RenderPool
from imagehaul.rendering.rendition_files import RenditionFiles
from imagehaul.sources.source import Fetched, Source
from imagehaul.store.arrived import Expected
from imagehaul.transfer.engines import Engine

Arrived = Callable[[Sequence[Expected]], frozenset[str]]


@dataclass(slots=True)
class _Object:
    """One object on its way: its row, and how it is to be sent, if it is."""

    row: LedgerRow
    upload: Upload | None = None
    copy: Copy | None = None


class Stop:
    """Says that a worker sends no more. `reason`: the store's first error that is why; None: it was told to stop."""

    def __init__(self) -> None:
        self.reason: StoreError | None = None
        self.is_set = False

    def set(self, reason: StoreError | None = None) -> None:
        # In this order: whoever sees that it is set finds the reason.
        self.reason = self.reason or reason
        self.is_set = True


@dataclass(frozen=True)
class BatchWork:
    """What all batches of a run share in one process. A call works on one batch, in the thread of the caller."""

    source: Source
    mapping: Mapping
    wanted: Wanted
    pool: RenderPool
    engine: Engine
    run: str
    stop: Stop

    def __call__(
        self, images: Sequence[PlannedImage], folder: Path, part: Path, arrived: Arrived | None = None
    ) -> StoreError | None:
        """Writes the batch's rows to `part`, and gives the reason why nothing more can be sent, where there is one.

        `folder`: for temporary files of this batch alone. `arrived`: says which objects are in the store by now, where
        another worker may have begun this batch.
        """
        stopped = None
        with RenditionFiles(folder) as files:
            objects = self._prepare(images, files)
            if arrived:
                objects = _without_arrived(objects, images, arrived)
            try:
                sent = self._send(objects, folder)
            except StoreError as error:
                stopped, sent = error, []
                self.stop.set(error)
            rows = _rows_after(objects, {item.key: item for item in sent}, stopped, self.wanted.judgement)
        write_part(rows, part)
        return self.stop.reason if stopped else None

    def _prepare(self, images: Sequence[PlannedImage], files: RenditionFiles) -> list[_Object]:
        """Renders the batch, and says for each of its objects how it is to be sent, or why it is not."""
        whole = [self._needs_whole(image) for image in images]
        fetched = self.source.fetch(images, whole, files.disk)
        pictures = self._render(images, fetched, files)
        # Where the beginning of a file did not say enough, the whole of it is fetched after all.
        short = [index for index, picture in enumerate(pictures) if picture.header_incomplete]
        if short:
            those = [images[index] for index in short]
            again = self.source.fetch(those, [True] * len(those), files.disk)
            for index, found, picture in zip(short, again, self._render(those, again, files), strict=True):
                fetched[index], pictures[index] = found, picture
        return [
            item
            for image, found, picture in zip(images, fetched, pictures, strict=True)
            for item in self._objects_of(image, found, picture)
        ]

    def _needs_whole(self, image: PlannedImage) -> bool:
        """Whether a source in the store must be downloaded: to make something of it, or for a hash to prove it by."""
        renders = self.wanted.thumbnails or bool(image.boxes) or self.mapping.normalize
        if self.mapping.originals:
            return renders or self.wanted.full_check
        origin = self.source.copy_from(image)
        return renders or self.wanted.full_check or not (origin and origin.etag_is_md5)

    def _render(
        self, images: Sequence[PlannedImage], fetched: Sequence[Fetched], files: RenditionFiles
    ) -> list[Picture]:
        jobs: list[PictureJob] = []
        for index, (image, found) in enumerate(zip(images, fetched, strict=True)):
            if found.code:
                continue
            name = f"{len(images)}-{index}"
            stem = f"{files.folder_for(image.size, image.boxes)}/{name}"
            jobs.append(
                PictureJob(
                    file=found.file,
                    size=image.size if found.size < 0 else found.size,
                    version=found.version,
                    partial=found.partial,
                    thumbnail=f"{stem}.thumbnail" if self.wanted.thumbnails else "",
                    normalized=f"{files.disk}/{name}.normalized" if self.mapping.normalize else "",
                    crops=tuple(Crop(box, f"{stem}.{box.id}") for box in image.boxes),
                    spare=str(files.disk),
                )
            )
        rendered = iter(self.pool.render(jobs))
        return [
            Picture(None, code=found.code, message=found.message) if found.code else next(rendered) for found in fetched
        ]

    def _objects_of(self, image: PlannedImage, fetched: Fetched, picture: Picture) -> list[_Object]:
        present = {item.key: item for item in image.present}
        row = _image_row(image, self.mapping, self.run, self.wanted.image_recipe)
        info, code = picture.info, picture.code
        if info:
            row = row.with_info(info)
        if info is None or not self._is_deliverable(picture):
            return [_Object(row.with_problem(Code[code].status, code, picture.message))]
        if code:
            row = row.with_problem("sent", code, picture.message)
        objects: list[_Object] = []
        boxes = iter(image.boxes)
        for rendition in picture.renditions:
            if rendition.kind == "image":
                # The index shows the picture that is stored, in the format that is stored.
                row = row.with_rendition(rendition).but(format="JPEG", orientation=1, mode="RGB", frames=1)
                objects.append(self._upload(row, rendition.file, present))
            else:
                made = self._rendition(row, image, rendition)
                if rendition.kind == "crop":
                    made = self._crop(made, image, info, next(boxes))
                objects.append(self._object(made, rendition, present))
        if not self.mapping.normalize:
            objects.append(self._original(row, image, fetched, present))
        return objects

    def _is_deliverable(self, picture: Picture) -> bool:
        """Whether the image is sent, in spite of its code where it has one."""
        if not picture.code:
            return True
        traits = Code[picture.code].traits
        if self.mapping.normalize:
            return Trait.SENT_ANYWAY in traits and bool(picture.renditions)
        return Trait.SENT_ANYWAY in traits or (self.wanted.deliver_undecodable and Trait.BYTES_DELIVERABLE in traits)

    def _original(
        self, row: LedgerRow, image: PlannedImage, fetched: Fetched, present: dict[str, ExistingObject]
    ) -> _Object:
        if self.mapping.originals:
            return _Object(self._in_place(row, image, present))
        origin = self.source.copy_from(image)
        if origin is None:
            return self._upload(row, fetched.file, present)
        row = row.but(size=image.size, etag=row.etag or image.version)
        if self._is_present(row, present):
            return _Object(row.but(status="present", run=present[row.key].run))
        copy = Copy(row.key, origin.bucket, origin.key, origin.etag, row.content_type, image.size)
        return _Object(row, copy=copy)

    def _in_place(self, row: LedgerRow, image: PlannedImage, present: dict[str, ExistingObject]) -> LedgerRow:
        """It is unchanged only where an earlier run indexed it: that the source has it says nothing."""
        row = row.but(size=image.size, etag=image.version)
        known = present.get(row.key)
        if known and known.known_etag == row.etag and self._is_present(row, present):
            return row.but(status="present", run=known.run)
        return row.but(status="in_place")

    def _rendition(self, original: LedgerRow, image: PlannedImage, rendition: Rendition) -> LedgerRow:
        return LedgerRow(
            source_path=image.path,
            kind=rendition.kind,
            key=self.mapping.thumbnail_key(image.name),
            status="sent",
            source_size=image.size,
            source_version=image.version,
            media_id=original.media_id,
            format="WEBP" if rendition.content_type == "image/webp" else "JPEG",
            frames=1,
            recipe=self.wanted.thumbnail_recipe,
            run=self.run,
            source_name=original.source_name,
        ).with_rendition(rendition)

    def _crop(self, row: LedgerRow, image: PlannedImage, info: ImageInfo, box: Box) -> LedgerRow:
        width, height = info.size_in(self.wanted.box_space)
        key = self.mapping.crop_key(image.name, box)
        return row.with_box(box.in_pixels(width, height)).but(key=key, recipe=self.wanted.crop_recipe)

    def _object(self, row: LedgerRow, rendition: Rendition, present: dict[str, ExistingObject]) -> _Object:
        if rendition.code:
            return _Object(row.with_problem(Code[rendition.code].status, rendition.code, rendition.message))
        return self._upload(row, rendition.file, present)

    def _upload(self, row: LedgerRow, file: str, present: dict[str, ExistingObject]) -> _Object:
        if self._is_present(row, present):
            known = present[row.key]
            return _Object(row.but(status="present", run=known.run, etag=known.etag))
        return _Object(row, Upload(row.key, file, row.content_type, row.size, row.md5, row.sha256, row.source_version))

    def _is_present(self, row: LedgerRow, present: dict[str, ExistingObject]) -> bool:
        """Whether the store's listing shows these very bytes under this key already."""
        known = present.get(row.key)
        if known is None or self.wanted.rerun == "all" or known.size != row.size:
            return False
        # Of a large object, that is sent in parts, a store that copied it in one go gives the MD5 as its ETag.
        same_md5 = known.etag == row.md5 or (known.etag == known.known_etag and known.md5 == row.md5)
        same_bytes = known.etag == row.etag or (bool(row.md5) and same_md5)
        return same_bytes and known.recipe in ("", row.recipe)

    def _send(self, objects: list[_Object], folder: Path) -> list[SendResult]:
        if self.stop.is_set:
            raise StoreError("The run was stopped.", Code.NOT_ATTEMPTED)
        sent = self.engine.send([item.upload for item in objects if item.upload], folder)
        return sent + self.engine.copy([item.copy for item in objects if item.copy])


def _without_arrived(objects: Sequence[_Object], images: Sequence[PlannedImage], arrived: Arrived) -> list[_Object]:
    """Objects that another worker has sent of this batch are not sent again. The proof looks at them as at all.

    Where the store had the same bytes when the run was planned, they are to be sent anew, with other headers.
    """
    before = {item.key: item.etag for image in images for item in image.present}
    waiting = [item.row for item in objects if (item.upload or item.copy) and before.get(item.row.key) != item.row.etag]
    there = arrived([Expected(row.key, row.size, row.etag) for row in waiting])
    return [_Object(item.row) if item.row.key in there else item for item in objects]


def _image_row(image: PlannedImage, mapping: Mapping, run: str, recipe: str = "") -> LedgerRow:
    """As it is before anything is known of the image's bytes."""
    return LedgerRow(
        source_path=image.path,
        kind="image",
        key=mapping.image_key(image.name),
        status="sent",
        source_size=image.size,
        source_version=image.version,
        media_id=mapping.media_id(image.path),
        recipe=recipe,
        run=run,
        source_name=mapping.source_name,
    )


def lost_rows(images: Sequence[PlannedImage], mapping: Mapping, run: str, message: str) -> list[LedgerRow]:
    """The rows of a batch whose workers died: nobody knows what was sent of it."""
    return [_image_row(image, mapping, run).with_problem("failed", Code.WORKER_LOST, message) for image in images]


def _rows_after(
    objects: Sequence[_Object], sent: dict[str, SendResult], stopped: StoreError | None, judgement: str
) -> list[LedgerRow]:
    rows: list[LedgerRow] = []
    for item in objects:
        row = item.row
        if item.upload or item.copy:
            word = sent.get(row.key)
            if word is None:
                code = stopped.code if stopped else Code.NO_REPORT
                row = row.with_problem("failed", code, str(stopped) if stopped else code.meaning)
            elif word.outcome == "rejected":
                row = row.with_problem("rejected", word.code, word.message)
            elif word.outcome != "sent":
                row = row.with_problem("failed", word.code or Code.NO_REPORT, word.message)
        if row.kind == "image" and row.status == "rejected":
            row = row.but(recipe=judgement)
        rows.append(row)
    return rows
