"""YOLO: a text file for each image, in shares of its width and height."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.annotations.reading import Reading
from imagehaul.annotations.yolo_lines import read_lines
from imagehaul.annotations.yolo_names import read_class_names
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, Box
from tests.support.annotating import read_annotations

NAMES = "names: [cat, dog]\n"


def yolo(root: Path, files: dict[str, str | bytes], given: str = ".", folder: str | None = None) -> Reading:
    for name, content in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotations(root / given, root, folder, shown="given")


def boxes(reading: Reading) -> list[Box | None]:
    return [annotation.box for annotation in reading]


def test_a_centre_and_a_size_become_a_box_in_shares_of_the_picture(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"deep/a.b.txt": "1 0.5 0.25 0.5 0.25\n", "data.yaml": NAMES})
    assert list(reading) == [
        Annotation(
            reference="deep/a.b",
            match="stem",
            kind="box",
            text="dog",
            origin="given/deep/a.b.txt:1",
            places=("",),
            apart=("deep",),
            box=Box(0.25, 0.125, 0.5, 0.25, "dog", fraction=True),
        )
    ]
    assert reading.problems == {}


@pytest.mark.parametrize(
    ("line", "box"),
    [
        ("0 0.5 0.5 0.5 0.5", (0.25, 0.25, 0.5, 0.5)),
        ("0 0.5 0.5 0.5 0.5 0.93", (0.25, 0.25, 0.5, 0.5)),
        ("0 0.5 0.25 0.75 0.5 0.5 0.75", (0.5, 0.25, 0.25, 0.5)),
        ("0 0.5 0 1 0.5 0.5 1 0 0.5", (0.0, 0.0, 1.0, 1.0)),
        ("0 0.5 0 1 0.5 0.5 1 0 0.5 0.93", (0.0, 0.0, 1.0, 1.0)),
        ("0.0\t0.5\t0.5\t0\t-0.5\r", (0.5, 0.75, 0.0, -0.5)),
    ],
    ids=["box", "with confidence", "polygon", "rotated", "rotated with confidence", "tabs, float class, no area"],
)
def test_each_shape_of_line_gives_its_upright_box(
    tmp_path: Path, line: str, box: tuple[float, float, float, float]
) -> None:
    reading = yolo(tmp_path, {"a.txt": f"\n{line}\n", "classes.txt": "cat"})
    assert boxes(reading) == [Box(*box, label="cat", fraction=True)]


shares = st.floats(0, 1)


@given(st.lists(st.tuples(shares, shares), min_size=3, max_size=12))
def test_no_point_of_a_polygon_lies_outside_its_box(
    tmp_path_factory: pytest.TempPathFactory, points: list[tuple[float, float]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "polygon.txt"
    file.write_text("0 " + " ".join(f"{x!r} {y!r}" for x, y in points))
    (box,) = boxes(read_annotations(file, file.parent))
    assert box is not None
    for x, y in points:
        assert box.x <= x <= box.x + box.width + 1e-12
        assert box.y <= y <= box.y + box.height + 1e-12


BOX = "0 0.5 0.5 0.4 0.6"
POLYGON = "0 0.5 0.2 0.56 0.26 0.6 0.4 0.52 0.44 0.45 0.3"


def keypoints(count: int, certainty: str = "2", spread: float = 0.9) -> str:
    """Points on a zigzag over so much of BOX, each with a certainty; "" for none."""
    at = [spread * (number / (count - 1) - 0.5) for number in range(count)]
    points = [(0.5 + 0.4 * share * (-1) ** number, 0.5 + 0.6 * share) for number, share in enumerate(at)]
    return " ".join(f"{x:.4f} {y:.4f} {certainty}".strip() for x, y in points)


@pytest.mark.parametrize(
    ("lines", "remark"),
    [
        ([f"{BOX} 0.91 7", f"{BOX} 0.5 8"], ""),
        ([f"{BOX} 0.91 1", f"{BOX} 0.5 2"], ""),
        ([f"{BOX} 12"], ""),
        ([f"{BOX} {keypoints(17)}"], "keypoints"),
        ([f"{BOX} {keypoints(17, '1', 0.2)}"], "keypoints"),
        ([f"{BOX} {keypoints(17, '0.98')}"], "keypoints"),
        ([f"{BOX} {keypoints(17, '0.98')} 0.8"], "keypoints"),
        ([f"{BOX} {keypoints(17, '2')} 0.8 3"], "keypoints"),
        ([f"{BOX} {keypoints(5, '')}"], "keypoints"),
        ([f"{BOX} {keypoints(4, '2.000')} 0 0 0.0"], "keypoints"),
        ([f"{BOX} 0.5 0.5 2"], "keypoints"),
    ],
    ids=[
        "confidence and track",
        "the first tracks",
        "track alone",
        "a pose",
        "a pose with few points",
        "a detector's pose",
        "and its confidence",
        "confidence and track",
        "a pose without certainty",
        "a point that is not there",
        "one keypoint",
    ],
)
def test_a_detectors_line_and_a_pose_are_boxes_though_nothing_says_so(
    tmp_path: Path, lines: list[str], remark: str
) -> None:
    reading = yolo(tmp_path, {"a.txt": "\n".join(lines), "classes.txt": "cat"})
    for box in boxes(reading):
        assert box is not None
        assert (box.x, box.y, box.width, box.height) == pytest.approx((0.3, 0.2, 0.4, 0.6))
    assert [line[: len("Keypoints behind a box")] for line in reading.warnings()] == (
        ["Keypoints behind a box"] if remark else []
    )


@pytest.mark.parametrize(
    "line",
    [
        "0 0.5 0.25 0.75 0.5 0.5 0.75",
        POLYGON,
        f"{POLYGON} 0.9",
        "0 0.5 0.5 0.6 0.4 0.7 0.6 1 0.5",
        "0 0.1 0.1 0.9 0.1 0.9 0.9 0.1 0.9 0.1 0.5 0.1 0.3",
    ],
    ids=["triangle", "polygon", "with confidence", "rotated at the edge", "large"],
)
def test_a_polygon_stays_a_polygon(tmp_path: Path, line: str) -> None:
    (box,) = boxes(yolo(tmp_path, {"a.txt": line, "classes.txt": "cat"}))
    numbers = [float(word) for word in line.removesuffix(" 0.9" if line.endswith("0.3 0.9") else "").split()[1:]]
    assert box is not None
    assert (box.x, box.y) == (min(numbers[::2]), min(numbers[1::2]))


@given(st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.integers(5, 40), st.floats(0, 6.28), st.floats(0.3, 3))
def test_the_outline_of_a_thing_is_never_taken_for_keypoints(
    x: float, y: float, count: int, first: float, ratio: float
) -> None:
    angles = [first + 6.283 * number / count for number in range(count)]
    wide, high = 0.09 * min(1, ratio), 0.09 * min(1, 1 / ratio)
    points = [(x + wide * math.cos(angle), y + high * math.sin(angle)) for angle in angles]
    line = "0 " + " ".join(f"{px:.5f} {py:.5f}" for px, py in points)
    (read,) = read_lines([line], pose=False)
    assert read.bounds is not None
    assert read.bounds[2:] == pytest.approx((2 * wide, 2 * high), rel=0.35)


def test_seven_numbers_that_may_be_either_are_a_polygon_and_said(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"a.txt": "0 0.4 0.4 0.2 0.2 0.5 1", "classes.txt": "cat"})
    assert boxes(reading) == [Box(0.2, 0.2, 0.3, 0.8, "cat", fraction=True)]
    assert reading.warnings()[0].startswith("Seven numbers that may be a polygon of three points, or a box with conf")


def test_pixels_in_place_of_shares_are_said(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"a.txt": "0 120 80 40 30", "classes.txt": "cat"})
    assert boxes(reading) == [Box(100, 65, 40, 30, "cat", fraction=True)]
    assert reading.warnings()[0].startswith("Numbers far beyond 1, where YOLO has shares")


def test_keypoints_behind_a_box_are_no_polygon_where_the_yaml_says_so(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"a.txt": "0 0.5 0.5 0.5 0.5 0.9 0.9 0.1 0.1", "data.yaml": NAMES}
    assert boxes(yolo(tmp_path, files)) == [Box(0.1, 0.1, 0.8, 0.8, "cat", fraction=True)]
    files["data.yaml"] = NAMES + "kpt_shape: [2, 2]\n"
    assert boxes(yolo(tmp_path, files)) == [Box(0.25, 0.25, 0.5, 0.5, "cat", fraction=True)]


@pytest.mark.parametrize("line", ["0 0.5 abc 0.5 0.5", "0 0.1 0.2 nan 0.4 0.5 0.6"])
def test_a_bad_coordinate_spoils_its_box_and_not_the_file(tmp_path: Path, line: str) -> None:
    bad, good = boxes(yolo(tmp_path, {"a.txt": f"0 0.5 0.5 0.5 0.5\n{line}\n", "classes.txt": "cat"}))[::-1]
    assert bad is not None
    assert math.isnan(bad.y)
    assert good == Box(0.25, 0.25, 0.5, 0.5, "cat", fraction=True)


@pytest.mark.parametrize("line", ["0 0.5 0.5 0.5", "cat 0.5 0.5 0.5 0.5", "-1 0 0 1 1", "0 1 1 1 1 1 1 1"])
def test_a_line_that_is_none_of_yolo_is_left_out_and_named(tmp_path: Path, line: str) -> None:
    reading = yolo(tmp_path, {"a.txt": f"0 0.5 0.5 0.5 0.5\n{line}\n", "classes.txt": "cat"})
    assert len(list(reading)) == 1
    assert reading.warnings() == [f"Not a line of YOLO (class cx cy w h): left out (given/a.txt:2: {line!r})"]


def test_an_empty_label_file_says_that_there_is_nothing(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"a.txt": "", "b.txt": "0 0.5 0.5 0.5 0.5", "classes.txt": "cat"})
    assert [annotation.reference for annotation in reading] == ["b"]
    assert reading.problems == {}


def test_lists_and_readmes_beside_the_labels_are_no_labels(tmp_path: Path) -> None:
    others: dict[str, str | bytes] = {
        "train.txt": "data/a.jpg\n",
        "README.roboflow.txt": "Exported on Sunday\n",
        "classes.txt": "cat\n",
        "notes.yaml": "",
    }
    reading = yolo(tmp_path, {"a.txt": "0 0.5 0.5 0.5 0.5", **others})
    assert [annotation.reference for annotation in reading] == ["a"]
    assert reading.problems == {}


def test_the_label_file_of_a_picture_called_train_is_read(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"train.txt": "0 0.5 0.5 0.5 0.5", "classes.txt": "cat"})
    assert [annotation.reference for annotation in reading] == ["train"]


def test_a_label_file_that_is_no_text_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"a.txt": "0 0.5 0.5 0.5 0.5", "b.txt": b"\xff\xfe0", "classes.txt": "cat"})
    assert [annotation.reference for annotation in reading] == ["a"]
    assert reading.warnings() == ["A text file that cannot be read: left out (given/b.txt: not UTF-8 text (byte 1).)"]


# Class names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.yaml", "train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n"),
        ("data.yaml", "path: /elsewhere\nnames:\n  0: cat\n  1: dog\n"),
        ("dataset.yaml", "\ufeffnames:\n- cat\n- dog\n"),
        ("classes.txt", "cat\r\ndog\r\n\r\n"),
        ("obj.names", "cat\ndog"),
    ],
)
def test_class_names_come_from_any_of_the_known_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    found = read_class_names(tmp_path)
    assert found is not None
    assert found.names == {0: "cat", 1: "dog"}


def test_a_name_is_what_stands_there_and_not_what_yaml_makes_of_it(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [no, 1.0, null, 007, 12:30]")
    found = read_class_names(tmp_path)
    assert found is not None
    assert list(found.names.values()) == ["no", "1.0", "null", "007", "12:30"]


def test_a_yaml_without_names_leaves_the_word_to_the_next_file(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"data.yaml": "train: x\n", "classes.txt": "cat", "a.txt": "0 0.5 0.5 1 1"}
    assert [annotation.text for annotation in yolo(tmp_path, files)] == ["cat"]


@pytest.mark.parametrize(
    ("names", "given"),
    [("data.yaml", "train/labels"), ("data.yaml", "."), ("data.yaml", "train"), ("train/labels/classes.txt", ".")],
)
def test_the_nearest_names_in_the_folder_or_above_it_count(tmp_path: Path, names: str, given: str) -> None:
    content = NAMES if names.endswith("yaml") else "cat\ndog\n"
    reading = yolo(tmp_path / "set", {"train/labels/a.txt": "1 0.5 0.5 1 1", names: content}, given)
    assert [annotation.text for annotation in reading if annotation.kind == "box"] == ["dog"]


def test_names_far_above_the_folder_are_not_taken(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"x/y/boxes/a.txt": "1 0.5 0.5 1 1", "data.yaml": NAMES}
    assert [annotation.text for annotation in yolo(tmp_path, files, "x/y/boxes")] == ["1"]


def test_a_class_without_a_name_is_its_number_and_said(tmp_path: Path) -> None:
    reading = yolo(tmp_path, {"a.txt": "7 0.5 0.5 1 1\n0 0.5 0.5 1 1\n", "classes.txt": "cat"})
    assert [annotation.text for annotation in reading] == ["7", "cat"]
    assert reading.warnings() == [
        "No class name in data.yaml, data.yml, dataset.yaml, classes.txt, obj.names: the number is the label "
        "(given/a.txt:1: class 7)"
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"names: [cat", r"The class names cannot be read: .*data\.yaml is not valid YAML: "),
        (b"names: cat.names", r"`names` must be a list of names, or number: name\."),
        (b"names: {cat: 0}", r"`names` must be a list of names, or number: name\."),
        (b"names: [[a, b]]", r"`names` must be a list of names, or number: name\."),
        (b"names: [" + b"[" * 200, r"nested more than 100 deep \(line 1, column 107\)\. Is it"),
        (b"a: 1\na: 2", r'is not valid YAML: found duplicate key "a" with value .* \(line 2, column 1\)\.$'),
        (b"names: [gr\xfcn]", r"The class names cannot be read: .*utf-8"),
        (b"#" * (2**20 + 1), r"is larger than 1 MiB\."),
    ],
    ids=["cut off", "a path", "the wrong way round", "nested", "deep", "twice", "latin-1", "large"],
)
def test_class_names_that_cannot_be_understood_are_an_error(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        list(yolo(tmp_path, {"a.txt": "0 0.5 0.5 1 1", "data.yaml": content}))


# Whose they are


@pytest.mark.parametrize(
    ("file", "given", "folder", "reference"),
    [
        ("labels/train/a.txt", "labels", None, "train/a"),
        ("labels/train/a.txt", "labels", "labels", "images/train/a"),
        ("train/labels/a.txt", ".", "", "train/images/a"),
        ("boxes/a.txt", "boxes", "boxes", "a"),
    ],
    ids=["labels beside the source", "labels in the source", "a Roboflow export", "another layout"],
)
def test_labels_lead_to_the_images_beside_them(
    tmp_path: Path, file: str, given: str, folder: str | None, reference: str
) -> None:
    reading = yolo(tmp_path, {file: "0 0.5 0.5 1 1", "data.yaml": NAMES}, given, folder)
    assert [annotation.reference for annotation in reading if annotation.kind == "box"] == [reference]


# Splits


def said(reading: Reading, kind: str) -> list[tuple[str, str]]:
    return [(item.reference, item.text) for item in reading if item.kind == kind]


@pytest.mark.parametrize(
    ("yaml", "folders"),
    [
        ("train: images/train\nval: images/val\n", ("images/train", "images/val")),
        ("path: /home/me/set\ntrain: ./images/train/\nval: [images/val]\n", ("images/train", "images/val")),
        ("train: ../train/images\nval: ../valid/images\n", ("train/images", "valid/images")),
        ("train: train\nval: val\n", ("train", "val")),
    ],
    ids=["beside", "another machine's path", "Roboflow", "labels beside the images"],
)
def test_a_yaml_tells_the_folders_of_its_splits(tmp_path: Path, yaml: str, folders: tuple[str, str]) -> None:
    labels = [folder.replace("images", "labels") for folder in folders]
    files: dict[str, str | bytes] = {f"{folder}/a.txt": f"{n} 0.5 0.5 1 1" for n, folder in enumerate(labels)}
    files |= {"data.yaml": f"{yaml}{NAMES}", "labels/old/b.txt": "0 0.5 0.5 1 1"}
    content = list(yolo(tmp_path, files, "data.yaml", "set"))
    splits = [(item.reference, item.text) for item in content if item.kind == "split"]
    assert splits == [(f"set/{folders[0]}", "train"), (f"set/{folders[1]}", "val")]
    stems = [(item.reference, item.text) for item in content if item.kind == "box"]
    assert [label for _, label in stems] == ["cat", "dog"]
    assert [stem.removeprefix("set/") for stem, _ in stems] == [f"{folder}/a" for folder in folders]


def test_a_split_without_a_folder_or_without_labels_is_named(tmp_path: Path) -> None:
    yaml = f"train: images/train\nval: images/val\ntest: gone.txt\n{NAMES}"
    (tmp_path / "images" / "val").mkdir(parents=True)
    reading = yolo(tmp_path, {"labels/train/a.txt": "0 0.5 0.5 1 1", "data.yaml": yaml}, "data.yaml")
    assert said(reading, "split") == [("images/train", "train"), ("images/val", "val")]
    assert reading.warnings() == [
        "A split without a folder of labels (given: val: labels/val)",
        "A split whose folder is not here (given: test: gone.txt)",
    ]


def test_folders_of_labels_with_a_splits_name_tell_the_split(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = dict.fromkeys(
        ("labels/train/a.txt", "labels/train/deep/b.txt", "labels/val2017/a.txt", "labels/mine/a.txt"), "0 0.5 0.5 1 1"
    )
    reading = yolo(tmp_path, {**files, "classes.txt": "cat"}, "labels", "labels")
    assert said(reading, "split") == [("images/train", "train"), ("images/val2017", "val")]
