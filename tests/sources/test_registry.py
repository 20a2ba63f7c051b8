"""What a source is, and what in it is an image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagehaul.errors import SettingsError, SourceError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport, Tally, in_words, is_image
from imagehaul.sources.source import SourceDescriptor, SourceTools
from imagehaul.store.endpoint import Store


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

    @pytest.mark.parametrize(("source", "kind"), [(".", "folder"), ("s3://bucket/a", "prefix"), ("a.zip", "archive")])
    def test_a_column_of_what_is_no_list_is_refused(self, source: str, kind: str) -> None:
        with pytest.raises(SettingsError, match=rf"--column photo is for a list, .* \({kind}\): leave it out"):
            describe_source(source, SourceOptions(column="photo"))

    @pytest.mark.parametrize("name", ["images.csv", "images.tar.gz"])
    def test_a_pipe_is_refused_and_not_waited_for(self, name: str, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / name)
        with pytest.raises(SourceError, match="is a pipe or a device, and it is read more than once"):
            describe_source(str(tmp_path / name))

    def test_a_uri_without_bucket_is_refused(self) -> None:
        with pytest.raises(SettingsError, match="names no bucket"):
            describe_source("s3://")

    def test_an_access_points_arn_is_refused_with_the_alias_to_give(self) -> None:
        with pytest.raises(SettingsError, match="or the access point's alias"):
            describe_source("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/name/prefix")

    def test_a_file_is_refused_with_the_folder_to_give(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg")
        with pytest.raises(SourceError) as caught:
            describe_source(str(tmp_path / "a.jpg"))
        assert str(caught.value) == f"The source '{tmp_path}/a.jpg' is a file. Give its folder, '{tmp_path}'."

    @pytest.mark.parametrize("name", ["a.rar", "a.7Z", "a.tar.bz2", "a.tbz2", "a.tar.xz", "a.txz"])
    def test_an_archive_that_is_not_read_is_refused_with_those_that_are(self, name: str, tmp_path: Path) -> None:
        write(tmp_path, name)
        words = r"is an archive of a kind that is not read\. Unpack it and give the folder, or pack it anew as \.zip"
        with pytest.raises(SourceError, match=words):
            describe_source(str(tmp_path / name))

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
            f"There are no images in '{tmp_path}' (other files: 2). An image's name ends in "
            ".png, .apng, .jpg, .jpeg, .jpe, .jfif, .jfi, .mpo, .gif, .tif, .tiff, .heic, .heif, .hif, .avif, .bmp, "
            ".webp, .jp2, .j2k, .jpx, .ico, .tga, .pbm, .pgm, .ppm or .pnm; SUFFIXES adds others."
        )


class TestLeftOut:
    """What is no image by its name is counted by suffix, and said."""

    def test_by_suffix_and_with_a_warning_where_somebody_may_miss_it(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "b.CR2", "c.cr2", "d.dcm", "e.txt", "README", ".hidden", "f.jpg_large")
        report = ScanReport()
        self.scan(tmp_path, report)
        assert report.left_out == {"cr2": 2, "dcm": 1, "txt": 1, "": 2, "jpg_large": 1}
        assert in_words(report.left_out) == "2 without a suffix, 2 .cr2, 1 .dcm, 1 .jpg_large, 1 .txt"
        [warning] = report.warnings()
        assert "4 files were left out that may be pictures or videos: 2 .cr2, 1 .dcm, 1 .jpg_large." in warning

    def test_suffixes_can_be_added_and_files_without_one_looked_into(self, tmp_path: Path) -> None:
        write(tmp_path, "b.CR2", "notes")
        (tmp_path / "picture").write_bytes(b"\xff\xd8\xff\xe0")
        report = ScanReport()
        assert self.scan(tmp_path, report, ".cr2", "none") == ["b.CR2", "picture"]
        assert report.left_out == {"": 1}

    def test_twins_of_macos_are_told_from_pictures_of_such_a_name(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "._true.jpg")
        (tmp_path / "._a.jpg").write_bytes(b"\0\5\x16\7\0\2\0\0")
        report = ScanReport()
        assert self.scan(tmp_path, report) == ["._true.jpg", "a.jpg"]
        assert report.apple_doubles == Tally(1, "._a.jpg")

    def test_many_suffixes_are_counted_together(self) -> None:
        report = ScanReport()
        for number in range(10_000):
            report.leave_out(f"x.{number}")
        assert report.other_files == 10_000
        assert len(report.left_out) < 600

    def scan(self, folder: Path, report: ScanReport, *suffixes: str) -> list[str]:
        descriptor = describe_source(str(folder), SourceOptions(suffixes=suffixes))
        return [file.path for file in scan_source(open_source(descriptor, SourceTools()), descriptor, report)]


def test_an_object_in_a_prefixs_place_is_told_how_to_be_delivered(store: Store, bucket: str) -> None:
    store.client().put_object(Bucket=bucket, Key="img/one.jpg", Body=b"x")
    descriptor = describe_source(f"s3://{bucket}/img/one.jpg")
    with pytest.raises(SourceError, match=r"is one object, and no prefix\. Deliver s3://.*/img with INCLUDE=one\.jpg"):
        list(scan_source(open_source(descriptor, SourceTools(store)), descriptor, ScanReport()))


def test_a_store_counts_and_looks_into_files_as_a_folder_does(store: Store, bucket: str) -> None:
    client = store.client()
    for key, body in {
        "a.jpg": b"x",
        "._a.jpg": b"\0\5\x16\7\0\2",
        "p": b"\xff\xd8\xff",
        "n": b"",
        "v.mp4": b"x",
    }.items():
        client.put_object(Bucket=bucket, Key=f"in/{key}", Body=body)
    descriptor = describe_source(f"s3://{bucket}/in", SourceOptions(suffixes=("none",)))
    report = ScanReport()
    files = scan_source(open_source(descriptor, SourceTools(store)), descriptor, report)
    assert [file.path for file in files] == ["a.jpg", "p"]
    assert report.left_out == {"": 1, "mp4": 1}
    assert report.apple_doubles.count == 1


def test_an_archive_in_a_store_that_is_not_read_is_refused_with_those_that_are(store: Store, bucket: str) -> None:
    store.client().put_object(Bucket=bucket, Key="img/all.rar", Body=b"x")
    descriptor = describe_source(f"s3://{bucket}/img/all.rar")
    with pytest.raises(SourceError, match=r"all\.rar' is an archive of a kind that is not read\. Unpack it"):
        list(scan_source(open_source(descriptor, SourceTools(store)), descriptor, ScanReport()))
