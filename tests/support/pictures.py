"""Pictures whose content a test knows, and what a test sees in the pictures that are made of them."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from imagehaul.records import Box, Crop, Picture, PictureJob, RenderOptions
from imagehaul.rendering.render import render

COLOURS = {
    "red": (220, 30, 30),
    "green": (30, 160, 30),
    "blue": (30, 30, 220),
    "yellow": (230, 220, 30),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "black": (0, 0, 0),
}
UPRIGHT = "red green / blue yellow"

_TO_CAMERA = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""What a camera that is held so does to the upright picture."""


def quadrants(size: tuple[int, int] = (320, 240), mode: str = "RGB") -> Image.Image:
    """Red and green above, blue and yellow below."""
    width, height = size
    image = Image.new("RGB", size, COLOURS["red"])
    image.paste(COLOURS["green"], (width // 2, 0, width, height))
    image.paste(COLOURS["blue"], (0, height // 2, width // 2, height))
    image.paste(COLOURS["yellow"], (width // 2, height // 2, width, height))
    return image.convert(mode)


def as_held(image: Image.Image, orientation: int) -> Image.Image:
    """The stored pixels of an upright picture, for that EXIF orientation."""
    for step in _TO_CAMERA[orientation]:
        image = image.transpose(step)
    return image


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def saved(file: Path, image: Image.Image, **options: Any) -> Path:
    image.save(file, **options)
    return file


def seen(picture: Path | bytes) -> str:
    """The colours in the middle of the four quadrants, `above left, right / below left, right`."""
    with Image.open(BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
        shown = image.convert("RGB")
    names = [
        _name(shown.getpixel((int(shown.width * x), int(shown.height * y)))) for y in (0.25, 0.75) for x in (0.25, 0.75)
    ]
    return f"{names[0]} {names[1]} / {names[2]} {names[3]}"


def _name(colour: Any) -> str:
    return min(COLOURS, key=lambda name: sum((a - b) ** 2 for a, b in zip(colour, COLOURS[name], strict=True)))


def levels(picture: Path | Image.Image) -> list[int]:
    """The middle row of a grey picture."""
    image = Image.open(picture) if isinstance(picture, Path) else picture
    return list(image.convert("L").crop((0, image.height // 2, image.width, image.height // 2 + 1)).tobytes())


def job(file: Path, **asked: Any) -> PictureJob:
    status = file.stat()
    return PictureJob(str(file), status.st_size, str(status.st_mtime_ns), **asked)


def thumbnail_of(file: Path, **options: Any) -> tuple[Picture, Path]:
    """The outcome, and the thumbnail's file."""
    made = file.with_name(file.name + ".thumbnail")
    return render(job(file, thumbnail=str(made)), RenderOptions(**options)), made


def rendered(file: Path, *boxes: Box, normalized: bool = False, thumbnail: bool = False, **options: Any) -> Picture:
    """Crops, and what else is asked for, in files named after their kind and number."""
    asked = {"thumbnail": f"{file}.thumbnail" if thumbnail else "", "normalized": f"{file}.jpg" if normalized else ""}
    crops = tuple(Crop(box, f"{file}.crop{number}") for number, box in enumerate(boxes))
    return render(job(file, crops=crops, **asked), RenderOptions(**options))


def swapped_profile() -> bytes:
    """An ICC profile like sRGB whose red lamp is green, and whose green lamp is red."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def grey_tiff(values: list[int], bits: int, photometric: int = 1) -> bytes:
    """One row of unsigned numbers, as scanners and microscopes write them and Pillow does not."""
    if bits == 16:
        pixels = struct.pack(f"<{len(values)}H", *values)
    else:
        digits = "".join(f"{value:0{bits}b}" for value in values)
        pixels = int(digits, 2).to_bytes(len(digits) // 8, "big")
    count = 9
    tags = {256: len(values), 257: 1, 258: bits, 259: 1, 262: photometric, 273: 8 + 2 + 12 * count + 4, 277: 1, 278: 1}
    tags[279] = len(pixels)
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return struct.pack("<2sHIH", b"II", 42, 8, count) + directory + bytes(4) + pixels


def png_chunk(name: bytes, data: bytes, good: bool = True) -> bytes:
    checksum = zlib.crc32(name + data) ^ (not good)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def grey_png(bits: int, rows: list[list[int]], clear: int) -> bytes:
    """Greys of any depth, one of which is transparent: Pillow writes 8 bits alone."""
    digits = [
        b"\0" + int("".join(f"{value:0{bits}b}" for value in row), 2).to_bytes(len(row) * bits // 8, "big")
        for row in rows
    ]
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + png_chunk(b"tRNS", struct.pack(">H", clear))
    return b"\x89PNG\r\n\x1a\n" + chunks + png_chunk(b"IDAT", zlib.compress(b"".join(digits))) + png_chunk(b"IEND", b"")
