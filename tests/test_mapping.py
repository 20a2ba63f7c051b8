"""From a source path to key, media id and URL."""

from __future__ import annotations

import itertools
import uuid
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagehaul.layout import Layout
from imagehaul.mapping import MAX_KEY_BYTES, Mapping, problem_of, url_of
from imagehaul.records import Box
from imagehaul.sources.scan_report import IMAGE_SUFFIXES

LAYOUT = Layout("mybucket", "sets/", "birds")
KEEP = Mapping(LAYOUT)

ODD_NAMES = [
    "a b.jpg", " a.jpg", "a .jpg", "#1.jpg", "50%.jpg", "%41.jpg", "a+b.jpg", "a?b.jpg", "a&b=c;d.jpg", "-r.jpg",
    "ü.jpg", "u\u0308.jpg", "日本/写真.JPG", "🐦.png", "\u202efig.jpg", "'\"`$(x).jpg", "a\\b.jpg", "a\nb.jpg",
    "a\tb.jpg", "[a]*.jpg", "a:b.jpg", "~/a.jpg", ".jpg", "..jpg", "a.jpg/b.jpg", "a..b/c.jpeg", "A.JPG",
]  # fmt: skip


def names() -> st.SearchStrategy[str]:
    """What a file can be called: any Unicode but `/` and NUL, and neither `.` nor `..`."""
    characters = st.characters(exclude_characters="/\0", codec="utf-8")
    return st.text(characters, min_size=1, max_size=20).filter(lambda name: name not in (".", ".."))


def source_paths() -> st.SearchStrategy[str]:
    image = st.builds(lambda stem, suffix: f"{stem}.{suffix}", names(), st.sampled_from(IMAGE_SUFFIXES))
    return st.builds(lambda folders, name: "/".join([*folders, name]), st.lists(names(), max_size=3), image)


class TestKeptNames:
    @given(source_paths())
    def test_the_key_ends_in_the_source_path_byte_for_byte(self, path: str) -> None:
        key = KEEP.image_key(KEEP.path(path))
        assert key.encode() == b"sets/birds/images/" + path.encode()
        assert problem_of(key) == ""

    @pytest.mark.parametrize("path", ODD_NAMES)
    def test_odd_names_too(self, path: str) -> None:
        assert KEEP.image_key(KEEP.path(path)) == f"sets/birds/images/{path}"

    @given(st.sets(source_paths(), max_size=20))
    def test_different_paths_never_meet(self, paths: set[str]) -> None:
        assert len({KEEP.path(path) for path in paths}) == len(paths)


class TestFlatNames:
    FLAT = Mapping(LAYOUT, full_path=False)

    def test_folders_are_left_out(self) -> None:
        assert self.FLAT.path("a/b/c.jpg") == "c.jpg"
        assert self.FLAT.path("c.jpg") == "c.jpg"

    def test_two_files_of_one_name_meet_so_that_the_collision_can_be_refused(self) -> None:
        assert self.FLAT.path("a/c.jpg") == self.FLAT.path("b/c.jpg")

    @given(source_paths())
    def test_the_key_never_has_a_folder_of_the_source(self, path: str) -> None:
        assert "/" not in self.FLAT.path(path)


class TestMediaIds:
    IDS = Mapping(LAYOUT, transfer="media_id")

    @given(source_paths())
    def test_the_id_takes_the_names_place_and_folders_and_suffix_stay(self, path: str) -> None:
        folder, _, name = path.rpartition("/")
        mapped_folder, _, mapped = self.IDS.path(path).rpartition("/")
        assert mapped_folder == folder
        assert mapped == f"{self.IDS.media_id(path)}.{name.rpartition('.')[2]}"
        assert str(uuid.UUID(self.IDS.media_id(path))) == self.IDS.media_id(path)

    def test_the_id_is_the_same_in_every_run_and_version(self) -> None:
        assert self.IDS.media_id("a/b.jpg") == "eaa0f999-fe2e-5571-a83d-c5dba634cdc5"

    def test_the_id_differs_between_data_sets_and_not_between_targets(self) -> None:
        elsewhere, other = Layout("other", "x/", "birds"), Layout("mybucket", "sets/", "cats")
        assert Mapping(elsewhere).media_id("a.jpg") == KEEP.media_id("a.jpg")
        assert Mapping(other).media_id("a.jpg") != KEEP.media_id("a.jpg")

    def test_flat_ids_do_not_meet_where_flat_names_would(self) -> None:
        flat = Mapping(LAYOUT, transfer="media_id", full_path=False)
        assert flat.path("a/c.jpg") != flat.path("b/c.jpg")
        assert "/" not in flat.path("a/c.jpg")


class TestNormalizedNames:
    NORMALIZED = Mapping(LAYOUT, normalize=True)

    def test_jpg_is_always_appended_so_that_no_two_meet(self) -> None:
        assert [self.NORMALIZED.path(path) for path in ("a.png", "a.jpg", "b/a.tif")] == [
            "a.png.jpg",
            "a.jpg.jpg",
            "b/a.tif.jpg",
        ]

    @given(st.sets(source_paths(), max_size=20))
    def test_different_paths_never_meet(self, paths: set[str]) -> None:
        assert len({self.NORMALIZED.path(path) for path in paths}) == len(paths)


class TestRenditions:
    def test_a_thumbnail_keeps_the_originals_suffix_before_its_own(self) -> None:
        assert KEEP.thumbnail_key("a/b.png") == "sets/birds/thumbnails/a/b.png.jpg"
        assert (
            Mapping(LAYOUT, thumbnail_suffix=".webp").thumbnail_key("a/b.png") == "sets/birds/thumbnails/a/b.png.webp"
        )

    def test_a_crop_lies_in_a_folder_of_its_image(self) -> None:
        box = Box(1, 2, 3, 4, "cat")
        assert KEEP.crop_key("a/b.png", box) == f"sets/birds/crops/a/b.png/{box.id}.jpg"

    @given(st.sets(source_paths(), min_size=2, max_size=8))
    def test_no_object_of_one_image_is_an_object_of_another(self, paths: set[str]) -> None:
        box = Box(1, 2, 3, 4)
        makers = (KEEP.image_key, KEEP.thumbnail_key, lambda path: KEEP.crop_key(path, box))
        keys = [maker(KEEP.path(path)) for maker, path in itertools.product(makers, paths)]
        assert len(set(keys)) == len(keys)

    def test_a_crop_is_named_by_what_it_shows(self) -> None:
        box = Box(1.5, 2, 3, 4, "cat")
        assert box.id == Box(1.5, 2, 3, 4, "cat").id
        others = [Box(1.5, 2, 3, 4, "dog"), Box(1.25, 2, 3, 4, "cat"), Box(1.5, 2, 3, 4, "cat", fraction=True)]
        assert len({box.id, *(other.id for other in others)}) == 4


class TestProblems:
    def test_a_key_may_have_1024_bytes_and_no_more(self) -> None:
        room = MAX_KEY_BYTES - len(LAYOUT.images)
        assert problem_of(KEEP.image_key("a" * room)) == ""
        assert problem_of(KEEP.image_key("a" * (room + 1))) == "KEY_TOO_LONG"

    def test_bytes_count_and_not_characters(self) -> None:
        room = MAX_KEY_BYTES - len(LAYOUT.images)
        assert problem_of(KEEP.image_key("ü" * (room // 2))) == ""
        assert problem_of(KEEP.image_key("ü" * (room // 2 + 1))) == "KEY_TOO_LONG"

    @pytest.mark.parametrize("path", ["a//b.jpg", "./b.jpg", "a/../b.jpg", "/b.jpg", "a/", ".."])
    def test_parts_that_browsers_rewrite_are_refused(self, path: str) -> None:
        assert problem_of(KEEP.image_key(path)) == "NAME_UNSUPPORTED"
        assert problem_of(KEEP.image_key(KEEP.path(path))) == "NAME_UNSUPPORTED"

    @pytest.mark.parametrize("path", ["...jpg", ".../b.jpg", " /b.jpg", "a./.b.jpg"])
    def test_parts_that_only_look_like_those_are_fine(self, path: str) -> None:
        assert problem_of(KEEP.image_key(path)) == ""


class TestUrls:
    @pytest.mark.parametrize(
        ("root", "url"),
        [
            ("/image", "/image/birds/images/a.jpg"),
            ("/image/", "/image/birds/images/a.jpg"),
            ("/", "/birds/images/a.jpg"),
            ("https://cdn.example.com", "https://cdn.example.com/birds/images/a.jpg"),
            ("https://cdn.example.com/x/", "https://cdn.example.com/x/birds/images/a.jpg"),
        ],
    )
    def test_a_url_is_its_root_and_the_key_below_the_target(self, root: str, url: str) -> None:
        assert url_of(KEEP.image_key("a.jpg"), LAYOUT, root) == url

    def test_all_but_the_unreserved_characters_is_percent_encoded(self) -> None:
        key = KEEP.image_key("ü a#?%41+&=:@'/b~-_.jpg")
        assert url_of(key, LAYOUT, "/i") == "/i/birds/images/%C3%BC%20a%23%3F%2541%2B%26%3D%3A%40%27/b~-_.jpg"

    @given(source_paths())
    def test_a_server_that_decodes_the_url_once_finds_the_key(self, path: str) -> None:
        url = url_of(KEEP.image_key(path), LAYOUT, "/image")
        assert url.isascii()
        assert unquote(url) == f"/image/birds/images/{path}"
