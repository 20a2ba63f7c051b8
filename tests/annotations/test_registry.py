"""What is found, what a location turns out to be, and what is counted while it is read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.annotations.boxes import coordinate, from_centre, from_corners, hull, pixels
from imagehaul.annotations.folder import Image, image_of
from imagehaul.annotations.place import FolderPlace
from imagehaul.annotations.registry import (
    find_annotations,
    may_tell_of_images,
    open_annotations,
    unread_label_files,
)
from imagehaul.cells import text
from imagehaul.errors import AnnotationError
from tests.support.annotating import location, read_annotations

OBJECTS = "filename,col_x,row_y,width,height,label\na.jpg,1,2,3,4,cat\n"
COCO = '{"images": [], "annotations": []}'
LABELS = "filename,label\na.jpg,cat\n"
VOC = (
    "<annotation><object><name>cat</name>"
    "<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>4</xmax><ymax>6</ymax></bndbox></object></annotation>"
)


def write(file: Path, content: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content, encoding="utf-8")
    return file


# Beside the images


def found_in(folder: Path) -> list[str]:
    return [found.path for found in find_annotations(FolderPlace(folder)).found]


def test_the_documented_names_beside_the_images_are_found_and_others_are_not(tmp_path: Path) -> None:
    write(tmp_path / "object_annotations.csv", OBJECTS)
    write(tmp_path / "image_annotations.csv", LABELS)
    write(tmp_path / "notes.csv", LABELS)
    write(tmp_path / "Annotations.json", "{}")
    write(tmp_path / "deeper" / "annotations.json", "{}")
    assert found_in(tmp_path) == ["object_annotations.csv", "image_annotations.csv"]


def test_a_folder_without_annotations_has_none(tmp_path: Path) -> None:
    assert found_in(tmp_path) == []


@pytest.mark.parametrize(
    "names",
    [
        ["object_annotations.csv", "object_annotations.parquet"],
        ["object_annotations.csv", "annotations.json"],
        ["image_annotations.csv", "image_annotations.parquet"],
    ],
)
def test_two_files_that_would_count_the_same_twice_are_refused_with_the_mend(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        write(tmp_path / name, "")
    with pytest.raises(AnnotationError, match=r"would count twice.\nKeep one of them, or name the one"):
        find_annotations(FolderPlace(tmp_path))


SPLIT = "path: ../elsewhere\ntrain: {}\nval: {}\nnames: [cat]\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (
            {
                "annotations/instances_train2017.json": "",
                "annotations/instances_val2017.json": "",
                "train2017/a.jpg": "",
            },
            ["annotations/instances_train2017.json", "annotations/instances_val2017.json"],
        ),
        (
            {"train/_annotations.coco.json": "", "valid/_annotations.coco.json": "", "other/a.jpg": ""},
            ["train/_annotations.coco.json", "valid/_annotations.coco.json"],
        ),
        (
            {
                "data.yaml": SPLIT.format("images/train", "images/val"),
                "labels/val/a.txt": "",
                "images/train/b.jpg": "",
            },
            ["data.yaml"],
        ),
        (
            {"data.yaml": SPLIT.format("../train/images", "../valid/images"), "train/labels/a.txt": ""},
            ["data.yaml"],
        ),
        ({"data.yaml": SPLIT.format("gone", "gone"), "labels/a.txt": ""}, ["labels"]),
        ({"classes.txt": "cat", "labels/a.txt": ""}, ["labels"]),
        ({"data.yaml": "rate: 3", "a.jpg": ""}, []),
        ({"labels/a.txt": "", "a.jpg": ""}, []),
    ],
    ids=[
        "COCO",
        "Roboflow's COCO",
        "YOLO",
        "Roboflow's YOLO",
        "YOLO without splits",
        "names alone",
        "no YOLO",
        "no names",
    ],
)
def test_a_data_set_in_splits_is_found_by_its_layout(tmp_path: Path, files: dict[str, str], found: list[str]) -> None:
    for name, content in files.items():
        write(tmp_path / name, content)
    assert found_in(tmp_path) == found


def test_a_documented_name_counts_before_a_layout_and_the_layout_is_named(tmp_path: Path) -> None:
    for name in ("object_annotations.csv", "annotations/instances_a.json", "labels/a.txt", "classes.txt"):
        write(tmp_path / name, OBJECTS)
    assert found_in(tmp_path) == ["object_annotations.csv"]
    (tmp_path / "object_annotations.csv").unlink()
    choice = find_annotations(FolderPlace(tmp_path))
    assert [found.path for found in choice.found] == ["annotations/instances_a.json"]
    assert choice.lines == (
        "annotations/instances_a.json tells the boxes, and so these are not read: labels. "
        "Name what counts with --annotations, which may be given several times.",
    )


def test_a_yaml_that_cannot_be_read_beside_the_images_is_said_and_stops_nothing(tmp_path: Path) -> None:
    write(tmp_path / "data.yaml", "names: [cat")
    os.mkfifo(tmp_path / "data.yml")
    choice = find_annotations(FolderPlace(tmp_path))
    assert choice.found == ()
    assert "data.yaml is not valid YAML" in choice.lines[0]
    (tmp_path / "data.yaml").unlink()
    assert "data.yml is a pipe or a device" in find_annotations(FolderPlace(tmp_path)).lines[0]


@pytest.mark.parametrize(
    ("left_out", "images", "said"),
    [
        ({"xml": 10, "txt": 3}, 20, ["10 .xml files among the images may be annotations (Pascal VOC), and none was"]),
        ({"txt": 2_000}, 1_900, ["2,000 .txt files among the images may be annotations (YOLO), and none was read"]),
        ({"txt": 2}, 3, []),
        ({"xml": 9, "": 40, "cr2": 40, "json": 40}, 20, []),
    ],
)
def test_label_files_among_the_images_that_nobody_named_are_told(
    left_out: dict[str, int], images: int, said: list[str]
) -> None:
    lines = list(unread_label_files(left_out, images))
    assert [line[: len(words)] for line, words in zip(lines, said, strict=True)] == said


def test_a_dangling_link_under_a_documented_name_is_found_so_that_reading_it_fails(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").symlink_to("nowhere")
    assert found_in(tmp_path) == ["annotations.json"]
    with pytest.raises(AnnotationError, match="There are no annotations at"):
        read_annotations(tmp_path / "annotations.json", tmp_path)


def test_a_folder_in_a_store_is_downloaded_without_its_pictures() -> None:
    names = "a.xml", "b.TXT", "data.yaml", "obj.names", "boxes.parquet", "a.jpg", "model.pt"
    assert [may_tell_of_images(name) for name in names] == [True] * 5 + [False] * 2


# What a location is


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("boxes.csv", OBJECTS, "object table"),
        ("labels.CSV", LABELS, "image table"),
        ("instances_train.json", '{"images": [], "annotations": []}', "COCO"),
        ("a.xml", VOC, "Pascal VOC"),
        ("a.txt", "0 0.5 0.5 0.1 0.1", "YOLO"),
    ],
)
def test_a_file_under_any_name_is_known_by_its_suffix_and_columns(
    tmp_path: Path, name: str, content: str, kind: str
) -> None:
    assert read_annotations(write(tmp_path / name, content), tmp_path).format == kind


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({"a.xml": VOC, "README.txt": "about this"}, "Pascal VOC"),
        ({"Annotations/a.xml": VOC, "ImageSets/Main/cat_train.txt": "a 1\nb -1\n"}, "Pascal VOC"),
        ({"a.txt": "0 0.5 0.5 0.1 0.1", "classes.txt": "cat"}, "YOLO"),
        ({"deep/labels/a.txt": "0 0.5 0.5 0.1 0.1", "classes.txt": "cat"}, "YOLO"),
    ],
)
def test_a_folder_is_known_by_what_it_holds(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    for name, content in files.items():
        write(tmp_path / "given" / name, content)
    reading = read_annotations(tmp_path / "given", tmp_path)
    assert reading.format == kind
    assert all(annotation.text == "cat" for annotation in reading)
    assert reading.problems == {}


@pytest.mark.parametrize(
    ("files", "kinds"),
    [
        ({"object_annotations.csv": OBJECTS, "image_annotations.csv": LABELS}, ["object table", "image table"]),
        ({"instances_a.json": COCO, "captions_b.json": COCO, "a.jpg": ""}, ["COCO", "COCO"]),
        ({"a.csv": OBJECTS, "b.csv": LABELS, "README.md": ""}, ["object table", "image table"]),
        ({"train/_annotations.coco.json": COCO, "valid/_annotations.coco.json": COCO}, ["COCO", "COCO"]),
    ],
)
def test_a_folder_may_hold_several_files(tmp_path: Path, files: dict[str, str], kinds: list[str]) -> None:
    for name, content in files.items():
        write(tmp_path / "given" / name, content)
    readings = list(open_annotations(location(tmp_path / "given", tmp_path)))
    assert [reading.format for reading in readings] == kinds


def test_a_folder_of_two_formats_is_refused_and_both_are_named(tmp_path: Path) -> None:
    write(tmp_path / "voc" / "a.xml", VOC)
    write(tmp_path / "labels" / "b.txt", "0 0.5 0.5 0.1 0.1")
    with pytest.raises(AnnotationError, match=r"both Pascal VOC \(voc/a.xml\) and YOLO \(labels/b.txt\)"):
        read_annotations(tmp_path, tmp_path)


def test_a_folder_without_annotations_is_refused_and_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path / "given" / "a.jpg", "")
    write(tmp_path / "given" / "b.jpg", "")
    with pytest.raises(AnnotationError, match=r"no annotations in this folder; it holds 2 \.jpg\.\nKnown are object_"):
        read_annotations(tmp_path / "given", tmp_path)


def test_a_missing_location_is_named(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"There are no annotations at .*gone\.csv\.\nCorrect the path"):
        read_annotations(tmp_path / "gone.csv", tmp_path)


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"boxes\.tfrecord: no known annotation format\.\nKnown are"):
        read_annotations(write(tmp_path / "boxes.tfrecord", ""), tmp_path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(AnnotationError, match=r"^a\.json is a pipe or a device"):
        read_annotations(tmp_path / "a.json", tmp_path, shown="a.json")
    os.mkfifo(tmp_path / "annotations.json")
    with pytest.raises(AnnotationError, match=r"^given/annotations\.json is a pipe or a device"):
        read_annotations(tmp_path, tmp_path, shown="given")


def test_the_yaml_of_a_yolo_data_set_is_answered_with_the_folder_to_name(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"For YOLO, name the folder of the label files\."):
        read_annotations(write(tmp_path / "data.yaml", "names: [cat]"), tmp_path)


def test_messages_name_a_download_as_the_user_named_it(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"^s3://bucket/boxes\.csv: missing column"):
        read_annotations(write(tmp_path / "boxes.csv", "file,x\n"), tmp_path, shown="s3://bucket/boxes.csv")


# Where it lies


@pytest.mark.parametrize(
    ("stem", "folder", "root", "answer"),
    [
        ("a", None, "/elsewhere", ("a", ("",), ())),
        ("a", None, "/d/labels/train", ("a", ("",), ("train",))),
        ("a", "labels/train", "s/labels/train", ("images/train/a", ("",), ("train",))),
        ("train/a", "labels", "s/labels", ("images/train/a", ("",), ("train",))),
        ("train/labels/a", "", "s", ("train/images/a", ("",), ("train",))),
        ("labels/a", None, "s", ("images/a", ("",), ())),
        ("labels/old/labels/a", "x", "s/x", ("x/labels/old/images/a", ("",), ("old",))),
        ("labels", "", "s", ("labels", ("",), ())),
        ("a", "boxes", "s/boxes", ("a", ("boxes", ""), ())),
        ("one/a", "boxes", "s/boxes", ("one/a", ("boxes", ""), ("one",))),
    ],
)
def test_a_label_file_among_labels_is_about_an_image_among_images(
    stem: str, folder: str | None, root: str, answer: tuple[str, tuple[str, ...], tuple[str, ...]]
) -> None:
    assert image_of(stem, folder, root, "labels", "images") == Image(*answer)


# What is counted and named


def test_a_reading_counts_what_it_gave_and_names_what_it_could_not_use(tmp_path: Path) -> None:
    rows = "".join(f",{i},2,3,4,cat\n" for i in range(5)) + "b.jpg,,,,,dog\n"
    location = write(tmp_path / "boxes.csv", OBJECTS + rows)
    reading = read_annotations(location, tmp_path, shown="boxes.csv")
    assert [annotation.kind for annotation in reading] == ["box", "label"]
    assert reading.summary() == "boxes.csv (object table): 1 box, 1 label"
    nameless = reading.problems["A row without a filename: left out"]
    assert (nameless.count, nameless.used) == (5, False)
    assert nameless.examples == ["boxes.csv:3", "boxes.csv:4", "boxes.csv:5"]
    assert reading.warnings() == [
        "A row without a filename: left out (5 times, e.g. boxes.csv:3)",
        "A row without any coordinate: its label is read as one of the whole image (boxes.csv:8)",
    ]


def test_words_of_the_file_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    bad = '{"images": [], "annotations": [{"id": 1, "image_id": "\\u001b[2J\\n"}]}'
    reading = read_annotations(write(tmp_path / "a.json", bad), tmp_path, shown="a.json")
    assert list(reading) == []
    assert reading.warnings()[0].endswith(r"(a.json: annotation 1: image_id \x1b[2J\n)")


def test_a_name_that_is_not_utf8_a_link_to_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    root = tmp_path / "given"
    write(root / "a.xml", VOC)
    Path(os.fsdecode(os.fsencode(root) + b"/\xff.xml")).write_text(VOC)
    (root / "again").symlink_to(root)
    os.mkfifo(root / "pipe.xml")
    reading = read_annotations(root, tmp_path, shown="given")
    assert len(list(reading)) == 1
    assert reading.problems["The name is not UTF-8: not read"].examples == ["given/\\xff.xml"]
    assert reading.problems["A link to a folder: not followed"].examples == ["given/again"]
    assert reading.problems["A pipe or a device: not read"].examples == ["given/pipe.xml"]


# Boxes

numbers = st.floats(-1e6, 1e6)
sizes = st.floats(0, 1e6)


@given(numbers, numbers, sizes, sizes)
def test_corners_become_a_corner_and_a_size(x: float, y: float, width: float, height: float) -> None:
    left, top, wide, high = from_corners(str(x), str(y), str(x + width), str(y + height))
    assert (left, top) == (x, y)
    assert (wide, high) == pytest.approx((width, height), abs=1e-6)


@given(numbers, numbers, sizes, sizes)
def test_a_centre_becomes_a_corner(cx: float, cy: float, width: float, height: float) -> None:
    x, y, wide, high = from_centre(cx, cy, width, height)
    assert (x + wide / 2, y + high / 2) == pytest.approx((cx, cy), abs=1e-6)
    assert (wide, high) == (width, height)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=9))
def test_the_hull_of_a_polygon_holds_its_points_and_touches_them_on_all_sides(
    points: list[tuple[float, float]],
) -> None:
    x, y, width, height = hull([number for point in points for number in point])
    xs, ys = zip(*points, strict=True)
    assert (x, y) == (min(xs), min(ys))
    assert (x + width, y + height) == pytest.approx((max(xs), max(ys)), abs=1e-6)


@pytest.mark.parametrize("points", [[], [1.0], [1.0, 2.0, 3.0], [1.0, float("nan"), 2.0, 2.0]])
def test_what_is_no_polygon_has_no_hull(points: list[float]) -> None:
    assert all(side != side for side in hull(points))


@pytest.mark.parametrize("word", ["", "abc", None, [], True, "1_0", "12,5", "nan", 10**400])
def test_what_is_no_number_is_nan(word: object) -> None:
    assert coordinate(word) != coordinate(word)


def test_a_size_that_is_not_said_is_nought() -> None:
    assert [pixels(value) for value in (None, "", "-3", "0", "nan", "inf")] == [0] * 6
    assert [pixels(value) for value in ("640", 480.0)] == [640, 480]


def test_a_number_is_a_label_without_its_decimals_and_half_a_character_is_a_question_mark() -> None:
    values = 3.0, 2.5, None, float("nan"), b"caf\xc3\xa9", "\ud800"
    assert [text(value) for value in values] == ["3", "2.5", "", "", "café", "?"]
