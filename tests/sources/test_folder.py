"""A folder as the source: what is given, rejected and left out, and what fails the run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagehaul.errors import Code, SourceError
from imagehaul.records import SourceFile
from imagehaul.sources.filters import Selection
from imagehaul.sources.folder import list_folder
from imagehaul.sources.scan_report import ScanReport

ALL = Selection()


def write(folder: Path, *names: str) -> None:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")


def listed(
    folder: Path, selection: Selection = ALL, follow_links: bool = False
) -> tuple[dict[str, SourceFile], ScanReport]:
    report = ScanReport()
    files = list(list_folder(folder, selection, report, follow_links))
    rows = {file.path: file for file in files}
    assert len(rows) == len(files), "a path came twice"
    for path in rows:
        path.encode()
    return rows, report


def codes(rows: dict[str, SourceFile]) -> dict[str, str]:
    return {path: file.code for path, file in rows.items()}


class TestFolder:
    def test_gives_each_image_once_with_size_and_time_and_counts_the_rest(self, tmp_path: Path) -> None:
        write(tmp_path, "b.JPG", "a/x.png", "a/b/c.tif", "notes.txt", "a/data.csv")
        (tmp_path / "b.JPG").write_bytes(b"12345")
        os.utime(tmp_path / "b.JPG", ns=(1, 1_700_000_000_123_456_789))
        rows, report = listed(tmp_path)
        assert set(rows) == {"b.JPG", "a/x.png", "a/b/c.tif"}
        state = (tmp_path / "b.JPG").stat()
        version = f"1700000000123456789 {state.st_ctime_ns} {state.st_ino}"
        assert rows["b.JPG"] == SourceFile("b.JPG", 5, version)
        assert report.other_files == 2
        assert list(report.warnings()) == []

    def test_names_what_lies_deeper_than_this_system_opens_and_goes_on(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "z/last.jpg")
        name = "d" * 250
        here = os.open(tmp_path, os.O_RDONLY)
        depth = 17 - len(os.fsencode(tmp_path)) // 251
        for _ in range(depth + 1):
            os.close(os.open("in it.jpg", os.O_WRONLY | os.O_CREAT, dir_fd=here))
            os.mkdir(name, dir_fd=here)
            below = os.open(name, os.O_RDONLY, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        rows, report = listed(tmp_path)
        found = codes(rows)
        assert found["a.jpg"] == found["z/last.jpg"] == found["in it.jpg"] == found[f"{name}/in it.jpg"] == ""
        too_long = [path for path, code in found.items() if code]
        assert {found[path] for path in too_long} == {"PATH_TOO_LONG"}
        assert any(path.endswith(f"/{name}") for path in too_long), "the folder that cannot be listed"
        assert list(report.warnings()) == []

    def test_keeps_neighbours_together_so_that_batches_have_locality(self, tmp_path: Path) -> None:
        write(tmp_path, "b/2.jpg", "b/1.jpg", "a/c/1.jpg", "a/1.jpg", "z.jpg")
        assert list(listed(tmp_path)[0]) == ["z.jpg", "a/1.jpg", "a/c/1.jpg", "b/1.jpg", "b/2.jpg"]

    @pytest.mark.parametrize(
        "name",
        [
            "a b.jpg",
            "#1.jpg",
            "50%.jpg",
            "%41.jpg",
            "a+b.jpg",
            "-r.jpg",
            "a\\b.jpg",
            "a\nb.jpg",
            "u\u0308.jpg",
            "🐦.jpg",
        ],
    )
    def test_keeps_odd_names_as_they_are(self, tmp_path: Path, name: str) -> None:
        write(tmp_path, f"{name}/{name}")
        assert codes(listed(tmp_path)[0]) == {f"{name}/{name}": ""}

    def test_a_folder_with_an_images_suffix_is_just_a_folder(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg/b.jpg")
        assert codes(listed(tmp_path)[0]) == {"a.jpg/b.jpg": ""}

    def test_lists_a_folder_when_its_turn_comes_so_that_memory_stays_flat(self, tmp_path: Path) -> None:
        write(tmp_path, "a/1.jpg", "b/2.jpg")
        waiting = list_folder(tmp_path, ALL, ScanReport())
        next(waiting)
        write(tmp_path, "b/3.jpg")
        assert [file.path for file in waiting] == ["b/2.jpg", "b/3.jpg"]

    def test_a_source_that_is_itself_a_link_works(self, tmp_path: Path) -> None:
        write(tmp_path, "real/a.jpg", "real/b/c.jpg")
        (tmp_path / "real/link.jpg").symlink_to(tmp_path / "real/a.jpg")
        (tmp_path / "source").symlink_to("real")
        assert codes(listed(tmp_path / "source")[0]) == {"a.jpg": "", "b/c.jpg": "", "link.jpg": ""}


class TestNamesThatAreNotUtf8:
    def test_are_rows_of_their_own_with_the_bytes_shown(self, tmp_path: Path) -> None:
        write(tmp_path, os.fsdecode(b"caf\xe9.jpg"))
        rows, _ = listed(tmp_path)
        assert codes(rows) == {"caf\\xe9.jpg": "NAME_NOT_UTF8"}
        assert rows["caf\\xe9.jpg"].message == Code["NAME_NOT_UTF8"].meaning
        assert rows["caf\\xe9.jpg"].size == 1

    def test_below_such_a_folder_no_name_can_be_a_key(self, tmp_path: Path) -> None:
        write(tmp_path, os.fsdecode(b"caf\xe9/deep/a.jpg"))
        assert codes(listed(tmp_path)[0]) == {"caf\\xe9/deep/a.jpg": "NAME_NOT_UTF8"}

    def test_never_take_the_name_of_another_file(self, tmp_path: Path) -> None:
        for name in (b"\xff.jpg", b"\\xff.jpg", b"\xff\\xfe.jpg", b"\\xff\xfe.jpg", b"\xff/in.jpg", b"\\xff/in.jpg"):
            write(tmp_path, os.fsdecode(name))
        rows, _ = listed(tmp_path)
        assert len(rows) == 6
        assert [path for path, file in rows.items() if not file.code] == ["\\xff.jpg", "\\xff/in.jpg"]

    def test_other_files_with_such_names_are_only_counted(self, tmp_path: Path) -> None:
        write(tmp_path, os.fsdecode(b"\xff.txt"))
        rows, report = listed(tmp_path)
        assert (rows, report.other_files) == ({}, 1)


class TestLinks:
    @pytest.fixture
    def outside(self, tmp_path: Path) -> Path:
        write(tmp_path / "outside", "o.jpg", "deep/p.jpg")
        return tmp_path / "outside"

    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        write(tmp_path / "source", "a.jpg", "b/c.jpg")
        return tmp_path / "source"

    def test_to_a_file_inside_is_followed(self, source: Path) -> None:
        (source / "b/link.jpg").symlink_to("../a.jpg")
        (source / "a.jpg").write_bytes(b"12345")
        rows, _ = listed(source)
        assert rows["b/link.jpg"] == SourceFile("b/link.jpg", 5, rows["a.jpg"].version)

    def test_that_leads_nowhere_is_a_rejected_row_that_says_where_it_should_lead(self, source: Path) -> None:
        (source / "gone.jpg").symlink_to("missing.jpg")
        (source / "through a file.jpg").symlink_to("a.jpg/b.jpg")
        rows, _ = listed(source)
        assert rows["gone.jpg"].code == rows["through a file.jpg"].code == "LINK_DANGLING"
        assert rows["gone.jpg"].message.endswith("It leads to 'missing.jpg'.")

    def test_that_leads_nowhere_and_could_be_a_folder_is_warned_about(self, source: Path) -> None:
        (source / "nas").symlink_to("/mnt/not mounted")
        _, report = listed(source)
        assert list(report.warnings()) == [
            "In the source, 1 links lead nowhere: if folders belong there, their images are missing, such as 'nas'."
        ]

    def test_to_a_file_outside_is_rejected_unless_asked_for(self, source: Path, outside: Path) -> None:
        (source / "o.jpg").symlink_to(outside / "o.jpg")
        (source / "neighbour.jpg").symlink_to("../outside/o.jpg")
        rows, _ = listed(source)
        assert rows["o.jpg"].code == rows["neighbour.jpg"].code == "LINK_OUTSIDE"
        assert f"It leads to '{outside}/o.jpg'." in rows["o.jpg"].message
        assert codes(listed(source, follow_links=True)[0])["o.jpg"] == ""

    def test_through_a_link_outside_is_judged_by_where_it_ends(self, source: Path, outside: Path) -> None:
        (outside / "back.jpg").symlink_to(source / "a.jpg")
        (source / "round.jpg").symlink_to(outside / "back.jpg")
        assert codes(listed(source)[0])["round.jpg"] == ""

    def test_to_a_folder_whose_name_only_begins_like_the_sources_is_outside(self, source: Path) -> None:
        write(source.parent / "source2", "x.jpg")
        (source / "x.jpg").symlink_to(source.parent / "source2/x.jpg")
        assert codes(listed(source)[0])["x.jpg"] == "LINK_OUTSIDE"

    def test_to_a_folder_inside_is_followed(self, source: Path) -> None:
        (source / "again").symlink_to("b")
        assert set(listed(source)[0]) == {"a.jpg", "b/c.jpg", "again/c.jpg"}

    def test_to_a_folder_outside_is_warned_about_or_followed_if_asked_for(self, source: Path, outside: Path) -> None:
        (source / "more").symlink_to(outside)
        rows, report = listed(source)
        assert set(rows) == {"a.jpg", "b/c.jpg"}
        assert list(report.warnings()) == [
            "In the source, 1 links to folders outside of the source were not followed (FOLLOW_LINKS=true does), "
            "such as 'more'."
        ]
        rows, report = listed(source, follow_links=True)
        assert codes(rows) == {"a.jpg": "", "b/c.jpg": "", "more/o.jpg": "", "more/deep/p.jpg": ""}
        assert list(report.warnings()) == []

    def test_to_a_folder_outside_that_has_an_images_suffix_is_a_row(self, source: Path, outside: Path) -> None:
        (source / "more.jpg").symlink_to(outside)
        assert codes(listed(source)[0])["more.jpg"] == "LINK_OUTSIDE"

    @pytest.mark.parametrize("follow_links", [False, True])
    def test_that_go_round_end(self, source: Path, follow_links: bool) -> None:
        (source / "self.jpg").symlink_to("self.jpg")
        (source / "here.jpg").symlink_to(".")
        (source / "b/up").symlink_to("..")
        (source / "d").mkdir()
        (source / "d/to e").symlink_to("../e")
        (source / "e").mkdir()
        (source / "e/to d").symlink_to("../d")
        rows, report = listed(source, follow_links=follow_links)
        assert codes(rows) == {"a.jpg": "", "b/c.jpg": "", "self.jpg": "LINK_CYCLE", "here.jpg": "LINK_CYCLE"}
        assert (report.cycles.count, report.cycles.example) == (3, "b/up")

    def test_that_go_round_through_the_outside_do_not_give_the_source_twice(self, source: Path, outside: Path) -> None:
        (source / "up").symlink_to("..")
        rows, report = listed(source, follow_links=True)
        assert set(rows) == {"a.jpg", "b/c.jpg", "up/outside/o.jpg", "up/outside/deep/p.jpg"}
        assert report.cycles.example == "up/source/"

    def test_to_no_image_are_other_files(self, source: Path) -> None:
        write(source, "notes.txt")
        (source / "link.txt").symlink_to("notes.txt")
        assert listed(source)[1].other_files == 2


class TestThingsThatAreNoFiles:
    def test_pipes_and_sockets_with_an_images_suffix_are_rejected_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.mkfifo(tmp_path / "pipe.jpg")
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "link.jpg").symlink_to("pipe")
        # A socket's path may have 108 bytes at most, and this folder's has more.
        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket.png")
        rows, report = listed(tmp_path)
        assert codes(rows) == {"pipe.jpg": "NOT_A_FILE", "link.jpg": "NOT_A_FILE", "socket.png": "NOT_A_FILE"}
        assert report.other_files == 1


class TestWhatCannotBeLookedAt:
    def test_a_folder_that_vanishes_meanwhile_fails_the_run(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "b/c.jpg")
        files = list_folder(tmp_path, ALL, ScanReport())
        assert next(files).path == "a.jpg"
        shutil.rmtree(tmp_path / "b")
        with pytest.raises(SourceError) as caught:
            next(files)
        assert str(caught.value).startswith("The folder 'b/' of the source cannot be read: No such file or directory.")
        assert "nothing was sent" in str(caught.value)

    def test_so_does_the_source_itself(self, tmp_path: Path) -> None:
        with pytest.raises(SourceError, match=r"The source '.*/gone' cannot be listed: No such file or directory\."):
            list(list_folder(tmp_path / "gone", ALL, ScanReport()))

    def test_a_file_that_vanishes_meanwhile_is_a_rejected_row(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "b.jpg")
        files = list_folder(tmp_path, ALL, ScanReport())
        next(files)
        (tmp_path / "b.jpg").unlink()
        assert next(files).code == "SOURCE_GONE"

    def test_a_file_without_a_suffix_that_cannot_be_read_is_a_rejected_row(self, tmp_path: Path) -> None:
        """Whether it is a picture is unknown: it is not left out."""
        source = tmp_path / "source"
        write(source, "notes", "shut", "left out")
        for name in ("shut", "left out"):
            (source / name).chmod(0)
        said = self.as_somebody_else(source, "left out", suffixes="none").splitlines()
        assert said == ["shut UNREADABLE The file could not be read. Permission denied.", "left out: 1, excluded: 1"]

    @pytest.fixture
    def closed(self, tmp_path: Path) -> Iterator[Path]:
        """A source of which somebody else cannot read one folder, which a link leads into too."""
        tmp_path = tmp_path / "source"
        write(tmp_path, "a.jpg", "shut/b.jpg", "open/c.jpg")
        (tmp_path / "open/link.jpg").symlink_to("../shut/b.jpg")
        (tmp_path / "shut").chmod(0)
        yield tmp_path
        (tmp_path / "shut").chmod(0o700)

    def as_somebody_else(self, source: Path, exclude: str = "", suffixes: str = "") -> str:
        """Root may read all, so the work is done as nobody; that one may not walk here, hence fchdir."""
        program = (
            "import os, sys, pathlib\n"
            "from imagehaul.sources.folder import list_folder, ScanReport, Selection\n"
            "os.fchdir(os.open(sys.argv[1], os.O_RDONLY))\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "exclude, suffixes = (tuple(filter(None, [word])) for word in sys.argv[2:])\n"
            "selection = Selection(exclude=exclude, suffixes=suffixes)\n"
            "report = ScanReport()\n"
            "try:\n"
            "    for file in list_folder(pathlib.Path(), selection, report):\n"
            "        print(file.path, file.code, file.message)\n"
            "    print(f'left out: {report.other_files}, excluded: {report.excluded}')\n"
            "except Exception as error: print(type(error).__name__, error)\n"
        )
        arguments = [sys.executable, "-c", program, str(source), exclude, suffixes]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout

    def test_a_folder_that_may_not_be_read_fails_the_run(self, closed: Path) -> None:
        said = self.as_somebody_else(closed)
        assert "SourceError The folder 'shut/' of the source cannot be read: Permission denied." in said

    def test_it_can_be_excluded_and_a_link_into_it_is_a_rejected_row(self, closed: Path) -> None:
        said = self.as_somebody_else(closed, "shut/").splitlines()
        assert said[0].strip() == "a.jpg"
        assert said[1].strip() == "open/c.jpg"
        assert said[2].startswith("open/link.jpg UNREADABLE The file could not be read. Permission denied.")
        assert said[3:] == ["left out: 0, excluded: 0"]

    def test_an_entry_whose_kind_the_disk_does_not_tell_is_not_taken_for_a_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Broken:
            def __init__(self, name: bytes) -> None:
                self.name, self.path = name, os.fsencode(tmp_path) + b"/" + name

            def is_symlink(self) -> bool:
                raise OSError(5, "Input/output error")

        class Scan(list[Broken]):
            def __enter__(self) -> Scan:
                return self

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr(os, "scandir", lambda _: Scan([Broken(b"a.jpg")]))
        assert codes(listed(tmp_path)[0]) == {"a.jpg": "UNREADABLE"}
        monkeypatch.setattr(os, "scandir", lambda _: Scan([Broken(b"maybe a folder")]))
        with pytest.raises(SourceError, match=r"The entry 'maybe a folder' of the source cannot be read: Input/output"):
            listed(tmp_path)
        assert listed(tmp_path, Selection(exclude=("maybe a folder/",)))[1].unread_folders.count == 1


class TestSelection:
    def test_left_out_images_are_counted_and_faults_among_them_are_no_rows(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "b.png", "x.txt")
        (tmp_path / "gone.png").symlink_to("missing")
        rows, report = listed(tmp_path, Selection(include=("*.jpg",)))
        assert set(rows) == {"a.jpg"}
        assert (report.excluded, report.other_files) == (2, 1)

    def test_a_folder_that_is_excluded_whole_is_not_even_listed(self, tmp_path: Path) -> None:
        write(tmp_path, "a.jpg", "old/b.jpg", "x/old/c.jpg", "x/y/d.jpg")
        rows, report = listed(tmp_path, Selection(exclude=("old/", "x/y/**")))
        assert set(rows) == {"a.jpg"}
        assert (report.excluded, report.unread_folders.count) == (0, 3)
        assert list(report.warnings()) == [
            "In the source, 3 folders were not listed: EXCLUDE leaves them out, such as 'old'."
        ]
