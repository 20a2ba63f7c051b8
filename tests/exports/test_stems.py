"""Stems: whether an earlier name had the same. Of sorted names little is remembered, of others all."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from imagehaul.exports.stems import Stems


def names_by_chance(sets: int) -> Iterator[list[str]]:
    """Sorted, of few letters, so that they begin with one another."""
    chance = random.Random(1)
    for _ in range(sets):
        names = {"".join(chance.choices("ab./- \u00e9", k=chance.randint(1, 7))) for _ in range(12)}
        yield sorted(name for name in names if "" not in name.split("/"))


@pytest.mark.parametrize("ordered", [True, False])
def test_names_that_differ_in_their_suffix_alone_share_a_stem(ordered: bool) -> None:
    names = sorted(["a-b.jpg", "a.JPG", "a.b.jpg", "a.b.png", "a.jpg", "a/a.jpg", "a0.jpg", "b.jpg"])
    stems = Stems(ordered)
    assert [name for name in names if stems.stem_of(name) is None] == ["a.b.png", "a.jpg"]


@pytest.mark.parametrize(
    "names",
    [["photo", "photo-1", "photo.jpg"], ["x/photo", "x/photo 2.jpg", "x/photo.jpg"], [".a", ".a-1.png", ".a.png"]],
)
def test_a_name_without_a_suffix_is_remembered_past_names_between_it_and_the_dot(names: list[str]) -> None:
    for ordered in (True, False):
        stems = Stems(ordered)
        assert [name for name in names if stems.stem_of(name) is None] == names[-1:]


def test_sorted_names_have_the_stems_that_they_have_in_any_order() -> None:
    for names in names_by_chance(3_000):
        in_order, whatever = Stems(True), Stems(False)
        assert list(map(in_order.stem_of, names)) == list(map(whatever.stem_of, names)), names


def test_own_names_are_nobody_else_s_in_any_order() -> None:
    for names in names_by_chance(3_000):
        in_order, whatever, shuffled = Stems(True), Stems(False), Stems(False)
        own = list(map(in_order.own_name, names))
        assert own == list(map(whatever.own_name, names)), names
        assert len(set(own)) == len(names), names
        random.Random(2).shuffle(names)
        assert len(set(map(shuffled.own_name, names))) == len(names), names


def test_what_is_remembered_of_sorted_names_stays_small() -> None:
    stems = Stems(True)
    for number in range(10_000):
        for suffix in ("", ".jpg", ".jpg.png"):
            stems.own_name(f"folder/{number:05}{suffix}")
    assert len(stems._seen) < 10
