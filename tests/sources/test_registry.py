"""What a source is, and what in it is an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagehaul.errors import SettingsError, SourceError
from imagehaul.records import SourceFile
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport, is_image
from imagehaul.sources.source import SourceDescriptor, SourceTools


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


class TestImages:
    @pytest.mark.parametrize(
        "name",
        ["a.png", "a.JPG", "a.jpeg", "a.jfif", "a.gif", "a.tif", "a.TIFF", "a.heic", "a.heif", "a.bmp", "a.webp",
         "a.avif", "a.jp2", ".jpg", "a.b.jpg", "a .jpg", "x/ü.Png"],
    )  # fmt: skip
    def test_are_told_by_their_suffix_in_any_case(self, name: str) -> None:
        assert is_image(name)

    @pytest.mark.parametrize("name", ["jpg", "a.jpg.txt", "a.jpg ", "a.", "a.jpgg", "b.jpg/a", "", "a.mp4"])
    def test_are_nothing_else(self, name: str) -> None:
        assert not is_image(name)


class TestDescribeSource:
    def test_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert describe_source(str(tmp_path)) == SourceDescriptor("folder", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        assert describe_source(".") == SourceDescriptor("folder", str(tmp_path))
        monkeypatch.setenv("HOME", str(tmp_path.parent))
        assert describe_source(f"~/{tmp_path.name}/") == SourceDescriptor("folder", str(tmp_path))

    @pytest.mark.parametrize(
        ("uri", "prefix"),
        [("s3://mybucket", ""), ("s3://mybucket/", ""), ("s3://mybucket/img", "img/"), ("s3://mybucket/a/b/", "a/b/")],
    )
    def test_a_prefix_which_is_a_folder_and_never_the_beginning_of_a_name(self, uri: str, prefix: str) -> None:
        source = describe_source(uri)
        assert (source.type, source.prefix) == ("prefix", ("mybucket", prefix))
        assert str(source) == f"s3://mybucket/{prefix}"

    @pytest.mark.parametrize(
        ("source", "words"),
        [
            ("", "The source is empty. Give a folder, s3://bucket/prefix, a list or an archive."),
            ("missing", r"missing' cannot be read: No such file or directory\."),
            ("a\0b", "cannot be read: embedded null byte"),
            ("HTTP://example.com/a", "is an address on the web"),
            ("gs://bucket", "is neither a folder nor s3://bucket/prefix"),
            ("~nobody-of-that-name/x", "cannot be read: No such file or directory"),
        ],
    )
    def test_what_is_neither_is_refused(self, source: str, words: str) -> None:
        with pytest.raises(SourceError, match=words):
            describe_source(source)

    def test_a_uri_without_bucket_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="names no bucket"):
            describe_source("s3://")

    def test_a_file_is_refused_with_the_folder_to_give(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg")
        with pytest.raises(SourceError) as caught:
            describe_source(str(tmp_path / "a.jpg"))
        assert str(caught.value) == f"The source '{tmp_path}/a.jpg' is a file. Give its folder, '{tmp_path}'."

    def test_a_scratch_folder_inside_of_it_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "tmp").mkdir()
        with pytest.raises(SourceError, match=r"lies in the source .* Name a folder outside"):
            describe_source(str(tmp_path), scratch=str(tmp_path / "tmp"))
        assert describe_source(str(tmp_path / "tmp"), scratch=str(tmp_path)).type == "folder"


class TestScanSource:
    def listed(self, folder: Path, report: ScanReport) -> list[SourceFile]:
        descriptor = describe_source(str(folder))
        return list(scan_source(open_source(descriptor, SourceTools()), descriptor, report))

    def test_counts_images_with_rejected_ones(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "b.txt")
        (tmp_path / "gone.jpg").symlink_to("missing")
        report = ScanReport()
        assert len(self.listed(tmp_path, report)) == report.images == 2

    def test_a_source_without_images_is_an_error_that_says_what_is_there(self, tmp_path: Path) -> None:
        write(tmp_path, "a.txt", "b.mp4")
        with pytest.raises(SourceError) as caught:
            self.listed(tmp_path, ScanReport())
        assert str(caught.value) == (
            f"There are no images in '{tmp_path}', only 2 other files, 0 excluded images. An image's name ends in "
            ".png, .jpg, .jpeg, .jfif, .gif, .tif, .tiff, .heic, .heif, .bmp, .webp, .avif or .jp2."
        )
