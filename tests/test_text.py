"""Names of others cannot do harm where they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.text import LONGEST, counted, printable


@pytest.mark.parametrize("text", ["plain.jpg", "日本 é.jpg", "a b\\c'\"", "😀", "100 %"])
def test_text_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
        ("\ud800", "\\ud800"),
        ("\0", "\\x00"),
    ],
)
def test_what_moves_the_cursor_or_turns_the_writing_is_spelt_out(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_long_text_is_cut_and_says_so() -> None:
    assert printable("x" * LONGEST) == "x" * LONGEST
    assert printable("x" * 10**6) == "x" * (LONGEST - 1) + "…"
    assert printable("\n" * LONGEST) == ("\\n" * LONGEST)[: LONGEST - 1] + "…"


@given(st.text(st.characters(categories=None), max_size=LONGEST * 2))  # type: ignore[arg-type]
def test_whatever_comes_is_one_printable_line(text: str) -> None:
    shown = printable(text)
    assert shown.splitlines() in ([], [shown])
    assert all(character.isprintable() or character.isspace() for character in shown)
    shown.encode()


def test_one_of_a_thing_is_not_several() -> None:
    assert [counted(number, "run") for number in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
    assert [counted(number, "box", "boxes") for number in (1, 2)] == ["1 box", "2 boxes"]
