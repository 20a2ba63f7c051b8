"""The contact sheet shows what was delivered, and stays small."""

from __future__ import annotations

import io
import os

from PIL import Image

from imagehaul.rendering.contact_sheet import CELL, COLUMNS, GAP, MOST_BYTES, contact_sheet, delivered_sheet
from imagehaul.store.endpoint import Store


def picture(colour: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    stream = io.BytesIO()
    Image.new(mode, size, colour).save(stream, "PNG")
    return stream.getvalue()


def opened(sheet: bytes) -> Image.Image:
    return Image.open(io.BytesIO(sheet)).convert("RGB")


def test_pictures_stand_in_rows_in_their_order() -> None:
    sheet = opened(contact_sheet([picture("red"), picture("blue")]))
    middle = GAP + CELL // 2
    red, blue = sheet.getpixel((middle, middle)), sheet.getpixel((middle + CELL + GAP, middle))
    assert isinstance(red, tuple)
    assert isinstance(blue, tuple)
    assert red[0] > 200 > 60 > red[2]
    assert blue[2] > 200 > 60 > blue[0]


def test_a_full_row_is_followed_by_the_next() -> None:
    sheet = opened(contact_sheet([picture("red")] * (COLUMNS + 1)))
    assert sheet.size == (COLUMNS * (CELL + GAP) + GAP, 2 * (CELL + GAP) + GAP)


def test_transparency_shows_white() -> None:
    sheet = opened(contact_sheet([picture("#ff000000", mode="RGBA")]))
    assert sheet.getpixel((GAP + CELL // 2, GAP + CELL // 2)) == (255, 255, 255)


def test_forty_noisy_pictures_stay_below_the_limit() -> None:
    stream = io.BytesIO()
    Image.frombytes("RGB", (112, 112), os.urandom(112 * 112 * 3)).save(stream, "PNG")
    assert len(contact_sheet([stream.getvalue()] * 40)) <= MOST_BYTES


def test_it_is_read_out_of_the_store(store: Store, bucket: str) -> None:
    store.client().put_object(Bucket=bucket, Key="t/a.png", Body=picture("red"))
    sheet = delivered_sheet(store.client(), bucket, ["t/a.png"])
    assert sheet
    assert opened(sheet).size == (CELL + 2 * GAP, CELL + 2 * GAP)
    assert delivered_sheet(store.client(), bucket, []) is None
