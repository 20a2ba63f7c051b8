"""One image file to its info, thumbnail, crops and normalized picture: read once, decoded at most once."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PIL import Image, ImageFile, JpegImagePlugin

from imagehaul.digests import digest
from imagehaul.errors import Code
from imagehaul.records import Box, ImageInfo, Kind, Picture, PictureJob, RenderOptions, Rendition
from imagehaul.rendering.deep_colours import lower_bytes, with_all_bits
from imagehaul.rendering.formats import lacks_skill, unsupported
from imagehaul.rendering.header import OpenPicture, count_frames, open_picture
from imagehaul.rendering.image_file import PictureError, Source, opened
from imagehaul.rendering.pixels import eight_bits, encoded, in_srgb, upright
from imagehaul.rendering.quality import measured
from imagehaul.rendering.regions import Region, region_of, turned, turned_back
from imagehaul.rendering.resizing import Part, fitted, shrunk
from imagehaul.rendering.wholeness import ended_jpeg

NORMALIZED_QUALITY = 95
HUNGRIEST_DECODER = 24
"""Bytes of memory for a pixel: JPEG 2000 takes 20 at its peak, and no other decoder takes more."""

_NO_END = "The JPEG ends without its end marker. All of its pixels are there, and it is delivered as it is."
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def render(job: PictureJob, options: RenderOptions) -> Picture:
    """Writes the files that `job` asks for. What is wrong with a picture becomes its code, and is not raised.

    The renditions come in this order: thumbnail, normalized picture, and the crops as the job has them.
    """
    try:
        with opened(job) as source:
            return _render(source, job, options)
    except PictureError as fault:
        return Picture(None, code=fault.code, message=str(fault))
    except MemoryError:
        return Picture(None, code=Code.MEMORY_LIMIT, message=_too_hungry(options))


def fingerprint(job: PictureJob) -> Picture:
    """Size and hashes alone, for a picture on which a decoder died."""
    try:
        with opened(job) as source:
            return Picture(source.info)
    except PictureError as fault:
        return Picture(None, code=fault.code, message=str(fault))


def _render(source: Source, job: PictureJob, options: RenderOptions) -> Picture:
    if not job.size:
        return Picture(source.info, code=Code.EMPTY, message="The file has no bytes.")
    picture: OpenPicture | None = None
    pixels = 0
    try:
        picture = open_picture(source, options.pixel_limit)
        pixels = picture.info.width * picture.info.height
        if pixels > options.pixel_limit:
            return Picture(picture.info, code=Code.PIXEL_LIMIT, message=_too_large(picture.info, options))
        if job.partial:
            return Picture(picture.info)
        renditions = tuple(_renditions(picture, source, job, options))
        checked: Literal["header", "decoded"] = "decoded" if renditions or options.full_check else "header"
        quality = next((rendition.quality for rendition in renditions if rendition.quality), None)
        info = picture.info.but(frames=count_frames(picture.image), checked=checked, quality=quality)
        return Picture(info, renditions)
    except PictureError as fault:
        return Picture(fault.info or source.info, code=fault.code, message=str(fault))
    except MemoryError:
        return Picture(source.info, code=Code.MEMORY_LIMIT, message=_too_hungry(options))
    except Exception as error:  # decoders raise a dozen kinds of it on broken files
        if isinstance(error, OSError) and error.errno:
            raise
        if job.partial:
            return Picture(None, header_incomplete=True)
        if picture and lacks_skill(str(error)):
            limit = unsupported(source, picture.info.format, _line(error))
            return Picture(picture.info, code=limit.code, message=str(limit))
        if picture and picture.info.format == "JPEG" and (ended := ended_jpeg(source.stream)):
            whole = _render(replace(source, stream=ended), job, options)
            return whole if whole.code else replace(whole, code=Code.END_MISSING, message=_NO_END)
        if pixels * HUNGRIEST_DECODER > options.picture_memory * 2**20:
            # Few decoders say that it was memory they lacked.
            return Picture(source.info, code=Code.MEMORY_LIMIT, message=f"{_too_hungry(options)} ({_line(error)})")
        return Picture(source.info, code=Code.UNDECODABLE, message=f"It cannot be decoded: {_line(error)}.")


def _renditions(picture: OpenPicture, source: Source, job: PictureJob, options: RenderOptions) -> Iterator[Rendition]:
    image, info = picture.image, picture.info
    if not (job.thumbnail or job.normalized or job.crops or options.full_check):
        return
    size = fitted(image.size, options.thumbnail_size)
    within = None
    lower = lower_bytes(image)
    if job.normalized or job.crops:
        _load(image)
    else:
        within = _load_small(image, size if job.thumbnail else (1, 1))
    if not (job.thumbnail or job.normalized or job.crops):
        return
    pixels = with_all_bits(image, lower, source.stream) if lower else image
    canvas = _Canvas(eight_bits(pixels), picture.turn, _profile(image))
    if job.thumbnail:
        small = canvas.finished(shrunk(canvas.image, size, within))
        kind = options.thumbnail_format
        made = _written("thumbnail", job.thumbnail, job.spare, small, kind, options.thumbnail_quality)
        yield replace(made, quality=measured(small)) if options.quality == "on" else made
    regions = [_region(crop.box, info, options) for crop in job.crops]
    cut = sum(_area(region) for region in regions if not isinstance(region, PictureError))
    if job.normalized or cut > info.width * info.height:
        canvas = _Canvas(canvas.finished(canvas.image), turn=1, profile=None)
    if job.normalized:
        yield _written("image", job.normalized, job.spare, canvas.image, "jpeg", NORMALIZED_QUALITY)
    for crop, region in zip(job.crops, regions, strict=True):
        if isinstance(region, PictureError):
            yield Rendition("crop", crop.file, code=region.code, message=str(region))
            continue
        stored = region if canvas.turn == 1 else turned_back(region, canvas.turn, (info.width, info.height))
        part, within = canvas.image, stored
        if not canvas.is_finished:
            part, within = canvas.finished(part.crop(stored)), None
        yield _written("crop", crop.file, job.spare, part, "jpeg", options.thumbnail_quality, within, region)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """A decoded picture, as it is stored: to turn and convert what is cut from it costs less than all of it."""

    image: Image.Image
    turn: int
    profile: bytes | None

    @property
    def is_finished(self) -> bool:
        return self.turn == 1 and self.profile is None and self.image.mode in ("RGB", "L")

    def finished(self, part: Image.Image) -> Image.Image:
        return part if self.is_finished else in_srgb(upright(part, self.turn), self.profile)


def _load(image: ImageFile.ImageFile) -> None:
    """Raises where the picture is broken off, or is of another size than its header says."""
    size = image.size
    image.load()
    if image.size != size:
        raise ValueError(f"the header says {size[0]} x {size[1]} pixels, and there are {image.width} x {image.height}")


def _load_small(image: ImageFile.ImageFile, size: tuple[int, int]) -> Part | None:
    """Decodes no more pixels than twice `size` needs, where the format can. Gives the picture's part of them."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        _load(image)
        return None
    drafted = image.draft(None, (2 * size[0], 2 * size[1]))
    image.load()
    return drafted[1] if drafted else None


def _profile(image: Image.Image) -> bytes | None:
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and profile else None


def _region(box: Box, info: ImageInfo, options: RenderOptions) -> Region | PictureError:
    """The pixels of the upright picture that the box stands for."""
    size = info.size_in(options.box_space)
    try:
        region = region_of(box, size, options.crop_margin)
    except PictureError as fault:
        return fault
    return turned(region, info.orientation, size) if options.box_space == "stored" else region


def _area(region: Region) -> int:
    left, top, right, bottom = region
    return (right - left) * (bottom - top)


def _written(
    kind: Kind,
    file: str,
    spare: str,
    image: Image.Image,
    encoding: Literal["jpeg", "webp"],
    quality: int,
    within: Region | None = None,
    region: Region | None = None,
) -> Rendition:
    """`within`: the part of the image to write. `region`: the pixels of the upright picture that a crop shows."""
    try:
        data = encoded(image, encoding, quality, within)
    except PictureError as fault:
        return Rendition(kind, file, code=fault.code, message=str(fault))
    try:
        file = _write(file, spare, data)
    except OSError as error:
        code = Code.DISK_FULL if error.errno in _NO_ROOM else Code.SCRATCH_UNWRITABLE
        return Rendition(kind, file, code=code, message=f"Writing to the scratch folder failed: {error.strerror}.")
    digests = digest(data)
    left, top, right, bottom = within or (0, 0, *image.size)
    return Rendition(
        kind,
        file,
        content_type=f"image/{encoding}",
        width=right - left,
        height=bottom - top,
        size=len(data),
        md5=digests.md5,
        sha256=digests.sha256,
        etag=digests.etag,
        box=(region[0], region[1], region[2] - region[0], region[3] - region[1]) if region else None,
    )


def _write(file: str, spare: str, data: bytes) -> str:
    """Gives the file that was written: `file`, or one of its name in `spare`. Leaves none where it raises."""
    try:
        _fill(file, data)
    except OSError:
        Path(file).unlink(missing_ok=True)
        other = str(Path(spare, Path(file).name)) if spare else file
        if other == file:
            raise
        return _write(other, "", data)
    return file


def _fill(file: str, data: bytes) -> None:
    """As `Path.write_bytes`, at a quarter of its time: a crop takes so little that the difference counts."""
    target = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        written = os.write(target, data)
        while written < len(data):
            written += os.write(target, memoryview(data)[written:])
    finally:
        os.close(target)


def _too_large(info: ImageInfo, options: RenderOptions) -> str:
    millions = info.width * info.height / 1e6
    return f"{info.width} x {info.height} are {millions:,.0f} million pixels; PIXEL_LIMIT is {options.pixel_limit:,}."


def _too_hungry(options: RenderOptions) -> str:
    return f"Work on the picture needed more than the {options.picture_memory} MiB of PICTURE_MEMORY."


def _line(error: Exception) -> str:
    """What a decoder said, as one short line that a terminal can show."""
    text = str(error) or type(error).__name__
    return "".join(char if char.isprintable() else " " for char in text)[:160].rstrip(". ")
