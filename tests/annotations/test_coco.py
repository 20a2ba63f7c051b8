"""COCO: three lists in one JSON file, in any order, joined by their ids."""

import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.annotations.json_events import CountedFile
from imagehaul.annotations.reading import Reading
from imagehaul.annotations.registry import open_annotations
from imagehaul.annotations.rle import Mask, box_of, lengths
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, Box
from tests.support.annotating import location, read_annotations

IMAGES = [
    {"id": 1, "width": 640, "height": 480, "file_name": "image1.jpg"},
    {"id": 2, "width": 800, "height": 600, "file_name": "sub/image2.jpg"},
]
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def coco(tmp_path: Path, annotations: list[dict[str, Any]], **other: Any) -> Reading:
    content = {"annotations": annotations, "images": IMAGES, "categories": CATEGORIES} | other
    return raw(tmp_path, json.dumps(content, indent=1).encode())


def raw(tmp_path: Path, content: bytes) -> Reading:
    (tmp_path / "annotations.json").write_bytes(content)
    return read_annotations(tmp_path / "annotations.json", tmp_path, folder="", shown="annotations.json")


def boxes(reading: Reading) -> list[Box | None]:
    return [annotation.box for annotation in reading]


def test_an_annotation_is_joined_with_its_image_and_its_category(tmp_path: Path) -> None:
    reading = coco(tmp_path, [{"id": 7, "image_id": 2, "category_id": 1, "bbox": [50, 60.5, 150, 140]}])
    assert list(reading) == [
        Annotation(
            reference="sub/image2.jpg",
            match="path",
            kind="box",
            text="cat",
            origin="annotations.json: annotation 7",
            places=("",),
            box=Box(50.0, 60.5, 150.0, 140.0, "cat"),
            image_width=800,
            image_height=600,
        )
    ]
    assert reading.problems == {}


@pytest.mark.parametrize("order", [("images", "categories", "annotations"), ("annotations", "categories", "images")])
def test_the_lists_come_in_any_order(tmp_path: Path, order: tuple[str, ...]) -> None:
    lists: dict[str, Any] = {
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]}],
        "images": IMAGES,
        "categories": CATEGORIES,
    }
    content = {"info": {"images": [1], "deep": {"er": {"id": 3}}}} | {name: lists[name] for name in order}
    assert boxes(raw(tmp_path, json.dumps(content).encode())) == [Box(1, 2, 3, 4, "dog")]


def test_without_a_box_the_category_is_a_label_of_the_image(tmp_path: Path) -> None:
    (annotation,) = coco(tmp_path, [{"image_id": 1, "category_id": 2}])
    assert (annotation.kind, annotation.text, annotation.box) == ("label", "dog", None)
    assert annotation.origin == "annotations.json: annotation number 1"


def test_a_caption_is_a_caption(tmp_path: Path) -> None:
    (annotation,) = coco(tmp_path, [{"id": 1, "image_id": 1, "caption": "Ein Hühnchen."}])
    assert (annotation.kind, annotation.text) == ("caption", "Ein Hühnchen.")


def test_a_polygon_without_bbox_gives_its_hull_and_bbox_counts_before_it(tmp_path: Path) -> None:
    polygons = [[10, 20, 30, 5, 20, 40], [50, 10, 60, 10, 55, 20]]
    reading = coco(
        tmp_path,
        [
            {"image_id": 1, "category_id": 1, "segmentation": polygons},
            {"image_id": 1, "category_id": 1, "segmentation": polygons, "bbox": [1, 2, 3, 4]},
            {"image_id": 1, "category_id": 1, "segmentation": [], "bbox": [1, 2, 3, 4]},
        ],
    )
    assert boxes(reading) == [Box(10, 5, 50, 35, "cat"), Box(1, 2, 3, 4, "cat"), Box(1, 2, 3, 4, "cat")]


# 2 pixels in column 1 from row 32 on, 4 from row 38 on: as pycocotools' `toBbox` has it.
RUNS = {"counts": [272, 2, 4, 4], "size": [240, 320]}


def test_a_mask_gives_its_box_where_there_is_no_bbox(tmp_path: Path) -> None:
    mask = RUNS
    reading = coco(
        tmp_path,
        [
            {"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": mask, "bbox": [1, 2, 3, 4]},
            {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1, "segmentation": mask},
        ],
    )
    assert boxes(reading) == [Box(1, 2, 3, 4, "cat"), Box(1, 32, 1, 10, "cat")]
    assert reading.problems == {}


@pytest.mark.parametrize(
    ("runs", "box"),
    [
        ([], (0, 0, 0, 0)),
        ([12], (0, 0, 0, 0)),
        ([0, 12], (0, 0, 4, 3)),
        ([4, 1], (1, 1, 1, 1)),
        ([2, 2, 8], (0, 0, 2, 3)),
        ([3, 3, 3, 3], (1, 0, 3, 3)),
        ([4, 0, 1, 1, 6], (1, 2, 1, 1)),
    ],
    ids=["nothing", "all off", "all on", "one pixel", "over a column's end", "whole columns", "an empty run"],
)
def test_runs_go_down_the_columns(runs: list[int], box: tuple[int, ...]) -> None:
    """Of a mask 3 high and 4 wide."""
    assert box_of(Mask([3.0, 4.0], [float(run) for run in runs])) == box


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [240, 320]} | {"counts": [240 * 320 + 1]},
        {"size": [240], "counts": [1, 2]},
        {"size": [240, 320], "counts": [1, -2]},
        {"size": [240, 320], "counts": [1, 2.5]},
        {"size": [240, 320], "counts": [1, "x"]},
        {"size": [240, 320], "counts": "o~\x7f"},
        {"size": [240, 320], "counts": "P"},
        {"counts": [1, 2]},
    ],
)
def test_a_mask_that_is_none_spoils_its_box_and_not_the_file(tmp_path: Path, mask: dict[str, Any]) -> None:
    good = {"image_id": 1, "category_id": 1, "segmentation": RUNS}
    bad, read = boxes(coco(tmp_path, [{"image_id": 1, "category_id": 1, "segmentation": mask}, good]))
    assert bad is not None
    assert math.isnan(bad.x)
    assert read == Box(1, 32, 1, 10, "cat")


def compressed(runs: list[int]) -> str:
    """As `rleToString` of pycocotools does it."""
    words = ""
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        more = True
        while more:
            bits = value & 0x1F
            value >>= 5
            more = value != (-1 if bits & 0x10 else 0)
            words += chr(48 + (bits | 0x20 if more else bits))
    return words


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_a_compressed_mask_says_the_same_as_its_runs(runs: list[int]) -> None:
    assert lengths(compressed(runs)) == runs


def test_a_compressed_mask_of_pycocotools_is_read(tmp_path: Path) -> None:
    """`mask.encode` of 20 x 30 pixels, of which rows 5 to 9 and columns 12 to 20 are on."""
    mask = {"size": [20, 30], "counts": "e75?000000000000000_5"}
    (box,) = boxes(coco(tmp_path, [{"image_id": 1, "category_id": 1, "segmentation": mask}]))
    assert box == Box(12, 5, 9, 5, "cat")


def test_keypoints_alone_are_left_out_and_counted(tmp_path: Path) -> None:
    points = {"image_id": 1, "category_id": 1, "keypoints": [10, 10, 2], "num_keypoints": 1}
    reading = coco(tmp_path, [{"id": 1, **points}, {"id": 2, **points}, {"id": 3, **points, "bbox": [1, 2, 3, 4]}])
    assert boxes(reading) == [Box(1, 2, 3, 4, "cat")]
    assert reading.warnings() == ["Keypoints without a box: left out (2 times, e.g. annotations.json: annotation 1)"]


def test_a_file_name_of_several_ids_is_told(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}, {"id": 3, "file_name": "b.jpg"}]
    annotations = [{"image_id": 1, "category_id": 1}, {"image_id": 2, "category_id": 2}]
    reading = coco(tmp_path, annotations, images=images)
    assert [(item.reference, item.text) for item in reading] == [("a.jpg", "cat"), ("a.jpg", "dog")]
    assert reading.warnings() == [
        "Several ids of images have one file_name: what is said of each is said of that picture "
        "(annotations.json: 2 ids of a.jpg)"
    ]


# Splits


@pytest.mark.parametrize(
    ("path", "folder", "source", "split", "places"),
    [
        (
            "annotations/instances_train2017.json",
            "annotations",
            "coco",
            "train",
            (
                "annotations",
                *("train2017", "images/train2017", "train2017/images"),
                *("train", "images/train", "train/images"),
                "images",
                "",
            ),
        ),
        ("train/_annotations.coco.json", "train", "set", "train", ("train", "")),
        ("instances_default.json", "", "set", "", ("", "default", "images/default", "default/images")),
        ("boxes.json", "", "train", "", ("",)),
        ("val.json", None, "images", "val", ("val", "images/val", "val/images", "")),
        ("val.json", None, "train2017", "val", ("val", "images/val", "val/images")),
    ],
)
def test_a_files_place_and_name_tell_its_split_and_where_its_pictures_lie(
    tmp_path: Path, path: str, folder: str | None, source: str, split: str, places: tuple[str, ...]
) -> None:
    content = {"images": IMAGES, "annotations": [{"image_id": 1, "caption": "x"}]}
    (tmp_path / "file.json").write_text(json.dumps(content))
    (reading,) = open_annotations(location(tmp_path / "file.json", tmp_path, folder, f"set/{path}", source))
    read = list(reading)
    assert {item.places for item in read} == {places}
    assert [(item.reference, item.text) for item in read if item.kind == "split"] == (
        [("image1.jpg", split), ("sub/image2.jpg", split)] if split else []
    )


@pytest.mark.parametrize(
    "bbox", [[], [1, 2, 3], [1, 2, 3, 4, 5], "1,2,3,4", {"x": 1}, [[1, 2], [3, 4]], [1, 2, 3, None], [1, 2, 3, True]]
)
def test_a_bbox_that_is_none_spoils_its_box_and_not_the_file(tmp_path: Path, bbox: object) -> None:
    annotations = [{"image_id": 1, "category_id": 1, "bbox": box} for box in (bbox, [1, 2, 3, 4])]
    bad, good = boxes(coco(tmp_path, annotations))
    assert bad is not None
    assert math.isnan(bad.height)
    assert good == Box(1, 2, 3, 4, "cat")


@pytest.mark.parametrize(
    "polygons",
    [[[1, 2, 3]], [[1, 2, 3], [4, 5, 6]], [[1, 2, "x", 4, 5, 6]], [[{"x": 1}, 2]], [{"x": 1, "y": 2}, [3, 4, 5, 6]]],
)
def test_a_polygon_that_is_none_spoils_its_box_too(tmp_path: Path, polygons: list[Any]) -> None:
    (box,) = boxes(coco(tmp_path, [{"image_id": 1, "segmentation": polygons}]))
    assert box is not None
    assert math.isnan(box.x)


@pytest.mark.parametrize(("image_id", "category_id"), [(1, 1), ("1", "1"), (1.0, 1.0)])
def test_ids_are_one_whether_whole_numbers_floats_or_words(
    tmp_path: Path, image_id: object, category_id: object
) -> None:
    (annotation,) = coco(tmp_path, [{"image_id": image_id, "category_id": category_id}])
    assert (annotation.reference, annotation.text) == ("image1.jpg", "cat")


def test_an_unknown_category_is_its_number_and_said(tmp_path: Path) -> None:
    reading = coco(tmp_path, [{"id": 5, "image_id": 1, "category_id": 99, "bbox": [1, 2, 3, 4]}])
    assert boxes(reading) == [Box(1, 2, 3, 4, "99")]
    assert reading.warnings() == [
        "A category_id that has no name, or two: the number is the label "
        "(annotations.json: annotation 5: category_id 99)"
    ]


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "An image_id that images does not have: left out"),
        ([{"id": 1}], "An image without file_name: left out"),
        (
            [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}],
            "An image_id that several images have: left out",
        ),
    ],
)
def test_an_annotation_whose_image_is_not_known_is_left_out_and_named(
    tmp_path: Path, images: list[dict[str, Any]], reason: str
) -> None:
    reading = coco(tmp_path, [{"id": 3, "image_id": 1, "category_id": 1}], images=images)
    assert list(reading) == []
    assert reading.problems[reason].examples == ["annotations.json: annotation 3: image_id 1"]


def test_the_same_image_listed_twice_is_one(tmp_path: Path) -> None:
    assert len(list(coco(tmp_path, [{"image_id": 1, "category_id": 1}], images=IMAGES + IMAGES))) == 1


def test_an_annotation_that_says_nothing_and_an_image_without_id_are_named(tmp_path: Path) -> None:
    reading = coco(tmp_path, [{"image_id": 1}], images=[*IMAGES, {"file_name": "c.jpg"}])
    assert list(reading) == []
    assert reading.warnings() == [
        "One of the images without an id: left out (annotations.json: c.jpg)",
        "An annotation without category_id, bbox and caption: left out (annotations.json: annotation number 1)",
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    content = json.dumps({"images": IMAGES, "annotations": [{"image_id": 1, "caption": "x"}]})
    assert len(list(raw(tmp_path, content.encode("utf-8-sig")))) == 1


GOOD = json.dumps({"images": IMAGES, "annotations": [{"image_id": 1, "category_id": 1}]}, indent=1)


NO_COCO: dict[str, tuple[str | bytes, str]] = {
    "two commas": (
        GOOD.replace('"id": 2,', '"id": 2,,'),
        r"annotations\.json, line 10 \(byte \d+\): not valid JSON \(.*at b',",
    ),
    "cut off": (GOOD[:100], r"line 9 \(byte 100\): the JSON ends too early: the file seems to be cut off\."),
    "far behind": (" " * 300_000 + GOOD[:-1] + "]", r"\(byte 300,\d+\): not valid JSON"),
    "empty": ("", r"annotations\.json: the file is empty\."),
    "HTML": ("<html>", r"line 1 \(byte 1\): not valid JSON"),
    "Latin-1": (b'{"images": "\xff"}', r"line 1 \(byte 13\): not valid JSON \(.*UTF8"),
    "half a character": (b'{"images": "\xed\xa0\x80"}', r"line 1 \(byte \d+\): not valid JSON \(.*can't decode"),
    "deep list": ("[" * 1_000_000, r"its top is no object\.\nA COCO file is one object with the lists images,"),
    "deep object": ('{"a":' * 1_000_000, r"nested more than 64 deep\."),
    "deep image": ('{"images": [' + '{"a": ' * 1_000_000, r"nested more than 64 deep\."),
    "a number": ("7", r"its top is no object"),
    "images as object": ('{"images": {}}', r"images is no list\."),
    "images as null": ('{"images": null}', r"images is no list\."),
    "images as names": ('{"images": ["a.jpg"]}', r"something in images is no object\."),
    "no annotations": ('{"images": []}', r"no annotations in it, but images\."),
    "another format": ('{"shapes": [], "version": "5"}', r"no annotations and no images in it, but shapes, version\."),
}


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_what_python_writes_for_no_number_costs_no_more_than_its_field(tmp_path: Path, word: str) -> None:
    content = json.dumps(
        {
            "images": [{"id": 1, "file_name": "NaN Infinity.jpg", "width": "?", "height": 480}],
            "annotations": [
                {"image_id": 1, "area": "?", "bbox": [1, 2, 3, 4]},
                {"image_id": 1, "bbox": [1, "?", 3, 4]},
            ],
        }
    ).replace('"?"', word)
    good, bad = raw(tmp_path, content.encode())
    assert (good.box, good.reference, good.image_width) == (Box(1, 2, 3, 4), "NaN Infinity.jpg", 0)
    assert bad.box is not None
    assert math.isnan(bad.box.y)


words = st.lists(st.sampled_from([*'"\\aN-I ', "NaN", "Infinity"]), max_size=6).map("".join)
json_values = st.lists(st.sampled_from([math.nan, math.inf, -math.inf, -1.5, None]) | words | st.just([math.nan]))


@given(json_values, st.integers(1, 20))
def test_no_text_is_changed_where_no_number_stands_beside_it(value: Any, size: int) -> None:
    def emptied(part: Any) -> Any:
        if isinstance(part, list):
            return [emptied(item) for item in part]
        if isinstance(part, dict):
            return {key: emptied(item) for key, item in part.items()}
        return "" if isinstance(part, float) and not math.isfinite(part) else part

    text = json.dumps(value).encode()
    file = CountedFile(io.BytesIO(text))
    read = b"".join(iter(lambda: file.read(size), b""))
    assert len(read) == len(text)
    assert json.loads(read) == emptied(value)


@pytest.mark.parametrize(("content", "message"), NO_COCO.values(), ids=NO_COCO.keys())
def test_what_is_no_coco_is_named_with_its_place(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        list(raw(tmp_path, content.encode() if isinstance(content, str) else content))


def test_the_scratch_folder_is_left_as_it_was(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (tmp_path / "a.json").write_text(GOOD)
    items = iter(read_annotations(tmp_path / "a.json", scratch))
    next(items)
    assert len(list(scratch.iterdir())) == 1
    del items
    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(GOOD)
    with pytest.raises(AnnotationError, match=r"cannot be read: No such file or directory: .*gone"):
        list(read_annotations(tmp_path / "a.json", tmp_path / "gone"))
