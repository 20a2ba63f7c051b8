"""The pictures that benchmarks work on: drawn from noise with a fixed seed, so that they compress as photographs do."""

from __future__ import annotations

import random
from pathlib import Path

from PIL import Image

_WIDTH_OF_20_KB, _WIDTH_OF_120_KB = 255, 620


def _noise(size: tuple[int, int], seed: int) -> Image.Image:
    """Clouds: noise at several scales, as a photograph has detail at several."""
    chance = random.Random(seed)
    picture = Image.new("RGB", size)
    for scale in (64, 16, 4, 2):
        small = (max(2, size[0] // scale), max(2, size[1] // scale))
        layer = Image.frombytes("RGB", small, chance.randbytes(small[0] * small[1] * 3)).resize(size)
        picture = Image.blend(picture, layer, 0.5 if scale > 4 else 0.25)
    return picture


def small_files(folder: Path, count: int) -> None:
    """`count` JPEGs of 20 to 120 kB, evenly spread, in 20 folders."""
    if folder.is_dir():
        return
    base, chance = _noise((3200, 2400), 1), random.Random(2)
    for number in range(count):
        # Bytes go with the area: these widths are 20 and 120 kB.
        width = round(chance.uniform(_WIDTH_OF_20_KB**2, _WIDTH_OF_120_KB**2) ** 0.5)
        left, top = chance.randint(0, 3200 - width), chance.randint(0, 2400 - width * 3 // 4)
        file = folder / f"d{number % 20:02d}" / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        base.crop((left, top, left + width, top + width * 3 // 4)).save(file, quality=90)


def photographs(folder: Path, count: int, size: tuple[int, int], quality: int = 90) -> None:
    if folder.is_dir():
        return
    folder.mkdir(parents=True)
    for number in range(count):
        _noise(size, number).save(folder / f"{number:05d}.jpg", quality=quality)
