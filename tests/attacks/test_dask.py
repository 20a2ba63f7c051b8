"""Attacks on a delivery by Dask: workers, leaders and schedulers that die, a worker that sleeps, one that is cut off.

A kill falls at a numbered request, which a proxy before the store sees. The rerun has keys of its own, by which the
proxy tells what it sends from what the dead run's workers send. `make attack` runs them, with KILLS moments each.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from imagehaul.delivery.runners.runner import Runner
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support import no_fence
from tests.support.campaign import draw_all, etags, state
from tests.support.dask_cluster import Cluster, await_workers, cluster_with, keys_of, start_leader
from tests.support.delivering import Target, draw, in_this_process
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.network_namespace import network
from tests.support.running import Ended, Machine
from tests.support.sending import plain_client

pytestmark = [pytest.mark.attack, pytest.mark.timeout(7200)]

MOMENTS = int(os.environ.get("KILLS", "20"))
IMAGES = 60
ENGINES = ("s5cmd", "boto3", "obstore")
OPTIONS = ("--batch-size", 10, "--save-thumbnails-method", "both")
SETTINGS: dict[str, Any] = {"batch_size": 10, "workers": 2, "save_thumbnails_method": "both"}
WATCHED_SECONDS = 20.0
"""How long somebody who was away is watched after his return: a worker looks at the lease every five seconds."""


@dataclass
class Watch:
    """Does something once, at the numbered request of a run; counts what its workers and what the rerun send."""

    number: int
    rerun: AccessKey
    act: Callable[[], None] = lambda: None
    requests: int = 0
    by_workers: Counter[str] = field(default_factory=Counter)
    by_rerun: Counter[str] = field(default_factory=Counter)

    def __call__(self, exchange: Exchange) -> None:
        if exchange.access_key == self.rerun.access_key:
            self.by_rerun[exchange.key] += exchange.sends
            return
        self.by_workers[exchange.key] += exchange.sends
        self.requests += 1
        if self.requests == self.number:
            self.act()


@dataclass
class Tally:
    killed: int = 0
    failed: int = 0
    objects: int = 0
    missing: int = 0
    sent_twice: int = 0
    sent_by_two: int = 0

    def __str__(self) -> str:
        return (
            f"{self.killed} killed, of which {self.failed} left {self.missing} of {self.objects} objects to the rerun; "
            f"{self.sent_twice} were sent twice, {self.sent_by_two} by a second worker within the run"
        )


@dataclass
class Scene:
    """One source, and what an undisturbed delivery of it by processes leaves."""

    store: Store
    rerun: AccessKey
    bucket: str
    source: Path
    undisturbed: dict[str, Any]
    etags: dict[str, str]

    def target(self, name: str) -> Target:
        return Target(self.store, self.bucket, prefix=f"{name}/")

    def present(self, target: Target) -> set[str]:
        """The images, thumbnails and crops that the store has as they should be."""
        objects = self.undisturbed["objects"]
        return {key for key, etag in etags(target).items() if key in objects and self.etags[key] == etag}

    def requests(self, target: Target, machine: Machine, cluster: Cluster, engine: str) -> int:
        """Of a run by Dask that nobody disturbs, which leaves what processes leave."""
        watch = Watch(0, self.rerun)
        with FaultProxy(self.store, watch) as proxy:
            leader = start_leader(
                machine, replace(target, store=proxy.store), self.source, cluster, *OPTIONS, engine=engine
            )
            _, log = leader.communicate(timeout=300)
        assert leader.returncode == 0, log
        assert state(target) == self.undisturbed
        return watch.requests

    def disturb(
        self,
        target: Target,
        cluster: Cluster,
        engine: str,
        machine: Machine,
        number: int,
        victim: Callable[[subprocess.Popen[str]], subprocess.Popen[Any]],
        tally: Tally,
    ) -> Ended | None:
        """Kills the victim at that request, lets the leader end, and runs again. None where it had ended before."""
        leaders: list[subprocess.Popen[str]] = []

        def kill() -> None:
            while not leaders:
                time.sleep(0.01)
            victim(leaders[0]).kill()

        watch = Watch(number, self.rerun, kill)
        with FaultProxy(self.store, watch) as proxy:
            through = replace(target, store=proxy.store)
            leaders.append(start_leader(machine, through, self.source, cluster, *OPTIONS, engine=engine))
            out, log = leaders[0].communicate(timeout=300)
            if watch.requests < number:
                return None
            tally.killed += 1
            self._is_made_whole_by_a_rerun(target, through, watch, tally)
        return Ended(leaders[0].returncode, out, log)

    def _is_made_whole_by_a_rerun(self, target: Target, through: Target, watch: Watch, tally: Tally) -> None:
        there: set[str] = set()

        def opened(*given: Any) -> Runner:
            """When the plan is made: workers of the dead run may have sent until then."""
            there.update(self.present(target))
            return in_this_process(*given)

        rerun = replace(through, store=replace(through.store, credentials=self.rerun))
        summary = rerun.deliver(self.source, settings=SETTINGS, open_runner=opened)
        assert summary.exit_status == 0, (summary.reasons, rerun.lines)
        assert state(target) == self.undisturbed
        assert not [key for key in target.listed(".imagehaul/") if "journal" in key]
        sent = {key.removeprefix(target.root): count for key, count in watch.by_rerun.items() if count}
        tally.objects += len(self.undisturbed["objects"])
        tally.missing += len(sent)
        tally.failed += bool(sent)
        tally.sent_twice += sum(count if key in there else count - 1 for key, count in sent.items())
        tally.sent_by_two += sum(count - 1 for count in watch.by_workers.values() if count > 1)


@pytest.fixture(scope="module")
def scene(store: Store, identities: dict[str, AccessKey], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder, bucket = tmp_path_factory.mktemp("sources"), f"test-dask-{os.getpid()}"
    plain_client(store).create_bucket(Bucket=bucket)
    source = draw_all(folder / "many", IMAGES)
    target = Target(store, bucket, prefix="undisturbed/")
    assert target.deliver(source, settings=SETTINGS).exit_status == 0
    return Scene(store, identities["next"], bucket, source, state(target), etags(target))


@pytest.mark.parametrize("victim", ["worker", "leader", "scheduler"])
def test_kills_at_many_moments(victim: str, scene: Scene, tmp_path: Path) -> None:
    """After each: one rerun gives the undisturbed state, and what the store had as it should be is not sent again."""
    machine, tally, requests = Machine(tmp_path / "leader"), Tally(), 0
    # In no order, so that a campaign that is ended early has looked everywhere.
    moments = random.Random(victim).sample(range(MOMENTS), MOMENTS)
    with ExitStack() as stack:
        cluster: Cluster | None = None
        for number, moment in enumerate(moments, start=1):
            engine = ENGINES[moment % len(ENGINES)]
            if cluster is None:
                cluster = stack.enter_context(cluster_with(tmp_path / f"dask-{moment}", keys_of(scene.store)))
            requests = requests or scene.requests(scene.target(f"no-{victim}"), machine, cluster, engine)
            ended = scene.disturb(
                scene.target(f"{victim}-{moment}"),
                cluster,
                engine,
                machine,
                round((moment + 0.5) * requests / MOMENTS),
                _chosen(victim, cluster, moment),
                tally,
            )
            print(f"\n{victim}, {number} of {MOMENTS} moments: {tally}; {requests} requests a run", flush=True)
            assert tally.sent_twice == 0
            if ended is None:
                continue
            assert "Traceback" not in ended.log, ended.log
            if victim == "worker":
                assert ended.status == 0, f"The run did not go on without one worker: {ended.log}"
                cluster.start_worker()
                await_workers(cluster, 2)
            elif victim == "leader":
                assert ended.status == -signal.SIGKILL
            else:
                assert ended.status == 0 or "Dask" in ended.message, ended.log
                cluster.stop()
                cluster = None
    assert tally.killed >= MOMENTS - max(1, MOMENTS // 10)
    assert tally.failed > 0 or victim == "worker"


def _chosen(victim: str, cluster: Cluster, moment: int) -> Callable[[subprocess.Popen[str]], subprocess.Popen[Any]]:
    if victim == "leader":
        return lambda leader: leader
    alive = [worker for worker in cluster.workers if worker.poll() is None]
    killed = cluster.scheduler if victim == "scheduler" else alive[moment % 2]
    assert killed is not None
    return lambda _: killed


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that keep two workers busy for a while."""
    folder = tmp_path_factory.mktemp("large")
    for number in range(120):
        draw(folder / f"{number:03}.jpg", size=(1600, 1200), seed=number)
    return folder


def versions(target: Target) -> dict[str, str]:
    """By ETag and time: an object that is written again with the same bytes has changed, too."""
    pages = plain_client(target.store).get_paginator("list_objects_v2").paginate(Bucket=target.bucket)
    kept = (f"{target.root}images/", f"{target.root}thumbnails/")
    return {
        item["Key"]: f"{item['ETag']} {item['LastModified']}"
        for page in pages
        for item in page.get("Contents", ())
        if item["Key"].startswith(kept)
    }


def changed_by_one_who_came_back(target: Target, come_back: Callable[[], None]) -> list[str]:
    before = versions(target)
    come_back()
    time.sleep(WATCHED_SECONDS)
    return [key for key, said in versions(target).items() if before.get(key) != said]


@pytest.mark.parametrize("fenced", [True, False], ids=["fence", "control without a fence"])
def test_a_worker_that_slept_past_the_lease_changes_nothing(
    large: Path, store: Store, bucket: str, tmp_path: Path, fenced: bool
) -> None:
    options = () if fenced else ("--preload", str(Path(no_fence.__file__)))
    target = Target(store, bucket)
    with cluster_with(tmp_path / "dask", keys_of(store), workers=0) as cluster:
        sleeper = cluster.start_worker(*options)

        def fall_asleep(exchange: Exchange) -> None:
            if exchange.sends and exchange.number > 3 and not asleep:
                asleep.append(sleeper.pid)
                os.kill(sleeper.pid, signal.SIGSTOP)

        asleep: list[int] = []
        with FaultProxy(store, fall_asleep) as proxy:
            leader = start_leader(
                Machine(tmp_path / "leader"), replace(target, store=proxy.store), large, cluster, *OPTIONS
            )
            deadline = time.monotonic() + 240
            while not asleep:
                assert time.monotonic() < deadline
                assert leader.poll() is None
                time.sleep(0.05)
            leader.kill()
            leader.communicate()
            # The successor waits until the lease has run out, and makes other thumbnails.
            assert target.deliver(large, settings={"thumbnail_size": 96, "workers": 2}).published
            changed = changed_by_one_who_came_back(target, lambda: os.kill(sleeper.pid, signal.SIGCONT))
    print(
        f"\n{'with' if fenced else 'without'} a fence: {len(changed)} of {len(versions(target))} objects were changed"
    )
    assert bool(changed) is not fenced


def test_a_worker_whose_link_is_cut_is_replaced_and_changes_nothing_when_it_is_back(
    large: Path, store: Store, bucket: str, tmp_path: Path
) -> None:
    sent: Counter[str] = Counter()
    with ExitStack() as stack:
        link = stack.enter_context(network())

        def cut(exchange: Exchange) -> None:
            sent[exchange.client] += exchange.sends
            if exchange.client == link.inside and sent[link.inside] == 3 and exchange.sends:
                link.cut()

        proxy = stack.enter_context(FaultProxy(store, cut, link.host))
        target = Target(proxy.store, bucket)
        cluster = stack.enter_context(cluster_with(tmp_path / "dask", keys_of(store), workers=1, host=link.host))
        cluster.start_worker(before=link.enter)
        await_workers(cluster, 2)
        leader = start_leader(Machine(tmp_path / "leader"), target, large, cluster, *OPTIONS)
        _, log = leader.communicate(timeout=280)
        assert leader.returncode == 0, f"The run did not go on without the worker that was cut off: {log}"
        assert sent[link.inside] >= 3
        successor = replace(target, store=store)
        assert successor.deliver(large, settings={"thumbnail_size": 96, "workers": 2}).published
        changed = changed_by_one_who_came_back(successor, link.give_back)
    print(f"\na worker that was cut off after {sent[link.inside]} objects changed {len(changed)} when it was back")
    assert changed == []
