"""Sharing a bucket, a prefix and a data set: neighbours are never touched, and one run works at a time."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from imagehaul.errors import SourceError
from imagehaul.store.endpoint import Store
from tests.support.commanding import COMMAND
from tests.support.delivering import Target, draw
from tests.support.sending import plain_client, stored

ONE_LANE = pytest.mark.parametrize("engine", ["s5cmd", pytest.param("boto3", marks=pytest.mark.attack)])
"""Where the engine plays a small part, or none: `make attack` has the other too."""


def pictures(folder: Path, count: int, seed: int = 0) -> Path:
    for number in range(count):
        draw(folder / f"{number:02d}.jpg", seed=seed + number)
    return folder


def start(source: Path, dataset: str, store: Store, bucket: str, home: Path, *more: str) -> subprocess.Popen[str]:
    keys = store.keys()
    return subprocess.Popen(
        [COMMAND, "deliver", source, "--dataset", dataset, *more],
        env={
            "PATH": os.environ["PATH"], "HOME": str(home),
            "OBJECT_STORE_URL": store.url, "REMOTE_SAVE": f"s3://{bucket}/pre/",
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        },
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@ONE_LANE
def test_data_sets_whose_names_begin_alike(engine: str, store: Store, bucket: str, tmp_path: Path) -> None:
    """`cat`, `cat2` and `cat.2`, with the same file names and other bytes, and another prefix that begins alike."""
    settings = {"use_s5cmd_when_available": engine == "s5cmd"}
    targets = [
        Target(store, bucket, prefix=prefix, dataset=dataset)
        for prefix, dataset in [("pre/", "cat"), ("pre/", "cat2"), ("pre/", "cat.2"), ("pre2/", "cat"), ("", "pre")]
    ]
    sources = [pictures(tmp_path / str(number), 4, seed=10 * number) for number in range(len(targets))]
    for target, source in zip(targets, sources, strict=True):
        summary = target.deliver(source, settings=settings)
        assert (summary.counts.delivered, summary.vanished, summary.published) == (4, 0, True)
    before = stored(store, bucket)
    for target, source in zip(targets, sources, strict=True):
        images = {f"images/{file.name}": file.read_bytes() for file in source.iterdir()}
        assert {key: target.read(key) for key in target.listed("images/")} == images
    # One of them changes in every way that it can.
    (sources[0] / "00.jpg").unlink()
    draw(sources[0] / "01.jpg", seed=77)
    draw(sources[0] / "new.jpg", seed=78)
    targets[0].deliver(sources[0], settings=settings, allow_loss=True)
    after = stored(store, bucket)
    assert {key: data for key, data in before.items() if not key.startswith(targets[0].root)} == {
        key: data for key, data in after.items() if not key.startswith(targets[0].root)
    }
    for target, source in list(zip(targets, sources, strict=True))[1:]:
        assert target.deliver(source, settings=settings).nothing_changed


@ONE_LANE
@pytest.mark.parametrize("more", [1, pytest.param(2, marks=pytest.mark.attack)])
def test_runs_of_one_data_set_at_the_same_time_take_turns(
    more: int, engine: str, store: Store, bucket: str, tmp_path: Path
) -> None:
    source = pictures(tmp_path / "source", 30)
    option = f"--use-s5cmd-when-available={str(engine == 's5cmd').lower()}"
    running = [start(source, "set", store, bucket, tmp_path, "--json", option) for _ in range(1 + more)]
    ended = [process.communicate(timeout=200) for process in running]
    assert [process.returncode for process in running] == [0] * len(running), ended
    objects = sum(int(out.partition('"objects": ')[2].partition(",")[0]) for out, _ in ended)
    assert objects == 60, "Nothing was sent twice."
    target = Target(store, bucket)
    assert {key: target.read(key) for key in target.listed("images/")} == {
        f"images/{file.name}": file.read_bytes() for file in source.iterdir()
    }
    assert target.deliver(source).nothing_changed


def test_different_sources_into_one_data_set_at_the_same_time(store: Store, bucket: str, tmp_path: Path) -> None:
    """What was published is one of the two, whole, and never a mixture."""
    sources = [pictures(tmp_path / name, 20, seed) for name, seed in (("a", 0), ("b", 100))]
    running = [start(source, "set", store, bucket, tmp_path, "--allow-loss") for source in sources]
    for process in running:
        process.communicate(timeout=200)
    assert [process.returncode for process in running] == [0, 0]
    target = Target(store, bucket)
    there = {key.removeprefix("images/"): target.read(key) for key in target.listed("images/")}
    each = [{file.name: file.read_bytes() for file in source.iterdir()} for source in sources]
    assert there in each
    published = {row["source_path"]: row["sha256"] for row in target.ledger() if row["kind"] == "image"}
    assert len(published) == 20


def test_two_data_sets_at_the_same_time_do_not_meet(store: Store, bucket: str, tmp_path: Path) -> None:
    sources = {name: pictures(tmp_path / name, 20, seed) for name, seed in (("cat", 0), ("cat2", 50))}
    running = [
        start(source, name, store, bucket, tmp_path, "--when-locked", "refuse") for name, source in sources.items()
    ]
    assert [process.wait(200) for process in running] == [0, 0]
    for name, source in sources.items():
        target = Target(store, bucket, dataset=name)
        assert {key.removeprefix("images/"): target.read(key) for key in target.listed("images/")} == {
            file.name: file.read_bytes() for file in source.iterdir()
        }


def test_a_target_inside_of_the_source(store: Store, bucket: str, tmp_path: Path) -> None:
    """A bucket's root as the source, and REMOTE_SAVE in it: a second run does not deliver what the first one wrote."""
    client = plain_client(store)
    for number in range(6):
        key = ("cat/" if number < 3 else "cat2/") + f"{number}.jpg"
        client.put_object(Bucket=bucket, Key=key, Body=draw(tmp_path / "one.jpg", seed=number))
    target = Target(store, bucket, prefix="cat/out/", dataset="set")
    for source, count in ((f"s3://{bucket}/cat", 3), (f"s3://{bucket}/cat/", 3), (f"s3://{bucket}", 6)):
        summary = target.deliver(source, allow_loss=True)
        assert (summary.counts.planned, summary.exit_status) == (count, 0)
    images = target.listed("images/")
    assert len(images) == 9
    assert not [key for key in images if "out/" in key]
    with pytest.raises(SourceError, match="is where the data set 'set' is stored"):
        target.deliver(f"s3://{bucket}/cat/out/set/images/")
    assert target.deliver(f"s3://{bucket}", allow_loss=True).nothing_changed
