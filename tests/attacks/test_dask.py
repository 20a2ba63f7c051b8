"""Attacks on a delivery by Dask: workers, leaders and schedulers that die, and a worker that sleeps past the lease."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from tests.support import no_fence
from tests.support.dask_cluster import Cluster, cluster_with, keys_of
from tests.support.delivering import Target, draw

pytestmark = pytest.mark.attack

LEASE_SECONDS = 8.0
MOMENTS = int(os.environ.get("KILLS", "20"))
IMAGES = 120


@pytest.fixture
def target(store: Store, bucket: str) -> Target:
    return Target(replace(store, reference=StoreReference("environment", store.url)), bucket)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(IMAGES):
        draw(folder / f"{number:03}.jpg", size=(1600, 1200), seed=number)
    return folder


@dataclass
class Leader:
    """A delivery by Dask in a process of its own, whose lease is short."""

    target: Target
    source: Path
    cluster: Cluster
    scratch: Path

    def start(self, **settings: Any) -> subprocess.Popen[bytes]:
        chosen = {
            "task_runner": "dask",
            "task_runner_address": self.cluster.address,
            "batch_size": 10,
            "workers": 2,
            **settings,
        }
        script = self.scratch / "leader.py"
        script.write_text(
            "import sys\n"
            f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            "from functools import partial\n"
            "from tests.support.delivering import Target\n"
            "from imagehaul.delivery import inventory\n"
            f"inventory.lease = partial(inventory.lease, seconds={LEASE_SECONDS})\n"
            "from imagehaul.delivery.runners.registry import open_runner\n"
            "from imagehaul.store.endpoint import Store\n"
            "from imagehaul.store.credentials import AccessKey\n"
            "from imagehaul.store.reference import StoreReference\n"
            f"url = {self.target.store.url!r}\n"
            "store = Store(url=url, credentials=AccessKey(*sys.argv[1:3]), "
            "reference=StoreReference('environment', url))\n"
            "if __name__ == '__main__':\n"
            f"    Target(store, {self.target.bucket!r}).deliver({str(self.source)!r}, settings={chosen!r}, "
            "open_runner=open_runner)\n"
        )
        keys = self.target.store.keys()
        # What a leader says whose scheduler is killed is another test's.
        return subprocess.Popen(
            [sys.executable, str(script), keys.access_key, keys.secret_key], stderr=subprocess.DEVNULL
        )


@pytest.fixture
def cluster(store: Store, tmp_path: Path) -> Iterator[Cluster]:
    with cluster_with(tmp_path / "dask", keys_of(store)) as started:
        yield started


def until(target: Target, images: int, seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while len(target.listed("images/")) < images:
        assert time.monotonic() < deadline, "the delivery did not come as far as this"
        time.sleep(0.05)


def etags(target: Target) -> dict[str, str]:
    pages = target.store.client().get_paginator("list_objects_v2").paginate(Bucket=target.bucket)
    kept = (f"{target.root}images/", f"{target.root}thumbnails/")
    return {
        item["Key"]: f"{item['ETag']} {item['LastModified']}"
        for page in pages
        for item in page.get("Contents", ())
        if item["Key"].startswith(kept)
    }


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "control without a fence"])
def test_a_worker_that_slept_past_the_lease_changes_nothing(
    many: Path, target: Target, store: Store, tmp_path: Path, fenced: bool
) -> None:
    options = () if fenced else ("--preload", str(Path(no_fence.__file__)))
    with cluster_with(tmp_path / "dask", keys_of(store), workers=0) as cluster:
        sleeper = cluster.start_worker(*options)
        leader = Leader(target, many, cluster, tmp_path).start()
        until(target, 3)
        os.kill(sleeper.pid, signal.SIGSTOP)
        leader.kill()
        leader.wait()
        # The successor waits until the lease has run out, and makes other thumbnails.
        summary = target.deliver(many, settings={"thumbnail_size": 96, "workers": 2})
        assert summary.published
        before = etags(target)
        os.kill(sleeper.pid, signal.SIGCONT)
        time.sleep(20)
        changed = [key for key, said in etags(target).items() if before.get(key) != said]
    print(f"\n{'with' if fenced else 'without'} a fence: {len(changed)} of {len(before)} objects were changed")
    assert bool(changed) is not fenced


@pytest.mark.parametrize("victim", ["worker", "leader", "scheduler"])
def test_kills_at_many_moments(victim: str, many: Path, store: Store, buckets_ahead: Any, tmp_path: Path) -> None:
    """After each: one rerun gives the undisturbed state, and what was proven is not sent again."""
    chance = random.Random(victim)
    for moment in range(MOMENTS):
        target = Target(replace(store, reference=StoreReference("environment", store.url)), buckets_ahead())
        with cluster_with(tmp_path / f"dask-{moment}", keys_of(store)) as cluster:
            leader = Leader(target, many, cluster, tmp_path).start()
            until(target, chance.randrange(1, IMAGES - 10))
            time.sleep(chance.random())
            killed = {"worker": cluster.workers[0], "leader": leader, "scheduler": cluster.scheduler}[victim]
            assert killed is not None
            killed.kill()
            if victim == "leader":
                leader.wait()
            status = leader.wait(timeout=300)
            if victim == "worker":
                assert status == 0, f"moment {moment}: the run did not go on without one worker"
            settings = {"task_runner_address": "", "workers": 2}
            there = etags(target)
            summary = target.deliver(many, settings=settings)
        assert summary.published or summary.nothing_changed
        assert summary.counts.delivered + summary.counts.unchanged == IMAGES
        again = [key for key, said in etags(target).items() if key in there and there[key] != said]
        assert again == [], f"moment {moment}: {len(again)} objects were sent a second time"
    print(f"\n{victim} killed at {MOMENTS} moments: each rerun gave the undisturbed state, nothing was sent twice")
