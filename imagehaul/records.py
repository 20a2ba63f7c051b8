"""The records that travel through the chain: source → placement → rendition → delivery → entity."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from imagehaul.frozen import Changeable
from imagehaul.layout import MAIN_SOURCE

Kind = Literal["image", "thumbnail", "crop"]
Rerun = Literal["changed", "failed", "all"]
BoxSpace = Literal["upright", "stored"]

ExportName = Literal[
    "coco",
    "yolo",
    "voc",
    "csv",
    "huggingface",
    "label-studio",
    "croissant",
    "webdataset",
    "webdataset-thumbnails",
    "gallery",
    "card",
]
"""What EXPORTS may ask for."""

EngineName = Literal["s5cmd", "boto3", "obstore"]

PART_SIZE = 50 * 1024 * 1024
"""Bytes in a part of a multipart upload, in every engine: larger objects have an ETag of their parts' MD5s."""
WhenLocked = Literal["wait", "refuse"]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One entry of the source that has an image's suffix.

    `path`: relative to the source, `/` between its parts; bytes that are not UTF-8 are shown as `\\xNN`.
    `size` in bytes. `version`: what changes when the content does, the time of the last change in
    nanoseconds or the ETag. `code` and `message`: set where it cannot be delivered. `location`: where its bytes lie,
    where the path does not say it (a row of a list); it may hold a secret, and is in no ledger and no log.
    `metadata`: what else its row says, as `MetadataReader` keeps it.
    """

    path: str
    size: int
    version: str
    code: str = ""
    message: str = ""
    location: str = ""
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Box:
    """An annotated region: top-left corner `x`, `y`, then width and height.

    In pixels, as floats; `fraction` says that they are shares of the picture's width and height (YOLO),
    which become pixels once the picture's size is known.
    """

    x: float
    y: float
    width: float
    height: float
    label: str = ""
    fraction: bool = False

    @property
    def id(self) -> str:
        """16 hex digits of box and label: a crop's name never changes its meaning."""
        unit = "%" if self.fraction else "px"
        numbers = " ".join(repr(float(number)) for number in (self.x, self.y, self.width, self.height))
        text = f"{unit} {numbers} {self.label}"
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def in_pixels(self, width: int, height: int) -> Box:
        """The same box on a picture of that size, in pixels."""
        if not self.fraction:
            return self
        return Box(self.x * width, self.y * height, self.width * width, self.height * height, self.label)


@dataclass(frozen=True, slots=True)
class Annotation:
    """What one line of an annotation file says about one image, or about all images of a folder.

    `reference` names the image by its `path` or by its `stem` (the same without a suffix), or the `folder` of images,
    as seen from one of `places`, best first: folders relative to the source, "" for the source itself. Where no
    image has that stem, the only one with its base name is meant, if `apart` are folders of its path too.
    `text`: the label, the caption or the name of the split. `metadata`: as a `MetadataReader` gave it, of a box or,
    with the kind of that name, of the image. `image_width`, `image_height`: pixels, as the file says; 0 = it does not.
    """

    reference: str
    match: Literal["path", "stem", "folder"]
    kind: Literal["box", "label", "caption", "split", "metadata"]
    text: str
    origin: str
    places: tuple[str, ...] = ("",)
    box: Box | None = None
    image_width: int = 0
    image_height: int = 0
    apart: tuple[str, ...] = ()
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class AnnotationProblem:
    """What an annotation file says that could not be used or, where `used`, not quite as it stands.

    `reason` is the same sentence for problems of one sort, to count by; `where` names file, line and word.
    """

    reason: str
    where: str
    used: bool = False


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class Quality:
    """Measures of one picture, off its thumbnail.

    `phash`: 128 bits in hex, few of which differ where pictures look the same. `brightness`: 0 to 1, the mean;
    `contrast`: 0 to 0.5, its deviation; `sharpness`: that of its Laplacian, in levels of 255; `entropy`: 0 to 8 bits.
    """

    phash: str
    brightness: float
    contrast: float
    sharpness: float
    entropy: float


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class ImageInfo(Changeable):
    """What was read off one image file.

    `width`, `height`: pixels of the upright picture. `orientation`: EXIF, 1 to 8. `frames`: 0 = not counted.
    `size` in bytes; `md5` and `sha256` in hex, "" = not computed. `etag`: what a store that computes MD5
    ETags will say of these bytes. `checked`: how far the file was looked at. `quality`: None = not measured.
    """

    format: str
    content_type: str
    width: int
    height: int
    orientation: int
    mode: str
    frames: int
    size: int
    md5: str
    sha256: str
    etag: str
    checked: Literal["nothing", "header", "decoded"]
    quality: Quality | None = None

    def size_in(self, space: BoxSpace) -> tuple[int, int]:
        """Width and height of the picture that boxes of that space lie in."""
        turned = space == "stored" and self.orientation >= 5
        return (self.height, self.width) if turned else (self.width, self.height)


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class Crop:
    """One crop to make: the box, and the file to write it to."""

    box: Box
    file: str


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class PictureJob:
    """One image to look at, and what to make of it. An empty file name: not asked for.

    `version` is the time of the last change in nanoseconds that the plan saw, "" = not compared (a download).
    `partial`: `file` holds only the beginning of the image, `size` is the whole image's.
    `spare`: a folder for renditions that cannot be written where they should be, "" = there is none.
    """

    file: str
    size: int
    version: str
    partial: bool = False
    thumbnail: str = ""
    normalized: str = ""
    crops: tuple[Crop, ...] = ()
    spare: str = ""


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class Rendition:
    """One file that was made of an image, or the code that says why it was not.

    `box`: the pixels that were cut, after rounding and clipping, as x, y, width, height of the upright picture.
    """

    kind: Kind
    file: str
    content_type: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    md5: str = ""
    sha256: str = ""
    etag: str = ""
    box: tuple[int, int, int, int] | None = None
    quality: Quality | None = None
    code: str = ""
    message: str = ""


@dataclass(frozen=True)  # no slots: it is pickled, which is four times as fast so
class Picture:
    """What became of a `PictureJob`: info and renditions, or the code that says why there are none.

    With `code` set and `info` too, the image can be delivered all the same (over the pixel limit), or its bytes
    can where the user wants them (undecodable: it then holds size and hashes only).
    `header_incomplete`: a partial job whose part of the file does not say enough; nothing else is set then.
    """

    info: ImageInfo | None
    renditions: tuple[Rendition, ...] = ()
    code: str = ""
    message: str = ""
    header_incomplete: bool = False


@dataclass(frozen=True, slots=True)
class RenderOptions:
    """How pictures are rendered. Sizes in pixels, quality 1 to 100, memory in MiB, limits for one picture."""

    thumbnail_size: int = 256
    thumbnail_format: Literal["jpeg", "webp"] = "jpeg"
    thumbnail_quality: int = 85
    crop_margin: int = 0
    box_space: BoxSpace = "upright"
    pixel_limit: int = 150_000_000
    full_check: bool = False
    quality: Literal["on", "off"] = "on"
    picture_seconds: float = 60.0
    picture_memory: int = 3072


@dataclass(frozen=True, slots=True)
class ObjectOptions:
    """What every object that is sent gets in the store; "" leaves it to the store.

    `keep_source_metadata`: a copy within the store keeps its source's headers, user metadata and tags.
    """

    cache_control: str = ""
    storage_class: str = ""
    sse: str = ""
    sse_kms_key_id: str = ""
    keep_source_metadata: bool = True


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """What the settings say about the source; each kind of source takes what it needs.

    `source_store`: a block of the source's store, "" = the settings below say how it differs from the target's.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_links: bool = False
    suffixes: tuple[str, ...] = ()
    column: str = ""
    source_root: str = ""
    archives: str = "leave"
    allow_private_addresses: bool = False
    source_store: str = ""
    source_object_store_url: str = ""
    source_aws_profile: str = ""
    source_aws_region: str = ""
    source_ca_bundle: str = ""


@dataclass(frozen=True, slots=True)
class Upload:
    """One object to send: the local file and the key in the target bucket. Size in bytes, hashes in hex.

    `version`: the source's, as in `SourceFile`. A file of this machine that still has it needs no second hashing.
    """

    key: str
    file: str
    content_type: str
    size: int
    md5: str
    sha256: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """One object that the store itself copies from another key; `source_etag` must still be its ETag then."""

    key: str
    source_bucket: str
    source_key: str
    source_etag: str
    content_type: str
    size: int


@dataclass(frozen=True, slots=True)
class SendResult:
    """What an engine says of one key. `sent` is the engine's word, not a proof; `unknown`: it ended without one."""

    key: str
    outcome: Literal["sent", "rejected", "failed", "unknown"]
    code: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing; `etag` without its quotes."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class ExistingObject:
    """An object that the listing of the plan shows. `md5`, `known_etag`, `recipe`, `run`: from its ledger row."""

    key: str
    size: int
    etag: str
    md5: str
    known_etag: str
    recipe: str
    run: str


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image that needs work; `name` is what the mapping made of its path. `size` in bytes.

    `location`: as in `SourceFile`.
    """

    path: str
    name: str
    size: int
    version: str
    boxes: tuple[Box, ...]
    present: tuple[ExistingObject, ...]
    location: str = ""


@dataclass(frozen=True, slots=True)
class BatchReference:
    """A batch by its place in the plan: source ordinals `first` to `last`. `size`: bytes of its images."""

    number: int
    first: int
    last: int
    images: int
    size: int


@dataclass(frozen=True, slots=True)
class Request:
    """What one delivery is asked to do; how it does it stands in the settings.

    `source`: a folder or `s3://bucket/prefix`. `annotations`: files, folders or `s3://` URIs; none looks beside
    the images. `broken`: a Parquet file of objects (`problem`, `key`) that a verification found not to be as the
    ledger says; they count as not being in the store.
    `source_type`: a name in the registry of sources, "" = by the source's form. `column`: of a list, "" = by its name.
    `source_store`: the block of its store, "" = as the settings say. `source_name`: which of the data set's it is.
    """

    dataset: str
    source: str
    annotations: tuple[str, ...] = ()
    rerun: Rerun = "changed"
    dry_run: bool = False
    allow_loss: bool = False
    when_locked: WhenLocked = "wait"
    broken: str = ""
    source_type: str = ""
    column: str = ""
    source_store: str = ""
    source_name: str = MAIN_SOURCE


def locations(said: str | Iterable[str] | None) -> tuple[str, ...]:
    """One place or several, as a form or the command line gives them; "" is none."""
    return tuple(filter(None, (said,) if isinstance(said, str) else said or ()))
