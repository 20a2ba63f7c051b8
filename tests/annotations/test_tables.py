"""Tables of boxes and of labels: CSV and Parquet say the same."""

import math
from csv import field_size_limit
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagehaul.annotations.reading import Reading
from imagehaul.annotations.registry import open_annotations
from imagehaul.errors import AnnotationError
from imagehaul.metadata import MetadataColumn
from imagehaul.records import Annotation, Box
from tests.support.annotating import location, read_annotations

HEADER = "filename,col_x,row_y,width,height,label\n"


def csv(tmp_path: Path, content: str | bytes, name: str = "object_annotations.csv") -> Reading:
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return read_annotations(tmp_path / name, tmp_path, folder="", shown=name)


def parquet(tmp_path: Path, columns: dict[str, Any], name: str = "object_annotations.parquet") -> Reading:
    pq.write_table(pa.table(columns), tmp_path / name)
    return read_annotations(tmp_path / name, tmp_path, folder="", shown=name)


def texts(reading: Reading) -> list[tuple[str, str]]:
    return [(annotation.kind, annotation.text) for annotation in reading]


# Boxes


def test_a_cell_may_be_long_whatever_the_process_read_before(tmp_path: Path) -> None:
    """Such as a polygon. The limit of Python's csv is the whole process's."""
    field_size_limit(2**17)
    reading = csv(tmp_path, f'{HEADER.strip()},polygon\na.png,1,1,2,2,cat,"{"1.5 2.5 " * 20_000}"\n')
    assert [annotation.reference for annotation in reading] == ["a.png"]


def test_a_row_is_a_box_in_pixels(tmp_path: Path) -> None:
    (annotation,) = csv(tmp_path, HEADER + "raw/006149.png,608,169.5,59,43,Car\n")
    assert annotation == Annotation(
        reference="raw/006149.png",
        match="path",
        kind="box",
        text="Car",
        origin="object_annotations.csv:2",
        places=("",),
        box=Box(608.0, 169.5, 59.0, 43.0, "Car"),
    )


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    columns = {
        "filename": pa.array(["a.jpg", "b.jpg"]).dictionary_encode(),
        "col_x": [1.5, 2.0],
        "row_y": pa.array([3, 4], pa.int32()),
        "width": pa.array([5, 6], pa.uint8()),
        "height": ["7", "8"],
        "label": ["cat", None],
    }
    as_parquet = list(parquet(tmp_path, columns))
    as_csv = list(csv(tmp_path, HEADER + "a.jpg,1.5,3,5,7,cat\nb.jpg,2,4,6,8,\n"))
    assert [item.box for item in as_parquet] == [item.box for item in as_csv]
    assert as_parquet[1].origin == "object_annotations.parquet: row 2"


def test_text_that_a_parquet_file_does_not_mark_as_text_is_read(tmp_path: Path) -> None:
    columns = {"filename": [b"caf\xc3\xa9.jpg"], "label": [b"cat"]}
    (annotation,) = parquet(tmp_path, columns, "image_annotations.parquet")
    assert (annotation.reference, annotation.text) == ("café.jpg", "cat")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_either_utf8_and_any_line_end_is_read(tmp_path: Path, encoding: str, end: str) -> None:
    content = (HEADER + 'é.jpg,1,2,3,4,"Wagen, grün"\n').replace("\n", end).encode(encoding)
    (annotation,) = csv(tmp_path, content)
    assert (annotation.reference, annotation.text) == ("é.jpg", "Wagen, grün")


def test_columns_come_in_any_order_and_a_split_is_one_of_them(tmp_path: Path) -> None:
    reading = csv(tmp_path, "label,height,split,width,row_y,col_x,filename\ncat,4,train,3,2,1,a.jpg\n")
    split, box = reading
    assert (split.kind, split.text, box.box) == ("split", "train", Box(1, 2, 3, 4, "cat"))
    assert reading.warnings() == []


def test_the_vendors_spelling_is_read_as_x_and_y_and_said(tmp_path: Path) -> None:
    reading = csv(tmp_path, "filename,row_x,col_y,width,height,label\na.jpg,1,2,3,4,cat\n", "boxes.csv")
    assert [annotation.box for annotation in reading] == [Box(1, 2, 3, 4, "cat")]
    assert "row_x is read as x, col_y as y" in reading.warnings()[0]


def test_the_vendors_row_without_coordinates_is_a_label_of_the_image(tmp_path: Path) -> None:
    reading = csv(tmp_path, "filename,row_x,col_y,width,height,label\na.jpg,,,,,t-rex\n")
    assert texts(reading) == [("label", "t-rex")]
    columns: dict[str, Any] = {name: [math.nan] for name in ("col_x", "row_y", "width", "height")}
    reading = parquet(tmp_path, {"filename": ["a.jpg"], **columns, "label": ["t-rex"]})
    assert texts(reading) == [("label", "t-rex")]


@pytest.mark.parametrize("word", ["abc", "", "nan", "1_0"])
def test_a_bad_coordinate_spoils_its_box_and_not_the_file(tmp_path: Path, word: str) -> None:
    first, second = csv(tmp_path, HEADER + f"a.jpg,{word},2,3,4,cat\nb.jpg,1,2,0,-4,dog\n")
    assert first.box is not None
    assert math.isnan(first.box.x)
    assert (first.box.y, first.text) == (2.0, "cat")
    assert second.box == Box(1, 2, 0, -4, "dog")


def test_nought_is_a_coordinate(tmp_path: Path) -> None:
    assert texts(csv(tmp_path, HEADER + "a.jpg,0,0,0,0,cat\n")) == [("box", "cat")]


def test_a_row_that_is_cut_off_or_names_nothing_is_left_out_and_named(tmp_path: Path) -> None:
    reading = csv(
        tmp_path, HEADER + "\n,,,,,\na.jpg,1,2\n,1,2,3,4,cat\nb.jpg,,,,,\nc.jpg,1,2,3,4,cat,,\nd.jpg,1,2,3,4,a,b\n"
    )
    assert [annotation.reference for annotation in reading] == ["c.jpg"]
    assert {reason: problem.examples for reason, problem in reading.problems.items()} == {
        "A row with more or fewer cells than the header: left out": [
            "object_annotations.csv:4: 3 cells, not 6",
            "object_annotations.csv:8: 7 cells, not 6",
        ],
        "A row without a filename: left out": ["object_annotations.csv:5"],
        "A row with neither box nor label: left out": ["object_annotations.csv:6"],
    }


def test_a_row_is_placed_by_the_line_that_it_begins_in(tmp_path: Path) -> None:
    reading = csv(tmp_path, HEADER + 'a.jpg,1,2,3,4,"two\nlines"\nb.jpg,1,2,3,4,cat\n')
    assert [annotation.origin for annotation in reading] == [
        "object_annotations.csv:2",
        "object_annotations.csv:4",
    ]


def test_a_reference_loses_its_detours(tmp_path: Path) -> None:
    (annotation,) = csv(tmp_path, HEADER + "./a//b/../c.jpg,1,2,3,4,\n")
    assert annotation.reference == "a/c.jpg"


@pytest.mark.parametrize(
    ("header", "size"),
    [
        ("filename,width,height,class,xmin,ymin,xmax,ymax", (640, 480)),
        ("filename,class,x1,y1,x2,y2", (0, 0)),
        ("filename,label,x_min,y_min,x_max,y_max", (0, 0)),
    ],
)
def test_two_corners_are_a_box_and_width_and_height_are_the_pictures(
    tmp_path: Path, header: str, size: tuple[int, int]
) -> None:
    cells = dict(filename="a.jpg", width=640, height=480, **{"class": "cat", "label": "cat"})
    corners = iter((1, 2, 4, 6.5))
    row = ",".join(str(cells[name]) if name in cells else str(next(corners)) for name in header.split(","))
    (annotation,) = csv(tmp_path, f"{header}\n{row}\n", "_annotations.csv")
    assert annotation.box == Box(1, 2, 3, 4.5, "cat")
    assert (annotation.image_width, annotation.image_height) == size


def test_a_box_with_a_list_of_labels_counts_once_for_each(tmp_path: Path) -> None:
    columns: dict[str, Any] = {name: [1.0, 2.0] for name in ("col_x", "row_y", "width", "height")}
    reading = parquet(tmp_path, {"filename": ["a.jpg", "b.jpg"], **columns, "label": [["cat", "dog"], ["cat"]]})
    assert texts(reading) == [("box", "cat"), ("box", "dog"), ("box", "cat")]
    assert reading.warnings() == [
        "A box with several labels: it counts once for each (object_annotations.parquet: row 1)"
    ]


# Labels


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("cat", ["cat"]),
        ('"[""t-shirt"", ""SKU12345""]"', ["t-shirt", "SKU12345"]),
        ("\"['t-shirt', 'it\\'s']\"", ["t-shirt", "it's"]),
        ('"[""a"", null, """", 7]"', ["a", "7"]),
        ("[]", []),
        ("", []),
    ],
)
def test_a_label_or_each_of_a_list_is_an_annotation(tmp_path: Path, cell: str, labels: list[str]) -> None:
    reading = csv(tmp_path, f"filename,label\na.jpg,{cell}\n", "image_annotations.csv")
    assert texts(reading) == [("label", label) for label in labels]
    assert reading.problems == {}


@pytest.mark.parametrize("cell", ["['a' 'b']", "[dog]", "[[1]]"])
def test_brackets_without_a_list_are_one_label_and_said(tmp_path: Path, cell: str) -> None:
    reading = csv(tmp_path, f"filename,label\na.jpg,{cell}\n", "image_annotations.csv")
    assert texts(reading) == [("label", cell)]
    assert reading.warnings() == [
        f"A label in brackets that is no list: it is one label as it stands (image_annotations.csv:2: {cell!r})"
    ]


def test_a_caption_stands_beside_the_labels_or_alone(tmp_path: Path) -> None:
    reading = csv(tmp_path, "filename,label,caption\na.jpg,cat,a cat\nb.jpg,,nobody\n", "image_annotations.csv")
    assert texts(reading) == [("label", "cat"), ("caption", "a cat"), ("caption", "nobody")]
    assert texts(csv(tmp_path, "filename,caption\na.jpg,a cat\n", "words.csv")) == [("caption", "a cat")]


def test_a_documented_name_says_what_the_table_is_whatever_else_it_holds(tmp_path: Path) -> None:
    reading = csv(tmp_path, "filename,width,height,label\na.jpg,640,480,cat\n", "image_annotations.csv")
    assert [(item.kind, item.text, item.metadata) for item in reading] == [
        ("label", "cat", ""),
        ("metadata", "", '{"width": "640", "height": "480"}'),
    ]


def test_a_parquet_list_is_a_list_of_labels(tmp_path: Path) -> None:
    columns = {"filename": ["a.jpg", "b.jpg", "c.jpg"], "label": [["x", "y"], [], None]}
    assert texts(parquet(tmp_path, columns, "labels.parquet")) == [("label", "x"), ("label", "y")]


def test_a_list_of_captions_is_several_and_an_empty_one_none(tmp_path: Path) -> None:
    captions = [["one", "two"], [], None, ["", "  three "]]
    reading = parquet(tmp_path, {"filename": ["a", "b", "c", "d"], "caption": captions}, "image_annotations.parquet")
    assert texts(reading) == [("caption", "one"), ("caption", "two"), ("caption", "three")]
    reading = csv(tmp_path, 'filename,caption\na,"[""x"", ""y""]"\nb,[laughs] a man\nc,[music]\n', "words.csv")
    assert texts(reading) == [("caption", word) for word in ("x", "y", "[laughs] a man", "[music]")]
    assert reading.problems == {}


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("label", {"name": "cat"}, "A label that is a struct of name, and no text: left out"),
        ("caption", [["a"]], "A caption that is a list with a list in it, and no text: left out"),
        (
            "filename",
            {"bytes": b"", "path": "a.jpg"},
            "A filename that is a struct of bytes, path, and no text: left out",
        ),
        ("filename", ["a.jpg"], "A filename that is a list, and no text: left out"),
    ],
)
def test_what_is_no_text_is_left_out_and_named_with_its_type(
    tmp_path: Path, column: str, cell: object, reason: str
) -> None:
    columns = {"filename": ["a.jpg"], "label": ["cat"], "caption": ["x"]} | {column: [cell]}
    reading = parquet(tmp_path, columns, "image_annotations.parquet")
    assert len(list(reading)) == (0 if column == "filename" else 1)
    assert reading.warnings() == [f"{reason} (image_annotations.parquet: row 1)"]


# Metadata


def test_columns_that_mean_nothing_here_are_metadata_of_the_image_or_of_the_box(tmp_path: Path) -> None:
    at = location(tmp_path, tmp_path)
    (tmp_path / "image_annotations.csv").write_text("filename,label,camera,split,\na.jpg,cat,7,train,x\nb.jpg,,,,\n")
    (tmp_path / "object_annotations.csv").write_text("score," + HEADER + "0.5,a.jpg,1,2,3,4,cat\n")
    of_box, split, label, of_image = (item for reading in open_annotations(at) for item in reading)
    assert (split.kind, split.text, label.kind) == ("split", "train", "label")
    assert (of_box.kind, of_box.metadata) == ("box", '{"score": "0.5"}')
    assert (of_image.kind, of_image.metadata) == ("metadata", '{"camera": "7"}')
    assert at.metadata.images.columns() == [MetadataColumn("image", "camera", "integer")]
    assert at.metadata.objects.columns() == [MetadataColumn("object", "score", "number")]


def test_a_column_of_parquet_that_holds_pictures_is_not_read_and_named(tmp_path: Path) -> None:
    columns = {
        "filename": ["a.jpg"],
        "label": ["cat"],
        "image": [{"bytes": b"\x00", "path": "a"}],
        "thumbnail": [b"\x00"],
        "tags": [["x"]],
    }
    *_, metadata = reading = list(parquet(tmp_path, columns, "image_annotations.parquet"))
    assert metadata.metadata == '{"tags": ["x"]}'
    assert len(reading) == 2
    again = parquet(tmp_path, columns, "image_annotations.parquet")
    list(again)
    problem = again.problems["A column of a type that no column of the index can have: not read"]
    assert problem.examples == [
        "image_annotations.parquet: image: struct<bytes: binary, path: string>",
        "image_annotations.parquet: thumbnail: binary",
    ]


def test_two_columns_of_metadata_with_one_name_get_a_suffix_and_are_said(tmp_path: Path) -> None:
    reading = csv(tmp_path, "filename,label,a,a,a_2\na.jpg,,1,2,3\n", "image_annotations.csv")
    (item,) = reading
    assert item.metadata == '{"a": "1", "a_2": "2", "a_2_2": "3"}'
    assert reading.warnings() == [
        "Two columns of one name: the second is a_2 (image_annotations.csv)",
        "Two columns of one name: the second is a_2_2 (image_annotations.csv)",
    ]


def test_half_a_character_does_not_travel_on(tmp_path: Path) -> None:
    reading = csv(tmp_path, 'filename,label\na.jpg,"[""\\ud800""]"\n', "image_annotations.csv")
    assert texts(reading) == [("label", "?")]


# What is no such table


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "object_annotations.csv",
            "filename,x,row_y,width,height,lable\n",
            r"object_annotations\.csv: missing columns col_x, label; found 'filename', 'x', 'row_y', 'width', "
            r"'height', 'lable'\.\nThe header must be filename,col_x,row_y,width,height,label\.",
        ),
        (
            "object_annotations.csv",
            "filename,col_x,col_y,width,height,label\n",
            r"missing column row_y;",
        ),
        (
            "image_annotations.csv",
            "file,label\n",
            r"missing column filename; .*\nThe header must be filename,label\[,caption\]\.",
        ),
        (
            "any.csv",
            "a.jpg,cat\n",
            r"missing columns filename, label; found 'a\.jpg', 'cat'\.\n"
            r"The header must be filename,label\[,caption\] for labels, filename,col_x,.* for boxes\.",
        ),
        ("any.csv", "filename,width,height,xmin\n", r"missing columns col_x, row_y, label;"),
        ("any.csv", "filename,label,label\n", r"two columns are called label\.\nLeave one of them out\."),
        (
            "any.csv",
            "filename;label\na.jpg;cat\n",
            r"any\.csv, line 1: the columns are separated by semicolons, not commas: 'filename;label'\.\nSave it",
        ),
        ("any.csv", "filename\tlabel\n", r"separated by tabs"),
        ("any.csv", "", r"any\.csv: line 1 is empty, and should name the columns\."),
    ],
)
def test_wrong_columns_are_named_with_the_expected_ones(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        csv(tmp_path, content, name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ((HEADER + "a.jpg,1,2,3,4,cat\n").encode("utf-16"), r"line 1: the text is UTF-16\.\nSave it as UTF-8\."),
        ((HEADER + "a.jpg,1,2,3,4,gr\xfcn\n").encode("latin-1"), r"line 2: the text is not UTF-8\."),
        (HEADER + 'a.jpg,1,2,3,4,cat\nb.jpg,1,2,3,4,"cat\nc.jpg\n', r"line 3: not valid CSV: .*quotation mark"),
        (HEADER + "x" * 2**20 + "\n", r"line 2: longer than 1 MiB, which is no row of a table\."),
    ],
    ids=["UTF-16", "Latin-1", "quotation mark", "endless line"],
)
def test_what_is_no_csv_is_named_with_its_line(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        list(csv(tmp_path, content))


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    good = tmp_path / "object_annotations.parquet"
    parquet(tmp_path, {"filename": ["a"] * 100, "label": ["b"] * 100}, "image_annotations.parquet")
    good.write_bytes((tmp_path / "image_annotations.parquet").read_bytes()[:-20])
    with pytest.raises(AnnotationError, match=r"object_annotations\.parquet: cannot be read as Parquet: "):
        read_annotations(good, tmp_path, shown=good.name)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (pa.array([b"Stra\xdfe"]).view(pa.string()), "utf-8"),
        (pa.array([1], pa.timestamp("ns")), "nanosecond"),
        (pa.array([400_000 * 366 * 86_400], pa.timestamp("s")), ""),
    ],
    ids=["not UTF-8", "nanoseconds", "a far year"],
)
def test_a_value_that_cannot_be_read_is_told_with_its_file(column: pa.Array, why: str, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"image_annotations\.parquet: cannot be read as Parquet: ") as told:
        list(parquet(tmp_path, {"filename": ["a.jpg"], "label": ["x"], "more": column}, "image_annotations.parquet"))
    assert why in str(told.value)


def test_two_parquet_columns_of_one_name_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "image_annotations.parquet"
    table = pa.table([pa.array([text]) for text in ("a.jpg", "x", "one", "two")], ["filename", "label", "more", "more"])
    pq.write_table(table, file)
    said = read_annotations(file, tmp_path, folder="", shown=file.name)
    (about,) = [item.metadata for item in said if item.metadata]
    assert ("one" in about, "two" in about) == (True, True)
