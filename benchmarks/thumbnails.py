"""Thumbnails of a folder by one way, in one process and one thread; prints images a second of CPU.

Run by the Python of the peer's own environment for pyvips, so it imports what it needs late.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

SIZE, QUALITY = 256, 85


def imagehaul(file: Path, out: str) -> None:
    from flows.records import PictureJob, RenderOptions
    from flows.rendering import render

    status = file.stat()
    picture = render(PictureJob(str(file), status.st_size, str(status.st_mtime_ns), thumbnail=out), RenderOptions())
    if picture.code:
        raise SystemExit(f"{file}: {picture.code} {picture.message}")


def pyvips(file: Path, out: str) -> None:
    import pyvips

    picture = pyvips.Image.thumbnail_buffer(file.read_bytes(), SIZE, height=SIZE, export_profile="srgb")
    Path(out).write_bytes(picture.jpegsave_buffer(Q=QUALITY, keep="none"))


def plain(file: Path, out: str) -> None:
    from PIL import Image

    with Image.open(file) as picture:
        scale = SIZE / max(picture.size)
        small = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.LANCZOS)
        small.save(out, "JPEG", quality=QUALITY)


WAYS = {"imagehaul": imagehaul, "pyvips": pyvips, "plain": plain}


def main(way: str, folder: Path) -> None:
    os.environ["VIPS_CONCURRENCY"] = "1"
    pictures = sorted(folder.iterdir())
    with tempfile.TemporaryDirectory() as scratch:
        out = f"{scratch}/thumbnail.jpg"
        WAYS[way](pictures[0], out)
        began = time.process_time()
        for picture in pictures:
            WAYS[way](picture, out)
        print(len(pictures) / (time.process_time() - began))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
