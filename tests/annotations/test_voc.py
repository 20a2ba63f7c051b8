"""Pascal VOC: an XML file for each image."""

import math
from pathlib import Path

import pytest

from imagehaul.annotations.reading import Reading
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, Box
from tests.support.annotating import read_annotations

OBJECT = """
  <object>
    <name>{label}</name><difficult>0</difficult>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>0</xmin><ymin>0</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></part>
  </object>"""


def xml(*objects: str, size: str = "<size><width>650</width><height>417</height><depth>3</depth></size>") -> str:
    return f"<annotation>{size}{''.join(objects)}\n</annotation>\n"


def cat(*corners: object) -> str:
    return OBJECT.format(*corners, label="cat")


def voc(tmp_path: Path, folder: str | None = None, **files: str | bytes) -> Reading:
    for name, content in files.items():
        file = tmp_path / "given" / f"{name}.xml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotations(tmp_path / "given", tmp_path, folder, shown="given")


def test_corners_become_a_box_of_the_image_that_has_the_files_own_stem(tmp_path: Path) -> None:
    reading = voc(tmp_path, **{"deep/raccoon-1.b": xml(cat(81, 88, 522, 408.5))})
    assert list(reading) == [
        Annotation(
            reference="deep/raccoon-1.b",
            match="stem",
            kind="box",
            text="cat",
            origin="given/deep/raccoon-1.b.xml: object 1",
            places=("",),
            box=Box(81.0, 88.0, 441.0, 320.5, "cat"),
            image_width=650,
            image_height=417,
            apart=("deep",),
        )
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [("a.b.jpg", False), ("a.b", False), ("folder/a.b.png", False), ("C:\\\\set\\\\a.b.png", False), ("b.jpg", True)],
)
def test_a_filename_that_is_another_picture_is_told(tmp_path: Path, name: str, told: bool) -> None:
    content = xml(cat(1, 2, 3, 4)).replace("<annotation>", f"<annotation><filename>{name}</filename>")
    reading = voc(tmp_path, **{"a.b": content})
    assert [item.reference for item in reading] == ["a.b"]
    assert reading.warnings() == (
        ["A file whose <filename> is another picture's: its own name tells the picture (given/a.b.xml: b.jpg)"]
        if told
        else []
    )


def test_folders_with_a_splits_name_tell_the_split(tmp_path: Path) -> None:
    reading = voc(tmp_path, folder="", **{"train/a": xml(cat(1, 2, 3, 4)), "valid/b": xml(), "other/c": xml()})
    splits = [(item.match, item.reference, item.text) for item in reading if item.kind == "split"]
    assert splits == [("folder", "train", "train"), ("folder", "valid", "valid")]


def test_each_object_is_a_box_and_a_part_of_one_is_not(tmp_path: Path) -> None:
    reading = voc(tmp_path, a=xml(cat(0, 0, 2, 2), OBJECT.format(5, 5, 9, 9, label=" dog ")), b=xml())
    assert [annotation.box for annotation in reading] == [Box(0, 0, 2, 2, "cat"), Box(5, 5, 4, 4, "dog")]
    assert reading.summary() == "given (Pascal VOC): 2 boxes"


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>"])
def test_a_size_that_is_not_there_is_nought(tmp_path: Path, size: str) -> None:
    (annotation,) = voc(tmp_path, a=xml(cat(1, 2, 3, 4), size=size))
    assert (annotation.image_width, annotation.image_height) == (0, 0)


def test_a_box_without_area_or_with_corners_the_wrong_way_round_is_passed_on(tmp_path: Path) -> None:
    reading = voc(tmp_path, a=xml(cat(5, 5, 5, 9), cat(9, 9, 5, 5)))
    assert [annotation.box for annotation in reading] == [Box(5, 5, 0, 4, "cat"), Box(9, 9, -4, -4, "cat")]


@pytest.mark.parametrize(
    "broken",
    [
        cat("abc", 2, 3, 4),
        cat("", 2, 3, 4),
        "<object><name>cat</name></object>",
        cat(1, 2, 3, 4).replace("bndbox", "other", 2),
        "<object><name>cat</name><bndbox><ymin>1</ymin><xmax>1</xmax><ymax>1</ymax></bndbox></object>",
    ],
)
def test_a_bad_or_missing_coordinate_spoils_its_box_and_not_the_file(tmp_path: Path, broken: str) -> None:
    bad, good = voc(tmp_path, a=xml(broken, cat(1, 2, 3, 4)))
    assert bad.box is not None
    assert math.isnan(bad.box.x)
    assert (bad.text, good.box) == ("cat", Box(1, 2, 2, 2, "cat"))


def test_a_converters_class_is_a_name(tmp_path: Path) -> None:
    (annotation,) = voc(tmp_path, a=xml(cat(1, 2, 3, 4).replace("<name>cat</name>", "<class>cat</class>")))
    assert annotation.text == "cat"


def test_the_layout_of_the_voc_kit_is_known(tmp_path: Path) -> None:
    reading = voc(tmp_path, folder="VOC2012", **{"Annotations/a": xml(cat(1, 2, 3, 4))})
    assert [(item.reference, item.places) for item in reading] == [("VOC2012/JPEGImages/a", ("",))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
def test_an_encoding_that_is_said_is_read(tmp_path: Path, encoding: str) -> None:
    said = "utf-8" if encoding == "utf-8-sig" else encoding
    content = f'<?xml version="1.0" encoding="{said}"?>' + xml(OBJECT.format(1, 2, 3, 4, label="Wölfe"))
    (annotation,) = voc(tmp_path, a=content.encode(encoding))
    assert annotation.text == "Wölfe"


BROKEN = [
    ("<annotation><object>", r"a\.xml: not valid XML: no element found: line 1"),
    ("", r"not valid XML: no element found"),
    ("<annotations/>", r"begins with <annotations>, and Pascal VOC with <annotation>\."),
    ('<?xml version="1.0" encoding="gbk"?><annotation/>', r"not valid XML: multi-byte encodings"),
    ('<?xml version="1.0" encoding="x-none"?><annotation/>', r"not valid XML: unknown encoding"),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', r"declares entities, which no annotation"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_a_single_file_that_is_no_voc_is_an_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.xml").write_text(content)
    with pytest.raises(AnnotationError, match=message):
        list(read_annotations(tmp_path / "a.xml", tmp_path))


def test_a_broken_file_among_many_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    reading = voc(tmp_path, a=xml(cat(1, 2, 3, 4)), b="<annotation>", c=xml(cat(5, 6, 7, 8)))
    assert sorted(annotation.reference for annotation in reading) == ["a", "c"]
    (problem,) = reading.problems.values()
    assert problem.examples == ["given/b.xml: not valid XML: no element found: line 1, column 12."]


def test_a_file_that_is_too_large_for_one_image_is_named(tmp_path: Path) -> None:
    reading = voc(tmp_path, a=xml(cat(1, 2, 3, 4)))
    with (tmp_path / "given" / "b.xml").open("wb") as file:
        file.truncate(2**26 + 1)
    assert len(list(reading)) == 1
    assert "larger than 64 MiB" in reading.warnings()[0]


def test_deep_nesting_is_survived(tmp_path: Path) -> None:
    (annotation,) = voc(tmp_path, a=xml("<a>" * 100_000 + "</a>" * 100_000 + cat(1, 2, 3, 4)))
    assert annotation.text == "cat"
