"""A prefix in a store as the source, also where the target lies in it."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from imagehaul.errors import SourceError, StoreError
from imagehaul.layout import Layout
from imagehaul.records import SourceFile
from imagehaul.sources.filters import Selection
from imagehaul.sources.prefix import list_prefix, own_objects
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import SourceTools
from imagehaul.sources.stored_objects import look
from imagehaul.store.endpoint import Store
from tests.support.fault_proxy import Answer, Exchange, Fault, FaultProxy, cut_off, says

ALL = Selection()
Page = dict[str, Any]


def codes(rows: dict[str, SourceFile]) -> dict[str, str]:
    return {path: file.code for path, file in rows.items()}


class TestPrefix:
    LAYOUT = Layout("elsewhere", "", "birds")

    def put(self, store: Store, bucket: str, *keys: str) -> None:
        for key in keys:
            store.client().put_object(Bucket=bucket, Key=key, Body=b"xyz")

    def listed(
        self, store: Store, bucket: str, prefix: str, layout: Layout = LAYOUT, selection: Selection = ALL
    ) -> tuple[dict[str, SourceFile], ScanReport]:
        report = ScanReport()
        files = list(list_prefix(store.client(), bucket, prefix, selection, report, layout))
        rows = {file.path: file for file in files}
        assert len(rows) == len(files)
        return rows, report

    def test_gives_path_size_and_etag_and_counts_the_rest(self, store: Store, bucket: str) -> None:
        self.put(store, bucket, "img/a.jpg", "img/b/c.PNG", "img/x.txt", "img/folder/", "img2/no.jpg", "img.jpg")
        rows, report = self.listed(store, bucket, "img/")
        assert rows == {
            "a.jpg": SourceFile("a.jpg", 3, "d16fb36f0911f878998c136191af705e"),
            "b/c.PNG": SourceFile("b/c.PNG", 3, "d16fb36f0911f878998c136191af705e"),
        }
        assert report.left_out == {"txt": 1}

    @pytest.mark.parametrize(
        "name",
        [
            "a b.jpg",
            "a+b.jpg",
            "50%.jpg",
            "%41.jpg",
            "#1.jpg",
            "u\u0308.jpg",
            "🐦.jpg",
            "a&<>'\".jpg",
            "a\tb.jpg",
            "-r.jpg",
        ],
    )
    def test_keeps_odd_names_as_they_are(self, store: Store, bucket: str, name: str) -> None:
        self.put(store, bucket, f"in/{name}/{name}")
        assert codes(self.listed(store, bucket, "in/")[0]) == {f"{name}/{name}": ""}

    def test_goes_on_after_the_first_thousand_keys(self, store: Store, bucket: str, tmp_path: Path) -> None:
        client = store.client()
        with ThreadPoolExecutor(8) as pool:
            keys = [f"in/{number:04d}.jpg" for number in range(1_100)]
            list(pool.map(lambda key: client.put_object(Bucket=bucket, Key=key, Body=b"x"), keys))
        assert [f"in/{path}" for path in self.listed(store, bucket, "in/")[0]] == keys

    def test_a_buckets_root_is_a_source_too(self, store: Store, bucket: str) -> None:
        self.put(store, bucket, "a.jpg", "b/c.jpg")
        assert set(self.listed(store, bucket, "")[0]) == {"a.jpg", "b/c.jpg"}

    def test_globs_choose_and_what_they_leave_out_is_counted(self, store: Store, bucket: str) -> None:
        self.put(store, bucket, "in/a.jpg", "in/old/b.jpg", "in/c.png")
        chosen = Selection(include=("*.jpg",), exclude=("old/",))
        rows, report = self.listed(store, bucket, "in/", selection=chosen)
        assert (set(rows), report.excluded) == ({"a.jpg"}, 2)

    def test_a_bucket_that_is_not_there_is_the_stores_error(self, store: Store) -> None:
        with pytest.raises(StoreError, match="no such bucket") as caught:
            self.listed(store, "no-such-bucket-anywhere", "in/")
        assert caught.value.code == "BUCKET_MISSING"

    def test_nothing_there_is_an_error_that_names_the_place(self, store: Store, bucket: str) -> None:
        source = describe_source(f"s3://{bucket}/img/")
        files = scan_source(open_source(source, SourceTools(store)), source, ScanReport())
        with pytest.raises(SourceError, match=f"There are no images in 's3://{bucket}/img/'"):
            list(files)

    def test_paths_that_browsers_rewrite_and_listings_that_break_off(self, store: Store) -> None:
        """No real store at hand keeps such keys, or stops in the middle: the answers are made up."""
        paths = ("a//b.jpg", "../b.jpg", "./b.jpg", "/b.jpg", "..b/c.jpg")
        page: Page = {"Contents": [{"Key": f"in/{path}", "Size": 1, "ETag": '"e"'} for path in paths]}
        rows, _ = self.listed_from([page])
        assert codes(rows) == {
            "a//b.jpg": "NAME_UNSUPPORTED",
            "../b.jpg": "NAME_UNSUPPORTED",
            "./b.jpg": "NAME_UNSUPPORTED",
            "/b.jpg": "NAME_UNSUPPORTED",
            "..b/c.jpg": "",
        }
        with pytest.raises(StoreError, match=r"listing of s3://mybucket/in/ breaks off"):
            self.listed_from([page | {"IsTruncated": True}])

    def test_a_store_that_names_no_etags_is_refused(self, store: Store, bucket: str) -> None:
        """Whether an object is still the one that was listed, nothing else tells."""
        self.put(store, bucket, "in/a.jpg")

        def without_etags(exchange: Exchange) -> None:
            said = exchange.forward()
            body = re.sub(rb"<ETag>.*?</ETag>", b"", said.body)
            kept = [(name, value) for name, value in said.headers if name.lower() not in ("etag", "content-length")]
            exchange.reply(Answer(said.status, [*kept, ("Content-Length", str(len(body)))], body))

        words = rf"names no ETag of s3://{bucket}/in/a\.jpg, so that nobody could tell"
        with FaultProxy(store, lambda _: without_etags) as proxy:
            with pytest.raises(SourceError, match=words):
                self.listed(proxy.store, bucket, "in/")
            with pytest.raises(SourceError, match=words):
                look(proxy.store, bucket, "in/a.jpg")

    def test_names_that_do_not_say_what_they_are_are_looked_at_side_by_side(self) -> None:
        together = threading.Barrier(4, timeout=10)

        def first_bytes(**_: Any) -> dict[str, Any]:
            together.wait()
            return {"Body": io.BytesIO(b"\xff\xd8\xff\xe0")}

        page: Page = {"Contents": [{"Key": f"in/{n}", "Size": 9, "ETag": '"e"'} for n in range(8)]}
        rows, _ = self.listed_from([page], Selection(suffixes=("none",)), get_object=first_bytes)
        assert list(rows) == [str(n) for n in range(8)]

    @pytest.mark.parametrize(
        ("fault", "code", "words"),
        [
            (says(404, "NoSuchKey"), "SOURCE_GONE", "NoSuchKey"),
            (says(403, "InvalidObjectState"), "SOURCE_ARCHIVED", "must be restored"),
            (says(403, "AccessDenied"), "UNREADABLE", "The store says AccessDenied."),
        ],
    )
    def test_one_that_cannot_be_looked_at_is_a_row(
        self, store: Store, bucket: str, fault: Fault, code: str, words: str
    ) -> None:
        self.put(store, bucket, "in/a.jpg", "in/hidden", "in/._b.jpg", "in/left out")
        chosen = Selection(exclude=("left out",), suffixes=("none",))
        with FaultProxy(store, lambda exchange: None if exchange.lists else fault) as proxy:
            rows, report = self.listed(proxy.store, bucket, "in/", selection=chosen)
        assert codes(rows) == {"a.jpg": "", "hidden": code, "._b.jpg": code}
        assert words in rows["hidden"].message
        assert (report.excluded, report.other_files) == (1, 0)

    def test_a_look_that_breaks_off_is_taken_again(
        self, store: Store, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("imagehaul.sources.prefix._PAUSES", (0.01, 0.01))
        store.client().put_object(Bucket=bucket, Key="in/hidden", Body=b"\xff\xd8\xff" * 99)
        breaks: list[Fault] = [cut_off, cut_off]
        chosen = Selection(suffixes=("none",))
        with FaultProxy(store, lambda asked: None if asked.lists or not breaks else breaks.pop()) as proxy:
            assert codes(self.listed(proxy.store, bucket, "in/", selection=chosen)[0]) == {"hidden": ""}
            proxy.fault = lambda asked: None if asked.lists else cut_off
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                self.listed(proxy.store, bucket, "in/", selection=chosen)
        assert caught.value.code == "STORE_UNAVAILABLE"

    def test_keys_that_are_none_are_no_fault_of_the_object(self, store: Store, bucket: str) -> None:
        self.put(store, bucket, "in/hidden")
        unknown = says(403, "InvalidAccessKeyId")
        with (
            FaultProxy(store, lambda asked: None if asked.lists else unknown) as proxy,
            pytest.raises(StoreError, match=rf"refused to read s3://{bucket}/in/hidden: .*\n.*access key"),
        ):
            self.listed(proxy.store, bucket, "in/", selection=Selection(suffixes=("none",)))

    def listed_from(
        self, pages: Iterable[Page], selection: Selection = ALL, **calls: Any
    ) -> tuple[dict[str, SourceFile], ScanReport]:
        client, report = Mock(**calls), ScanReport()
        client.get_paginator.return_value.paginate.return_value = pages
        return {
            file.path: file for file in list_prefix(client, "mybucket", "in/", selection, report, self.LAYOUT)
        }, report


class TestTheTargetInTheSource:
    """REMOTE_SAVE is s3://<bucket>/sets/, and the data set that is delivered is `birds`."""

    BIRDS = (
        "sets/birds/images/a.jpg",
        "sets/birds/thumbnails/a.jpg.jpg",
        "sets/birds/crops/a.jpg/0123456789abcdef.jpg",
        "sets/birds/runs/20261122T101500Z-1f3a9c/report.json",
        "sets/birds/exports/20261122T101500Z-1f3a9c/metadata.json",
        "sets/birds/current.json",
        "sets/birds/.imagehaul/lock",
    )

    def listed(self, store: Store, bucket: str, prefix: str, *keys: str) -> tuple[set[str], ScanReport]:
        TestPrefix().put(store, bucket, *keys)
        rows, report = TestPrefix().listed(store, bucket, prefix, Layout(bucket, "sets/", "birds"))
        return set(rows), report

    def test_what_imagehaul_wrote_is_left_out_and_counted(self, store: Store, bucket: str) -> None:
        paths, report = self.listed(store, bucket, "", "in/a.jpg", "sets/own.jpg", "sets/birds/own.jpg", *self.BIRDS)
        assert paths == {"in/a.jpg", "sets/own.jpg", "sets/birds/own.jpg"}
        assert report.own_objects.count == len(self.BIRDS)
        assert next(iter(report.warnings())).startswith(
            "In the source, 7 objects were left out: imagehaul stored them in its data sets, such as 'sets/birds/"
        )

    @pytest.mark.parametrize(
        "mark", ["current.json", ".imagehaul/lock", "runs/20261122T101500Z-1f3a9c/ledger/0.parquet"]
    )
    def test_so_is_any_other_data_set_by_whichever_mark_it_has(self, store: Store, bucket: str, mark: str) -> None:
        paths, report = self.listed(store, bucket, "sets/", "sets/a.jpg", "sets/cats/images/b.jpg", f"sets/cats/{mark}")
        assert paths == {"a.jpg"}
        assert report.own_objects.count == 2

    def test_a_users_own_folder_that_only_looks_like_one_is_kept(self, store: Store, bucket: str) -> None:
        own = ["sets/yolo/images/b.jpg", "sets/yolo/runs/detect/c.jpg", "sets/my sets/crops/d.jpg"]
        paths, report = self.listed(store, bucket, "sets/", *own)
        assert paths == {key.removeprefix("sets/") for key in own}
        assert report.own_objects.count == 0

    def test_a_data_set_that_is_delivered_already_is_a_source_for_another(self, store: Store, bucket: str) -> None:
        keys = [f"sets/cats/{name}" for name in ("images/b.jpg", "images/images/c.jpg", "current.json")]
        paths, report = self.listed(store, bucket, "sets/cats/images/", *keys)
        assert paths == {"b.jpg", "images/c.jpg"}
        assert report.own_objects.count == 0

    @pytest.mark.parametrize("prefix", ["sets/birds/", "sets/birds/images/", "sets/birds/images/a/"])
    def test_a_source_in_the_data_set_itself_is_refused(self, store: Store, bucket: str, prefix: str) -> None:
        with pytest.raises(SourceError) as caught:
            self.listed(store, bucket, prefix)
        assert str(caught.value) == (
            f"The source s3://{bucket}/{prefix} is where the data set 'birds' is stored. "
            "Take another source, or deliver it under another --dataset."
        )

    def test_a_neighbour_whose_name_begins_the_same_is_not_the_data_set(self, store: Store, bucket: str) -> None:
        paths, _ = self.listed(store, bucket, "sets/birds2/", "sets/birds2/a.jpg")
        assert paths == {"a.jpg"}

    @pytest.mark.parametrize(
        ("bucket", "prefix", "key", "own"),
        [
            ("mybucket", "", "sets/birds/images/a.jpg", True),
            ("mybucket", "sets/", "sets/cats/images/a.jpg", True),
            ("mybucket", "sets/cats/", "sets/cats/thumbnails/a.jpg", True),
            ("mybucket", "sets/cats/thumbnails/", "sets/cats/thumbnails/a.jpg", False),
            ("mybucket", "sets/", "sets/dogs/images/a.jpg", False),
            ("mybucket", "sets/", "sets/cats/raw/a.jpg", False),
            ("mybucket", "sets/", "sets/cats/images", False),
            ("mybucket", "sets/", "sets/cats/current.json.jpg", False),
            ("mybucket", "", "cats/images/a.jpg", False),
            ("mybucket", "a/images/", "a/images/sets/cats/images/a.jpg", False),
            ("other", "", "sets/cats/images/a.jpg", False),
        ],
    )
    def test_who_wrote_an_object(self, bucket: str, prefix: str, key: str, own: bool) -> None:
        layout = Layout("mybucket", "sets/", "birds")
        assert own_objects(bucket, prefix, layout, lambda name: name == "cats")(key) is own

    def test_a_target_below_a_folder_that_is_called_like_ours(self) -> None:
        layout = Layout("mybucket", "a/images/sets/", "birds")
        assert own_objects("mybucket", "a/images/", layout, lambda name: True)("a/images/sets/cats/images/a.jpg")

    def test_each_name_is_looked_up_once(self) -> None:
        asked: list[str] = []

        def is_dataset(name: str) -> bool:
            asked.append(name)
            return False

        is_own = own_objects("mybucket", "", Layout("mybucket", "", "birds"), is_dataset)
        for key in ("cats/images/a.jpg", "cats/images/b.jpg", "cats/x.jpg", "birds/images/a.jpg", "x/y/images/c.jpg"):
            is_own(key)
        assert asked == ["cats"]
