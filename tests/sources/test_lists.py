"""A list as the source: what its rows lead to, what the pictures are called, and what is wrong with a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from imagehaul.errors import SettingsError, SourceError, StoreError
from imagehaul.records import SourceFile, SourceOptions
from imagehaul.sources.lists import ListSource
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import CopyOrigin, SourceTools
from imagehaul.sources.web import Web
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.web_server import WebServer

ALLOWED = SourceOptions(allow_private_addresses=True)


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer() as started:
        yield started


def scan(
    source: Path | str, options: SourceOptions = ALLOWED, store: Store | None = None, report: ScanReport | None = None
) -> list[SourceFile]:
    descriptor = describe_source(str(source), options)
    assert descriptor.type == "list"
    return list(scan_source(open_source(descriptor, SourceTools(store, 4)), descriptor, report or ScanReport()))


def write(file: Path, text: str | bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def paths(files: list[SourceFile]) -> list[str]:
    return [file.path for file in files]


class TestForms:
    """Each form of a list says the same."""

    def test_a_line_each(self, tmp_path: Path) -> None:
        write(tmp_path / "a b.jpg", "xyz")
        text = f"\ufeff{tmp_path}/a b.jpg\r\n\n  {tmp_path}/gone.jpg  \n"
        files = scan(write(tmp_path / "list.TXT", text))
        assert [(file.path, file.size, file.code) for file in files] == [
            (f"{tmp_path}/a b.jpg"[1:], 3, ""),
            (f"{tmp_path}/gone.jpg"[1:], 0, "SOURCE_MISSING"),
        ]

    @pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
    def test_a_table_whose_columns_name_picture_and_key(self, tmp_path: Path, form: str) -> None:
        picture = str(write(tmp_path / "a.jpg", "xyz"))
        rows = [{"split": "train", "URI": picture, "key": "one.jpg"}, {"split": "test", "URI": picture, "key": "2.jpg"}]
        file = tmp_path / f"list.{form}"
        if form == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), file)
        elif form == "jsonl":
            write(file, "".join(json.dumps(row).replace("URI", "uri") + "\n" for row in rows))
        else:
            separator = {"csv": ",", "tsv": "\t"}[form]
            lines = [separator.join(rows[0]), *(separator.join(row.values()) for row in rows)]
            write(file, "\n".join(lines))
        report = ScanReport()
        files = scan(file, report=report)
        assert paths(files) == ["one.jpg", "2.jpg"]
        assert json.loads(files[0].metadata) == {"split": "train"}
        assert [column.name for column in report.metadata.columns()] == ["split"]

    def test_json_lines_may_be_texts(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        assert paths(scan(write(tmp_path / "list.jsonl", '"a.jpg"\n'))) == ["a.jpg"]

    @pytest.mark.parametrize("form", ["csv", "parquet"])
    def test_two_columns_of_one_name_are_told_apart_and_said(self, tmp_path: Path, form: str) -> None:
        write(tmp_path / "a.jpg", "x")
        names, cells = ["path", "label", "label_2", "label", ""], ["a.jpg", "one", "two", "three", ""]
        file = tmp_path / f"list.{form}"
        if form == "csv":
            write(file, f"{','.join(names)}\n{','.join(cells)}\n")
        else:
            pq.write_table(pa.Table.from_arrays([pa.array([cell]) for cell in cells], names=names), file)
        report = ScanReport()
        [row] = scan(file, report=report)
        assert json.loads(row.metadata) == {"label": "one", "label_2": "two", "label_3": "three"}
        assert list(report.warnings()) == [
            f"Two columns of the list '{file}' are called 'label': the second is read as 'label_3'."
        ]

    @pytest.mark.parametrize("form", ["csv", "parquet"])
    @pytest.mark.parametrize("name", ["path", "key"])
    def test_two_columns_that_name_the_picture_are_refused(self, tmp_path: Path, form: str, name: str) -> None:
        names = ["path", "key", name]
        file = write(tmp_path / f"list.{form}", f"{','.join(names)}\na.jpg,b.jpg,c.jpg\n")
        if form == "parquet":
            pq.write_table(pa.Table.from_arrays([pa.array(["a.jpg"])] * 3, names=names), file)
        with pytest.raises(SourceError, match=f"Two columns of the list .* are called '{name}': leave one of them out"):
            scan(file)

    def test_a_column_without_a_name_says_nothing(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        [row] = scan(write(tmp_path / "list.csv", "path,note,\na.jpg,x,y\n"))
        assert (row.path, row.metadata) == ("a.jpg", '{"note": "x"}')
        [row] = scan(write(tmp_path / "list.jsonl", '{"": "b", "path": "a.jpg"}\n'))
        assert (row.path, row.metadata) == ("a.jpg", "")

    def test_a_column_can_be_named(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        file = write(tmp_path / "list.csv", "path,file\nno.jpg,a.jpg\n")
        assert paths(scan(file, replace(ALLOWED, column="file"))) == ["a.jpg"]

    def test_a_list_in_a_store(self, tmp_path: Path, store: Store, bucket: str) -> None:
        store.client().put_object(Bucket=bucket, Key="in/a.jpg", Body=b"xyz")
        store.client().put_object(Bucket=bucket, Key="in/list.txt", Body=b"a.jpg\ngone.jpg\n")
        files = scan(f"S3://{bucket}/in/list.txt", store=store)
        assert [(file.path, file.code) for file in files] == [("a.jpg", ""), ("gone.jpg", "SOURCE_MISSING")]
        assert files[0].location == f"s3://{bucket}/in/a.jpg"


class TestNames:
    def test_are_the_path_below_the_source_root_or_the_whole(self, tmp_path: Path) -> None:
        write(tmp_path / "in" / "a" / "b.jpg", "x")
        write(tmp_path / "c.jpg", "x")
        file = write(tmp_path / "list.txt", f"{tmp_path}/in/a/b.jpg\n{tmp_path}/c.jpg\na/b.jpg\n")
        files = scan(file, replace(ALLOWED, source_root=f"{tmp_path}/in/"))
        assert paths(files) == ["a/b.jpg", f"{tmp_path}/c.jpg"[1:], "a/b.jpg"]
        assert files[0].location == files[2].location, "a relative path lies below the root"

    def test_of_objects_and_of_what_is_on_the_web(
        self, store: Store, bucket: str, tmp_path: Path, server: WebServer
    ) -> None:
        store.client().put_object(Bucket=bucket, Key="x/a.jpg", Body=b"xyz")
        server.files.update({"/y/b.jpg": b"xyz", "/y/c?id=1": b"\xff\xd8\xff"})
        text = f"s3://{bucket}/x/a.jpg\n{server.url}/y/b.jpg\n{server.url}/y/c?id=1\n"
        files = scan(write(tmp_path / "list.txt", text), store=store)
        assert paths(files)[:2] == [f"{bucket}/x/a.jpg", "localhost/y/b.jpg"]
        assert files[2].path.startswith("localhost/y/c-")
        assert files[2].path.endswith(".jpg")
        for root, path in (f"s3://{bucket}/x", "a.jpg"), (f"{server.url}/y/", "b.jpg"):
            assert path in paths(scan(tmp_path / "list.txt", replace(ALLOWED, source_root=root), store))
        with_user = write(tmp_path / "user.txt", f"{server.url}/y/b.jpg".replace("://", "://user:secret@"))
        assert paths(scan(with_user, replace(ALLOWED, source_root=f"{server.url}/y"))) == ["b.jpg"]

    def test_globs_are_compared_with_them(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        file = write(tmp_path / "list.csv", "path,key\na.jpg,one/a.jpg\na.jpg,two/a.jpg\n")
        report = ScanReport()
        assert paths(scan(file, replace(ALLOWED, exclude=("two/",)), report=report)) == ["one/a.jpg"]
        assert report.excluded == 1


class TestRows:
    """A row that leads nowhere is rejected with its code, and the others go on."""

    def test_are_each_judged_by_themselves(self, tmp_path: Path, server: WebServer, store: Store, bucket: str) -> None:
        good = write(tmp_path / "good.jpg", "x")
        rows = {
            f"{good}": "",
            f"file://{good}": "",
            f"{tmp_path}": "NOT_A_FILE",
            "gone.jpg": "SOURCE_MISSING",
            "ftp://host/a.jpg": "URL_UNSUPPORTED",
            "http://[bad/a.jpg": "URL_UNSUPPORTED",
            f"{server.url}/gone.jpg": "SOURCE_MISSING",
            f"s3://{bucket}/gone.jpg": "SOURCE_MISSING",
            f"s3://{bucket}": "URL_UNSUPPORTED",
            "s3://no-such-bucket-anywhere/a.jpg": "SOURCE_MISSING",
            f"{tmp_path}/list.txt": "UNDECODABLE",
        }
        files = scan(write(tmp_path / "list.txt", "\n".join(rows)), store=store)
        assert {row: file.code for row, file in zip(rows, files, strict=True)} == rows
        assert all(file.path for file in files)

    def test_that_cannot_be_read_are_named_by_their_number(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        files = scan(write(tmp_path / "list.csv", b"path,note\na.jpg,x\n\xff.jpg,x\na,b,c\n,x\n"))
        assert [file.code for file in files] == ["", *["URL_UNSUPPORTED"] * 3]
        assert paths(files)[1:] == ["list.csv:3", "list.csv:4", "list.csv:5"]
        assert "not UTF-8" in files[1].message
        assert "3 cells" in files[2].message
        files = scan(write(tmp_path / "list.jsonl", b'{"path": "a.jpg"}\n{"path": \n[1]\n{"path": 7}\n{"note": 1}\n'))
        assert [file.code for file in files] == ["", *["URL_UNSUPPORTED"] * 4]
        assert files[1].message == "Line 2 is not valid JSON."

    def test_a_key_that_is_no_text_is_no_name(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        rows = "".join(f'{{"path": "a.jpg", "key": {key}}}\n' for key in ('["l.jpg"]', '{"l": 1}', "7", "null"))
        files = scan(write(tmp_path / "list.jsonl", rows))
        assert [file.code for file in files] == ["URL_UNSUPPORTED", "URL_UNSUPPORTED", "", ""]
        assert paths(files) == ["list.jsonl:1", "list.jsonl:2", "7", "a.jpg"]
        assert files[0].message == "Row 1 has no text in column 'key'."

    def test_text_that_is_no_unicode_spoils_its_row_alone_wherever_it_stands(self, tmp_path: Path) -> None:
        write(tmp_path / "a.jpg", "x")
        files = scan(write(tmp_path / "list.csv", b"path,note\na.jpg,Stra\xdfe\na.jpg,fine\n"))
        assert [(file.code, file.message) for file in files] == [("URL_UNSUPPORTED", "Line 2 is not UTF-8."), ("", "")]
        half = ['{"path": "\\ud83d.jpg"}', '{"path": "a.jpg", "n": [{"\\uD83D": 1}]}', '"\\ude00"']
        lines = "\n".join([*half, '{"path": "a.jpg", "n": "\\ud83d\\ude00"}'])
        files = scan(write(tmp_path / "list.jsonl", lines.encode() + b'\n{"path": "\xff"}'))
        assert [file.code for file in files] == [*["URL_UNSUPPORTED"] * 3, "", "URL_UNSUPPORTED"]
        for number, file in enumerate(files[:3], 1):
            assert file.message == f"Line {number} has half of a character, as \\ud83d is: it is not Unicode."
        assert files[4].message == "Line 5 is not UTF-8."

    def test_secrets_of_a_url_are_in_its_location_alone(self, tmp_path: Path, server: WebServer) -> None:
        [file] = scan(
            write(tmp_path / "list.txt", f"{server.url}/gone.jpg?X-Amz-Signature=hush".replace("://", "://me:pw@"))
        )
        assert "hush" in file.location
        assert "hush" not in repr(replace(file, location=""))
        assert "pw" not in repr(replace(file, location=""))


class TestBadLists:
    @pytest.mark.parametrize(
        ("name", "content", "words"),
        [
            ("a.txt", "", r"The list .* is empty"),
            ("a.csv", "", r"The list .* is empty"),
            ("a.csv", "path,note\n", r"The list .* is empty"),
            ("a.csv", "file,note\nx,y\n", r"has no column one of path, uri.* It has file, note: name one with"),
            ("a.csv", "\npath\n", r"It has none: name one with --column"),
            ("a.csv", "path;note\nx;y\n", r"are separated by semicolons, not commas: 'path;note'. Save it with commas"),
            ("a.tsv", "path,note\nx,y\n", r"are separated by commas, not tabs: 'path,note'. Save it with tabs"),
            ("a.csv", b"path,stra\xdfe\nx,y\n", r"names of the columns of the list .* are not UTF-8. Save it as UTF-8"),
            *((f"a.{form}", "path\nx\n".encode("utf-16"), "is UTF-16. Save") for form in ("csv", "txt", "jsonl")),
            ("a.parquet", "no", r"is not valid Parquet"),
        ],
    )
    def test_are_refused_with_what_is_wrong(self, tmp_path: Path, name: str, content: str | bytes, words: str) -> None:
        with pytest.raises(SourceError, match=words):
            scan(write(tmp_path / name, content))

    def test_a_column_that_is_not_there_or_is_no_text(self, tmp_path: Path) -> None:
        file = write(tmp_path / "list.csv", "path,b\n")
        with pytest.raises(SourceError, match=r"no column 'c'. It has path, b"):
            scan(file, replace(ALLOWED, column="c"))
        pq.write_table(pa.table({"image": [{"bytes": b"x"}]}), tmp_path / "list.parquet")
        with pytest.raises(SourceError, match=r"is of the type struct<.*: it must be text"):
            scan(tmp_path / "list.parquet")

    def test_text_in_parquet_that_is_not_utf8(self, tmp_path: Path) -> None:
        text = pa.py_buffer((0).to_bytes(4, "little") + (1).to_bytes(4, "little")), pa.py_buffer(b"\xff")
        column = pa.Array.from_buffers(pa.string(), 1, [None, *text])
        pq.write_table(pa.table({"path": column}), tmp_path / "list.parquet")
        with pytest.raises(SourceError, match="holds text that is not UTF-8"):
            scan(tmp_path / "list.parquet")

    def test_a_time_in_parquet_that_python_has_not(self, tmp_path: Path) -> None:
        for times in pa.array([1], pa.timestamp("ns")), pa.array([2**30], pa.date32()):
            pq.write_table(pa.table({"path": ["a.jpg"], "time": times}), tmp_path / "list.parquet")
            with pytest.raises(SourceError, match=r"holds a value that cannot be read: .*\. Leave it out"):
                scan(tmp_path / "list.parquet")

    def test_one_that_is_not_there(self, tmp_path: Path, store: Store, bucket: str) -> None:
        with pytest.raises(SourceError, match="cannot be read: No such file"):
            describe_source(str(tmp_path / "list.csv"))
        with pytest.raises(StoreError, match="read the list"):
            scan(f"s3://{bucket}/list.csv", store=store)

    def test_keys_that_the_store_does_not_know_stop_the_run(self, tmp_path: Path, store: Store, bucket: str) -> None:
        stranger = replace(store, credentials=AccessKey("who", "knows"))
        with pytest.raises(StoreError):
            scan(write(tmp_path / "list.txt", f"s3://{bucket}/a.jpg"), store=stranger)

    def test_a_kind_can_be_forced_and_must_be_one(self, tmp_path: Path) -> None:
        folder = tmp_path / "pictures.csv"
        folder.mkdir()
        assert describe_source(str(folder)).type == "folder"
        with pytest.raises(SettingsError, match=r"--source-type ftp is none\. Take list, "):
            describe_source(str(folder), source_type="ftp")
        with pytest.raises(SourceError, match="must end in"):
            describe_source(str(tmp_path), source_type="list")

    def test_an_address_on_the_web_is_told_how_to_be_listed(self) -> None:
        with pytest.raises(SourceError, match=r"'http://host/a\.jpg' is an address on the web\. Write it"):
            describe_source("HTTP://me:pw@host/a.jpg")


def test_rows_are_fetched_from_where_they_lie(tmp_path: Path, store: Store, bucket: str, server: WebServer) -> None:
    store.client().put_object(Bucket=bucket, Key="b.jpg", Body=b"bbb")
    server.files["/c.jpg"] = b"ccc"
    write(tmp_path / "a.jpg", "aaa")
    file = write(
        tmp_path / "list.csv",
        f"path,key\na.jpg,1\ns3://{bucket}/b.jpg,2\ns3://{bucket}/b.jpg,3\n{server.url}/c.jpg,4\n",
    )
    files = scan(file, store=store)
    source = ListSource(str(file), ALLOWED, SourceTools(store, 4), Web(allow_private=True))
    fetched = source.fetch(files, [True] * 4, tmp_path)
    assert [Path(item.file).read_bytes() for item in fetched] == [b"aaa", b"bbb", b"bbb", b"ccc"]
    assert source.copy_from(files[1]) == CopyOrigin(bucket, "b.jpg", files[1].version, etag_is_md5=True)
    assert source.copy_from(files[0]) is None
    assert replace(source, tools=SourceTools(store, can_copy=False)).copy_from(files[1]) is None
    assert not any(source.has_changed(file) for file in files)
    write(tmp_path / "a.jpg", "other")
    store.client().put_object(Bucket=bucket, Key="b.jpg", Body=b"other")
    server.files["/c.jpg"] = b"other"
    assert all(source.has_changed(file) for file in files)
    assert [item.code for item in source.fetch(files, [True] * 4, tmp_path)[1:]] == ["SOURCE_CHANGED"] * 3
