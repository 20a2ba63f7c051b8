"""The sample data set: what it says about its pictures is true."""

from __future__ import annotations

import csv
import itertools
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pillow_heif
import pytest
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError

from imagehaul.errors import HaulError, SettingsError
from imagehaul.local.sample import Sample, write_sample
from imagehaul.local.scenes import HEIGHT, THINGS, WIDTH, Thing, draw_cutout, draw_scene
from imagehaul.rendering.quality import measured
from imagehaul.settings import Settings
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import list_folder
from imagehaul.sources.scan_report import ScanReport

pillow_heif.register_heif_opener()


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    return write_sample(tmp_path_factory.mktemp("sample"))


def rows(sample: Sample, name: str) -> list[dict[str, str]]:
    with (sample.folder / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def boxes(sample: Sample) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name, label, and left, top, width, height of each box."""
    sides = ("col_x", "row_y", "width", "height")
    found = rows(sample, "object_annotations.csv")
    return [(row["filename"], row["label"], tuple(int(row[side]) for side in sides)) for row in found]


def upright(file: Path) -> Image.Image:
    with Image.open(file) as picture:
        if picture.mode == "I;16":
            # Pillow clips these, where it should scale them.
            return picture.convert("I").point(lambda level: level / 257).convert("L")
        return ImageOps.exif_transpose(picture).convert("RGBA")


def images(sample: Sample) -> list[str]:
    return [file.path for file in list_folder(sample.folder, Selection(), ScanReport()) if not file.code]


def test_nothing_looks_like_a_copy_but_the_picture_that_a_camera_held_three_ways(sample: Sample) -> None:
    hashes = {}
    for name in images(sample):
        with suppress(UnidentifiedImageError, OSError):
            thumbnail = upright(sample.folder / name)
            thumbnail.thumbnail((256, 256))
            hashes[name] = int(measured(thumbnail).phash, 16)
    assert len(hashes) >= 30
    alike = {
        frozenset((one, other))
        for one, other in itertools.combinations(hashes, 2)
        if (hashes[one] ^ hashes[other]).bit_count() <= 2 + Settings.model_fields["near_duplicate_bits"].default
    }
    held = [f"camera/{way}.jpg" for way in ("mirrored", "turned", "upright")]
    assert alike == {frozenset(pair) for pair in itertools.combinations(held, 2)}


def test_holds_what_its_summary_says(sample: Sample) -> None:
    assert len(images(sample)) == sample.pictures + sample.faults
    assert len(boxes(sample)) == sample.boxes + 1
    assert f"{sample.pictures} drawn pictures with {sample.boxes} boxes" in str(sample)
    assert sample.pictures >= 30


def test_is_published_with_the_default_settings_in_spite_of_its_faults(sample: Sample) -> None:
    limit = Settings(remote_save="s3://mybucket").max_rejected
    assert sample.faults / (sample.pictures + sample.faults) < limit


def test_every_picture_but_the_faults_can_be_decoded(sample: Sample) -> None:
    broken = []
    for name in images(sample):
        try:
            with Image.open(sample.folder / name) as picture:
                picture.load()
        except (UnidentifiedImageError, OSError):
            broken.append(name)
    assert sorted(broken) == ["faults/empty.jpg", "faults/truncated.jpg", "faults/web page.jpg"]


def test_each_fault_is_labelled_in_the_readme(sample: Sample) -> None:
    lines = (sample.folder / "README.txt").read_text(encoding="utf-8").splitlines()
    labelled = sorted(line.split(": ")[0].strip() for line in lines if "FAULT" in line)
    faults = [name for name in images(sample) if name.startswith("faults/")]
    (faulty_box,) = (name for name, _, box in boxes(sample) if box[2] == 0)
    assert labelled == sorted([*faults, faulty_box])


@pytest.mark.parametrize("part", [" ", "#", "+", "%41", "50%", "ü", "海", "/-", "&", "'", "?", "[", ",", ".JPG"])
def test_has_odd_names(sample: Sample, part: str) -> None:
    assert any(part in f"/{name}" for name in images(sample))


def test_has_every_format_and_mode_that_is_hard(sample: Sample) -> None:
    seen: set[object] = set()
    for name in images(sample):
        if not name.startswith("faults/"):
            with Image.open(sample.folder / name) as picture:
                frames = getattr(picture, "n_frames", 1)
                seen |= {picture.format, picture.mode, (picture.format, frames > 1), picture.getexif().get(0x0112)}
    assert seen >= {"JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "HEIF", "AVIF", "JPEG2000"}
    assert seen >= {"CMYK", "I;16", "RGBA", "P", "L", ("GIF", True), ("TIFF", True), 2, 6}


@pytest.mark.parametrize("label", THINGS)
def test_a_thing_fills_its_box_to_all_four_sides(label: str) -> None:
    thing = Thing(label, 40, 50, 120)
    painted = draw_cutout([thing]).getbbox()
    assert painted == (40, 50, 40 + thing.width, 170)


def test_the_boxes_lie_around_what_is_drawn(sample: Sample) -> None:
    """In the picture that a viewer shows: EXIF rotation applied, first frame."""
    for name, label, (x, y, width, height) in boxes(sample):
        if width == 0:
            continue
        picture = upright(sample.folder / name)
        assert picture.size == (WIDTH, HEIGHT), name
        assert x >= 0 <= y, name
        assert x + width <= WIDTH, name
        assert y + height <= HEIGHT, name
        expected = draw_scene("meadow", [Thing(label, x, y, height)])
        # The middle of the thing is the thing, whatever the format did to its colours.
        middle = (x + width * 2 // 5, y + height // 3, x + width * 3 // 5, y + height // 2)
        difference = ImageChops.difference(picture.convert("L").crop(middle), expected.convert("L").crop(middle))
        strongest = difference.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
        assert isinstance(strongest, int | float)
        assert strongest < 30, (name, label)


def test_the_animation_moves_and_its_box_is_the_first_frames(sample: Sample) -> None:
    with Image.open(sample.folder / "sky/sunrise.gif") as picture:
        first = picture.convert("RGB")
        picture.seek(7)
        assert ImageChops.difference(first, picture.convert("RGB")).getbbox() is not None


def test_the_sixteen_bit_picture_uses_all_of_them(sample: Sample) -> None:
    with Image.open(sample.folder / "modes/16 bit.png") as picture:
        extrema = picture.getextrema()
    assert isinstance(extrema[1], int)
    assert extrema[1] > 40_000


def test_every_image_annotation_names_a_picture_with_a_caption(sample: Sample) -> None:
    found = rows(sample, "image_annotations.csv")
    assert {row["filename"] for row in found} == {name for name in images(sample) if not name.startswith("faults/")}
    assert found[0] == {"filename": "coast/boat.jpg", "label": "coast", "caption": "A boat and a sun, coast"}


def test_the_same_bytes_are_written_each_time(sample: Sample, tmp_path: Path) -> None:
    again = write_sample(tmp_path / "new" / "folder").folder
    files = [path.relative_to(again) for path in again.rglob("*") if path.is_file()]
    assert len(files) == sample.pictures + sample.faults + 3
    assert [name for name in files if (again / name).read_bytes() != (sample.folder / name).read_bytes()] == []


def test_one_that_was_interrupted_is_not_there_and_is_drawn_anew(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_rows: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("imagehaul.local.sample._table", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_sample(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    again = write_sample(tmp_path / "new").folder
    assert list(tmp_path.iterdir()) == [again]
    files = {file.relative_to(sample.folder) for file in sample.folder.rglob("*")}
    assert {file.relative_to(again) for file in again.rglob("*")} == files


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"is not empty\. Name a new one for the sample\."):
        write_sample(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SettingsError, match="is a file"):
        write_sample(tmp_path / "file")
    with pytest.raises(HaulError, match=r"cannot be written to .*: Not a directory"):
        write_sample(tmp_path / "file" / "below")


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    # Root may write everywhere, so the work is done as somebody else; fchdir, since that one may not walk here.
    tmp_path.chmod(0o555)
    program = (
        "import os, sys, pathlib; from imagehaul.local.sample import write_sample\n"
        "os.fchdir(os.open(sys.argv[1], os.O_RDONLY))\n"
        "if os.geteuid() == 0: os.setuid(65534)\n"
        "try: write_sample(pathlib.Path('sample'))\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, os.fspath(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "HaulError The sample cannot be written to 'sample': Permission denied."
