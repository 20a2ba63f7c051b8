"""We die: at any request of a run, by any signal. Nothing is half-published, nothing goes on, one rerun mends it all.

A kill falls at a numbered request, which a proxy sees; the same proxy counts what the rerun sends. The oracle is a
plain boto3 client, and a delivery of the same source that nobody disturbed. `make attack` runs the campaign, with
KILLS moments for each engine.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import psutil
import pyarrow.parquet as pq
import pytest

from imagehaul.records import EngineName
from imagehaul.store.endpoint import Store
from tests.support.campaign import Wire, draw_all, etags, state
from tests.support.delivering import Target, draw
from tests.support.fault_proxy import Exchange, FaultProxy
from tests.support.running import Ended, Machine, names
from tests.support.sending import plain_client, stored

KILLS = int(os.environ.get("KILLS", "25"))
IMAGES = 60
ENGINES = pytest.mark.parametrize("engine", get_args(EngineName))
OPTIONS = ("--batch-size", 10, "--workers", 2, "--save-thumbnails-method", "both")
SETTINGS: dict[str, Any] = {"batch_size": 10, "workers": 2, "save_thumbnails_method": "both"}


@dataclass
class Moment:
    """Does something once, at the numbered request of a run. `seen`: what ran then, and its names."""

    machine: Machine
    number: int
    act: Callable[[], None] = lambda: None
    requests: int = 0
    seen: list[psutil.Process] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def __call__(self, _: Exchange) -> None:
        self.requests += 1
        if self.requests == self.number:
            self.seen = self.machine.processes()
            self.names = names(self.seen)
            self.act()


@dataclass
class Tally:
    killed: int = 0
    published: int = 0
    objects: int = 0
    sent_twice: int = 0
    seen: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        share = self.sent_twice / max(1, self.objects)
        return (
            f"{self.killed} killed ({self.published} after the pointer had moved), "
            f"{self.sent_twice} of {self.objects} objects sent twice ({share:.1%})"
        )


@dataclass
class Scene:
    """Two states of one source under the same names, and what an undisturbed delivery of each leaves."""

    store: Store
    bucket: str
    first: Path
    second: Path
    undisturbed: dict[Path, dict[str, Any]] = field(default_factory=dict)
    etags: dict[Path, dict[str, str]] = field(default_factory=dict)

    def target(self, name: str) -> Target:
        return Target(self.store, self.bucket, prefix=f"{name}/")

    def deliver_undisturbed(self) -> None:
        for source in (self.first, self.second):
            target = self.target(source.name)
            assert target.deliver(source, settings=SETTINGS).exit_status == 0
            self.undisturbed[source], self.etags[source] = state(target), etags(target)

    def requests(self, target: Target, source: Path, engine: str, machine: Machine) -> int:
        """Of a run that nobody disturbs."""
        with FaultProxy(self.store, Moment(machine, 0)) as proxy:
            ended = machine.run(replace(target, store=proxy.store), source, engine, *OPTIONS)
            assert ended.status == 0, ended.log
            assert isinstance(proxy.fault, Moment)
            return proxy.fault.requests

    def disturb(
        self,
        target: Target,
        source: Path,
        engine: str,
        machine: Machine,
        number: int,
        how: signal.Signals,
        tally: Tally,
    ) -> Ended | None:
        """Ends a run by a signal at that request, looks, and runs again. None where it had ended before."""
        before = target.current()["run"] if "current.json" in target.listed() else ""
        started: list[subprocess.Popen[str]] = []
        under_way = threading.Event()

        def end() -> None:
            under_way.wait(30)
            started[0].send_signal(how)

        with FaultProxy(self.store, Moment(machine, number, end)) as proxy:
            started.append(machine.start(replace(target, store=proxy.store), source, engine, *OPTIONS))
            under_way.set()
            out, log = started[0].communicate(timeout=120)
            assert isinstance(proxy.fault, Moment)
            assert machine.left(proxy.fault.seen) == []
            tally.seen |= proxy.fault.names
        ended = Ended(started[0].returncode, out, log)
        if ended.status == 0:
            return None
        tally.killed += 1
        self._published_is_whole(target, source, before, tally)
        self._is_made_whole_by_a_rerun(target, source, engine, tally)
        return ended

    def _published_is_whole(self, target: Target, source: Path, before: str, tally: Tally) -> None:
        now = target.current()["run"] if "current.json" in target.listed() else ""
        if now != before:
            # It was killed behind its last step: then all of it is there.
            tally.published += 1
            assert state(target) == self.undisturbed[source]
        elif before:
            said = target.current()
            index = target.metadata()["media_items"]
            assert len(index) == IMAGES
            assert said["ledger"].endswith(f"/{before}/ledger/")
            assert len(target.ledger(before)) == 2 * IMAGES + IMAGES // 3
            uri = said["exports"]["parquet"].partition(target.root)[2]
            assert pq.read_table(io.BytesIO(target.read(uri))).num_rows >= IMAGES

    def _is_made_whole_by_a_rerun(self, target: Target, source: Path, engine: str, tally: Tally) -> None:
        expected = self.etags[source]
        there = {key for key, etag in etags(target).items() if expected.get(key) == etag}
        wire = Wire(target.root)
        with FaultProxy(self.store, wire) as proxy:
            through = replace(target, store=proxy.store)
            settings = {**SETTINGS, "transfer_engine": engine}
            summary = through.deliver(source, settings=settings)
            assert summary.exit_status == 0, (summary.reasons, through.lines)
            proxy.store.renew()
        assert state(target) == self.undisturbed[source]
        assert not [key for key in target.listed(".imagehaul/") if "journal" in key]
        uploads = plain_client(target.store).list_multipart_uploads(Bucket=target.bucket, Prefix=target.root)
        assert uploads.get("Uploads", []) == []
        objects = self.undisturbed[source]["objects"]
        assert set(objects) - there <= set(wire.sent), "What was missing went by the wire that is watched."
        tally.objects += len(objects)
        tally.sent_twice += sum(count if key in there else count - 1 for key, count in wire.sent.items())


@pytest.fixture(scope="module")
def scene(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder, bucket = tmp_path_factory.mktemp("sources"), f"test-kills-{os.getpid()}"
    plain_client(store).create_bucket(Bucket=bucket)
    made = Scene(
        store, bucket, draw_all(folder / "first", IMAGES), draw_all(folder / "second", IMAGES, changed=3 * IMAGES)
    )
    made.deliver_undisturbed()
    return made


@pytest.mark.attack
@pytest.mark.timeout(7200)
@ENGINES
@pytest.mark.parametrize("over", ["nothing", "an older delivery"])
def test_sigkill_at_any_moment(over: str, engine: str, scene: Scene, tmp_path: Path) -> None:
    machine, tally = Machine(tmp_path, by_processes=over == "nothing"), Tally()
    name = f"{engine}-{over[:2]}"
    target = scene.target(name)
    if over != "nothing":
        target.deliver(scene.first, settings=SETTINGS)
    requests = scene.requests(target, scene.second, engine, machine)
    source = scene.second
    for number in range(KILLS // 2 + (KILLS % 2 if over == "nothing" else 0)):
        if over == "nothing":
            target = scene.target(f"{name}-{number}")
        else:
            # What the last one left is the older delivery of the next.
            source = scene.first if source == scene.second else scene.second
        moment = round((number + 0.5) * requests / (KILLS / 2))
        scene.disturb(target, source, engine, machine, moment, signal.SIGKILL, tally)
    print(f"\n{engine}, over {over}: {tally}; {requests} requests a run")
    assert tally.killed >= KILLS // 2 - 2
    assert tally.sent_twice == 0
    assert ("s5cmd" in tally.seen) == (engine == "s5cmd"), "One was at work when the run was killed."


@pytest.mark.attack
@pytest.mark.timeout(3600)
@ENGINES
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_signal_at_any_moment(how: signal.Signals, engine: str, scene: Scene, tmp_path: Path) -> None:
    machine, tally = Machine(tmp_path, by_processes=how == signal.SIGTERM), Tally()
    target = scene.target(f"{how.name}-{engine}")
    target.deliver(scene.first, settings=SETTINGS)
    requests = scene.requests(target, scene.second, engine, machine)
    source = scene.second
    moments = max(4, KILLS // 4)
    for number in range(moments):
        source = scene.first if source == scene.second else scene.second
        ended = scene.disturb(target, source, engine, machine, round((number + 0.5) * requests / moments), how, tally)
        if ended:
            assert ended.status == 1, ended.log
            assert "Interrupted" in ended.message
            assert "Traceback" not in ended.log
            assert list(machine.scratch.iterdir()) == []
    print(f"\n{engine}, {how.name}: {tally}")
    assert tally.killed >= moments - 2
    assert tally.sent_twice == 0
    assert ("s5cmd" in tally.seen) == (engine == "s5cmd"), "One was at work when the run was ended."


@pytest.mark.attack
def test_an_s5cmd_that_is_killed_again_and_again(scene: Scene, tmp_path: Path) -> None:
    machine, killed = Machine(tmp_path, by_processes=True), 0
    target = scene.target("s5cmd alone")
    sends = 0

    def choose(exchange: Exchange) -> None:
        nonlocal sends, killed
        sends += exchange.sends
        if exchange.sends and sends % 8 == 1:
            for process in machine.processes():
                if process.name() == "s5cmd":
                    killed += 1
                    process.kill()

    with FaultProxy(scene.store, choose) as proxy:
        ended = machine.run(replace(target, store=proxy.store), scene.first, "s5cmd", *OPTIONS)
    print(f"\n{killed} s5cmds killed")
    assert killed > 3
    assert ended.status == 0, ended.log
    assert state(target) == scene.undisturbed[scene.first]
    assert machine.left() == []


@pytest.mark.attack
@pytest.mark.timeout(900)
@ENGINES
@pytest.mark.parametrize("source", ["the same source", "another source"])
def test_a_run_that_is_frozen_past_its_lease_and_thawed_spoils_nothing_of_its_successor(
    source: str, engine: str, store: Store, bucket: str, tmp_path: Path
) -> None:
    """Two machines. A plain client tells what the first one wrote over the second one's objects after it woke."""
    images = 300
    old = draw_small(tmp_path / "old", images)
    new = old if source == "the same source" else draw_small(tmp_path / "new", images, seed=images)
    by_processes = source == "another source"
    asleep, awake = Machine(tmp_path / "asleep", by_processes), Machine(tmp_path / "awake")
    target = Target(store, bucket)
    frozen: list[psutil.Process] = []
    thawed = False
    sends: Counter[bool] = Counter()

    def choose(exchange: Exchange) -> None:
        sends[thawed] += exchange.sends
        if exchange.sends and sends[thawed] == 40 and not frozen:
            frozen.extend(asleep.processes())
            for process in frozen:
                process.suspend()

    options = ("--batch-size", 150, "--workers", 2 if by_processes else 1)
    with FaultProxy(store, choose) as proxy:
        first = asleep.start(replace(target, store=proxy.store), old, engine, *options)
        try:
            deadline = time.monotonic() + 120
            while not frozen and time.monotonic() < deadline:
                time.sleep(0.1)
            assert ("s5cmd" in names(frozen)) == (engine == "s5cmd")
            second = awake.run(target, new, engine, *options, "--allow-loss", "--json")
            left = target.stored()
        finally:
            thawed = True
            for process in frozen:
                with suppress(psutil.NoSuchProcess):  # Ended by one that woke before it.
                    process.resume()
        out, log = first.communicate(timeout=120)
    assert second.status == 0, second.log
    assert "has died" in second.log, "It was taken over."
    run = json.loads(second.out.splitlines()[-1])["run"]
    assert first.returncode == 1, out + log
    assert "was taken over by" in log
    assert "Traceback" not in log
    assert asleep.left() == []
    assert target.current()["run"] == run
    assert len(target.ledger(run)) == 2 * images
    expected = {f"{target.root}images/{file.name}": file.read_bytes() for file in new.iterdir()}
    there = stored(store, bucket)
    overwritten = {key for key, data in left.items() if there[target.root + key] != data}
    print(f"\n{engine}, {source}: {sends[True]} sent after it woke, {len(overwritten)} objects overwritten")
    assert sends[True] < 100, "Of some 560 that it had left to send."
    assert overwritten == set() or source == "another source"
    # No store fences a sleeper off: what it still wrote is found, and a rerun mends it.
    verified = awake.command(target, "verify")
    assert verified.status == (1 if overwritten else 0), verified.out
    again = awake.run(target, new, engine, *options)
    assert again.status == 0, again.log
    there = stored(store, bucket)
    assert {key: there[key] for key in expected} == expected


def draw_small(folder: Path, images: int, seed: int = 0) -> Path:
    for number in range(images):
        draw(folder / f"{number:03d}.jpg", size=(64, 48), seed=seed + number)
    return folder


def test_a_second_delivery_that_is_killed_leaves_the_first_one_current(
    store: Store, bucket: str, tmp_path: Path
) -> None:
    """One moment, in the normal run: a third of the new images has gone."""
    source, machine, target = tmp_path / "source", Machine(tmp_path / "home"), Target(store, bucket)
    draw_all(source, 24)
    first = target.deliver(source)
    draw_all(source, 24, changed=100)
    sends = 0
    started: list[subprocess.Popen[str]] = []

    def kill(exchange: Exchange) -> None:
        nonlocal sends
        sends += exchange.sends
        if sends == 12 and started[0].poll() is None:
            assert "s5cmd" in names(machine.processes())
            started[0].kill()

    with FaultProxy(store, kill) as proxy:
        started.append(machine.start(replace(target, store=proxy.store), source, "s5cmd", "--batch-size", 8))
        assert started[0].wait(60) == -signal.SIGKILL
        assert machine.left() == []
    assert target.current()["run"] == first.run
    assert {row["key"] for row in target.ledger()} <= set(target.all_keys())
    before, wire = etags(target), Wire(target.root)
    with FaultProxy(store, wire) as proxy:
        assert replace(target, store=proxy.store).deliver(source).published
        proxy.store.renew()
    after = etags(target)
    changed = {key for key in before if before[key] != after.get(key)} - {"current.json", ".imagehaul/lock.json"}
    missing = changed | (set(after) - set(before))
    assert set(wire.sent) == {key for key in missing if key.startswith(("images/", "thumbnails/"))}
    assert {key.removeprefix("images/"): target.read(key) for key in target.listed("images/")} == {
        str(file.relative_to(source)): file.read_bytes() for file in source.rglob("*.jpg")
    }
