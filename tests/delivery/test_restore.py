"""Readers are pointed at an older run again, where all of it is still there; else what is lost is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagehaul.delivery.prune import prune
from imagehaul.delivery.restore import Restored, restore
from imagehaul.errors import SettingsError
from imagehaul.layout import Layout
from imagehaul.ledger import runs
from imagehaul.settings import Settings
from tests.support.delivering import Lines, Target, draw


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for number in range(3):
        draw(tmp_path / "source" / f"{number}.jpg", seed=number)
    return tmp_path / "source"


def restored(target: Target, tmp_path: Path, run: str, **options: bool) -> Restored:
    folder = tmp_path / f"scratch {len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    settings = Settings(remote_save=f"s3://{target.bucket}/{target.prefix}", workers=1)
    return restore(target.dataset, run, settings, target.store, folder, Lines(), **options)


def layout_of(target: Target) -> Layout:
    return Layout(target.bucket, target.prefix, target.dataset)


def test_readers_see_the_older_run_as_it_was_and_the_next_delivery_works(
    target: Target, source: Path, tmp_path: Path
) -> None:
    first = target.deliver(source)
    as_it_was, index = target.current(), target.metadata()
    (source / "2.jpg").unlink()
    draw(source / "3.jpg", seed=3)
    second = target.deliver(source, allow_loss=True)
    assert target.metadata() != index
    done = restored(target, tmp_path, first.run)
    assert (done.exit_status, done.run, done.before) == (0, first.run, second.run)
    assert (done.objects, done.proven) == (6, 6)
    assert target.metadata() == index
    now = target.current()
    assert {name: now[name] for name in now if name != "time"} == {
        name: as_it_was[name] for name in as_it_was if name != "time"
    }
    prune(target.store, layout_of(target), keep=1, dry_run=False)
    assert target.metadata() == index, "What is current stays."
    third = target.deliver(source, allow_loss=True)
    assert (third.published, third.counts.objects, third.counts.unchanged) == (True, 0, 3)
    assert {item["file_path"] for item in target.metadata()["media_items"]} == {"0.jpg", "1.jpg", "3.jpg"}


def test_what_was_overwritten_since_is_named_and_nothing_is_switched(
    target: Target, source: Path, tmp_path: Path
) -> None:
    first = target.deliver(source)
    draw(source / "1.jpg", seed=8)
    second = target.deliver(source)
    target.store.client().delete_object(Bucket=target.bucket, Key=f"{target.root}images/2.jpg")
    done = restored(target, tmp_path, first.run)
    assert (done.exit_status, done.overwritten, done.missing) == (1, 2, 1)
    assert {finding.key for finding in done.examples} == {
        f"{target.root}{key}" for key in ("images/1.jpg", "thumbnails/1.jpg.jpg", "images/2.jpg")
    }
    assert f"cannot be restored: 2 of 6 objects are overwritten since, 1 of 6 objects are missing. Run {second.run} "\
        "stays current" in done.headline  # fmt: skip
    assert target.current()["run"] == second.run


def test_an_export_that_is_gone_is_named(target: Target, source: Path, tmp_path: Path) -> None:
    first = target.deliver(source, settings={"exports": ("csv",)})
    draw(source / "3.jpg", seed=3)
    second = target.deliver(source, settings={"exports": ("csv",)})
    key = f"{target.root}exports/{first.run}/csv/images.csv"
    for name in ("images.csv", "objects.csv"):
        target.store.client().delete_object(Bucket=target.bucket, Key=key.replace("images.csv", name))
    done = restored(target, tmp_path, first.run)
    assert done.lost_exports == (f"s3://{target.bucket}/{key.removesuffix('images.csv')}",)
    assert (done.exit_status, target.current()["run"]) == (1, second.run)


def test_a_dry_run_only_says_whether_it_can_be_done(target: Target, source: Path, tmp_path: Path) -> None:
    first = target.deliver(source)
    draw(source / "3.jpg", seed=3)
    second = target.deliver(source)
    kept = target.all_keys()
    done = restored(target, tmp_path, first.run, dry_run=True)
    assert (done.exit_status, done.as_json()["restored"]) == (0, False)
    assert (target.current()["run"], target.all_keys()) == (second.run, kept)
    assert "is current already" in restored(target, tmp_path, second.run).headline
    with pytest.raises(SettingsError, match="has no run"):
        restored(target, tmp_path, "20200101T000000Z-aaaaaa")


def test_a_run_that_publishes_meanwhile_is_not_overruled(
    target: Target, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a lease that ran out: the pointer moves on a condition, or not at all."""
    first = target.deliver(source)
    draw(source / "3.jpg", seed=3)
    target.deliver(source)
    publish = runs.Runs.publish

    def late(self: runs.Runs, *arguments: object) -> None:
        said = target.current() | {"run": "20990101T000000Z-aaaaaa"}
        target.store.client().put_object(
            Bucket=target.bucket, Key=f"{target.root}current.json", Body=json.dumps(said).encode()
        )
        publish(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(runs.Runs, "publish", late)
    with pytest.raises(runs.LockedError, match="20990101T000000Z-aaaaaa is current now"):
        restored(target, tmp_path, first.run)
    assert target.current()["run"] == "20990101T000000Z-aaaaaa"
