"""Whether a file that a decoder refuses is whole: then it is the decoder's limit, and not the file's fault."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from io import SEEK_END, BytesIO
from typing import BinaryIO

from PIL import Image, ImageChops

_TIFF_TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Those that sizes and places are written in."""
_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES = 273, 279, 324, 325
_UNCOMPRESSED_BMP = {0, 3, 6}
_OS2_BMP = 12
_END_OF_JPEG = b"\xff\xd9"
_PROGRESSIVE, _SCAN = 0xC2, 0xDA
_FRAMES = {0xC0, 0xC1, _PROGRESSIVE}
_WITHOUT_SEGMENT = {0x00, 0x01, *range(0xD0, 0xDA), 0xFF}
_FILLERS = (b"", *(bytes([byte]) * 4096 for byte in (0x55, 0xAA)))
"""What is put behind a cut. Each is longer than all that a decoder reads at once: one that finds less does nothing with
it."""
_ESSENTIAL = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}


CHECKED = ("TIFF", "BMP", "JPEG")
"""The formats that `is_whole` knows."""


def is_whole(name: str, stream: BinaryIO) -> bool:
    """Whether all of a TIFF's, BMP's or JPEG's pixels lie in the file, by what its header says."""
    stream.seek(0, SEEK_END)
    size = stream.tell()
    try:
        if name == "TIFF":
            return _tiff_is_whole(stream, size)
        if name == "BMP":
            return _bmp_is_whole(stream, size)
        stream.seek(-2, SEEK_END)
        return stream.read(2) == _END_OF_JPEG
    except (struct.error, OSError, KeyError):
        return False


def _tiff_is_whole(stream: BinaryIO, size: int) -> bool:
    """https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf and http://bigtiff.org"""
    stream.seek(0)
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    big = struct.unpack(order + "H", head[2:4]) == (43,)
    word, entry = ("Q", "HHQ") if big else ("I", "HHI")
    (where,) = struct.unpack(order + word, head[8:16] if big else head[4:8])
    tags: dict[int, tuple[int, ...]] = {}
    stream.seek(where)
    (count,) = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))
    step = struct.calcsize(order + entry) + struct.calcsize(order + word)
    if count * step > size:
        return False
    directory = stream.read(count * step)
    for start in range(0, count * step, step):
        tag, kind, length = struct.unpack_from(order + entry, directory, start)
        if tag not in (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES):
            continue
        form = f"{order}{length}{_TIFF_TYPES[kind]}"
        needed, place = struct.calcsize(form), start + struct.calcsize(order + entry)
        if needed > size:
            return False
        data = directory[place : start + step]
        if needed > len(data):
            stream.seek(struct.unpack(order + word, data)[0])
            data = stream.read(needed)
        tags[tag] = struct.unpack(form, data[:needed])
    starts = tags.get(_STRIPS) or tags.get(_TILES) or ()
    lengths = tags.get(_STRIP_BYTES) or tags.get(_TILE_BYTES) or ()
    return 0 < len(starts) == len(lengths) and all(
        start + length <= size for start, length in zip(starts, lengths, strict=True)
    )


def _bmp_is_whole(stream: BinaryIO, size: int) -> bool:
    """https://learn.microsoft.com/windows/win32/gdi/bitmap-storage"""
    stream.seek(10)
    pixels, header = struct.unpack("<II", stream.read(8))
    width, height, _, bits = struct.unpack(
        "<HHHH" if header == _OS2_BMP else "<iiHH", stream.read(8 if header == _OS2_BMP else 12)
    )
    (compression,) = (0,) if header <= 16 else struct.unpack("<I", stream.read(4))
    row = (width * bits + 31) // 32 * 4
    needed = row * abs(height) if compression in _UNCOMPRESSED_BMP else 1
    return bool(width > 0 and height and bits > 0 and pixels + needed <= size)


def ended_jpeg(stream: BinaryIO) -> BytesIO | None:
    """The JPEG with an end marker, where it lacks that and nothing else.

    A decoder fills what is missing with grey and says nothing of it. So the file is ended in several ways: where the
    pixels are the same, none of them came from behind the file's own last byte.
    """
    stream.seek(0)
    data = stream.read()
    if data.endswith(_END_OF_JPEG):
        return None
    data = data.removesuffix(b"\xff")
    try:
        plain, *others = (_decoded(data + filler + _END_OF_JPEG) for filler in _FILLERS)
    except Exception:  # as many kinds as decoders have
        return None
    if any(ImageChops.difference(plain, other).getbbox() for other in others) or not _has_all_scans(data):
        return None
    return BytesIO(data + _END_OF_JPEG)


def _has_all_scans(data: bytes) -> bool:
    """Whether a JPEG that may end between two scans has them all: each bit of each coefficient of each component.

    A progressive file that was cut there shows a whole picture, and a worse one than it had.
    https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.2.2, B.2.3 and G.1.1.1
    """
    progressive, components = False, b""
    lowest_bit: dict[tuple[int, int], int] = {}
    for marker, segment in _segments(data):
        if marker in _FRAMES:
            progressive = marker == _PROGRESSIVE
            components = segment[6::3][: segment[5]]
        elif marker == _SCAN and segment:
            count = segment[0]
            first, last, bits = segment[1 + 2 * count : 4 + 2 * count]
            for component in segment[1 : 1 + 2 * count : 2]:
                for coefficient in range(first, last + 1) if progressive else range(64):
                    lowest_bit[component, coefficient] = bits & 15 if progressive else 0
    return all(lowest_bit.get((component, coefficient)) == 0 for component in components for coefficient in range(64))


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The markers of a JPEG that have a segment, and these; what is compressed between them is left out."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 4 <= len(data):
        marker = data[at + 1]
        if marker in _WITHOUT_SEGMENT:
            at += 1 if marker == 0xFF else 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _decoded(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data), formats=["JPEG"])
    image.load()
    return image


def essential_png(stream: BinaryIO) -> BytesIO:
    """The PNG without the chunks that its pixels do without. One that is essential stays as it is, broken or not.

    A decoder may pass a bad one over, as browsers do; Pillow does not. https://www.w3.org/TR/png-3/#5Chunk-layout
    """
    stream.seek(0)
    made = BytesIO(stream.read(8))
    made.seek(0, SEEK_END)
    for name, chunk in _chunks(stream):
        checked = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        if name in _ESSENTIAL and (checked or name != b"tRNS"):
            made.write(chunk)
    made.seek(0)
    return made


def _chunks(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Name and bytes of each, length and checksum included."""
    while len(head := stream.read(8)) == 8:
        (length,) = struct.unpack(">I", head[:4])
        yield head[4:], head + stream.read(length + 4)
