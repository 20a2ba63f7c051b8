"""What a picture's header says: the true format, whatever the file's name, and the size of the upright picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO

# Imported here, since `Image.open` imports Pillow's other forty formats when one of `_TRIED` is not there yet.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from imagehaul.records import PART_SIZE, Facts
from imagehaul.rendering.image_file import PictureError, Source

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "MPO": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
    "JPEG2000": "image/jp2",
    "AVIF": "image/avif",
    "HEIF": "image/heic",
}
"""The formats that are decoded. Pillow's others stay out: some start programs, and few files hold them."""

# What Pillow finds to be an MPO it opens as a JPEG first.
_TRIED = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF")
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# https://github.com/nokiatech/heif/wiki and https://nokiatech.github.io/heif/technical.html
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_ANY_CODEC_BRANDS = {b"mif1", b"msf1"}

_READ_AT_ONCE = 4 * 2**20
"""Bytes that the JPEG decoder is given at a time. With Pillow's 64 KiB a large photograph takes 3 % longer."""
_LONGEST_SIDE = 2**32
"""More is no picture, and a BigTIFF can claim more than a ledger's column holds."""
_ORIENTATION = 0x0112
_WEBP_FLAGS = 20
_WEBP_HAS_EXIF = 0b1000

# `RenderOptions.pixel_limit` takes its place: a number that the user sets, and a code instead of an exception.
Image.MAX_IMAGE_PIXELS = None
# A worker has one core, and the stacks of threads count against its memory.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


@dataclass(frozen=True, slots=True)
class OpenPicture:
    """A picture whose header was read. `turn`: the EXIF orientation that its pixels need to be upright."""

    image: ImageFile.ImageFile
    facts: Facts
    turn: int


def open_picture(source: Source, pixel_limit: int) -> OpenPicture:
    """Raises what Pillow raises for a broken header, and `PictureError` where a decoder is not installed."""
    head = source.stream.read(16)
    image = _identify(source, head)
    if max(image.size) > _LONGEST_SIDE:
        raise ValueError(f"its header says {image.width} x {image.height} pixels")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.decodermaxblock = _READ_AT_ONCE
    late = image.format == "PNG" and "exif" not in image.info and not source.partial
    if late and image.width * image.height <= pixel_limit and _has_metadata_after_pixels(source):
        image.load()
    orientation = _orientation(image)
    # Pillow itself turns a TIFF when it decodes it, and gives the upright size from the start. (A HEIF is turned by
    # its own decoder, which takes the orientation away.)
    turn = 1 if image.format == "TIFF" else orientation
    width, height = image.size if turn < 5 else image.size[::-1]
    name = str(image.format)
    facts = replace(
        source.facts,
        format=name,
        content_type="image/heif" if name == "HEIF" and head[8:12] in _ANY_CODEC_BRANDS else CONTENT_TYPES[name],
        width=width,
        height=height,
        orientation=orientation,
        mode=image.mode,
        checked="header",
    )
    return OpenPicture(image, facts, turn)


def count_frames(image: ImageFile.ImageFile) -> int:
    """Frames or pages; 0 where the file breaks off among them. To be called last: it moves through the file."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # what is behind the first frame is nobody's thumbnail
        return 0


def _identify(source: Source, head: bytes) -> ImageFile.ImageFile:
    stream = source.stream
    is_riff, is_box = head[:4] == b"RIFF", head[4:8] == b"ftyp"
    if source.partial and (is_riff or is_box) and source.facts.size <= PART_SIZE:
        # These decoders want to hold the whole file, though they look at no more than its beginning.
        stream.seek(0)
        stream = BytesIO(stream.read().ljust(source.facts.size, b"\0"))
    formats = list(_TRIED)
    heif_missing = False
    if is_box and head[8:12] in _HEIC_BRANDS | _ANY_CODEC_BRANDS:
        heif_missing = not _heif_registered()
        formats += [] if heif_missing else ["HEIF"]
    try:
        image = Image.open(stream, formats=formats)
    except UnidentifiedImageError as error:
        if heif_missing:
            raise PictureError("DECODER_MISSING", "HEIC pictures need the package pillow-heif.") from error
        _refuse_missing(head)
        begun = [name for name in formats if Image.OPEN[name][1](head) is True]  # type: ignore[misc]
        if begun:
            raise SyntaxError(f"its {begun[0]} header is broken") from error
        raise SyntaxError(f"no known picture format; the file begins with {head[:12]!r}") from error
    if is_riff and source.partial and "exif" not in image.info:
        stream.seek(_WEBP_FLAGS)
        if head[12:16] == b"VP8X" and stream.read(1)[0] & _WEBP_HAS_EXIF:
            raise EOFError("the orientation stands behind the pixels")
    return image


@cache
def _heif_registered() -> bool:
    try:
        import pillow_heif
    except ImportError:
        return False
    # An embedded preview would be taken for the picture, and a broken picture behind it would not be found.
    pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return True


def _refuse_missing(head: bytes) -> None:
    """A Pillow from another source than its wheels can lack some decoders."""
    for name, feature, found in (
        ("WebP", "webp", head[8:12] == b"WEBP"),
        ("AVIF", "avif", head[4:12] in (b"ftypavif", b"ftypavis")),
        ("JPEG 2000", "jpg_2000", head[4:8] == b"jP  "),
    ):
        if found and not features.check(feature):
            raise PictureError("DECODER_MISSING", f"{name} pictures need a Pillow that is built with {feature}.")


def _has_metadata_after_pixels(source: Source) -> bool:
    """A PNG may say behind its pixels how it is to be turned, and Pillow reads that after decoding only."""
    stream = source.stream
    if not isinstance(stream, BytesIO):
        return True
    data = stream.getvalue()
    pixels = data.find(b"IDAT")
    return any(data.find(mark, pixels) >= 0 for mark in (b"eXIf", b"Raw profile type", b"XML:com.adobe.xmp"))


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        # Not the method of `PngImageFile`, which decodes the whole picture.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # broken EXIF spoils no pixel: the picture is taken as it is stored
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
