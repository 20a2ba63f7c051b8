"""Crops of annotated pictures: by imagehaul, and by a loop that decodes and encodes and does nothing else.

Both in one process and one thread, in turn. Prints one object in JSON: CPU seconds of each round, and counts.
"""

from __future__ import annotations

import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from PIL import Image

from imagehaul.records import Box, Crop, PictureJob, RenderOptions
from imagehaul.rendering.render import render
from imagehaul.rendering.rendition_files import RenditionFiles

QUALITY = RenderOptions().thumbnail_quality
Work = Sequence[tuple[Path, Sequence[Box]]]


def boxes_of_voc(file: Path) -> list[Box]:
    """http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf"""
    boxes = []
    for item in ElementTree.parse(file).iter("object"):
        edges = item.find("bndbox")
        left, top, right, bottom = (float(edges.findtext(side, "nan")) for side in ("xmin", "ymin", "xmax", "ymax"))  # type: ignore[union-attr]
        boxes.append(Box(left, top, right - left, bottom - top, item.findtext("name", "")))
    return boxes


def boxes_drawn(number: int, count: int = 13) -> list[Box]:
    """On a picture of 640 x 480: of the size of blood cells on real ones, 40 to 130 pixels a side."""
    chance = random.Random(number)
    sides = [(chance.randint(40, 130), chance.randint(40, 130)) for _ in range(count)]
    return [Box(chance.randint(0, 640 - w), chance.randint(0, 480 - h), w, h, "cell") for w, h in sides]


def work_of(folder: Path, annotated: bool) -> Work:
    """`annotated`: a folder with Pascal VOC files somewhere in it, each named as its picture; else boxes are drawn."""
    pictures = sorted(folder.rglob("*.jpg"))
    if not annotated:
        return [(picture, boxes_drawn(number)) for number, picture in enumerate(pictures)]
    by_stem = {file.stem: file for file in folder.rglob("*.xml")}
    return [(picture, boxes_of_voc(by_stem[picture.stem])) for picture in pictures if picture.stem in by_stem]


def decode_and_encode(work: Work) -> int:
    made = 0
    for file, boxes in work:
        image = Image.open(BytesIO(file.read_bytes()), formats=("JPEG",))
        image.load()
        for box in boxes:
            left, top = max(0, math.floor(box.x)), max(0, math.floor(box.y))
            right = min(image.width, math.ceil(box.x + box.width))
            bottom = min(image.height, math.ceil(box.y + box.height))
            if right > left and bottom > top and box.width > 0 and box.height > 0:
                image.crop((left, top, right, bottom)).save(BytesIO(), "JPEG", quality=QUALITY)
                made += 1
    return made


def imagehaul(work: Work, files: RenditionFiles) -> int:
    """The files go where a delivery puts them."""
    made = 0
    for number, (file, boxes) in enumerate(work):
        state = file.stat()
        folder = files.folder_for(state.st_size, boxes)
        crops = tuple(Crop(box, f"{folder}/{number}.{box.id}") for box in boxes)
        picture = render(PictureJob(str(file), state.st_size, str(state.st_mtime_ns), crops=crops), RenderOptions())
        made += sum(not crop.code for crop in picture.renditions)
    return made


def main(folder: Path, annotated: bool, rounds: int) -> None:
    work = work_of(folder, annotated)
    decoders = 0
    new_decoder = Image._getdecoder

    def counted(*arguments: Any) -> Any:
        nonlocal decoders
        decoders += 1
        return new_decoder(*arguments)

    alone: list[float] = []
    ours: list[float] = []
    for _ in range(rounds + 1):
        began = time.process_time()
        expected = decode_and_encode(work)
        alone.append(time.process_time() - began)
        with tempfile.TemporaryDirectory() as scratch, RenditionFiles(Path(scratch)) as files:
            began = time.process_time()
            made = imagehaul(work, files)
            ours.append(time.process_time() - began)
        if made != expected:
            raise SystemExit(f"{made} crops and not {expected}")
    Image._getdecoder = counted  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch, RenditionFiles(Path(scratch)) as files:
        imagehaul(work, files)
    print(
        json.dumps(
            {
                "pictures": len(work),
                "boxes": sum(len(boxes) for _, boxes in work),
                "crops": made,
                "decodes": decoders,
                "alone": alone[1:],
                "imagehaul": ours[1:],
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] == "annotated", int(sys.argv[3]))
