"""Columns of metadata: what type they have, what becomes of each value, what is said of those that disagree."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from imagehaul.metadata import ColumnType, MetadataColumn, MetadataReader, name_columns, typed_values


def read(*cells: Any, words: bool = False) -> tuple[ColumnType, list[Any], list[str]]:
    """The type that a column of these cells has, the values that come out, and what is said."""
    reader = MetadataReader("image")
    reader.add_columns(["x"])
    kept = [reader.read({"x": cell}, f"row {number}", words) for number, cell in enumerate(cells, 1)]
    (column,) = reader.columns()
    return column.type, [typed_values(text, {"x": column}).get("x") for text in kept], reader.warnings()


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("words", "kind", "values"),
    [
        (["a", " b ", ""], "text", ["a", " b ", None]),
        (["1", "-20", "+3", " 4 "], "integer", [1, -20, 3, 4]),
        (["1", "2.5", "1e3", ".5", "nan", "inf"], "number", [1.0, 2.5, 1000.0, 0.5, None, None]),
        (["true", "False"], "boolean", [True, False]),
        (["2024-05-01", "2024-05-01 12:30"], "time", [utc(2024, 5, 1), utc(2024, 5, 1, 12, 30)]),
        (["2024-05-01T12:00:00+02:00", "2024-05-01T12:00:00.5Z"], "time", None),
        (['["a", 7, null]', "['b']", "[]"], "texts", [["a", "7"], ["b"], []]),
        (["007", "0815"], "text", ["007", "0815"]),
        (["9223372036854775807"], "integer", [2**63 - 1]),
        (["9223372036854775808"], "text", ["9223372036854775808"]),
        (["2024-13-45"], "text", ["2024-13-45"]),
        (["[dog]"], "text", ["[dog]"]),
        (["yes", "no"], "text", ["yes", "no"]),
        (["1_000"], "text", ["1_000"]),
        (["", ""], "text", [None, None]),
    ],
)
def test_words_of_a_csv_are_judged_by_their_form(words: list[str], kind: ColumnType, values: list[Any] | None) -> None:
    found, typed, said = read(*words, words=True)
    assert (found, said) == (kind, [])
    if values is not None:
        assert typed == values
        assert [type(value) for value in typed] == [type(value) for value in values]


def test_a_time_with_an_offset_is_the_same_moment_in_utc() -> None:
    _, times, _ = read("2024-05-01T12:00:00+02:00", "2024-05-01T12:00:00.5Z", words=True)
    assert times == [utc(2024, 5, 1, 10), utc(2024, 5, 1, 12, 0, 0, 500_000)]


@pytest.mark.parametrize(
    ("cells", "kind", "values"),
    [
        (["3", "x"], "text", ["3", "x"]),
        ([3, 4.5, Decimal("0.25")], "number", [3.0, 4.5, 0.25]),
        ([3, 2**70], "text", ["3", str(2**70)]),
        ([True, None], "boolean", [True, None]),
        ([date(2024, 5, 1), datetime(2024, 5, 1, 12)], "time", [utc(2024, 5, 1), utc(2024, 5, 1, 12)]),
        ([["a", None, 7], []], "texts", [["a", "7"], []]),
        ([b"caf\xc3\xa9", float("nan")], "text", ["café", None]),
        (["\ud800"], "text", ["?"]),
    ],
)
def test_cells_that_have_a_type_keep_it(cells: list[Any], kind: ColumnType, values: list[Any]) -> None:
    found, typed, _ = read(*cells)
    assert (found, typed) == (kind, values)


def test_a_column_whose_values_disagree_is_text_as_it_stood_and_said() -> None:
    assert read("3.50", "fast", "true", words=True) == (
        "text",
        ["3.50", "fast", "true"],
        [
            "Column 'x' of the metadata holds numbers (3.50, row 1) and text (fast, row 2) and switches (true, row 3): "
            "all of it is text."
        ],
    )
    assert read(True, 5, ["a"], utc(2024, 5, 1))[1] == ["true", "5", '["a"]', "2024-05-01T00:00:00+00:00"]


def test_what_no_column_can_hold_is_left_out_and_named_with_its_type() -> None:
    kind, values, said = read({"bytes": b"", "path": "a"}, "fine", [["a"]], {"bytes": b"", "path": "b"}, b"\xff")
    assert (kind, values) == ("text", [None, "fine", None, None, None])
    left_out = "which no column of the index can hold: left out"
    assert said == [
        f"Column 'x' of the metadata holds a struct of bytes, path, {left_out} (2 times, e.g. row 1).",
        f"Column 'x' of the metadata holds a list with a list in it, {left_out} (1 times, e.g. row 3).",
        f"Column 'x' of the metadata holds bytes, {left_out} (1 times, e.g. row 5).",
    ]


def test_a_row_that_says_nothing_takes_no_room() -> None:
    assert MetadataReader("image").read({"x": "", "y": None, "z": float("nan")}, "row 1") == ""
    assert typed_values("", {}) == {}


def test_columns_of_one_name_get_a_suffix_and_are_said() -> None:
    columns, _, said = name_columns(
        [
            MetadataColumn("source", "camera", "text"),
            MetadataColumn("image", "Camera", "integer"),
            MetadataColumn("object", "camera", "number"),
            MetadataColumn("object", "camera_2", "text"),
            MetadataColumn("object", "score", "number"),
        ]
    )
    assert [column.exported for column in columns] == ["camera", "Camera_2", "camera_3", "camera_2_2", "score"]
    assert len(said) == 3
    assert said[0] == (
        "Two columns of metadata have one name: 'camera' of the list of sources keeps it, "
        "and 'Camera' of the images' annotations is 'meta_Camera_2'."
    )
    reader = MetadataReader("image")
    kept = reader.read({"Camera": 7}, "row 1")
    assert typed_values(kept, {column.name: column for column in columns if column.place == "image"}) == {"Camera_2": 7}


def test_columns_of_other_sources_keep_their_names_and_one_name_is_one_column() -> None:
    others = [
        MetadataColumn("image", "city", "text", "city"),
        MetadataColumn("object", "depth", "integer", "depth"),
        MetadataColumn("image", "seen", "time", "seen"),
    ]
    own = [
        MetadataColumn("source", "City", "integer"),
        MetadataColumn("object", "depth", "number"),
        MetadataColumn("object", "seen", "boolean"),
    ]
    named, kept, lines = name_columns(own, others)
    assert [(column.exported, column.type) for column in named] == [
        ("city", "text"),
        ("depth", "number"),
        ("seen_2", "boolean"),
    ]
    assert [(column.exported, column.type) for column in kept] == [
        ("city", "text"),
        ("depth", "number"),
        ("seen", "time"),
    ]
    assert len(lines) == 2
    assert "in the data set's other sources: all of it is text" in lines[0]
    assert "'meta_seen_2'" in lines[1]
