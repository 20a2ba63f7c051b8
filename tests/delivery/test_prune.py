"""Old runs and exports go, and nothing that anybody still needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagehaul.delivery.prune import prune
from imagehaul.errors import SettingsError, StoreError
from imagehaul.layout import Layout
from imagehaul.store.endpoint import Store
from tests.support.delivering import Target, draw

RUNS = [f"202611{day:02}T101500Z-00000{day}" for day in range(1, 6)]
FIRST, SECOND, THIRD, FOURTH, FIFTH = RUNS


class DataSet:
    """A data set whose runs are written by hand, so that their order is known."""

    def __init__(self, store: Store, bucket: str) -> None:
        self.store, self.bucket = store, bucket
        self.layout = Layout(bucket, "pre/", "cats")

    def put(self, key: str, body: bytes = b"x", bucket: str = "") -> None:
        self.store.client().put_object(Bucket=bucket or self.bucket, Key=key, Body=body)

    def add(self, run: str, *files: str, export_bucket: str = "") -> None:
        """`files`: what the run left, of ledger, report, export, journal."""
        layout = self.layout
        export = f"s3://{export_bucket}/cats/{run}/" if export_bucket else layout.uri(f"{layout.exports}{run}/")
        if "ledger" in files:
            self.put(f"{layout.ledger(run)}part-00001.parquet")
        if "report" in files:
            self.put(layout.report(run), json.dumps({"export": export}).encode())
        if "export" in files:
            bucket, _, prefix = export.removeprefix("s3://").partition("/")
            self.put(f"{prefix}metadata.json", bucket=bucket)
        if "journal" in files:
            self.put(f"{layout.marks}journal/{run}/part-00001.parquet")

    def publish(self, run: str, ledger_of: str = "") -> None:
        layout = self.layout
        exports = {kind: layout.uri(f"{layout.exports}{run}/metadata.{kind}") for kind in ("json", "parquet")}
        ledger = layout.uri(layout.ledger(ledger_of or run))
        said = {
            "schema": 1,
            "run": run,
            "ledger": ledger,
            "exports": exports,
            "fingerprint": "",
            "counts": {},
            "time": "",
        }
        self.put(layout.current, json.dumps(said).encode())

    def held(self, bucket: str = "") -> set[str]:
        listed = self.store.client().list_objects_v2(Bucket=bucket or self.bucket).get("Contents", [])
        return {item["Key"].removeprefix(self.layout.root) for item in listed}

    def runs(self) -> set[str]:
        return {run for run in RUNS if any(run in key for key in self.held())}


@pytest.fixture
def cats(store: Store, bucket: str) -> DataSet:
    """Four whole runs, of which the last is current."""
    made = DataSet(store, bucket)
    for run in RUNS[:4]:
        made.add(run, "ledger", "report", "export")
    made.publish(FOURTH)
    return made


@pytest.mark.every_store
def test_the_newest_runs_are_kept_and_the_older_ones_go_with_their_exports(store: Store, cats: DataSet) -> None:
    pruned = prune(store, cats.layout, keep=2, dry_run=False)
    assert cats.runs() == {THIRD, FOURTH}
    assert (pruned.runs, pruned.kept, pruned.objects) == ((FIRST, SECOND), 2, 6)
    assert pruned.exit_status == 0


def test_a_dry_run_says_the_same_and_removes_nothing(store: Store, cats: DataSet) -> None:
    before = cats.held()
    planned = prune(store, cats.layout, keep=2, dry_run=True)
    assert cats.held() == before
    done = prune(store, cats.layout, keep=2, dry_run=False)
    assert (planned.runs, planned.objects, planned.bytes) == (done.runs, done.objects, done.bytes)
    assert "would be removed" in planned.headline


def test_images_renditions_marks_and_other_data_sets_stay(store: Store, cats: DataSet) -> None:
    others = {
        f"images/runs/{FIRST}/ledger/a.jpg",
        f"thumbnails/exports/{FIRST}/a.jpg",
        f"crops/{FIRST}/a.jpg/0.jpg",
        ".imagehaul/lock.json",
        "runs/by hand/notes.txt",
        "exports/readme.txt",
    }
    for key in others:
        cats.put(cats.layout.root + key)
    cats.put(f"pre/cats2/runs/{FIRST}/report.json")
    prune(store, cats.layout, keep=1, dry_run=False)
    assert others < cats.held()
    assert f"pre/cats2/runs/{FIRST}/report.json" in cats.held()
    assert FIRST not in "".join(key for key in cats.held() if key.startswith(("runs/", "exports/")))


def test_the_current_run_stays_even_where_it_is_the_oldest(store: Store, cats: DataSet) -> None:
    cats.publish(FIRST)
    for run in RUNS[1:4]:
        # Runs that changed nothing leave their report alone.
        for key in (f"{cats.layout.ledger(run)}part-00001.parquet", f"{cats.layout.exports}{run}/metadata.json"):
            store.client().delete_object(Bucket=cats.bucket, Key=key)
    prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.runs() == {FIRST, FOURTH}
    assert f"runs/{FIRST}/ledger/part-00001.parquet" in cats.held()
    assert f"exports/{FIRST}/metadata.json" in cats.held()


def test_the_ledger_that_is_published_stays_whichever_run_it_is_of(store: Store, cats: DataSet) -> None:
    cats.publish(FOURTH, ledger_of=FIRST)
    prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.runs() == {FIRST, FOURTH}


def test_what_a_newer_run_left_unpublished_stays_for_the_next_one(store: Store, cats: DataSet) -> None:
    cats.publish(SECOND)
    store.client().delete_object(Bucket=cats.bucket, Key=f"{cats.layout.ledger(THIRD)}part-00001.parquet")
    store.client().delete_object(Bucket=cats.bucket, Key=f"{cats.layout.exports}{THIRD}/metadata.json")
    cats.add(FIFTH, "journal")
    pruned = prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.runs() == {SECOND, FOURTH, FIFTH}
    assert pruned.runs == (FIRST, THIRD)


def test_what_was_published_after_a_restored_run_stays_of_sources_that_it_does_not_have_too(
    store: Store, cats: DataSet
) -> None:
    """The last of these took a source out of the index: it has the rows of others alone."""
    cats.publish(SECOND)
    for run, name in ((THIRD, "source-dogs"), (FOURTH, "source-dogs"), (FIFTH, "others")):
        store.client().delete_object(Bucket=cats.bucket, Key=f"{cats.layout.ledger(run)}part-00001.parquet")
        cats.put(f"{cats.layout.ledger(run)}{name}.parquet")
    cats.add("20261106T101500Z-000006", "report")
    before = cats.held()
    pruned = prune(store, cats.layout, keep=1, dry_run=False)
    assert pruned.runs == (FIRST,)
    assert cats.held() == {key for key in before if FIRST not in key}


def test_the_journal_of_a_run_that_died_long_ago_goes(store: Store, cats: DataSet) -> None:
    cats.add(SECOND, "journal")
    cats.add(THIRD, "journal")
    prune(store, cats.layout, keep=2, dry_run=False)
    assert {key for key in cats.held() if "journal" in key} == {f".imagehaul/journal/{THIRD}/part-00001.parquet"}


def test_exports_in_a_bucket_of_their_own_go_with_their_run(store: Store, cats: DataSet) -> None:
    elsewhere = f"{cats.bucket}-exports"
    store.client().create_bucket(Bucket=elsewhere)
    cats.add(FIRST, "report", "export", export_bucket=elsewhere)
    cats.put(f"cats2/{FIRST}/metadata.json", bucket=elsewhere)
    # A run that changed nothing names the export of the run before it.
    report = {"export": f"s3://{elsewhere}/cats/{FOURTH}/"}
    cats.put(cats.layout.report(SECOND), json.dumps(report).encode())
    cats.add(FOURTH, "report", "export", export_bucket=elsewhere)
    prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.held(elsewhere) == {f"cats2/{FIRST}/metadata.json", f"cats/{FOURTH}/metadata.json"}


@pytest.mark.parametrize(
    "report", [b"", b"[]", b'{"export": null}', b'{"export": "s3://b/cats/"}', b'{"export": "s3:///"}']
)
def test_a_report_that_makes_no_sense_names_no_export(store: Store, cats: DataSet, report: bytes) -> None:
    cats.put(cats.layout.report(FIRST), report)
    assert FIRST in prune(store, cats.layout, keep=1, dry_run=False).runs


def test_what_the_store_refuses_to_remove_is_named_and_can_be_removed_later(store: Store, cats: DataSet) -> None:
    elsewhere = f"{cats.bucket}-exports"
    store.client().create_bucket(Bucket=elsewhere)
    cats.add(FIRST, "report", "export", export_bucket=elsewhere)
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{elsewhere}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    store.client().put_bucket_policy(Bucket=elsewhere, Policy=policy)
    pruned = prune(store, cats.layout, keep=3, dry_run=False)
    assert [(str(item), item.refused) for item in pruned.refused] == [
        (f"s3://{elsewhere}/cats/{FIRST}/metadata.json", "AccessDenied")
    ]
    assert (pruned.exit_status, pruned.runs) == (1, ())
    assert "AccessDenied" in pruned.headline
    store.client().delete_bucket_policy(Bucket=elsewhere)
    again = prune(store, cats.layout, keep=3, dry_run=False)
    assert (again.exit_status, again.runs, cats.held(elsewhere)) == (0, (FIRST,), set())


def test_where_nothing_was_published_nothing_is_removed(store: Store, cats: DataSet) -> None:
    store.client().delete_object(Bucket=cats.bucket, Key=cats.layout.current)
    with pytest.raises(StoreError, match="'cats' was never published"):
        prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.runs() == set(RUNS[:4])


def test_a_current_json_that_is_not_ours_stops_it(store: Store, cats: DataSet) -> None:
    cats.put(cats.layout.current, b"{}")
    with pytest.raises(StoreError, match="is not what imagehaul writes"):
        prune(store, cats.layout, keep=1, dry_run=False)
    assert cats.runs() == set(RUNS[:4])


def test_no_run_at_all_cannot_be_asked_for(store: Store, cats: DataSet) -> None:
    with pytest.raises(SettingsError, match="keep 1 at least"):
        prune(store, cats.layout, keep=0, dry_run=False)


@pytest.mark.every_store
def test_after_a_prune_of_real_deliveries_the_next_one_sends_nothing(store: Store, bucket: str, tmp_path: Path) -> None:
    target = Target(store, bucket)
    for number in range(2):
        draw(tmp_path / f"{number}.jpg", seed=number)
        target.deliver(tmp_path)
    layout = Layout.of(f"s3://{bucket}/{target.prefix}", target.dataset)
    pruned = prune(store, layout, keep=1, dry_run=False)
    assert len(pruned.runs) == 1
    again = target.deliver(tmp_path)
    assert (again.counts.unchanged, again.counts.objects) == (2, 0)
    assert target.metadata()["info"]["total_media_items"] == 2
