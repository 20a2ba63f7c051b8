"""Hostile pictures, and thousands of mutated ones: no crash, no hang, little memory, and always a row with a code."""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image, ImageCms
from pillow_heif import register_heif_opener

from imagehaul.errors import Code
from tests.support.delivering import Target, draw
from tests.support.sending import stored

register_heif_opener()

SEED = 20261122
MUTATIONS = int(os.environ.get("MUTATIONS", "4000"))
ENGINES = pytest.mark.parametrize("engine", ["s5cmd", "boto3"])
ONE_LANE = pytest.mark.parametrize("engine", ["s5cmd", pytest.param("boto3", marks=pytest.mark.attack)])
"""Where the engine plays a small part, or none: `make attack` has the other too."""
MEMORY_LIMIT = 1024
"""MiB of address space that a rendering process may have."""


# --- Pictures


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, bits: int = 8, colour: int = 2) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def zeros(size: int) -> bytes:
    """A compressed stream of so many zeros, made in little memory."""
    packer = zlib.compressobj(9)
    block = bytes(1 << 20)
    packed = b"".join(packer.compress(block[: min(len(block), size - at)]) for at in range(0, size, len(block)))
    return packed + packer.flush()


def noise(size: tuple[int, int] = (96, 72), mode: str = "RGB") -> Image.Image:
    """Coarse enough that a mutation meets structure too."""
    bands = len(Image.new(mode, (1, 1)).getbands())
    values = random.Random(SEED).randbytes(size[0] * size[1] * bands)
    return Image.frombytes(mode, size, bytes(value // 32 * 8 for value in values))


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def jpeg_segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def with_many_segments(marker: int, label: bytes, count: int) -> bytes:
    plain = encoded(noise(), "JPEG")
    segments = b"".join(
        jpeg_segment(marker, label + bytes([n % 255 + 1, min(count, 255)]) + b"x" * 65000) for n in range(count)
    )
    return plain[:2] + segments + plain[2:]


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("picture.jpg", encoded(noise(), "JPEG"))
    return out.getvalue()


def animation(frames: int) -> bytes:
    first, *rest = (Image.new("P", (40, 30), number % 250) for number in range(frames))
    return encoded(first, "GIF", save_all=True, append_images=rest)


@cache
def good() -> dict[str, bytes]:
    grey16 = Image.frombytes("I;16", (96, 72), struct.pack("<6912H", *(9 * n for n in range(96 * 72))))
    floats = Image.frombytes("F", (96, 72), struct.pack("<6912f", *(n / 6912 for n in range(96 * 72))))
    transparent = noise(mode="L").convert("P")
    transparent.info["transparency"] = 3
    lab = ImageCms.profileToProfile(
        noise(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    return {
        "16 bit.png": encoded(grey16, "PNG"),
        "16 bit.tif": encoded(grey16, "TIFF"),
        "cmyk.jpg": encoded(noise(mode="CMYK"), "JPEG"),
        "palette.png": encoded(transparent, "PNG", transparency=3),
        "one bit.png": encoded(noise().convert("1"), "PNG"),
        "one bit.tif": encoded(noise().convert("1"), "TIFF", compression="group4"),
        "lab.tif": encoded(lab, "TIFF"),
        "float.tif": encoded(floats, "TIFF"),
        "jpeg 2000.jp2": encoded(noise(), "JPEG2000"),
        "avif.avif": encoded(noise(), "AVIF"),
        "heic.heic": encoded(noise(), "HEIF"),
        "alpha.webp": encoded(noise(mode="RGBA"), "WEBP"),
        "a thousand frames.gif": animation(1000),
        "one pixel.png": encoded(Image.new("RGB", (1, 1)), "PNG"),
        "a line.png": encoded(Image.new("RGB", (20_000, 1)), "PNG"),
        "a column.jpg": encoded(Image.new("RGB", (1, 20_000)), "JPEG"),
        "a gif named.jpg": encoded(noise().convert("P"), "GIF"),
        "a jpeg named.png": encoded(noise(), "JPEG"),
        "a png named.heic": encoded(noise(), "PNG"),
        "much EXIF.jpg": with_many_segments(0xE1, b"Exif\0\0", 60),
        "much ICC.jpg": with_many_segments(0xE2, b"ICC_PROFILE\0", 250),
        "many comments.jpg": with_many_segments(0xFE, b"", 300),
        "a tail.jpg": encoded(noise(), "JPEG") + b"\0" * 5_000_000,
    }


@cache
def hostile() -> dict[str, bytes]:
    bomb = png(30_000, 30_000, chunk(b"IDAT", zeros(30_000 * (30_000 // 8 + 1))), bits=1, colour=0)
    text = png(
        64, 48, *(chunk(b"zTXt", b"k%d\0\0" % n + zeros(1 << 20)) for n in range(80)), chunk(b"IDAT", zeros(48 * 193))
    )
    tiff = bytearray(encoded(Image.new("L", (8, 8)), "TIFF"))
    huge = (60_000, 60_000)
    return {
        "60,000 wide.png": png(60_000, 60_000, chunk(b"IDAT", zeros(1000))),
        "60,000 wide.jpg": encoded(noise(), "JPEG").replace(struct.pack(">HH", 72, 96), struct.pack(">HH", *huge)),
        "60,000 wide.bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, *huge, 1, 24, *[0] * 6),
        "2^31 wide.png": png(2**31 - 1, 2**31 - 1, chunk(b"IDAT", zeros(1000))),
        "bomb.png": bomb,
        "text bomb.png": text,
        "icc bomb.png": png(64, 48, chunk(b"iCCP", b"p\0\0" + zeros(300 << 20)), chunk(b"IDAT", zeros(48 * 193))),
        "a zip.png": archive(),
        "a page.jpg": b"<!DOCTYPE html><html><head><title>404 Not Found</title></head><body>gone</body></html>",
        "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/tmp/x) (w) file closefile\nshowpage\n",
        "an svg.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "empty.jpg": b"",
        "one byte.png": b"\x89",
        "zeros.jpg": bytes(100_000),
        "random.jpg": random.Random(SEED).randbytes(100_000),
        "a loop.tif": bytes(tiff[:4]) + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8),
        "a script.gif": b"GIF89a/*\x01\x00*/=1;alert(1)//",
    }  # fmt: skip


@contextmanager
def watched() -> Iterator[list[int]]:
    """The largest resident memory of a rendering process in MiB, in a list of one."""
    most, over = [0], threading.Event()
    me = psutil.Process()

    def watch() -> None:
        while not over.wait(0.05):
            for child in me.children(recursive=True):
                try:
                    if child.name().startswith("python"):
                        most[0] = max(most[0], child.memory_info().rss >> 20)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def deliver(target: Target, source: Path, engine: str, **settings: Any) -> dict[str, dict[str, Any]]:
    """Image rows by path, after all that must hold whatever the pictures are."""
    before = {str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*") if file.is_file()}
    limits = {"picture_seconds": 20, "picture_memory": MEMORY_LIMIT, "workers": 2}
    with watched() as most:
        summary = target.deliver(
            source, settings={**limits, "use_s5cmd_when_available": engine == "s5cmd", **settings}, allow_loss=True
        )
    counts = summary.counts
    assert counts.planned == counts.delivered + counts.rejected == len(before)
    assert (counts.failed, summary.exit_status) == (0, 0)
    assert 10 < most[0] < MEMORY_LIMIT, "no rendering process was seen, or one over its limit"
    rows = {row["source_path"]: row for row in target.ledger(summary.run) if row["kind"] == "image"}
    assert set(rows) == set(before)
    there = stored(target.store, target.bucket)
    for path, row in rows.items():
        if row["status"] == "delivered":
            assert there[row["key"]] == before[path]
            assert row["sha256"] == hashlib.sha256(before[path]).hexdigest()
        else:
            assert row["status"] == "rejected"
            assert row["code"] in Code.__members__
            assert row["message"].isprintable()
            assert f"{target.root}images/{path}" not in there
    for key, data in there.items():
        if key.startswith(f"{target.root}thumbnails/"):
            with Image.open(io.BytesIO(data), formats=["JPEG"]) as thumbnail:
                thumbnail.load()
                assert max(thumbnail.size) <= 256
            assert rows[key.removeprefix(f"{target.root}thumbnails/").removesuffix(".jpg")]["status"] == "delivered"
    return rows


def write(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@ENGINES
def test_odd_pictures_are_delivered_and_hostile_ones_are_named(engine: str, target: Target, tmp_path: Path) -> None:
    began = time.monotonic()
    rows = deliver(target, write(tmp_path / "source", {**good(), **hostile()}), engine)
    assert time.monotonic() - began < 120
    refused = {path: rows[path]["code"] for path in good() if rows[path]["status"] != "delivered"}
    assert refused == {}
    codes = {path: rows[path]["code"] for path in hostile()}
    # The bombs lie beside these pictures, in parts that nobody has to unpack for the pixels.
    assert (codes.pop("text bomb.png"), codes.pop("icc bomb.png")) == ("", "")
    assert set(codes.values()) <= {"UNDECODABLE", "EMPTY", "PIXEL_LIMIT", "MEMORY_LIMIT"}
    for path, code in codes.items():
        # Over the limit of pixels is delivered, unseen.
        assert (rows[path]["status"] == "delivered") == (code == "PIXEL_LIMIT"), path


@pytest.mark.attack
def test_a_picture_that_would_need_more_memory_than_a_process_may_have(target: Target, tmp_path: Path) -> None:
    """The watch on memory sees it where the limit is not kept: 900 million pixels need 900 MB, and as much again."""
    source = write(tmp_path / "source", {"bomb.png": hostile()["bomb.png"], "one.png": good()["one pixel.png"]})
    rows = deliver(target, source, "s5cmd", pixel_limit=2_000_000_000)
    assert (rows["bomb.png"]["status"], rows["bomb.png"]["code"]) == ("rejected", "MEMORY_LIMIT")
    assert rows["one.png"]["status"] == "delivered"


@ONE_LANE
def test_pictures_that_break_off_or_have_flipped_bytes(engine: str, target: Target, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    files: dict[str, bytes] = {}
    for name, data in seeds().items():
        stem, _, suffix = name.rpartition(".")
        for tenth in range(10):
            files[f"cut/{stem} {tenth}.{suffix}"] = data[: len(data) * tenth // 10]
            flipped = bytearray(data)
            flipped[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            files[f"flipped/{stem} {tenth}.{suffix}"] = bytes(flipped)
    rows = deliver(target, write(tmp_path / "source", files), engine)
    whole = [path for path, row in rows.items() if path.startswith("cut/") and row["status"] == "delivered"]
    assert whole == []


# --- The fuzzer


@cache
def seeds() -> dict[str, bytes]:
    picture = noise()
    return {
        "a.jpg": encoded(picture, "JPEG", quality=80),
        "progressive.jpg": encoded(picture, "JPEG", progressive=True),
        "exif.jpg": encoded(picture, "JPEG", exif=_exif()),
        "a.png": encoded(picture, "PNG"),
        "alpha.png": encoded(noise(mode="RGBA"), "PNG"),
        "a.gif": encoded(picture.convert("P"), "GIF"),
        "a.bmp": encoded(picture, "BMP"),
        "a.webp": encoded(picture, "WEBP", lossless=True),
        "lossy.webp": encoded(picture, "WEBP"),
        "a.tif": encoded(picture, "TIFF"),
        "lzw.tif": encoded(picture, "TIFF", compression="tiff_lzw"),
        "jpeg.tif": encoded(picture, "TIFF", compression="jpeg"),
        "a.jp2": encoded(picture, "JPEG2000"),
        "a.avif": encoded(picture, "AVIF"),
        "a.heic": encoded(picture, "HEIF"),
    }


def _exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags[0x010E] = "a description"
    return tags


EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 60_000]


def flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice([1, 4, 32])):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def early_number(data: bytearray, chance: random.Random) -> None:
    """An extreme number where headers have theirs."""
    form = chance.choice([">H", "<H", ">I", "<I"])
    size = struct.calcsize(form)
    at = chance.randrange(min(400, len(data) - size))
    data[at : at + size] = struct.pack(form, chance.choice(EXTREMES) & (256**size - 1))


def cut(data: bytearray, chance: random.Random) -> None:
    del data[chance.randrange(len(data)) :]


def hole(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    del data[at : at + chance.choice([1, 7, 200])]


def zeroed(data: bytearray, chance: random.Random) -> None:
    at = chance.randrange(len(data))
    data[at : at + 200] = bytes(len(data[at : at + 200]))


def repeated(data: bytearray, chance: random.Random) -> None:
    at, size = chance.randrange(len(data)), chance.choice([4, 100, 1000])
    data[at:at] = data[at : at + size] * chance.choice([1, 2, 50])


def spliced(data: bytearray, chance: random.Random) -> None:
    other = chance.choice(list(seeds().values()))
    at = chance.randrange(len(data))
    data[at:] = other[min(at, len(other)) :]


MUTATORS: list[Callable[[bytearray, random.Random], None]] = [flip, early_number, cut, hole, zeroed, repeated, spliced]


def mutants(count: int, seed: int) -> dict[str, bytes]:
    chance = random.Random(seed)
    files: dict[str, bytes] = {}
    kinds = list(seeds().items())
    for number in range(count):
        name, whole = kinds[number % len(kinds)]
        data = bytearray(whole)
        for mutator in chance.choices(MUTATORS, k=chance.choice([1, 1, 2])):
            if len(data) > 8:
                mutator(data, chance)
        files[f"{number // 500}/{number:05d} {name}"] = bytes(data)
    return files


def fuzz(count: int, seed: int, engine: str, target: Target, folder: Path) -> None:
    began = time.monotonic()
    rows = deliver(target, write(folder, mutants(count, seed)), engine)
    codes = Counter(row["code"] or "delivered" for row in rows.values())
    print(f"\n{count} mutations, {time.monotonic() - began:.0f} s: {dict(codes.most_common())}")
    assert codes["delivered"] > count // 20
    assert codes["UNDECODABLE"] > count // 5


def test_some_mutated_pictures(target: Target, tmp_path: Path) -> None:
    fuzz(300, SEED, "s5cmd", target, tmp_path / "source")


@pytest.mark.attack
@pytest.mark.timeout(3600)
@ENGINES
def test_thousands_of_mutated_pictures(engine: str, target: Target, tmp_path: Path) -> None:
    """MUTATIONS says how many, for each engine; other ones in each."""
    fuzz(MUTATIONS, SEED + sum(engine.encode()), engine, target, tmp_path / "source")


def test_pictures_that_a_browser_would_run_are_not_sent_as_a_page(target: Target, tmp_path: Path) -> None:
    """An HTML page in the store with a picture's key must not be served as one."""
    source = write(tmp_path / "source", {"page.jpg": hostile()["a page.jpg"], "an svg.png": hostile()["an svg.png"]})
    draw(source / "good.jpg")
    target.deliver(source, settings={"deliver_undecodable": True}, allow_loss=True)
    for key in target.listed("images/"):
        assert not {"html", "svg", "xml"} & set(
            target.head(key)["ContentType"].replace("/", " ").replace("+", " ").split()
        )
