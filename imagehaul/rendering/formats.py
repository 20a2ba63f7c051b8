"""Which format a file is in, whatever its name, and the decoder for it; or why there is none."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from io import BytesIO
from typing import BinaryIO

# Imported here, since `Image.open` imports Pillow's other thirty formats when one of `_TRIED` is not there yet.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
    features,
)

from imagehaul.errors import Code
from imagehaul.records import PART_SIZE
from imagehaul.rendering import second_tiff
from imagehaul.rendering.image_file import PictureError, Source
from imagehaul.rendering.wholeness import CHECKED, essential_png, is_whole

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
    "ICO": "image/vnd.microsoft.icon",
    "PPM": "image/x-portable-anymap",
    "TGA": "image/x-tga",
}
"""The formats that are decoded. Pillow's others stay out: some start programs, and few files hold them."""

# What Pillow finds to be an MPO it opens as a JPEG first.
_TRIED = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "ICO", "PPM")
_PLUGINS = (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    IcoImagePlugin,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TgaImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

# https://github.com/nokiatech/heif/wiki and https://nokiatech.github.io/heif/technical.html
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
ANY_CODEC_BRANDS = {b"mif1", b"msf1"}

_WEBP_FLAGS = 20
_WEBP_HAS_EXIF = 0b1000
_BEYOND_LIBTIFF = {"webp", "thunderscan"}
"""Compressions that Pillow takes, and the libtiff in its wheels does not."""
_OUR_LIMIT = ("Reformat failed", "Unsupported feature", "Unsupported BMP", "cannot handle")
"""What decoders say of pictures that are whole, and of a sort that they lack."""

# `RenderOptions.pixel_limit` takes its place: a number that the user sets, and a code instead of an exception.
Image.MAX_IMAGE_PIXELS = None
# A worker has one core, and the stacks of threads count against its memory.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


def identify(source: Source, head: bytes) -> ImageFile.ImageFile:
    """The picture, its header read. `head`: the file's first 16 bytes.

    Raises `SyntaxError` and what else Pillow raises for a broken header, and `PictureError` where it is no fault of the
    file's: a decoder that is not installed, or a picture that none of them can read.
    """
    stream = source.stream
    is_riff, is_box = head[:4] == b"RIFF", head[4:8] == b"ftyp"
    if source.partial and (is_riff or is_box) and source.info.size <= PART_SIZE:
        # These decoders want to hold the whole file, though they look at no more than its beginning.
        stream.seek(0)
        stream = BytesIO(stream.read().ljust(source.info.size, b"\0"))
    formats = list(_TRIED)
    if is_box and head[8:12] in _HEIC_BRANDS | ANY_CODEC_BRANDS and _heif_registered():
        formats.append("HEIF")
    try:
        image = Image.open(stream, formats=formats)
        if image.format == "TIFF" and image.info.get("compression") in _BEYOND_LIBTIFF:
            raise UnidentifiedImageError("libtiff lacks its compression")
    except Exception as error:
        return _second_try(source, stream, head, error)
    if is_riff and source.partial and "exif" not in image.info:
        stream.seek(_WEBP_FLAGS)
        if head[12:16] == b"VP8X" and stream.read(1)[0] & _WEBP_HAS_EXIF:
            raise EOFError("the orientation stands behind the pixels")
    return image


_GZIP = b"\x1f\x8b\x08"
"""https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1: its mark, and the one method that there is."""


def _second_try(source: Source, stream: BinaryIO, head: bytes, error: Exception) -> ImageFile.ImageFile:
    """By the decoders that few files need. Raises `error`, or a better word for it."""
    _refuse_missing(head)
    name = _begun(head)
    if source.partial:
        raise EOFError("the whole file may say more") from error
    if name == "PNG":
        try:
            return Image.open(essential_png(stream), formats=["PNG"])
        except UnidentifiedImageError:
            raise SyntaxError("its PNG header is broken") from error
    if name == "TIFF" and is_whole(name, stream) and second_tiff.register():
        try:
            return Image.open(stream, formats=[second_tiff.NAME])
        except UnidentifiedImageError as second:
            raise unsupported(source, name, "its kind of pixels or compression") from second
    if head.startswith(_GZIP):
        raise PictureError(
            Code.COMPRESSED,
            "Its bytes are compressed by gzip, as with Content-Encoding: gzip: only who unpacks them sees a picture.",
        )
    if not name:
        try:
            # It has no mark at its beginning: anything may pass for one, so it comes last.
            return Image.open(stream, formats=["TGA"])
        except UnidentifiedImageError:
            raise SyntaxError(f"no known picture format; the file begins with {head[:12]!r}") from error
    words = _words(name, stream) if isinstance(error, UnidentifiedImageError) else str(error)
    if (name == "TIFF" or lacks_skill(words)) and (name not in CHECKED or is_whole(name, stream)):
        raise unsupported(source, name, words) from error
    if isinstance(error, UnidentifiedImageError):
        raise SyntaxError(f"its {name} header is broken") from error
    raise error


def lacks_skill(words: str) -> bool:
    """Whether what a decoder said means that the picture is of a sort that it cannot read, and not broken."""
    return any(mark in words for mark in _OUR_LIMIT)


def unsupported(source: Source, name: str, words: str) -> PictureError:
    """For a whole file of the format `name` that no decoder here reads. `words`: what the decoder said."""
    info = replace(source.info, format=name, content_type=CONTENT_TYPES[name], checked="header")
    hint = second_tiff.HINT if name == "TIFF" and not second_tiff.register() else ""
    return PictureError(Code.FORMAT_UNSUPPORTED, f"No decoder here reads this {name}: {words}.{hint}", info)


def _begun(head: bytes) -> str:
    """The format that the file's first bytes are the mark of, "" = none."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS | ANY_CODEC_BRANDS:
        return "HEIF"
    return next((name for name in _TRIED if (accept := Image.OPEN[name][1]) and accept(head) is True), "")


def _words(name: str, stream: BinaryIO) -> str:
    """What the decoder had to say: `Image.open` keeps it to itself."""
    if name not in Image.OPEN:
        return ""
    stream.seek(0)
    try:
        Image.OPEN[name][0](stream, "")
    except Exception as error:
        return str(error)
    return ""


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
    """Pillow from another source than its wheels can lack some decoders, and HEIC has a package of its own."""
    for name, feature, found in (
        ("WebP", "webp", head[8:12] == b"WEBP"),
        ("AVIF", "avif", head[4:12] in (b"ftypavif", b"ftypavis")),
        ("JPEG 2000", "jpg_2000", head[4:8] == b"jP  "),
    ):
        if found and not features.check(feature):
            raise PictureError(Code.DECODER_MISSING, f"{name} pictures need a Pillow that is built with {feature}.")
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS | ANY_CODEC_BRANDS and not _heif_registered():
        raise PictureError(Code.DECODER_MISSING, "HEIC pictures need the package pillow-heif.")
