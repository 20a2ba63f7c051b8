"""The sample data set: drawn pictures with boxes that are known, odd names, odd formats and a few faults.

Nobody's photographs, so that they may be shown anywhere. README.txt, beside them, says what is what.
"""

from __future__ import annotations

import csv
import io
import shlex
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pillow_heif
from PIL import Image, features

from imagehaul.errors import HaulError, SettingsError
from imagehaul.local.scenes import Landscape, Thing, draw_cutout, draw_scene

ORIENTATION = 0x0112
"""EXIF's tag for how a stored picture is turned to be upright."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was written: `pictures` are sound, `faults` are files with an image's suffix that are not."""

    folder: Path
    pictures: int
    faults: int
    boxes: int

    def __str__(self) -> str:
        return (
            f"{self.folder} holds {self.pictures} drawn pictures with {self.boxes} boxes, and deliberate faults: "
            f"{self.faults} broken files and 1 box without area. Its README.txt says which.\n"
            f"To deliver it: imagehaul deliver {shlex.quote(str(self.folder))} --dataset sample"
        )


@dataclass(frozen=True, slots=True)
class _Picture:
    """`things` lie in the upright picture, and are what the annotations say. `place`: the view, "" = its own."""

    path: str
    landscape: Landscape
    things: tuple[Thing, ...]
    encode: Callable[[_Picture], bytes]
    remark: str = ""
    place: str = ""

    def scene(self, things: Sequence[Thing] = ()) -> Image.Image:
        return draw_scene(self.landscape, things or self.things, self.place or self.path)

    def caption(self) -> str:
        counts = Counter(thing.label for thing in self.things)
        things = " and ".join(f"a {label}" if count == 1 else f"{count} {label}s" for label, count in counts.items())
        return f"{things}, {self.landscape}".capitalize()


def write_sample(folder: Path) -> Sample:
    """Writes the sample into `folder`, which must be empty or not there; then it is there when it is whole.

    The same bytes each time, with the same Pillow. Raises `SettingsError` where the folder is in use, and
    `HaulError` where it cannot be written.
    """
    try:
        if folder.exists():
            folder.mkdir(exist_ok=True)
            if any(folder.iterdir()):
                raise SettingsError(f"The folder {str(folder)!r} is not empty. Name a new one for the sample.")
            return _write(folder)
        # Interrupted, half of it would be delivered as the sample ever after.
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        sample = _write(partial)
        partial.rename(folder)
        return replace(sample, folder=folder)
    except FileExistsError:
        raise SettingsError(f"{str(folder)!r} is a file. Name a new folder for the sample.") from None
    except OSError as error:
        raise HaulError(f"The sample cannot be written to {str(folder)!r}: {error.strerror}.") from None


def _write(folder: Path) -> Sample:
    pictures, faults = list(_pictures()), list(_faults())
    boxes = [
        (picture.path, thing.x, thing.y, thing.width, thing.height, thing.label)
        for picture in pictures
        for thing in picture.things
    ]
    without_area = (pictures[0].path, 200, 200, 0, 40, "nothing")
    for picture in pictures:
        _save(folder / picture.path, picture.encode(picture))
    for path, content, _ in faults:
        _save(folder / path, content)
    labels = [(picture.path, picture.landscape, picture.caption()) for picture in pictures]
    columns = ("filename", "col_x", "row_y", "width", "height", "label")
    _save(folder / "object_annotations.csv", _table([columns, *boxes, without_area]))
    _save(folder / "image_annotations.csv", _table([("filename", "label", "caption"), *labels]))
    remarks = [(picture.path, picture.remark) for picture in pictures if picture.remark]
    remarks += [(path, f"FAULT: {remark}") for path, _, remark in faults]
    remarks.append((pictures[0].path, "FAULT: one of its boxes, 'nothing', has no area"))
    _save(folder / "README.txt", _README.format("\n".join(f"  {path}: {what}" for path, what in remarks)).encode())
    return Sample(folder, len(pictures), len(faults), len(boxes))


def _save(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def _table(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def _pictures() -> Iterator[_Picture]:
    yield from _pictures_with_awkward_names()
    yield from _pictures_in_many_formats()
    yield from _pictures_with_awkward_pixels()


def _pictures_with_awkward_names() -> Iterator[_Picture]:
    yield _Picture("coast/boat.jpg", "coast", (boat(90, 170, 150), sun(370, 30, 70)), _jpeg)
    yield _Picture(
        "coast/two boats.jpg", "coast", (boat(30, 190, 120), boat(280, 160, 150)), _jpeg, "a space in its name"
    )
    yield _Picture(
        "coast/Küste.jpg", "coast", (boat(260, 180, 140), sun(40, 40, 60)), _jpeg, "a name that is not ASCII"
    )
    yield _Picture(
        "coast/夕方/海.png", "dusk", (boat(150, 170, 150), sun(330, 120, 80)), _png, "folders and name are not ASCII"
    )
    yield _Picture(
        "coast/-leading dash.jpg", "coast", (boat(170, 200, 110),), _jpeg, "a name that looks like an option"
    )
    yield _Picture("meadow/tree.jpg", "meadow", (tree(60, 110, 180), sun(390, 20, 60)), _jpeg)
    yield _Picture(
        "meadow/tree.png", "meadow", (tree(280, 90, 200),), _png, "the same name as tree.jpg but for the suffix"
    )
    yield _Picture("meadow/house.jpeg", "meadow", (house(180, 130, 160), tree(30, 140, 150)), _jpeg)
    yield _Picture(
        "meadow/50% off.jpg",
        "meadow",
        (house(40, 150, 140), balloon(330, 30, 150)),
        _jpeg,
        "a percent sign and a space",
    )
    yield _Picture("meadow/%41.jpg", "meadow", (tree(180, 120, 170),), _jpeg, "not A.jpg: a name is never decoded")
    yield _Picture(
        "meadow/a+b.jpg", "meadow", (tree(60, 130, 150), tree(300, 110, 180)), _jpeg, "a plus that is no space"
    )
    yield _Picture("town/car.JPG", "town", (car(100, 230, 90), house(320, 130, 140)), _jpeg, "an upper-case suffix")
    yield _Picture("town/#1.jpg", "town", (house(40, 110, 160), car(250, 240, 80)), _jpeg, "a hash sign")
    yield _Picture(
        "town/it's & more?.jpg",
        "town",
        (car(40, 250, 70), car(270, 230, 90)),
        _jpeg,
        "characters that mean something in a URL",
    )
    yield _Picture(
        "town/a, b; c.jpg",
        "town",
        (house(120, 120, 150), tree(330, 130, 150)),
        _jpeg,
        "a comma, quoted in the annotations",
    )
    yield _Picture("town/[car].jpg", "town", (car(140, 220, 100),), _jpeg, "brackets")


def _pictures_in_many_formats() -> Iterator[_Picture]:
    yield _Picture("sky/balloon.webp", "meadow", (balloon(180, 40, 200),), _webp)
    yield _Picture("sky/balloons.gif", "dusk", (balloon(60, 50, 170), balloon(300, 80, 130)), _gif)
    yield _Picture(
        "sky/sunrise.gif", "dusk", (sun(200, 190, 80),), _sunrise, "an animation; its box is the first frame's"
    )
    yield _Picture("sky/night.bmp", "night", (balloon(120, 60, 180), house(300, 170, 130)), _bmp)
    yield _Picture("sky/snow.tif", "snow", (house(50, 150, 150), balloon(320, 40, 150)), _tiff)
    yield _Picture("sky/pages.tiff", "snow", (tree(70, 120, 180), sun(350, 40, 60)), _pages, "two pages")


def _pictures_with_awkward_pixels() -> Iterator[_Picture]:
    held = "camera"
    yield _Picture("camera/upright.jpg", "town", (house(40, 120, 150), car(260, 230, 90)), _jpeg, place=held)
    yield _Picture(
        "camera/turned.jpg",
        "town",
        (house(40, 120, 150), car(260, 230, 90)),
        _turned,
        "lies on its side until its EXIF rotation is applied",
        held,
    )
    yield _Picture(
        "camera/mirrored.jpg",
        "town",
        (house(40, 120, 150), car(260, 230, 90)),
        _mirrored,
        "mirrored until its EXIF orientation is applied",
        held,
    )
    yield _Picture("modes/cmyk.jpg", "coast", (boat(160, 150, 160),), _cmyk, "CMYK, as for print")
    yield _Picture("modes/grey.jpg", "meadow", (tree(170, 90, 200),), _grey, "one channel")
    yield _Picture(
        "modes/16 bit.png", "night", (moon(330, 40, 80), house(90, 150, 150)), _deep, "16 bits a pixel, grey"
    )
    yield _Picture(
        "modes/transparent.png", "meadow", (balloon(180, 30, 260),), _transparent, "a transparent background"
    )
    yield _Picture("modes/palette.png", "snow", (house(170, 130, 160),), _palette, "colours from a palette")
    if features.check("jpg_2000"):
        yield _Picture("modes/jpeg2000.jp2", "dusk", (boat(150, 160, 150),), _jpeg2000)
    if features.check("avif"):
        yield _Picture("modes/balloon.avif", "coast", (balloon(190, 40, 180),), _avif)
    if pillow_heif.libheif_info()["HEIF"]:
        yield _Picture("modes/phone.heic", "meadow", (house(170, 120, 170), sun(30, 30, 60)), _heic)


def _faults() -> Iterator[tuple[str, bytes, str]]:
    """Fewer than a tenth of the pictures, so that a run with them is still published."""
    whole = _jpeg(_Picture("", "town", (Thing("car", 140, 220, 100),), _jpeg))
    yield "faults/truncated.jpg", whole[: len(whole) // 2], "the second half is missing"
    yield "faults/web page.jpg", b"<!doctype html><title>404</title><p>Not found</p>\n", "a web page, not a picture"
    yield "faults/empty.jpg", b"", "no bytes at all"


def _thing(label: str) -> Callable[[int, int, int], Thing]:
    """Left, top and height, in pixels."""
    return lambda x, y, height: Thing(label, x, y, height)


sun, moon, boat, house, tree, car, balloon = map(_thing, ("sun", "moon", "boat", "house", "tree", "car", "balloon"))


def _encoded(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def _jpeg(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "JPEG", quality=90)


def _png(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "PNG")


def _webp(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "WEBP", quality=90)


def _gif(picture: _Picture) -> bytes:
    return _encoded(picture.scene().quantize(128), "GIF")


def _bmp(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "BMP")


def _tiff(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "TIFF", compression="tiff_lzw")


def _jpeg2000(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "JPEG2000", quality_mode="dB", quality_layers=[42])


def _avif(picture: _Picture) -> bytes:
    return _encoded(picture.scene(), "AVIF", quality=80, max_threads=1)


def _heic(picture: _Picture) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(picture.scene()).save(file, quality=80)
    return file.getvalue()


def _sunrise(picture: _Picture) -> bytes:
    (sun,) = picture.things
    frames = [picture.scene([Thing(sun.label, sun.x, sun.y - 20 * step, sun.height)]).quantize(64) for step in range(8)]
    return _encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)


def _pages(picture: _Picture) -> bytes:
    second = draw_scene("night", picture.things)
    return _encoded(picture.scene(), "TIFF", save_all=True, append_images=[second], compression="tiff_lzw")


def _turned(picture: _Picture) -> bytes:
    return _with_orientation(picture.scene().transpose(Image.Transpose.ROTATE_90), 6)


def _mirrored(picture: _Picture) -> bytes:
    return _with_orientation(picture.scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT), 2)


def _with_orientation(stored: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return _encoded(stored, "JPEG", quality=90, exif=exif)


def _cmyk(picture: _Picture) -> bytes:
    return _encoded(picture.scene().convert("CMYK"), "JPEG", quality=90)


def _grey(picture: _Picture) -> bytes:
    return _encoded(picture.scene().convert("L"), "JPEG", quality=90)


def _deep(picture: _Picture) -> bytes:
    levels = picture.scene().convert("L").convert("I").point(lambda level: level * 257)
    return _encoded(levels.convert("I;16"), "PNG")


def _transparent(picture: _Picture) -> bytes:
    return _encoded(draw_cutout(picture.things), "PNG")


def _palette(picture: _Picture) -> bytes:
    return _encoded(picture.scene().quantize(32), "PNG")


_README = """\
The sample data set of imagehaul: drawn pictures, free to use for anything.

object_annotations.csv says where each drawn thing is, in pixels of the upright picture: left, top, width, height.
image_annotations.csv has a label and a caption for each picture.

What is special, and the deliberate faults, which a delivery must name and survive:
{}
"""
