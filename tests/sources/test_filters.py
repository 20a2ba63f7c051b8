"""INCLUDE and EXCLUDE."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.sources.filters import Selection


class TestGlobs:
    @pytest.mark.parametrize(
        ("glob", "matches", "others"),
        [
            ("*.jpg", ["a.jpg", "x/y/a.jpg", ".jpg"], ["a.JPG", "a.jpg/b.png"]),
            ("a?.jpg", ["ab.jpg", "x/aü.jpg"], ["a.jpg", "abc.jpg"]),
            ("x/*.jpg", ["x/a.jpg"], ["x/y/a.jpg", "w/x/a.jpg", "a.jpg"]),
            ("/a.jpg", ["a.jpg"], ["x/a.jpg"]),
            ("x/**", ["x/a.jpg", "x/y/a.jpg"], ["a.jpg", "w/x/a.jpg", "xa/b.jpg"]),
            ("x/**/a.jpg", ["x/a.jpg", "x/y/z/a.jpg"], ["a.jpg", "x/ba.jpg"]),
            ("**/a.jpg", ["a.jpg", "x/y/a.jpg"], ["ba.jpg", "x/ba.jpg"]),
            ("old/", ["old/a.jpg", "x/old/y/a.jpg"], ["old.jpg", "bold/a.jpg", "older/a.jpg"]),
            ("x/old/", ["x/old/a.jpg", "x/old/y/a.jpg"], ["old/a.jpg", "w/x/old/a.jpg"]),
            ("[ab]*.jpg", ["a.jpg", "b1.jpg"], ["c.jpg"]),
            ("[!ab].jpg", ["c.jpg"], ["a.jpg", "x/a.jpg"]),
            ("x[!a]y.jpg", ["xby.jpg"], ["x/y.jpg"]),
            ("[a-c]/*", ["b/x.jpg"], ["d/x.jpg"]),
            ("[]].jpg", ["].jpg"], ["a.jpg"]),
            ("[!]].jpg", ["a.jpg"], ["].jpg"]),
            ("[c-a].jpg", ["[c-a].jpg"], ["b.jpg"]),
            ("a[b.jpg", ["a[b.jpg"], ["ab.jpg"]),
            ("[[:x]\\&&.jpg", ["x\\&&.jpg", "[\\&&.jpg"], ["&.jpg"]),
            ("a.(b)+.jpg", ["a.(b)+.jpg"], ["a.bb.jpg"]),
            ("a\nb*", ["a\nb.jpg"], ["ab.jpg"]),
        ],
    )
    def test_match_as_their_manual_says(self, glob: str, matches: list[str], others: list[str]) -> None:
        assert [path for path in matches + others if Selection(include=(glob,)).takes(path)] == matches
        assert [path for path in matches + others if Selection(exclude=(glob,)).takes(path)] == others

    @given(st.text(alphabet="ab*?[]!^-/\\.&~|()+{}$\n", max_size=12), st.text(alphabet="ab/.]", max_size=8))
    def test_any_text_is_a_glob(self, glob: str, path: str) -> None:
        assert Selection(include=(glob,)).takes(path) != Selection(exclude=(glob,)).takes(path)

    @given(st.lists(st.text(alphabet="ab *", min_size=1, max_size=3), min_size=1, max_size=4))
    def test_a_name_without_special_characters_matches_itself(self, parts: list[str]) -> None:
        path = "/".join(parts).replace("*", "c")
        assert Selection(include=(path,)).takes(path)

    def test_what_is_excluded_wins_over_what_is_included(self) -> None:
        chosen = Selection(include=("*.jpg", "x/"), exclude=("*_mask.jpg",))
        assert [p for p in ("a.jpg", "a_mask.jpg", "x/b.png", "b.png") if chosen.takes(p)] == ["a.jpg", "x/b.png"]
