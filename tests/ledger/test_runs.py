"""The runs of a data set in a real store: which one readers use, and what earlier ones left."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from imagehaul.errors import LockedError, StoreError
from imagehaul.layout import Layout
from imagehaul.ledger.inventory import EarlierRun
from imagehaul.ledger.rows import LedgerRow, write_part
from imagehaul.ledger.runs import Current, PublishedSource, Runs, read_current
from imagehaul.records import ObjectOptions
from imagehaul.store import files as stored_files
from imagehaul.store.conditional_writes import Capabilities
from imagehaul.store.endpoint import Store
from imagehaul.store.files import OwnFiles
from imagehaul.store.listing import list_objects
from imagehaul.store.probe import probe_writing
from tests.support.answering import Answer
from tests.support.conditions import AS_IT_IS_AND_OTHERWISE, Manner, store_in_manner
from tests.support.misbehaving import CUT_OFF, Misbehaving, after

pytestmark = pytest.mark.every_store

OLD, CURRENT, LATER, LAST = (f"2026112{day}T101500Z-1f3a9c" for day in (1, 2, 3, 4))
EXPORTS = {"json": "s3://b/e/metadata.json", "parquet": "s3://b/e/metadata.parquet"}
MAIN = PublishedSource(CURRENT, "2026-01-02T03:04:05+00:00", "/data", 3, 9, {"planned": 3}, "f1")
SAID = Current(CURRENT, "s3://b/l/", EXPORTS, "f1", {"planned": 3}, "2026-01-02T03:04:05+00:00", {"main": MAIN})


@pytest.fixture(params=["", "save/it's here & there/"])
def layout(request: pytest.FixtureRequest, bucket: str) -> Layout:
    return Layout(bucket, request.param, "birds")


@pytest.fixture
def runs(layout: Layout, store: Store) -> Runs:
    return Runs(layout, OwnFiles(store.client(), ObjectOptions()))


def keys(store: Store, layout: Layout) -> list[str]:
    return [item.key.removeprefix(layout.root) for item in list_objects(store.client(), layout.bucket, layout.root)]


# -- the pointer -----------------------------------------------------------------------------------------------------


def earlier(runs: Runs, current: Current | None, folder: Path) -> list[EarlierRun]:
    return runs.earlier(runs.earlier_names(current), current, folder)


def test_before_the_first_run_nothing_is_current(layout: Layout, store: Store) -> None:
    assert read_current(store.client(), layout) is None


def test_what_is_published_is_read_again(runs: Runs, layout: Layout, store: Store) -> None:
    runs.publish(SAID, over=None, capabilities=Capabilities())
    assert read_current(store.client(), layout) == SAID
    content = json.loads(store.client().get_object(Bucket=layout.bucket, Key=layout.current)["Body"].read())
    assert content["exports"] == {"json": "s3://b/e/metadata.json", "parquet": "s3://b/e/metadata.parquet"}
    assert list(content) == [
        "schema",
        "dataset",
        "run",
        "ledger",
        "exports",
        "counts",
        "fingerprint",
        "total",
        "made_with",
        "sources",
        "created",
        "time",
    ]


def test_the_first_publication_dates_the_data_set(runs: Runs, layout: Layout, store: Store) -> None:
    runs.publish(Current(CURRENT, "s3://b/l/", EXPORTS, "f1", {}), over=None, capabilities=Capabilities())
    first = read_current(store.client(), layout)
    assert first is not None
    assert first.created.startswith("20")


def test_a_pointer_that_somebody_else_has_moved_stays_where_it_is(runs: Runs, layout: Layout, store: Store) -> None:
    capabilities = probe_writing(store, layout.bucket, layout.root, ObjectOptions())
    runs.publish(SAID, None, capabilities)
    before = read_current(store.client(), layout)
    runs.publish(replace(SAID, run=LATER), before, capabilities)
    for over in (before, None):
        with pytest.raises(LockedError, match=f"run {LATER} is current now"):
            runs.publish(replace(SAID, run=LAST), over, capabilities)
    there = read_current(store.client(), layout)
    assert there is not None
    assert there.run == LATER


def test_a_pointer_that_is_gone_is_not_made_anew_by_a_run_that_knew_it(
    runs: Runs, layout: Layout, store: Store
) -> None:
    runs.publish(SAID, over=None, capabilities=Capabilities())
    before = read_current(store.client(), layout)
    store.client().delete_object(Bucket=layout.bucket, Key=layout.current)
    with pytest.raises(LockedError, match="it is gone now"):
        runs.publish(replace(SAID, run=LATER), over=before, capabilities=Capabilities())


def test_where_the_answer_was_lost_and_the_pointer_was_not_all_is_well(runs: Runs) -> None:
    runs.publish(SAID, over=None, capabilities=Capabilities())
    runs.publish(SAID, over=None, capabilities=Capabilities())


@pytest.mark.parametrize("manner", AS_IT_IS_AND_OTHERWISE)
def test_each_run_is_published_and_none_over_another_whatever_the_store_makes_of_conditions(
    layout: Layout, store: Store, manner: Manner
) -> None:
    changed = store_in_manner(store, manner)
    capabilities, client = probe_writing(changed, layout.bucket, layout.root, ObjectOptions()), changed.client()
    runs, over = Runs(layout, OwnFiles(client, ObjectOptions())), None
    for run in (OLD, CURRENT, LATER):
        runs.publish(replace(SAID, run=run), over, capabilities)
        before, over = over, read_current(client, layout)
        assert over is not None
        assert over.run == run
    for stale in (before, None):
        with pytest.raises(LockedError, match=f"run {LATER} is current now"):
            runs.publish(replace(SAID, run=LAST), stale, capabilities)


@pytest.mark.needs("conditional writes")
def test_a_right_condition_that_is_refused_all_of_a_sudden_is_looked_at(layout: Layout, store: Store) -> None:
    client = store_in_manner(store, "versioned").client()
    runs = Runs(layout, OwnFiles(client, ObjectOptions()))
    runs.publish(SAID, None, Capabilities())
    runs.publish(replace(SAID, run=LATER), read_current(client, layout), Capabilities())
    there = read_current(client, layout)
    assert there is not None
    assert there.run == LATER


def put(store: Store, layout: Layout, body: bytes) -> None:
    store.client().put_object(Bucket=layout.bucket, Key=layout.current, Body=body)


def changed(**changes: Any) -> bytes:
    exports = {"json": "s3://b/e/metadata.json", "parquet": "s3://b/e/metadata.parquet"}
    whole = {
        "schema": 1,
        "run": CURRENT,
        "ledger": "l",
        "exports": exports,
        "fingerprint": "f",
        "counts": {},
        "time": "t",
    }
    return json.dumps({name: value for name, value in {**whole, **changes}.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        changed(schema=...),
        changed(run=...),
        changed(run=7),
        changed(run="../../x"),
        changed(exports=[]),
        changed(exports={"json": None}),
        changed(counts=3),
        changed(time=...),
        changed(sources=[]),
        changed(sources={"main": {"run": CURRENT, "rows": "7"}}),
    ],
)
def test_a_foreign_or_broken_pointer_is_named_and_nothing_is_guessed(body: bytes, bucket: str, store: Store) -> None:
    layout = Layout(bucket, "", "birds")
    put(store, layout, body)
    with pytest.raises(StoreError) as caught:
        read_current(store.client(), layout)
    message = str(caught.value)
    assert message.startswith(f"s3://{bucket}/birds/current.json is not what imagehaul writes: ")
    assert len(message.splitlines()) == 2
    assert "choose another data set name" in message


def test_the_pointer_of_another_version_is_refused(bucket: str, store: Store) -> None:
    layout = Layout(bucket, "", "birds")
    put(store, layout, changed(schema=2))
    with pytest.raises(StoreError, match=r"(?s)has schema 2, and .* reads 1.*Use the version"):
        read_current(store.client(), layout)


def test_a_store_that_refuses_to_show_the_pointer_is_no_empty_store(store: Store, bucket: str) -> None:
    with pytest.raises(ClientError):
        read_current(store.client(), Layout(f"{bucket}-that-is-not-there", "", "birds"))


# -- what earlier runs left ------------------------------------------------------------------------------------------


def leave(runs: Runs, tmp_path: Path, folder: str, *paths: str) -> None:
    """A part for each path, below `folder` of the data set."""
    for number, path in enumerate(paths, 1):
        file = tmp_path / f"part-{number:05}.parquet"
        write_part([LedgerRow(path, "image", path, "sent")], file)
        runs.upload(file, f"{folder}{file.name}")


def paths_of(files: tuple[Path, ...]) -> list[str]:
    import pyarrow.parquet as pq

    return [path for file in files for path in pq.read_table(file).column("source_path").to_pylist()]


def test_the_current_runs_ledger_and_what_came_later_are_read(runs: Runs, layout: Layout, tmp_path: Path) -> None:
    leave(runs, tmp_path, layout.ledger(OLD), "old")
    leave(runs, tmp_path, layout.ledger(CURRENT), "current 1", "current 2")
    leave(runs, tmp_path, layout.journal(CURRENT), "journal of the current run")
    leave(runs, tmp_path, layout.ledger(LATER), "not published")
    leave(runs, tmp_path, layout.journal(LAST), "killed 1", "killed 2")
    runs.write_json(layout.report("20261125T101500Z-1f3a9c"), {})
    found = [(run.run, run.published, paths_of(run.files)) for run in earlier(runs, SAID, tmp_path)]
    assert found == [
        (CURRENT, True, ["current 1", "current 2"]),
        (LATER, False, ["not published"]),
        (LAST, False, ["killed 1", "killed 2"]),
        ("20261125T101500Z-1f3a9c", False, []),
    ]


def test_without_a_current_run_all_that_is_there_is_read(runs: Runs, layout: Layout, tmp_path: Path) -> None:
    leave(runs, tmp_path, layout.ledger(OLD), "refused")
    leave(runs, tmp_path, layout.journal(LATER), "killed")
    found = [(run.run, run.published, paths_of(run.files)) for run in earlier(runs, None, tmp_path)]
    assert found == [(OLD, False, ["refused"]), (LATER, False, ["killed"])]


def test_folders_that_are_no_runs_are_passed_over(runs: Runs, layout: Layout, tmp_path: Path) -> None:
    leave(runs, tmp_path, f"{layout.runs}notes/ledger/", "note")
    runs.write_json(f"{layout.ledger(OLD)}readme.json", {})
    assert [(run.run, run.files) for run in earlier(runs, None, tmp_path)] == [(OLD, ())]


def test_a_current_run_whose_ledger_is_gone_is_told_by_its_lack_of_files(runs: Runs, tmp_path: Path) -> None:
    assert earlier(runs, SAID, tmp_path) == []


def test_a_data_set_whose_name_begins_alike_is_another(
    runs: Runs, layout: Layout, store: Store, tmp_path: Path
) -> None:
    other = Runs(Layout(layout.bucket, layout.prefix, "birds2"), OwnFiles(store.client(), ObjectOptions()))
    leave(other, tmp_path, other.layout.ledger(OLD), "other")
    assert earlier(runs, None, tmp_path) == []


# -- journals --------------------------------------------------------------------------------------------------------


def test_journals_go_up_to_the_run_that_took_them_over(
    runs: Runs, layout: Layout, store: Store, tmp_path: Path
) -> None:
    for run in (OLD, CURRENT, LATER):
        leave(runs, tmp_path, layout.journal(run), "a", "b")
    leave(runs, tmp_path, layout.ledger(CURRENT), "kept")
    runs.drop_journals(CURRENT)
    left = [f".imagehaul/journal/{LATER}/part-0000{n}.parquet" for n in (1, 2)]
    assert keys(store, layout) == [*left, f"runs/{CURRENT}/ledger/part-00001.parquet"]


def test_a_key_that_may_not_delete_leaves_them(
    runs: Runs, layout: Layout, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded store's keys may delete: the refusal is put in its mouth."""
    leave(runs, tmp_path, layout.journal(OLD), "a")

    def refuse(**_: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "DeleteObject")

    monkeypatch.setattr(store.client(), "delete_object", refuse)
    runs.drop_journals(CURRENT)
    assert len(keys(store, layout)) == 1


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_uploaded_whole_whatever_its_size(runs: Runs, layout: Layout, store: Store, tmp_path: Path) -> None:
    """Beyond twice the size of a chunk it goes in parts."""
    file = tmp_path / "metadata.json"
    file.write_bytes(bytes(range(256)) * 4096 * 40)
    uri = runs.upload(file, f"{layout.root}exports/metadata.json")
    assert uri == f"s3://{layout.bucket}/{layout.root}exports/metadata.json"
    stored = store.client().get_object(Bucket=layout.bucket, Key=f"{layout.root}exports/metadata.json")
    assert stored["ContentType"] == "application/json"
    assert stored["Body"].read() == file.read_bytes()


def test_an_export_can_go_to_another_bucket(runs: Runs, store: Store, tmp_path: Path, bucket: str) -> None:
    other = f"{bucket}-x"
    store.client().create_bucket(Bucket=other)
    file = tmp_path / "metadata.json"
    file.write_text("{}")
    assert runs.upload(file, "birds/run/metadata.json", other) == f"s3://{other}/birds/run/metadata.json"
    assert store.client().get_object(Bucket=other, Key="birds/run/metadata.json")["Body"].read() == b"{}"


def test_a_picture_whose_body_breaks_off_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an export of packed pictures reads them, one after the other."""
    monkeypatch.setattr(stored_files, "_PAUSES", (0.01, 0.01))
    with Misbehaving(after([CUT_OFF, CUT_OFF], Answer(200, b"whole"))) as server:
        runs = Runs(Layout("bucket", "", "birds"), OwnFiles(server.store.client(), ObjectOptions()))
        assert runs.read_object("birds/images/a.jpg") == b"whole"
