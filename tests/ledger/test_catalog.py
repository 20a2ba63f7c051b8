"""The working tables: streamed in and out, and kept on the scratch disk."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

import imagehaul.ledger.catalog
from imagehaul.errors import HaulError
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.tables import TABLES, VIEWS


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with closing(Catalog(tmp_path)) as opened:
        yield opened


def test_rows_go_in_and_come_out_whatever_their_texts_hold(catalog: Catalog) -> None:
    texts = ["", "it's", '"', "a\nb", "a\0b", "\\", "日本 é e\u0301", "😀", "%s ? $1"]
    catalog.execute("CREATE TABLE word (place BIGINT, text VARCHAR)")
    assert catalog.load("word", enumerate(texts)) == len(texts)
    assert [text for _, text in catalog.rows("SELECT * FROM word ORDER BY place")] == texts
    assert catalog.one("SELECT text FROM word WHERE text = $text", {"text": "it's"}) == ("it's",)


def test_nothing_to_load_is_nothing(catalog: Catalog) -> None:
    assert catalog.load("listing", ()) == 0


def test_rows_are_loaded_and_read_a_chunk_at_a_time(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_LOADED", 10)
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_FETCHED", 10)
    catalog.execute("CREATE TABLE number (n BIGINT)")
    seen: list[int] = []

    def numbers() -> Iterator[tuple[int]]:
        for n in range(35):
            seen.append(catalog.one("SELECT count(*) FROM number")[0])
            yield (n,)

    assert catalog.load("number", numbers()) == 35
    assert seen == [n // 10 * 10 for n in range(35)]
    assert [n for (n,) in catalog.rows("SELECT n FROM number ORDER BY n")] == list(range(35))


def test_threads_share_the_catalog(catalog: Catalog) -> None:
    catalog.execute("CREATE TABLE number (n BIGINT)")
    catalog.load("number", ((n,) for n in range(1000)))
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda: found.append(sum(n for (n,) in catalog.rows("SELECT n FROM number"))))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sum(range(1000))] * 8


def test_threads_that_are_the_first_to_name_a_view_all_find_it_empty(catalog: Catalog) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = threads.map(lambda _: catalog.one("SELECT count(*) FROM indexed JOIN proven USING (key)"), range(8))
        assert list(found) == [(0,)] * 8


def test_every_view_and_table_is_there_and_empty(catalog: Catalog) -> None:
    for name in (*VIEWS, *TABLES):
        assert catalog.one(f"SELECT count(*) FROM {name}") == (0,), name


def test_a_table_may_change_while_its_rows_are_read(catalog: Catalog) -> None:
    catalog.execute("CREATE TABLE number (n BIGINT)")
    catalog.load("number", ((n,) for n in range(25_000)))
    rows = catalog.rows("SELECT n FROM number ORDER BY n")
    next(rows)
    catalog.execute("DELETE FROM number")
    assert sum(1 for _ in rows) == 24_999


def test_ranges_hold_every_text_once_and_in_order(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", 100)
    paths = [f"{n % 7}/é {n:04}.jpg" for n in range(1000)]
    catalog.execute("CREATE TABLE word (path VARCHAR)")
    catalog.load("word", ((path,) for path in paths))
    ranges = catalog.ranges("word", "path")
    assert 5 <= len(ranges) <= 10
    query = "SELECT path FROM word WHERE path >= $low AND ($high IS NULL OR path < $high) ORDER BY path"
    assert [path for part in ranges for (path,) in catalog.rows(query, part)] == sorted(paths)
    assert [row for part in ranges for rows in catalog.batches(query, part, 30) for row in rows.to_pylist()] == [
        {"path": path} for path in sorted(paths)
    ]


@pytest.mark.parametrize("rows", [0, 1, 300])
def test_ranges_of_few_texts_or_of_one_text_alone_hold_them_too(
    rows: int, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "ROWS_SORTED", 100)
    catalog.execute("CREATE TABLE word (path VARCHAR)")
    catalog.load("word", (("same",) for _ in range(rows)))
    query = "SELECT count(*) FROM word WHERE path >= $low AND ($high IS NULL OR path < $high)"
    assert sum(catalog.one(query, part)[0] for part in catalog.ranges("word", "path")) == rows


def test_a_query_that_needs_more_memory_gets_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "MEMORY_LIMIT", "20MB")
    with closing(Catalog(tmp_path)) as catalog:
        catalog.execute("CREATE TABLE long AS SELECT repeat(md5(i::VARCHAR), 8) AS text FROM range(200000) r(i)")
        catalog.execute("CREATE TABLE sorted AS SELECT * FROM long ORDER BY text")
        assert catalog.one("SELECT count(*), current_setting('memory_limit') FROM sorted") == (200_000, "19.0 MiB")


def test_a_query_gets_no_more_memory_than_it_needs(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagehaul.ledger.catalog, "MORE_MEMORY", ("200MB", "300MB", "400MB"))
    limits: list[str] = []

    def hungry() -> None:
        limits.append(catalog._connection.execute("SELECT current_setting('memory_limit')").fetchall()[0][0])
        if len(limits) < 3:
            raise duckdb.OutOfMemoryException("too little")

    catalog._patiently("", hungry)
    assert limits == ["95.3 MiB", "190.7 MiB", "286.1 MiB"]
    assert catalog.one("SELECT current_setting('memory_limit')") == ("95.3 MiB",)


def test_a_query_for_which_no_memory_is_enough_ends_the_run_in_words(catalog: Catalog) -> None:
    def hungry() -> None:
        raise duckdb.OutOfMemoryException("too little")

    with pytest.raises(HaulError, match="cannot be kept: too little"):
        catalog._patiently("", hungry)
    assert catalog.one("SELECT current_setting('memory_limit')") == ("95.3 MiB",)


def test_memory_that_is_in_use_is_not_taken_back(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first query holds more than the limit, as far as a reader has not read it to its end."""
    catalog.execute("CREATE TABLE long AS SELECT repeat(md5(i::VARCHAR), 8) AS text FROM range(200000) r(i)")
    catalog.execute("SET memory_limit = '20MB'")
    monkeypatch.setattr(imagehaul.ledger.catalog, "MEMORY_LIMIT", "1MB")
    rows = catalog.batches("SELECT text FROM long ORDER BY text", (), 1000)
    first = next(rows)
    assert first.num_rows + sum(batch.num_rows for batch in rows) == 200_000


def test_a_full_disk_is_said_in_words(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file as the spill's folder stands for the disk on which nothing more can be written."""
    catalog.execute("SET memory_limit = '20MB'")
    monkeypatch.setattr(imagehaul.ledger.catalog, "MORE_MEMORY", ("20MB",))
    (tmp_path / "spill").write_text("no folder")
    with pytest.raises(HaulError, match=r"(?s)working tables in .* cannot be kept: .*SCRATCH"):
        catalog.execute(
            "CREATE TABLE long AS SELECT repeat(md5(i::VARCHAR), 8) AS t FROM range(400000) r(i) ORDER BY t"
        )


class Ended(BaseException):
    """As Prefect's handler of SIGTERM raises one of its own."""


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Ended)])
@pytest.mark.parametrize("ask", [Catalog.execute, Catalog.one, Catalog.table])
def test_a_signal_while_duckdb_works_raises_what_its_handler_does(
    catalog: Catalog, number: signal.Signals, raised: type[BaseException], ask: Any
) -> None:
    def handler(*_: Any) -> None:
        raise raised

    before = signal.signal(number, handler)
    threading.Timer(0.5, os.kill, (os.getpid(), number)).start()
    try:
        with pytest.raises(raised):
            ask(catalog, "SELECT count(*) FROM range(100_000_000_000) t (n) WHERE hash(n) % 7 = 9")
    finally:
        signal.signal(number, before)
    assert catalog.one("SELECT 1") == (1,)
