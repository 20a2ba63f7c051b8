"""The commands for what was delivered: verify, prune, diff, restore and gallery."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from imagehaul.store.endpoint import Store
from tests.support.commanding import imagehaul, in_a_process, last_json, refused
from tests.support.delivering import Target, draw


def test_verify_finds_what_is_missing_and_changed_and_repair_mends_it(
    source: Path, environment: dict[str, str], store: Store, bucket: str
) -> None:
    imagehaul("deliver", source, "--dataset", "cli", environment=environment)
    target = Target(store, bucket, dataset="cli")
    before, run = target.stored(), target.current()["run"]
    client = store.client()
    client.delete_object(Bucket=bucket, Key=f"{target.root}images/0.jpg")
    client.put_object(Bucket=bucket, Key=f"{target.root}thumbnails/1.jpg.jpg", Body=b"other bytes")
    done = in_a_process("verify", "--dataset", "cli", "--json", environment=environment)
    said = last_json(done)
    assert (done.returncode, said["objects"], said["missing"], said["changed"]) == (1, 6, 1, 1)
    done = imagehaul("verify", "--dataset", "cli", "--repair", "--source", source, "--content", environment=environment)
    assert done.returncode == 0, done.stderr
    assert target.stored() == before
    assert imagehaul("verify", "--dataset", "cli", environment=environment).returncode == 0
    assert target.current()["run"] >= run


def test_verify_writes_all_that_it_found_where_it_shows_the_first(
    tmp_path: Path, environment: dict[str, str], store: Store, bucket: str
) -> None:
    for number in range(15):
        draw(tmp_path / "many" / f"{number}.jpg", seed=number)
    imagehaul("deliver", tmp_path / "many", "--dataset", "cli", environment=environment)
    root = Target(store, bucket, dataset="cli").root
    for number in range(15):
        store.client().delete_object(Bucket=bucket, Key=f"{root}images/{number}.jpg")
    done = imagehaul("verify", "--dataset", "cli", "--findings", tmp_path / "all.parquet", environment=environment)
    assert done.returncode == 1
    assert "and 5 more: `--findings FILE` writes them all." in done.stdout
    keys = pq.read_table(tmp_path / "all.parquet").column("key").to_pylist()
    assert sorted(keys) == sorted(f"{root}images/{number}.jpg" for number in range(15))
    done = imagehaul("verify", "--dataset", "cli", "--findings", tmp_path / "no" / "all", environment=environment)
    assert "15 missing" in refused(done, 1)
    assert "No such file or directory" in done.stderr


def test_verify_without_room_for_scratch_is_told(environment: dict[str, str]) -> None:
    done = imagehaul("verify", "--dataset", "cli", "--scratch", "/proc", environment=environment)
    assert "SCRATCH" in refused(done, 2)


def test_verify_of_a_data_set_that_is_not_there_is_told(environment: dict[str, str]) -> None:
    assert "never published" in refused(imagehaul("verify", "--dataset", "none", environment=environment), 1)


@pytest.mark.parametrize(
    "command",
    ["prune --keep 1", "prune --keep 1 --dry-run", "restore 20261122T101500Z-1f3a9c", "sources --forget main"],
)
def test_a_mistyped_data_set_is_told_and_nothing_is_left_under_its_name(
    command: str, environment: dict[str, str], store: Store, bucket: str
) -> None:
    done = imagehaul(*command.split(), "--dataset", "none", environment=environment)
    assert "Correct the data set's name" in refused(done, 1)
    assert "Contents" not in store.client().list_objects_v2(Bucket=bucket)


def test_prune_removes_old_runs_and_no_image(
    source: Path, environment: dict[str, str], store: Store, bucket: str
) -> None:
    target = Target(store, bucket, dataset="cli")
    for size in (32, 48, 64):
        imagehaul("deliver", source, "--dataset", "cli", "--thumbnail-size", size, environment=environment)
    before = target.stored()
    assert "2 old runs would be removed" in imagehaul(
        "prune", "--dataset", "cli", "--keep", 1, "--dry-run", environment=environment
    ).stdout  # fmt: skip
    done = imagehaul("prune", "--dataset", "cli", "--keep", 1, "--json", environment=environment)
    assert (done.returncode, len(last_json(done)["runs"])) == (0, 2)
    assert target.stored() == before
    assert imagehaul("verify", "--dataset", "cli", environment=environment).returncode == 0


def test_diff_and_restore_compare_with_an_older_run_and_go_back_to_it(
    source: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    table = tmp_path / "difference.parquet"
    first = last_json(imagehaul("deliver", source, "--dataset", "cli", "--json", environment=environment))
    draw(source / "new.jpg", seed=9)
    second = last_json(imagehaul("deliver", source, "--dataset", "cli", "--json", environment=environment))
    shown = imagehaul("diff", "--dataset", "cli", "--output", table, environment=environment)
    assert shown.returncode == 0, shown.stderr
    assert "added: image  new.jpg" in shown.stdout
    assert pq.read_table(table).column("path").to_pylist() == ["new.jpg"]
    said = last_json(imagehaul("diff", first["run"], "--dataset", "cli", "--json", environment=environment))
    assert (said["before"], said["after"]) == (first["run"], second["run"])
    assert said["images"] == {"added": 1, "removed": 0, "changed": 0, "same": 3}
    assert "has no run" in refused(imagehaul("diff", "x", "--dataset", "cli", environment=environment), 2)
    back = last_json(imagehaul("restore", first["run"], "--dataset", "cli", "--json", environment=environment))
    assert (back["restored"], back["objects"]) == (True, 6)
    done = imagehaul("restore", first["run"], "--dataset", "cli", environment=environment)
    assert done.returncode == 0
    assert "is current already, and its 6 objects are proven." in " ".join(done.stdout.split())


def test_a_gallery_that_cannot_be_shown_is_told(environment: dict[str, str], store: Store, bucket: str) -> None:
    done = imagehaul("gallery", "--dataset", "none", environment=environment)
    assert "never published" in refused(done, 1)
    store.client().put_object(Bucket=bucket, Key="pre/cli/current.json", Body=b"[]")
    done = imagehaul("gallery", "--dataset", "cli", environment=environment)
    assert "is not what imagehaul writes" in refused(done, 1)
    for port in (-1, 999_999):
        done = imagehaul("gallery", "--dataset", "cli", f"--port={port}", environment=environment)
        assert f"There is no port {port}" in refused(done, 2)
