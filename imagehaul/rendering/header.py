"""What a picture's header says: the true format, whatever the file's name, and the size of the upright picture."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageFile, JpegImagePlugin, TiffImagePlugin

from imagehaul.records import ImageInfo
from imagehaul.rendering.formats import ANY_CODEC_BRANDS, CONTENT_TYPES, identify
from imagehaul.rendering.image_file import Source

_READ_AT_ONCE = 4 * 2**20
"""Bytes that the JPEG decoder is given at a time. With Pillow's 64 KiB a large photograph takes 3 % longer."""
_LONGEST_SIDE = 2**32
"""More is no picture, and a BigTIFF can claim more than a ledger's column holds."""
_ORIENTATION = 0x0112
_GREY_STEPS = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies a PNG's grey of two or four bits by; the one that is transparent it leaves as it is."""


@dataclass(frozen=True, slots=True)
class OpenPicture:
    """A picture whose header was read. `turn`: the EXIF orientation that its pixels need to be upright."""

    image: ImageFile.ImageFile
    info: ImageInfo
    turn: int


def open_picture(source: Source, pixel_limit: int) -> OpenPicture:
    """Raises what Pillow raises for a broken header, and `PictureError` where no decoder of ours reads the picture."""
    head = source.stream.read(16)
    image = identify(source, head)
    if max(image.size) > _LONGEST_SIDE:
        raise ValueError(f"its header says {image.width} x {image.height} pixels")
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.decodermaxblock = _READ_AT_ONCE
    if image.format == "PNG":
        _mend_transparency(image)
    late = image.format == "PNG" and "exif" not in image.info and not source.partial
    if late and image.width * image.height <= pixel_limit and _has_exif_after_pixels(source):
        image.load()
    orientation = _orientation(image)
    # Pillow itself turns a TIFF when it decodes it, and gives the upright size from the start. (A HEIF is turned by
    # its own decoder, which takes the orientation away.)
    turn = 1 if isinstance(image, TiffImagePlugin.TiffImageFile) else orientation
    width, height = image.size if turn < 5 else image.size[::-1]
    name = str(image.format)
    info = source.info.but(
        format=name,
        content_type="image/heif" if name == "HEIF" and head[8:12] in ANY_CODEC_BRANDS else CONTENT_TYPES[name],
        width=width,
        height=height,
        orientation=orientation,
        mode=image.mode,
        checked="header",
    )
    return OpenPicture(image, info, turn)


def count_frames(image: ImageFile.ImageFile) -> int:
    """Frames or pages; 0 where the file breaks off among them. To be called last: it moves through the file."""
    try:
        return int(getattr(image, "n_frames", 1))
    except Exception:  # what is behind the first frame is nobody's thumbnail
        return 0


def _mend_transparency(image: ImageFile.ImageFile) -> None:
    """The number that a PNG calls transparent, in the steps that Pillow unpacks its pixels to."""
    clear = image.info.get("transparency")
    stored = image.tile[0][3] if image.tile else ""
    if isinstance(clear, int) and stored in _GREY_STEPS:
        image.info["transparency"] = clear * _GREY_STEPS[str(stored)]
    elif isinstance(clear, tuple) and stored == "RGB;16B":
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _has_exif_after_pixels(source: Source) -> bool:
    """A PNG may say behind its pixels how it is to be turned, and Pillow reads that after decoding only."""
    stream = source.stream
    if not isinstance(stream, BytesIO):
        return True
    data = stream.getvalue()
    pixels = data.find(b"IDAT")
    return any(data.find(mark, pixels) >= 0 for mark in (b"eXIf", b"Raw profile type"))


def _orientation(image: ImageFile.ImageFile) -> int:
    """By EXIF, as browsers and libvips have it. Pillow alone obeys XMP too, where EXIF says nothing."""
    for name in ("xmp", "XML:com.adobe.xmp"):
        image.info.pop(name, None)
    try:
        # Not the method of `PngImageFile`, which decodes the whole picture.
        value = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # broken EXIF spoils no pixel: the picture is taken as it is stored
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1
