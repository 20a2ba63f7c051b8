"""Thumbnails of a folder by one way, with one core's work; prints images a second of CPU.

Run by the Python of the peer's own environment for pyvips, so it imports what it needs late. With a third word, a
folder, the thumbnails stay there.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

SIZE, QUALITY = 256, 85


def imagehaul(pictures: list[Path], out: Path) -> float:
    """As a delivery does it: by a worker process, with both hashes and the info. The CPU of both processes."""
    import psutil

    from imagehaul.records import PictureJob, RenderOptions
    from imagehaul.rendering.pool import RenderPool

    def jobs(files: list[Path]) -> list[PictureJob]:
        states = [(file, file.stat()) for file in files]
        return [
            PictureJob(str(file), state.st_size, str(state.st_mtime_ns), thumbnail=str(out / f"{file.stem}.jpg"))
            for file, state in states
        ]

    with RenderPool(RenderOptions(), workers=1) as pool:
        pool.render(jobs(pictures[:1]))
        processes = [psutil.Process(), *psutil.Process().children()]

        def cpu() -> float:
            return sum(used.user + used.system for used in (process.cpu_times() for process in processes))

        before = cpu()
        rendered = pool.render(jobs(pictures))
        used = cpu() - before
    if problems := [picture.message for picture in rendered if picture.code]:
        raise SystemExit(problems[0])
    return used


def one_by_one(way: Callable[[Path, Path], None]) -> Callable[[list[Path], Path], float]:
    def run(pictures: list[Path], out: Path) -> float:
        way(pictures[0], out / "first.jpg")
        before = time.process_time()
        for picture in pictures:
            way(picture, out / f"{picture.stem}.jpg")
        return time.process_time() - before

    return run


def pyvips(file: Path, out: Path) -> None:
    import pyvips as vips

    # No export profile: none of the pictures has one, and the conversion would take three times the rest.
    picture = vips.Image.thumbnail_buffer(file.read_bytes(), SIZE, height=SIZE)
    out.write_bytes(picture.jpegsave_buffer(Q=QUALITY, keep="none"))


def pyvips_with_hashes(file: Path, out: Path) -> None:
    """The same, and what a delivery needs besides: the store's ETag, and the ledger's checksum."""
    import hashlib

    data = file.read_bytes()
    hashlib.md5(data, usedforsecurity=False).hexdigest()
    hashlib.sha256(data).hexdigest()
    pyvips(file, out)


def plain(file: Path, out: Path) -> None:
    from PIL import Image

    with Image.open(file) as picture:
        scale = SIZE / max(picture.size)
        small = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        small.save(out, "JPEG", quality=QUALITY)


WAYS = {
    "imagehaul": imagehaul,
    "pyvips": one_by_one(pyvips),
    "pyvips-with-hashes": one_by_one(pyvips_with_hashes),
    "plain": one_by_one(plain),
}


def main(way: str, folder: Path, keep: Path | None = None) -> None:
    os.environ["VIPS_CONCURRENCY"] = "1"
    pictures = sorted(folder.iterdir())
    with tempfile.TemporaryDirectory() as scratch:
        out = keep or Path(scratch)
        out.mkdir(exist_ok=True)
        print(len(pictures) / WAYS[way](pictures, out))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
