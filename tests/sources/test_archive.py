"""An archive as the source: its members are what a folder would give, and what is odd about one is named."""

from __future__ import annotations

import gzip
import io
import os
import struct
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pytest

from imagehaul.errors import SourceError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources.archive import ArchiveSource
from imagehaul.sources.filters import Selection
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import SourceTools
from imagehaul.store.endpoint import Store

FORMS = ["zip", "tar", "tar.gz", "tar.zst"]
FILES = {"a.jpg": b"aaa", "b/c.png": b"c" * 5_000, "b/ü.jpg": b"", "b/boxes.csv": b"x", "notes.md": b"n"}


def pack(file: Path, files: dict[str, bytes]) -> Path:
    """An archive of the form that the file's name says."""
    if file.name.endswith(".zip"):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("b/", b"")
            for name, content in files.items():
                archive.writestr(name, content)
        return file
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for name, content in files.items():
            add(tar, name, content)
    file.write_bytes(compressed(file.name, plain.getvalue()))
    return file


def add(tar: tarfile.TarFile, name: str, content: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    tar.addfile(info, io.BytesIO(content))


def compressed(name: str, content: bytes) -> bytes:
    if name.endswith("gz"):
        return gzip.compress(content)
    return pa.compress(content, codec="zstd", asbytes=True) if name.endswith("zst") else content


def tools(tmp_path: Path, store: Store | None = None) -> SourceTools:
    scratch = tmp_path / f"scratch-{os.urandom(4).hex()}"
    scratch.mkdir()
    return SourceTools(store, 4, scratch=scratch, tells_of_images=lambda name: name.endswith((".csv", ".parquet")))


def opened(uri: Path | str, tools: SourceTools) -> ArchiveSource:
    descriptor = describe_source(str(uri), SourceOptions())
    assert descriptor.type == "archive"
    source = open_source(descriptor, tools)
    assert isinstance(source, ArchiveSource)
    return source


def scan(uri: Path | str, tools: SourceTools, report: ScanReport | None = None) -> dict[str, SourceFile]:
    descriptor = describe_source(str(uri), SourceOptions())
    files = list(scan_source(opened(uri, tools), descriptor, report or ScanReport()))
    assert len({file.path for file in files}) == len(files)
    return {file.path: file for file in files}


def contents(source: ArchiveSource, files: Iterable[SourceFile], folder: Path) -> dict[str, bytes]:
    wanted = list(files)
    if source.is_sequential:
        source.stage(wanted)
    fetched = source.fetch(wanted, [True] * len(wanted), folder)
    assert [item.code for item in fetched] == [""] * len(wanted)
    return {file.path: Path(item.file).read_bytes() for file, item in zip(wanted, fetched, strict=True)}


class TestMembers:
    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("place", ["here", "store"])
    def test_are_those_that_a_folder_would_have(
        self, tmp_path: Path, form: str, place: str, store: Store, bucket: str
    ) -> None:
        file = pack(tmp_path / f"set.{form}", FILES)
        uri: Path | str = file
        if place == "store":
            store.client().put_object(Bucket=bucket, Key=f"in/{file.name}", Body=file.read_bytes())
            uri = f"s3://{bucket}/in/{file.name}"
        report, tooled = ScanReport(), tools(tmp_path, store)
        found = scan(uri, tooled, report)
        assert {path: file.size for path, file in found.items()} == {"a.jpg": 3, "b/c.png": 5_000, "b/ü.jpg": 0}
        assert found["a.jpg"].version == f"crc32-{zlib.crc32(b'aaa'):08x}"
        assert report.other_files == 2
        assert report.annotations
        assert (report.annotations / "b" / "boxes.csv").read_bytes() == b"x"
        source = opened(uri, tooled)
        assert contents(source, found.values(), tmp_path) == {path: FILES[path] for path in found}
        assert not source.has_changed(found["a.jpg"])

    def test_a_changed_archive_is_told_from_the_one_that_was_listed(self, tmp_path: Path) -> None:
        tooled = tools(tmp_path)
        file = pack(tmp_path / "set.zip", FILES)
        found = scan(file, tooled)
        pack(file, {**FILES, "a.jpg": b"other"})
        source = opened(file, tooled)
        assert source.has_changed(found["a.jpg"])
        assert [item.code for item in source.fetch([found["a.jpg"]], [True], tmp_path)] == ["SOURCE_CHANGED"]

    @pytest.mark.parametrize("form", FORMS)
    def test_batches_come_one_after_the_other(self, tmp_path: Path, form: str) -> None:
        tooled = tools(tmp_path)
        file = pack(tmp_path / f"set.{form}", {f"{number}.jpg": str(number).encode() for number in range(9)})
        found = list(scan(file, tooled).values())
        source = opened(file, tooled)
        for batch in found[1:3], found[4:5], found[5:]:
            assert list(contents(source, batch, tmp_path).values()) == [file.path[:1].encode() for file in batch]

    def test_globs_are_compared_with_their_paths(self, tmp_path: Path) -> None:
        descriptor = describe_source(str(pack(tmp_path / "set.zip", FILES)), SourceOptions(exclude=("b/",)))
        source = open_source(descriptor, tools(tmp_path))
        assert [file.path for file in source.scan(ScanReport())] == ["a.jpg"]


class TestOddMembers:
    def test_of_a_zip_are_named(self, tmp_path: Path) -> None:
        file = tmp_path / "odd.zip"
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("../up.jpg", "/root.jpg", "a//b.jpg", "good.jpg"):
                archive.writestr(name, b"x")
            archive.writestr(link, b"good.jpg")
            archive.writestr("bomb.jpg", b"\0" * (300 * 1024 * 1024))
            archive.writestr("locked.jpg", b"x")
        content = bytearray(file.read_bytes())
        at = content.rindex(b"locked.jpg") - 46
        content[at + 8] |= 1
        file.write_bytes(content)
        assert {path: file.code for path, file in scan(file, tools(tmp_path)).items()} == {
            "../up.jpg": "NAME_UNSUPPORTED",
            "/root.jpg": "NAME_UNSUPPORTED",
            "a//b.jpg": "NAME_UNSUPPORTED",
            "good.jpg": "",
            "link.jpg": "ARCHIVE_LINK",
            "bomb.jpg": "ARCHIVE_BOMB",
            "locked.jpg": "ENCRYPTED",
        }

    def test_that_share_their_bytes_are_a_bomb(self, tmp_path: Path) -> None:
        file = pack(tmp_path / "set.zip", {"a.jpg": b"a" * 100, "b.jpg": b"a" * 100})
        content = bytearray(file.read_bytes())
        second = content.rindex(b"b.jpg") - 46
        content[second + 42 : second + 46] = struct.pack("<L", 32)
        file.write_bytes(content)
        assert "ARCHIVE_BOMB" in {file.code for file in scan(file, tools(tmp_path)).values()}

    @pytest.mark.parametrize(
        ("raw", "path", "code"),
        [
            ("ü.jpg".encode(), "ü.jpg", ""),
            ("ü.jpg".encode("cp1252"), "\\xfc.jpg", "NAME_NOT_UTF8"),
            (b"a\\b.jpg", "a/b.jpg", ""),
        ],
    )
    def test_names_of_old_code_pages_are_not_guessed(self, tmp_path: Path, raw: bytes, path: str, code: str) -> None:
        file = pack(tmp_path / "set.zip", {"x" * len(raw): b"x"})
        content = file.read_bytes().replace(b"x" * len(raw), raw)
        at = content.rindex(raw) - 46
        file.write_bytes(content[: at + 5] + b"\0" + content[at + 6 :])
        assert {path: file.code for path, file in scan(file, tools(tmp_path)).items()} == {path: code}

    @pytest.mark.parametrize("form", ["tar", "tar.gz"])
    def test_of_a_tar_are_named(self, tmp_path: Path, form: str) -> None:
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT, encoding="latin-1") as tar:
            add(tar, "../up.jpg", b"x")
            add(tar, "/root.jpg", b"x")
            add(tar, "./good.jpg", b"x")
            add(tar, "\xfc.jpg", b"x")
            add(tar, "link.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
            add(tar, "hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")
            add(tar, "pipe.jpg", type=tarfile.FIFOTYPE)
        file = tmp_path / f"odd.{form}"
        file.write_bytes(compressed(file.name, plain.getvalue()))
        assert {path: file.code for path, file in scan(file, tools(tmp_path)).items()} == {
            "../up.jpg": "NAME_UNSUPPORTED",
            "/root.jpg": "NAME_UNSUPPORTED",
            "good.jpg": "",
            "\\xfc.jpg": "NAME_NOT_UTF8",
            "link.jpg": "ARCHIVE_LINK",
            "hard.jpg": "ARCHIVE_LINK",
            "pipe.jpg": "NOT_A_FILE",
        }

    @pytest.mark.parametrize("form", FORMS)
    def test_apple_doubles_are_left_out_and_said(self, tmp_path: Path, form: str) -> None:
        double = b"\0\5\x16\7" + b"\0" * 100
        file = pack(tmp_path / f"set.{form}", {"a.jpg": b"x", "__MACOSX/._a.jpg": double, "._true.jpg": b"\xff\xd8"})
        report = ScanReport()
        assert set(scan(file, tools(tmp_path), report)) == {"a.jpg", "._true.jpg"}
        [said] = report.warnings()
        assert "'__MACOSX/._a.jpg'" in said


class TestDamage:
    """What could not be read whole is unknown, and not gone."""

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
    def test_an_archive_that_is_cut_off_is_refused(self, tmp_path: Path, form: str, share: float) -> None:
        file = pack(tmp_path / f"set.{form}", {f"{number}.jpg": os.urandom(700) for number in range(30)})
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(SourceError, match=r"What it holds is unknown, so nothing was sent"):
            scan(file, tools(tmp_path))

    def test_a_tar_that_ends_between_two_members_is_cut_off_too(self, tmp_path: Path) -> None:
        file = pack(tmp_path / "set.tar", {"a.jpg": b"x" * 512, "b.jpg": b"x" * 512})
        file.write_bytes(file.read_bytes()[:1024])
        with pytest.raises(SourceError, match="breaks off, or is damaged, at byte 1,024"):
            scan(file, tools(tmp_path))

    def test_a_header_that_is_none_is_not_the_end(self, tmp_path: Path) -> None:
        file = pack(tmp_path / "set.tar", {"a.jpg": b"x" * 512, "b.jpg": b"x" * 512})
        content = file.read_bytes()
        file.write_bytes(content[:1024] + b"?" * 512 + content[1536:])
        with pytest.raises(SourceError, match="at byte 1,024"):
            scan(file, tools(tmp_path))

    @pytest.mark.parametrize("end", [slice(None, -8), slice(None, -4), slice(-8, -4)])
    def test_the_check_at_the_end_of_what_is_packed_is_read(self, tmp_path: Path, end: slice) -> None:
        file = pack(tmp_path / "set.tar.gz", {"a.jpg": b"a"})
        content = bytearray(file.read_bytes())
        if end.start is None:
            del content[end.stop :]
        else:
            content[end] = bytes(4)
        file.write_bytes(content)
        with pytest.raises(SourceError, match=r"cannot be read whole: (CRC check failed|Compressed file ended)"):
            scan(file, tools(tmp_path))

    @pytest.mark.parametrize("form", FORMS)
    def test_two_archives_in_one_file_are_not_taken_for_one(self, tmp_path: Path, form: str) -> None:
        one, two = (pack(tmp_path / f"{name}.{form}", {f"{name}.jpg": b"x"}) for name in ("one", "two"))
        one.write_bytes(one.read_bytes() + two.read_bytes())
        with pytest.raises(SourceError, match=r"as when several archives are written into one file\. What it holds is"):
            scan(one, tools(tmp_path))

    @pytest.mark.parametrize(("form", "before", "after"), [("zip", b"#!/bin/sh\n", b""), ("tar", b"", bytes(99_999))])
    def test_what_may_stand_before_or_behind_an_archive(
        self, tmp_path: Path, form: str, before: bytes, after: bytes
    ) -> None:
        """A program that unpacks it, and zeros that fill the last block of a tape."""
        file = pack(tmp_path / f"set.{form}", {"a.jpg": b"x"})
        file.write_bytes(before + file.read_bytes() + after)
        assert set(scan(file, tools(tmp_path))) == {"a.jpg"}

    def test_parts_that_were_packed_apart_are_one_archive(self, tmp_path: Path) -> None:
        plain = pack(tmp_path / "set.tar", {"a.jpg": b"x", "b.jpg": b"y"}).read_bytes()
        for form in ("tar.gz", "tar.zst"):
            file = tmp_path / f"set.{form}"
            file.write_bytes(compressed(form, plain[:700]) + compressed(form, plain[700:]))
            assert set(scan(file, tools(tmp_path))) == {"a.jpg", "b.jpg"}

    @pytest.mark.parametrize("form", FORMS)
    @pytest.mark.parametrize("names", [("a.csv", "a.csv/b.csv"), ("a.csv/b.csv", "a.csv"), ("x" * 260 + ".csv",)])
    def test_annotations_whose_names_cannot_be_files_are_named(
        self, tmp_path: Path, form: str, names: tuple[str, ...]
    ) -> None:
        file = pack(tmp_path / f"set.{form}", dict.fromkeys(names, b"x") | {"a.jpg": b"x"})
        with pytest.raises(SourceError, match=rf"The member '{names[-1]}' of the archive .* no file can have its name"):
            scan(file, tools(tmp_path))

    @pytest.mark.parametrize("form", FORMS)
    def test_a_file_that_is_no_archive_is_refused(self, tmp_path: Path, form: str) -> None:
        (tmp_path / f"set.{form}").write_bytes(b"<html>" * 1000)
        with pytest.raises(SourceError, match="Restore it"):
            scan(tmp_path / f"set.{form}", tools(tmp_path))

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_damaged_member_of_a_zip_is_named(self, tmp_path: Path, method: int) -> None:
        tooled, file = tools(tmp_path), tmp_path / "set.zip"
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr("a.jpg", os.urandom(500))
            archive.writestr("b.jpg", b"b")
        content = bytearray(file.read_bytes())
        content[39:45] = b"\xff" * 6
        file.write_bytes(content)
        found = scan(file, tooled)
        fetched = opened(file, tooled).fetch(list(found.values()), [True] * 2, tmp_path)
        assert [item.code for item in fetched] == ["ARCHIVE_DAMAGED", ""]

    def test_one_that_is_not_there(self, tmp_path: Path, store: Store, bucket: str) -> None:
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            describe_source(str(tmp_path / "set.zip"))
        with pytest.raises(SourceError, match="There is no such object"):
            scan(f"s3://{bucket}/set.zip", tools(tmp_path, store))


class Memory:
    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load(self, name: str, file: Path) -> bool:
        if name in self.kept:
            file.write_bytes(self.kept[name])
        return name in self.kept

    def save(self, name: str, file: Path) -> None:
        self.kept[name] = file.read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_an_unchanged_archive_is_not_opened_again(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # One that is called as the memory's own part is.
    files = {**FILES, "members.parquet": b"mine"}
    memory, file = Memory(), pack(tmp_path / f"set.{form}", files)

    def remembering() -> SourceTools:
        made = tools(tmp_path)
        return SourceTools(None, 4, scratch=made.scratch, tells_of_images=made.tells_of_images, memory=memory)

    first = scan(file, remembering())
    report = ScanReport()
    with monkeypatch.context() as patched:
        patched.setattr("imagehaul.sources.archive_file.ArchiveFile.open", lambda *_: 1 / 0)
        assert scan(file, remembering(), report) == first
    assert report.annotations
    assert (report.annotations / "b" / "boxes.csv").read_bytes() == b"x"
    assert (report.annotations / "members.parquet").read_bytes() == b"mine"
    pack(file, {"new.jpg": b"x", **files})
    assert "new.jpg" in scan(file, remembering())
    assert len(memory.kept) == 1


@pytest.mark.parametrize("form", FORMS)
def test_another_archive_of_the_same_size_and_time_is_read(tmp_path: Path, form: str) -> None:
    """As `cp -p` and rsync put it in the place of the one before."""
    memory, file = Memory(), tmp_path / f"set.{form}"
    found = []
    for content in (b"one", b"two"):
        pack(tmp_path / f"new.{form}", {"a.jpg": content})
        os.utime(tmp_path / f"new.{form}", (1_700_000_000, 1_700_000_000))
        (tmp_path / f"new.{form}").replace(file)
        made = tools(tmp_path)
        found.append(scan(file, SourceTools(None, 4, scratch=made.scratch, memory=memory))["a.jpg"].version)
    assert found == [f"crc32-{zlib.crc32(content):08x}" for content in (b"one", b"two")]


@pytest.mark.slow
@pytest.mark.usefixtures("untraced")
def test_memory_does_not_grow_with_a_tar(tmp_path: Path) -> None:
    file = tmp_path / "set.tar.gz"
    with tarfile.open(file, "w:gz", compresslevel=1) as tar:
        for number in range(20_000):
            add(tar, f"folder/{number:08d}.jpg", b"x")
    program = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from imagehaul.sources.registry import describe_source, open_source\n"
        "from imagehaul.sources.scan_report import ScanReport\n"
        "from imagehaul.sources.source import SourceTools\n"
        "source = open_source(describe_source(sys.argv[1]), SourceTools(scratch=Path(sys.argv[2])))\n"
        "grown = []\n"
        "for count, _ in enumerate(source.scan(ScanReport())):\n"
        "    if count in (5_000, 19_999):\n"
        "        grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(grown[1] - grown[0])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, file, tmp_path], capture_output=True, text=True, check=True, timeout=120
    )
    assert int(run.stdout) < 1_000, "kilobytes"


def test_a_selection_of_nothing_is_not_an_empty_archive(tmp_path: Path) -> None:
    descriptor = describe_source(str(pack(tmp_path / "set.tar", {"notes.md": b"n"})))
    with pytest.raises(SourceError, match="There are no images"):
        list(scan_source(ArchiveSource(descriptor.uri, Selection(), tools(tmp_path)), descriptor, ScanReport()))
