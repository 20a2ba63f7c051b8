"""Pictures that cost what photographs cost: of real ones where a folder of them is given, else drawn.

What a JPEG decoder does depends on the bytes a pixel as much as on the pixels, so each set says how many it has.
Cameras write 0.2 to 0.5 bytes a pixel; noise has several times as many, and would measure the entropy decoder alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFilter

QUALITY = 90
TILE = (500, 375)
LARGE, SMALL = (4000, 3000), (640, 480)
GRAIN = 140
"""Of 255: the share of the grain where it is strongest, which gives the drawn pictures a camera's bytes a pixel."""

_Make = Callable[[int, tuple[int, int]], Image.Image]


@dataclass(frozen=True, slots=True)
class Corpus:
    """`sizes`: width and height of each file, in pixels. `origin`: what the pictures are made of."""

    files: tuple[Path, ...]
    sizes: tuple[tuple[int, int], ...]
    origin: str

    def __str__(self) -> str:
        pixels = sum(width * height for width, height in self.sizes)
        density = sum(file.stat().st_size for file in self.files) / pixels
        smallest, largest = (f"{width} x {height}" for width, height in (min(self.sizes), max(self.sizes)))
        sizes = smallest if smallest == largest else f"{smallest} to {largest}"
        return f"{len(self.files)} {self.origin}, {sizes}, {density:.2f} bytes a pixel"


def large(work: Path, count: int, given: Path | None) -> Corpus:
    """12 MP. Of real photographs: mosaics of their tiles at full size, since enlarging would smooth them."""
    return _large(work, f"large-{count}", [LARGE] * count, given)


def spread_out(work: Path, count: int, given: Path | None) -> Corpus:
    """As the large ones, from a quarter of their area to the whole: evenly in pixels, and so nearly so in bytes."""
    shares = [1 - 3 / 4 * number / max(1, count - 1) for number in range(count)]
    return _large(work, f"spread-{count}", [_of_area(share) for share in shares], given)


def _of_area(share: float) -> tuple[int, int]:
    return round(LARGE[0] * share**0.5), round(LARGE[1] * share**0.5)


def _large(work: Path, name: str, sizes: Sequence[tuple[int, int]], given: Path | None) -> Corpus:
    if given is None:
        return _made(work / f"drawn-{name}", sizes, "drawn pictures", drawn)
    photographs = _photographs(given, TILE)
    return _made(
        work / f"mosaics-{name}", sizes, f"mosaics of {len(photographs)} real photographs",
        lambda seed, size: _mosaic(photographs, seed, size),
    )  # fmt: skip


def small(work: Path, count: int, given: Path | None) -> Corpus:
    """0.3 MP. Of real photographs: each one, resized and cut."""
    if given is None:
        return _made(work / f"drawn-small-{count}", [SMALL] * count, "drawn pictures", drawn)
    photographs = _photographs(given, TILE)
    return _made(
        work / f"resized-{count}", [SMALL] * min(count, len(photographs)), "real photographs, resized and cut",
        lambda seed, size: _covering(photographs[seed], size),
    )  # fmt: skip


def _made(folder: Path, sizes: Sequence[tuple[int, int]], origin: str, make: _Make) -> Corpus:
    files = tuple(folder / f"{number:05d}.jpg" for number in range(len(sizes)))
    if not folder.is_dir():
        folder.mkdir(parents=True)
        for number, (file, size) in enumerate(zip(files, sizes, strict=True)):
            make(number, size).save(file, quality=QUALITY)
    return Corpus(files, tuple(sizes), origin)


def _photographs(given: Path, smallest: tuple[int, int]) -> list[Image.Image]:
    found = []
    for file in sorted(given.rglob("*.jp*g")):
        with Image.open(file) as picture:
            if picture.width >= smallest[0] and picture.height >= smallest[1]:
                found.append(picture.convert("RGB"))
    return found


def _mosaic(photographs: Sequence[Image.Image], seed: int, size: tuple[int, int]) -> Image.Image:
    chance, mosaic = random.Random(seed), Image.new("RGB", size)
    for left in range(0, size[0], TILE[0]):
        for top in range(0, size[1], TILE[1]):
            picture = chance.choice(photographs)
            x, y = chance.randint(0, picture.width - TILE[0]), chance.randint(0, picture.height - TILE[1])
            mosaic.paste(picture.crop((x, y, x + TILE[0], y + TILE[1])), (left, top))
    return mosaic


def _covering(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    scale = max(size[0] / picture.width, size[1] / picture.height)
    fitting = max(size[0], round(picture.width * scale)), max(size[1], round(picture.height * scale))
    return picture.resize(fitting, Image.Resampling.LANCZOS).crop((0, 0, *size))


def drawn(seed: int, size: tuple[int, int]) -> Image.Image:
    """Clouds and shapes with edges; fine grain in about half of it, as a photograph has sharp and smooth parts."""
    chance = random.Random(seed)
    picture = _noise(chance, size, 400, "RGB")
    picture = Image.blend(picture, _noise(chance, size, 60, "RGB"), 0.3)
    pen = ImageDraw.Draw(picture)
    for _ in range(60):
        x, y, radius = chance.randint(0, size[0]), chance.randint(0, size[1]), chance.randint(3, size[0] // 12)
        colour = (chance.randint(0, 255), chance.randint(0, 255), chance.randint(0, 255))
        pen.ellipse((x - radius, y - radius // 2, x + radius, y + radius), fill=colour)
    grain = _noise(chance, size, 9, "L")
    for scale, share in ((5, 0.4), (3, 0.35), (1.6, 0.25)):
        grain = Image.blend(grain, _noise(chance, size, scale, "L"), share)
    grain = grain.point(lambda level: max(0, min(255, 128 + 2 * (level - 128))))
    where = _noise(chance, size, 200, "L").point(lambda level: max(0, min(GRAIN, (level - 110) * 2)))
    return Image.composite(Image.merge("RGB", [grain] * 3), picture.filter(ImageFilter.GaussianBlur(0.6)), where)


def _noise(chance: random.Random, size: tuple[int, int], scale: float, mode: str) -> Image.Image:
    small = (max(2, round(size[0] / scale)), max(2, round(size[1] / scale)))
    data = chance.randbytes(small[0] * small[1] * len(mode))
    return Image.frombytes(mode, small, data).resize(size, Image.Resampling.BICUBIC)
