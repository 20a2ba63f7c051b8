"""The names of a table's columns."""

from __future__ import annotations

import pytest

from imagehaul.cells import distinct_names


@pytest.mark.parametrize(
    ("header", "names"),
    [
        (["a", "b"], ["a", "b"]),
        (["a", "a", "a"], ["a", "a_2", "a_3"]),
        (["a", "a_2", "a"], ["a", "a_2", "a_3"]),
        (["a", "a", "a_2"], ["a", "a_2", "a_2_2"]),
        (["", "a", ""], ["", "a", ""]),
        ([], []),
    ],
)
def test_columns_of_one_name_are_told_apart(header: list[str], names: list[str]) -> None:
    assert distinct_names(header) == names
