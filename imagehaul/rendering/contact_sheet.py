"""A contact sheet: what was delivered, to be seen at a glance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

COLUMNS = 8
CELL = 112
GAP = 4
MOST_BYTES = 120_000
"""As a data URI in an artifact it is a third larger, and is to stay below 200 kB."""


def contact_sheet(pictures: Iterable[bytes]) -> bytes:
    """A JPEG of at most `MOST_BYTES` with the pictures in rows of `COLUMNS`, each fitted into a square cell."""
    cells = []
    for data in pictures:
        with Image.open(BytesIO(data)) as picture:
            cells.append(ImageOps.contain(picture.convert("RGBA"), (CELL, CELL)))
    columns = min(COLUMNS, len(cells)) or 1
    rows = -(-len(cells) // columns) or 1
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (CELL + GAP) + GAP), "white")
    for number, cell in enumerate(cells):
        left = GAP + number % columns * (CELL + GAP) + (CELL - cell.width) // 2
        top = GAP + number // columns * (CELL + GAP) + (CELL - cell.height) // 2
        sheet.paste(cell, (left, top), cell)
    for quality in (80, 60, 40, 20):
        encoded = BytesIO()
        sheet.save(encoded, "JPEG", quality=quality)
        if encoded.tell() <= MOST_BYTES:
            break
    return encoded.getvalue()


def delivered_sheet(client: S3Client, bucket: str, keys: Sequence[str]) -> bytes | None:
    """The sheet of these objects of the store, thumbnails or crops; None where there are none."""
    if not keys:
        return None
    return contact_sheet(client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys)
